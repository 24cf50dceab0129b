"""I3D, RGB stream: Inception-v1 inflated to 3D, after arXiv 1705.07750, Figure 3.

Every convolution is followed by batch normalisation and ReLU but the last. Padding is symmetric,
which gives the same shapes as the "SAME" padding of the original.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from clipedge.trainside.models.layers import DROPOUT, conv_bn_act, global_average, initialise
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


class Mixed(nn.Module):
    """An Inception module: four branches, concatenated."""

    def __init__(self, in_channels: int, widths: Widths) -> None:
        super().__init__()
        self.single = conv_bn_act(in_channels, widths.single, 1)
        self.wide_1 = nn.Sequential(
            conv_bn_act(in_channels, widths.reduce_1, 1),
            conv_bn_act(widths.reduce_1, widths.wide_1, 3),
        )
        self.wide_2 = nn.Sequential(
            conv_bn_act(in_channels, widths.reduce_2, 1),
            conv_bn_act(widths.reduce_2, widths.wide_2, 3),
        )
        self.pooled = nn.Sequential(
            nn.MaxPool3d(3, 1, padding=1), conv_bn_act(in_channels, widths.pooled, 1)
        )
        self.out_channels = widths.single + widths.wide_1 + widths.wide_2 + widths.pooled

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, out_channels, T, H, W)."""
        return torch.cat([self.single(x), self.wide_1(x), self.wide_2(x), self.pooled(x)], 1)


@register("i3d", head="logits", frames=64, size=224)
class I3D(ClipModel):
    """I3D; the shapes beside the layers are those of a (N, 3, 64, 224, 224) clip."""

    def __init__(self, num_classes: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            conv_bn_act(3, 64, 7, 2),  # (N, 64, 32, 112, 112)
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),  # (N, 64, 32, 56, 56)
            conv_bn_act(64, 64, 1),
            conv_bn_act(64, 192, 3),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),  # (N, 192, 32, 28, 28)
        ]
        channels = _add_mixed(layers, 192, MIXED_3)
        layers.append(nn.MaxPool3d(3, 2, padding=1))  # (N, 480, 16, 14, 14)
        channels = _add_mixed(layers, channels, MIXED_4)
        layers.append(nn.MaxPool3d(2, 2))  # (N, 832, 8, 7, 7)
        channels = _add_mixed(layers, channels, MIXED_5)
        self.features = nn.Sequential(*layers)
        self.pool = nn.AvgPool3d((2, 1, 1), stride=1)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Conv3d(channels, num_classes, 1)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), T at least 16, to (N, classes)."""
        x = self.features(clips).mean(dim=(3, 4), keepdim=True)  # (N, 1024, 8, 1, 1)
        return global_average(self.logits(self.dropout(self.pool(x))))  # of (N, classes, 7, 1, 1)


def _add_mixed(layers: list[nn.Module], channels: int, all_widths: tuple[Widths, ...]) -> int:
    for widths in all_widths:
        module = Mixed(channels, widths)
        layers.append(module)
        channels = module.out_channels
    return channels
