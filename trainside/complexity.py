"""Count a model's parameters, MFLOPs and layers the way the paper's Tables 7 and 8 do.

Everything is counted on the meta device: shapes flow through the module, no value is computed.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clipedge.jetson.paper import LayerCounts
from clipedge.trainside.models import ClipModel, create_model

# Names of torch's functions, as a TorchFunctionMode sees them.
_LAYERS = {"conv3d", "linear"}
_NONLINEARITIES = {"relu", "hardtanh"}  # nn.ReLU6 calls hardtanh
_JOINS = {"add", "cat"}


class Complexity(NamedTuple):
    """What one clip costs; ``layers`` is Table 7's column, the others are Table 8's."""

    parameters: int
    flops: int
    layers: LayerCounts

    @property
    def params_millions(self) -> float:
        """Parameters in millions."""
        return self.parameters / 1e6

    @property
    def mflops(self) -> float:
        """Millions of operations a clip."""
        return self.flops / 1e6


def measure(
    name: str, width: float | None = None, num_classes: int = 600, **options: Any
) -> Complexity:
    """Count a model on the clip it was designed for.

    Args:
        name: one of ``list_models()``.
        width: its width multiplier.
        num_classes: size of the head; the paper counts 600, Kinetics-600.
        **options: of ``create_model``.

    Raises:
        UsageError: there is no such model, width or option.
    """
    with torch.device("meta"):
        model = create_model(name, width, num_classes, **options).eval()
        clip = torch.empty(1, 3, model.config.frames, model.config.size, model.config.size)
    paths = _LongestPath()
    with torch.no_grad(), _counted_flops(model) as flops, paths:
        output = model(clip)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Complexity(parameters, sum(flops), paths.counts(output))


def module_flops(module: nn.Module, inputs: Tensor, output: Tensor) -> int:
    """Operations of one run of a module, counted as Table 8 does.

    Multiply-adds of convolutions count once, those of linear layers twice; a bias, a comparison
    and an activation once; batch normalisation twice an element. Activations and averages that
    are functions and not modules never come here, so they are not counted.
    """
    if isinstance(module, nn.Conv3d):
        taps = math.prod(module.kernel_size) * module.in_channels // module.groups
        return output.numel() * (taps + (module.bias is not None))
    if isinstance(module, nn.BatchNorm3d):
        return 2 * inputs.numel()
    if isinstance(module, nn.ReLU | nn.ReLU6):
        return inputs.numel()
    if isinstance(module, nn.MaxPool3d):
        return output.numel() * (_kernel(module.kernel_size) - 1)
    if isinstance(module, nn.AvgPool3d):
        return output.numel() * _kernel(module.kernel_size)
    if isinstance(module, nn.Linear):
        return output.numel() * (2 * module.in_features - 1)
    return 0


def _kernel(size: int | tuple[int, ...]) -> int:
    # The published counter takes a kernel given as one number for its volume: 3 for 3x3x3.
    return size if isinstance(size, int) else math.prod(size)


@contextmanager
def _counted_flops(model: ClipModel) -> Iterator[list[int]]:
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(module_flops(module, inputs[0], output))

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


class _LongestPath(TorchFunctionMode):
    """Follows every tensor and keeps how many layers lie on the longest path to it.

    A Fire module's expansions side by side and the short branch of a strided ShuffleNetV2 block
    therefore count once. A skip connection is an addition or concatenation of two tensors of
    different depth; Fire's two expansions have the same, and Inception joins four.
    """

    def __init__(self) -> None:
        super().__init__()
        self._depths: dict[int, tuple[int, int]] = {}  # by id: (layers, nonlinearities)
        self._alive: list[Tensor] = []  # so that no id is used twice
        self._skip_connections = 0

    def counts(self, output: Tensor) -> LayerCounts:
        """Table 7's column for the path to ``output``."""
        return LayerCounts(*self._depths[id(output)], self._skip_connections)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        # Batch normalisation keeps shapes, and its meta kernel takes most of the time of all.
        result = args[0] if name == "batch_norm" else func(*args, **(kwargs or {}))
        tensors = [item for item in _flat(args) if isinstance(item, Tensor)]
        depths = [self._depths[id(tensor)] for tensor in tensors if id(tensor) in self._depths]
        if name in _JOINS and len(depths) == 2 and depths[0] != depths[1]:
            self._skip_connections += 1
        layers, nonlinearities = max(depths, default=(0, 0))
        deeper = (layers + (name in _LAYERS), nonlinearities + (name in _NONLINEARITIES))
        for tensor in _flat((result,)):
            if isinstance(tensor, Tensor):
                self._depths[id(tensor)] = deeper
                self._alive.append(tensor)
        return result


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
