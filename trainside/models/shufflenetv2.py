"""3D-ShuffleNetV2: Tables 5 and 6 of arXiv 1904.02422, after arXiv 1807.11164."""

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
)
from clipedge.trainside.models.registry import ClipModel, register

STEM_CHANNELS = 24  # at every width
STAGE_BLOCKS = (4, 8, 4)  # Table 5; the first block of each stage has stride 2
# Table 6: c1, c2, c3, c4 by width, of (N, c1, 4, 14, 14), (N, c2, 2, 7, 7), (N, c3, 1, 4, 4) and
# (N, c4, 1, 4, 4). It prints c1 = 244 at 2.0; the 6.64M parameters, 438 MFLOPs and the released
# weights have 224.
CHANNELS = {
    0.25: (32, 64, 128, 1024),
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (224, 488, 976, 2048),
}


class Block(nn.Module):
    """Convolutions on one half of the channels, or on both with stride 2 (Figures 2g and 2h)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.half_channels = half = out_channels // 2
        branch_in = half if stride == 1 else in_channels
        # "banch" is how the released checkpoints spell it; equal names need no translation.
        self.banch1 = None
        if stride == 2:
            self.banch1 = nn.Sequential(
                depthwise(in_channels, stride),
                nn.BatchNorm3d(in_channels),
                *conv_bn_act(in_channels, half, 1),
            )
        self.banch2 = nn.Sequential(
            *conv_bn_act(branch_in, half, 1),
            depthwise(half, stride),
            nn.BatchNorm3d(half),
            *conv_bn_act(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T / stride, H / stride, W / stride)."""
        if self.banch1 is None:
            # By number: chunk() leaves shape arithmetic in the exported graph.
            halves = [x[:, : self.half_channels], self.banch2(x[:, self.half_channels :])]
        else:
            halves = [self.banch1(x), self.banch2(x)]
        return channel_shuffle(torch.cat(halves, 1), 2)


@register("shufflenetv2", head="classifier.1", widths=tuple(CHANNELS))
class ShuffleNetV2(ClipModel):
    """3D-ShuffleNetV2."""

    def __init__(self, num_classes: int, width: float, dropout: float = DROPOUT) -> None:
        super().__init__()
        *stages, last = CHANNELS[width]
        channels = STEM_CHANNELS
        self.conv1 = conv_bn_act(3, channels, 3, STEM_STRIDE)  # (N, 24, 16, 56, 56)
        self.maxpool = nn.MaxPool3d(3, 2, padding=1)  # (N, 24, 8, 28, 28)
        blocks = []
        for out_channels, count in zip(stages, STAGE_BLOCKS, strict=True):
            for index in range(count):
                blocks.append(Block(channels, out_channels, 2 if index == 0 else 1))
                channels = out_channels
        self.features = nn.Sequential(*blocks)
        self.conv_last = conv_bn_act(channels, last, 1)
        self.classifier = classifier(last, num_classes, dropout)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, classes)."""
        x = self.features(self.maxpool(self.conv1(clips)))
        logits: Tensor = self.classifier(global_average(self.conv_last(x)))
        return logits
