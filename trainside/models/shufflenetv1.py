"""3D-ShuffleNetV1 with 3 groups: Table 4 of arXiv 1904.02422, after arXiv 1707.01083."""

import torch
from torch import Tensor, nn

from clipedge.trainside.models.layers import (
    DROPOUT,
    STEM_STRIDE,
    channel_shuffle,
    classifier,
    conv_bn_act,
    depthwise,
    global_average,
    initialise,
    pointwise,
)
from clipedge.trainside.models.registry import ClipModel, register

GROUPS = 3
STEM_CHANNELS = 24
# Table 4: (output channels, blocks) of each stage at width 1.0; the first block has stride 2.
STAGES = [
    (240, 4),  # (N, 240, 4, 14, 14)
    (480, 8),  # (N, 480, 2, 7, 7)
    (960, 4),  # (N, 960, 1, 4, 4)
]


class Block(nn.Module):
    """Grouped pointwise, shuffle, depthwise, grouped pointwise beside a shortcut (Figure 2e, 2f).

    At stride 2 the shortcut is an average pool and is concatenated, so that the convolutions make
    only the channels that it lacks.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        middle = out_channels // 4
        made = out_channels - in_channels if stride == 2 else out_channels
        # The released weights leave the first convolution ungrouped where its input has 24
        # channels: that is the first block at width 1.0 and no block at the other widths.
        first_groups = 1 if in_channels == STEM_CHANNELS else GROUPS
        self.conv1 = pointwise(in_channels, middle, first_groups)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = depthwise(middle, stride)
        self.bn2 = nn.BatchNorm3d(middle)
        self.conv3 = pointwise(middle, made, GROUPS)
        self.bn3 = nn.BatchNorm3d(made)
        self.relu = nn.ReLU(inplace=True)
        # The divisor counts the padding. (N, C, T, H, W) to (N, C, T / 2, H / 2, W / 2).
        self.shortcut = (
            nn.AvgPool3d((2, 3, 3), stride=2, padding=(0, 1, 1)) if stride == 2 else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T / stride, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(channel_shuffle(out, GROUPS)))
        out = self.bn3(self.conv3(out))
        out = x + out if self.shortcut is None else torch.cat([out, self.shortcut(x)], 1)
        activated: Tensor = self.relu(out)
        return activated


@register("shufflenetv1", head="classifier.1", widths=(0.5, 1.0, 1.5, 2.0))
class ShuffleNetV1(ClipModel):
    """3D-ShuffleNetV1; the width multiplies every channel count, the stem's included."""

    def __init__(self, num_classes: int, width: float, dropout: float = DROPOUT) -> None:
        super().__init__()
        channels = int(STEM_CHANNELS * width)
        self.conv1 = conv_bn_act(3, channels, 3, STEM_STRIDE)  # (N, 24, 16, 56, 56)
        self.maxpool = nn.MaxPool3d(3, 2, padding=1)  # (N, 24, 8, 28, 28)
        stages = []
        for stage_channels, blocks in STAGES:
            out_channels = int(stage_channels * width)
            first = Block(channels, out_channels, 2)
            others = [Block(out_channels, out_channels, 1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *others))
            channels = out_channels
        self.layer1, self.layer2, self.layer3 = stages
        self.classifier = classifier(channels, num_classes, dropout)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, classes)."""
        x = self.maxpool(self.conv1(clips))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.classifier(global_average(x))
        return logits
