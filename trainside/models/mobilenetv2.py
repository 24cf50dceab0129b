"""3D-MobileNetV2: Table 3 of arXiv 1904.02422, after arXiv 1801.04381."""

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
LAST_CHANNELS = 1280  # kept below width 1.0, scaled above it
# Table 3: (expansion, output channels, repeats, stride of the first) at width 1.0.
STAGES = [
    (1, 16, 1, 1),  # (N, 16, 16, 56, 56)
    (6, 24, 2, 2),  # (N, 24, 8, 28, 28)
    (6, 32, 3, 2),  # (N, 32, 4, 14, 14)
    (6, 64, 4, 2),  # (N, 64, 2, 7, 7)
    (6, 96, 3, 1),  # (N, 96, 2, 7, 7)
    (6, 160, 3, 2),  # (N, 160, 1, 4, 4)
    (6, 320, 1, 1),  # (N, 320, 1, 4, 4)
]


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project without activation (Figures 2c and 2d)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = round(in_channels * expansion)
        expand: list[nn.Module] = []
        if expansion != 1:
            expand = list(conv_bn_act(in_channels, hidden, 1, activation=nn.ReLU6))
        self.conv = nn.Sequential(
            *expand,
            depthwise(hidden, stride),
            nn.BatchNorm3d(hidden),
            nn.ReLU6(inplace=True),
            pointwise(hidden, out_channels),
            nn.BatchNorm3d(out_channels),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T / stride, H / stride, W / stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


@register("mobilenetv2", head="classifier.1", widths=(0.2, 0.45, 0.7, 1.0))
class MobileNetV2(ClipModel):
    """3D-MobileNetV2; the width multiplies the channels of stem and blocks, rounded down."""

    def __init__(self, num_classes: int, width: float, dropout: float = DROPOUT) -> None:
        super().__init__()
        channels = int(STEM_CHANNELS * width)
        layers: list[nn.Module] = [conv_bn_act(3, channels, 3, STEM_STRIDE, nn.ReLU6)]
        for expansion, stage_channels, repeats, stride in STAGES:
            out_channels = int(stage_channels * width)
            for index in range(repeats):
                first_stride = stride if index == 0 else 1
                layers.append(InvertedResidual(channels, out_channels, first_stride, expansion))
                channels = out_channels
        last = int(LAST_CHANNELS * width) if width > 1.0 else LAST_CHANNELS
        layers.append(conv_bn_act(channels, last, 1, activation=nn.ReLU6))  # (N, 1280, 1, 4, 4)
        self.features = nn.Sequential(*layers)
        self.classifier = classifier(last, num_classes, dropout)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, classes)."""
        logits: Tensor = self.classifier(global_average(self.features(clips)))
        return logits
