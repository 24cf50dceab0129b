"""Pieces that several architectures share. Activations are (N, C, T, H, W) float32."""

import warnings

import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # exported, not listed

STEM_STRIDE = (1, 2, 2)  # section 3.1: the first convolution keeps all frames
DROPOUT = 0.2  # section 3.2: everywhere but in fine-tuning on UCF-101


def conv_bn_act(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int | tuple[int, int, int] = 1,
    activation: type[nn.ReLU] | type[nn.ReLU6] = nn.ReLU,
) -> nn.Sequential:
    """Convolution that keeps the size at stride 1, batch normalisation, activation."""
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm3d(out_channels),
        activation(inplace=True),
    )


def depthwise(channels: int, stride: int | tuple[int, int, int] = 1) -> nn.Conv3d:
    """3x3x3 convolution with one filter a channel."""
    return nn.Conv3d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


def pointwise(in_channels: int, out_channels: int, groups: int = 1) -> nn.Conv3d:
    """1x1x1 convolution without bias."""
    return nn.Conv3d(in_channels, out_channels, 1, groups=groups, bias=False)


def classifier(in_features: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Dropout and the linear layer: (N, in_features) to (N, num_classes)."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(in_features, num_classes))


def global_average(x: Tensor) -> Tensor:
    """(N, C, T, H, W) to (N, C), whatever the size of the clip."""
    return x.mean(dim=(2, 3, 4))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out over all groups, as ShuffleNet's Figure 1 does.

    Input channel ``g * C / groups + i`` becomes output channel ``i * groups + g``.

    Args:
        x: (N, C, T, H, W), C divisible by ``groups``.
        groups: number of groups.
    """
    channels, frames, height, width = _static_sizes(x)
    # Four dimensions and a batch of -1: one Reshape, Transpose, Reshape with constant shapes in
    # the exported graph, whose batch stays dynamic.
    split = x.reshape(-1, groups, channels // groups, frames * height * width)
    return split.transpose(1, 2).reshape(-1, channels, frames, height, width)


def initialise(model: nn.Module) -> None:
    """Set fresh weights: He's initialisation, zero biases, batch normalisation as identity."""
    if any(parameter.is_meta for parameter in model.parameters()):
        return  # shapes without values: normal_ on them would load torch._dynamo, over a second
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)


def _static_sizes(x: Tensor) -> tuple[int, int, int, int]:
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if not tracing:  # torch.compile cannot follow the warnings below
        channels, frames, height, width = x.shape[1:]
        return channels, frames, height, width
    # While torch.onnx traces, sizes are traced values and would become Shape nodes. Only the batch
    # of an exported graph is dynamic, so the others are meant to be constants.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TracerWarning)
        channels, frames, height, width = (int(size) for size in x.shape[1:])
    return channels, frames, height, width
