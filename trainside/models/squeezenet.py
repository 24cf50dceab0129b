"""3D-SqueezeNet 1.1 with simple bypass: Table 1 of arXiv 1904.02422, after arXiv 1602.07360."""

import torch
from torch import Tensor, nn

from clipedge.trainside.models.layers import DROPOUT, STEM_STRIDE, global_average, initialise
from clipedge.trainside.models.registry import ClipModel, register


class Fire(nn.Module):
    """Squeeze to few channels, expand with 1x1x1 and 3x3x3 side by side (Figure 2a)."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv3d(in_channels, squeezed, 1)
        self.squeeze_bn = nn.BatchNorm3d(squeezed)
        self.expand1x1 = nn.Conv3d(squeezed, expanded, 1)
        self.expand1x1_bn = nn.BatchNorm3d(expanded)
        self.expand3x3 = nn.Conv3d(squeezed, expanded, 3, padding=1)
        self.expand3x3_bn = nn.BatchNorm3d(expanded)
        self.relu = nn.ReLU(inplace=True)
        self.bypass = in_channels == 2 * expanded  # Fire3, 5, 7 and 9

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T, H, W) to (N, 2 * expanded, T, H, W)."""
        squeezed = self.relu(self.squeeze_bn(self.squeeze(x)))
        out = torch.cat(
            [
                self.expand1x1_bn(self.expand1x1(squeezed)),
                self.expand3x3_bn(self.expand3x3(squeezed)),
            ],
            1,
        )
        if self.bypass:
            out = out + x
        activated: Tensor = self.relu(out)
        return activated


@register("squeezenet", head="classifier.1")
class SqueezeNet(ClipModel):
    """3D-SqueezeNet.

    The shapes in ``forward`` are those of a (N, 3, 16, 112, 112) clip.
    """

    def __init__(self, num_classes: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(3, 64, 3, STEM_STRIDE, padding=1),  # (N, 64, 16, 56, 56)
            nn.BatchNorm3d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(3, 2, padding=1),
            Fire(64, 16, 64),  # (N, 128, 8, 28, 28)
            Fire(128, 16, 64),
            nn.MaxPool3d(3, 2, padding=1),
            Fire(128, 32, 128),  # (N, 256, 4, 14, 14)
            Fire(256, 32, 128),
            nn.MaxPool3d(3, 2, padding=1),
            Fire(256, 48, 192),  # (N, 384, 2, 7, 7)
            Fire(384, 48, 192),
            nn.MaxPool3d(3, 2, padding=1),
            Fire(384, 64, 256),  # (N, 512, 1, 4, 4)
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Conv3d(512, num_classes, 1),  # (N, classes, 1, 4, 4)
            nn.ReLU(inplace=True),
        )
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, classes); logits are never negative, a ReLU precedes the mean."""
        return global_average(self.classifier(self.features(clips)))
