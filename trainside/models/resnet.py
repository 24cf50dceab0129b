"""3D ResNet-18, -50 and -101: the baselines of Table 8, after arXiv 1711.09577."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipedge.trainside.models.layers import DROPOUT, STEM_STRIDE, global_average, initialise
from clipedge.trainside.models.registry import ClipModel, register

STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)

MakeBlock = Callable[[int, int, int, str], nn.Module]  # in_channels, channels, stride, shortcut


class PaddedShortcut(nn.Module):
    """Shortcut A: take every stride-th position and append channels of zeros; no weights."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.copies_of_zeros = out_channels // in_channels - 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, T, H, W) to (N, out, T / stride, H / stride, W / stride)."""
        # Plain graph operations throughout: reading tensor values here would bake the traced clip
        # into an exported file, and F.pad exports its channel padding as a computed shape.
        if self.stride != 1:
            x = F.avg_pool3d(x, 1, self.stride)
        return torch.cat([x] + [x * 0.0] * self.copies_of_zeros, 1)


def make_shortcut(
    in_channels: int, out_channels: int, stride: int, shortcut: str
) -> nn.Module | None:
    """Return what brings a block's input to its output's shape; None where it has it already."""
    if stride == 1 and in_channels == out_channels:
        return None
    if shortcut == "A":
        return PaddedShortcut(in_channels, out_channels, stride)
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm3d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, channels, T / stride, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        activated: Tensor = self.relu(out + (x if self.downsample is None else self.downsample(x)))
        return activated


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 in ``groups`` groups, 1x1x1, beside a shortcut."""

    expansion = 4
    groups = 1

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv3d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(
            channels, channels, 3, stride, padding=1, groups=self.groups, bias=False
        )
        self.bn2 = nn.BatchNorm3d(channels)
        self.conv3 = nn.Conv3d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, T, H, W) to (N, channels * expansion, T / stride, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        activated: Tensor = self.relu(out + (x if self.downsample is None else self.downsample(x)))
        return activated


class ResNet(ClipModel):
    """3D ResNet; the shapes beside the layers are those of a (N, 3, 16, 112, 112) clip."""

    def __init__(
        self,
        make_block: MakeBlock,
        expansion: int,
        stage_blocks: tuple[int, ...],
        stage_channels: tuple[int, ...],
        num_classes: int,
        dropout: float,
        shortcut: str,
    ) -> None:
        super().__init__()
        channels = STEM_CHANNELS
        self.conv1 = nn.Conv3d(3, channels, 7, STEM_STRIDE, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)  # (N, 64, 16, 56, 56)
        self.relu = nn.ReLU(inplace=True)
        # Table 8 counts this pool by its volume, unlike the ShuffleNets': so three numbers.
        self.maxpool = nn.MaxPool3d((3, 3, 3), 2, padding=1)  # (N, 64, 8, 28, 28)
        stages = []
        for index, (planes, count) in enumerate(zip(stage_channels, stage_blocks, strict=True)):
            blocks = []
            for block in range(count):
                stride = 2 if block == 0 and index > 0 else 1
                blocks.append(make_block(channels, planes, stride, shortcut))
                channels = planes * expansion
            stages.append(nn.Sequential(*blocks))
        # (N, C, 8, 28, 28), (N, 2C, 4, 14, 14), (N, 4C, 2, 7, 7), (N, 8C, 1, 4, 4)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(clips))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.dropout(global_average(x)))
        return logits


@register("resnet18", head="fc")
def resnet18(num_classes: int, dropout: float = DROPOUT, shortcut: str = "A") -> ResNet:
    """3D ResNet-18; the released weights have shortcut A."""
    return ResNet(BasicBlock, 1, (2, 2, 2, 2), STAGE_CHANNELS, num_classes, dropout, shortcut)


@register("resnet50", head="fc")
def resnet50(num_classes: int, dropout: float = DROPOUT, shortcut: str = "B") -> ResNet:
    """3D ResNet-50; the released weights have shortcut B."""
    return ResNet(Bottleneck, 4, (3, 4, 6, 3), STAGE_CHANNELS, num_classes, dropout, shortcut)


@register("resnet101", head="fc")
def resnet101(num_classes: int, dropout: float = DROPOUT, shortcut: str = "B") -> ResNet:
    """3D ResNet-101; the released weights have shortcut B."""
    return ResNet(Bottleneck, 4, (3, 4, 23, 3), STAGE_CHANNELS, num_classes, dropout, shortcut)
