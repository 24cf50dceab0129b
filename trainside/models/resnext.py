"""3D ResNeXt-101, cardinality 32: a baseline of Table 8, after arXiv 1711.09577."""

from clipedge.trainside.models.layers import DROPOUT
from clipedge.trainside.models.registry import register
from clipedge.trainside.models.resnet import Bottleneck, ResNet


class ResNeXtBlock(Bottleneck):
    """A bottleneck whose 3x3x3 convolution has 32 groups and twice the channels."""

    expansion = 2
    groups = 32


@register("resnext101", head="fc")
def resnext101(num_classes: int, dropout: float = DROPOUT, shortcut: str = "B") -> ResNet:
    """3D ResNeXt-101; the released weights have shortcut B."""
    channels = (128, 256, 512, 1024)
    return ResNet(ResNeXtBlock, 2, (3, 4, 23, 3), channels, num_classes, dropout, shortcut)
