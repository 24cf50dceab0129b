"""3D-MobileNetV1: Table 2 of arXiv 1904.02422, after arXiv 1704.04861."""

import torch.nn.functional as F
from torch import Tensor, nn

from clipedge.trainside.models.layers import (
    DROPOUT,
    STEM_STRIDE,
    classifier,
    conv_bn_act,
    depthwise,
    global_average,
    initialise,
    pointwise,
)
from clipedge.trainside.models.registry import ClipModel, register

STEM_CHANNELS = 32
# Table 2: (output channels, stride) of each block at width 1.0.
BLOCKS = [
    (64, 2),  # (N, 64, 8, 28, 28)
    (128, 2),  # (N, 128, 4, 14, 14)
    (128, 1),
    (256, 2),  # (N, 256, 2, 7, 7)
    (256, 1),
    (512, 2),  # (N, 512, 1, 4, 4)
    *[(512, 1)] * 5,
    (1024, 1),  # (N, 1024, 1, 4, 4)
    (1024, 1),
]


class Block(nn.Module):
    """Depthwise 3x3x3, then pointwise, each with batch normalisation and ReLU (Figure 2b)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = depthwise(in_channels, stride)
        self.bn1 = nn.BatchNorm3d(in_channels)
        self.conv2 = pointwise(in_channels, out_channels)
        self.bn2 = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T / stride, H / stride, W / stride)."""
        # ReLU as a function, not a module: Table 8's MFLOPs leave these activations out.
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


@register("mobilenetv1", head="classifier.1", widths=(0.5, 1.0, 1.5, 2.0))
class MobileNetV1(ClipModel):
    """3D-MobileNetV1; the width multiplies every channel count."""

    def __init__(self, num_classes: int, width: float, dropout: float = DROPOUT) -> None:
        super().__init__()
        channels = int(STEM_CHANNELS * width)
        layers: list[nn.Module] = [conv_bn_act(3, channels, 3, STEM_STRIDE)]  # (N, 32, 16, 56, 56)
        for out_channels, stride in BLOCKS:
            layers.append(Block(channels, int(out_channels * width), stride))
            channels = int(out_channels * width)
        self.features = nn.Sequential(*layers)
        self.classifier = classifier(channels, num_classes, dropout)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, classes)."""
        logits: Tensor = self.classifier(global_average(self.features(clips)))
        return logits
