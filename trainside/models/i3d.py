"""I3D, RGB stream: Inception-v1 inflated to 3D, after arXiv 1705.07750, Figure 3.

Every convolution is followed by batch normalisation and ReLU but the last. Padding is symmetric,
which gives the same shapes as the "SAME" padding of the original.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipedge.trainside.models.layers import DROPOUT, global_average, initialise
from clipedge.trainside.models.registry import ClipModel, register


class Widths(NamedTuple):
    """Output channels in an Inception module: 1x1x1; the two 3x3x3 with what feeds them; pool."""

    single: int
    reduce_1: int
    wide_1: int
    reduce_2: int
    wide_2: int
    pooled: int


# Inception-v1's channels (arXiv 1409.4842, Table 1), 3b .. 5c.
MIXED_3 = (Widths(64, 96, 128, 16, 32, 32), Widths(128, 128, 192, 32, 96, 64))
MIXED_4 = (
    Widths(192, 96, 208, 16, 48, 64),
    Widths(160, 112, 224, 24, 64, 64),
    Widths(128, 128, 256, 24, 64, 64),
    Widths(112, 144, 288, 32, 64, 64),
    Widths(256, 160, 320, 32, 128, 128),
)
MIXED_5 = (Widths(256, 160, 320, 32, 128, 128), Widths(384, 192, 384, 48, 128, 128))


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU.

    The ReLU and the pools of this file are functions, not modules: Table 8's MFLOPs of I3D are
    those of its convolutions and batch normalisations.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
        )
        self.bn = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T / stride, H / stride, W / stride)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """An Inception module: four branches, concatenated."""

    def __init__(self, in_channels: int, widths: Widths) -> None:
        super().__init__()
        self.single = Unit(in_channels, widths.single, 1)
        self.wide_1 = nn.Sequential(
            Unit(in_channels, widths.reduce_1, 1), Unit(widths.reduce_1, widths.wide_1, 3)
        )
        self.wide_2 = nn.Sequential(
            Unit(in_channels, widths.reduce_2, 1), Unit(widths.reduce_2, widths.wide_2, 3)
        )
        self.pooled = Unit(in_channels, widths.pooled, 1)
        self.out_channels = widths.single + widths.wide_1 + widths.wide_2 + widths.pooled

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T, H, W)."""
        pooled = self.pooled(F.max_pool3d(x, 3, 1, padding=1))
        return torch.cat([self.single(x), self.wide_1(x), self.wide_2(x), pooled], 1)


@register("i3d", head="logits", frames=64, size=224)
class I3D(ClipModel):
    """I3D; the shapes beside the layers are those of a (N, 3, 64, 224, 224) clip."""

    def __init__(self, num_classes: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.conv_1 = Unit(3, 64, 7, 2)  # (N, 64, 32, 112, 112)
        self.conv_2 = nn.Sequential(Unit(64, 64, 1), Unit(64, 192, 3))  # (N, 192, 32, 56, 56)
        self.mixed_3, channels = _mixed(192, MIXED_3)  # (N, 480, 32, 28, 28)
        self.mixed_4, channels = _mixed(channels, MIXED_4)  # (N, 832, 16, 14, 14)
        self.mixed_5, channels = _mixed(channels, MIXED_5)  # (N, 1024, 8, 7, 7)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Conv3d(channels, num_classes, 1)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), T at least 16, to (N, classes)."""
        x = _halve_frame(self.conv_1(clips))
        x = self.mixed_3(_halve_frame(self.conv_2(x)))
        x = self.mixed_4(F.max_pool3d(x, 3, 2, padding=1))
        x = self.mixed_5(F.max_pool3d(x, 2, 2))
        # The original averages 2x7x7 at stride 1, classifies, then averages over time.
        x = F.avg_pool3d(x.mean(dim=(3, 4), keepdim=True), (2, 1, 1), 1)  # (N, 1024, 7, 1, 1)
        return global_average(self.logits(self.dropout(x)))


def _halve_frame(x: Tensor) -> Tensor:
    """(N, C, T, H, W) to (N, C, T, H / 2, W / 2)."""
    return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1))


def _mixed(channels: int, all_widths: tuple[Widths, ...]) -> tuple[nn.Sequential, int]:
    modules = []
    for widths in all_widths:
        modules.append(Mixed(channels, widths))
        channels = modules[-1].out_channels
    return nn.Sequential(*modules), channels
