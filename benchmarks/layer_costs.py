"""What each layer of each model costs: python -m clipedge.benchmarks.layer_costs.

A board has no torch, so what counting needs is kept in ``layer_costs.json``; the command compares
it with the models, and with --write makes it anew.

A layer is what a good engine runs as one: a convolution or linear layer with the batch
normalisation, bias, activation and addition behind it, or a pooling. Changes of shape, shuffles,
splits, concatenations and averages behind the classifier cost nothing. Layers that read the same
tensor read it once, as engines join them. So nothing here is more than an engine must do.
"""

import argparse
import json
import pathlib
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.jetson import paper
from clipedge.jetson.command_line import DONE, FAILED, CommandParser, run_command
from clipedge.jetson.files import write_whole

SCHEMA = "clipedge.layer-costs/1"
FILE = pathlib.Path(__file__).with_name("layer_costs.json")

STEM, DEPTHWISE, POINTWISE, CONV, POOL, HEAD = (
    "stem",
    "depthwise",
    "pointwise",
    "conv",
    "pool",
    "head",
)
KINDS = (STEM, DEPTHWISE, POINTWISE, CONV, POOL, HEAD)

_POOLS = ("max_pool3d", "avg_pool3d", "mean")


class Layer(NamedTuple):
    """One layer's cost for one clip; the counts are of numbers, not of bytes."""

    name: str  # of its weights, as in a checkpoint
    kind: str  # one of KINDS; conv: neither of the others, grouped or not
    macs: int  # multiply-adds, without those on padding
    weights: int  # read once a batch, with the bias; without those that meet nothing but padding
    inputs: int  # read, with what is added to the result
    outputs: int  # written


class Network(NamedTuple):
    """A model at one width, on the clip it was designed for."""

    model: str
    width: Optional[float]
    clip_shape: Tuple[int, ...]  # channels, frames, height, width
    classes: int
    layers: List[Layer]

    def __str__(self) -> str:
        return self.model if self.width is None else f"{self.model}_{self.width}x"

    @property
    def macs(self) -> int:
        """Multiply-adds of one clip."""
        return sum(layer.macs for layer in self.layers)


def networks() -> List[Network]:
    """Return every model at every width, those of Table 8 in its order and first."""
    rows = [
        Network(
            row["model"],
            row["width"],
            tuple(row["clip_shape"]),
            paper.CLASSES,
            [Layer(*numbers) for numbers in row["layers"]],
        )
        for row in json.loads(FILE.read_text(encoding="utf-8"))["models"]
    ]
    published = [(row.model, row.width) for row in paper.TABLE_8]
    order = {name: place for place, name in enumerate(published)}
    return sorted(rows, key=lambda row: order.get((row.model, row.width), len(order)))


def find_network(
    model: str, width: Optional[float], classes: int = paper.CLASSES
) -> Optional[Network]:
    """Return one model with a head of ``classes``; None where there is none of that name."""
    for network in networks():
        if (network.model, network.width) == (model, width):
            return network._replace(
                classes=classes,
                layers=[_with_classes(layer, classes) for layer in network.layers],
            )
    return None


def _with_classes(layer: Layer, classes: int) -> Layer:
    if layer.kind != HEAD:
        return layer
    return layer._replace(
        macs=layer.macs // paper.CLASSES * classes,
        weights=layer.weights // paper.CLASSES * classes,
        outputs=layer.outputs // paper.CLASSES * classes,
    )


def count_network(model: str, width: Optional[float]) -> Network:
    """Count a model with torch: shapes flow through the module, no value is computed.

    Raises:
        UsageError: there is no such model or width.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    from clipedge.trainside.models import create_model

    with torch.device("meta"):
        module = create_model(model, width, paper.CLASSES).eval()
        shape = (3, module.config.frames, module.config.size, module.config.size)
        clip = torch.empty((1,) + shape)
    counter = _Counter({id(tensor): name for name, tensor in module.named_parameters()}, clip)

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Optional[Dict[str, Any]] = None
        ) -> Any:
            name = getattr(func, "__name__", "").strip("_")
            # Batch normalisation keeps shapes, and its meta kernel takes most of the time of all.
            result = args[0] if name == "batch_norm" else func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                counter.see(name, args, result)
            return result

    with torch.no_grad(), Watch():
        module(clip)
    return Network(model, width, shape, paper.CLASSES, counter.layers)


class _Reach(NamedTuple):
    """What a convolution does along one axis, without what falls on the padding."""

    products: int
    taps: int  # of the kernel, that meet the input anywhere
    positions: int  # of the input, that are read


def _reach(size: int, made: int, kernel: int, stride: int, padding: int) -> _Reach:
    met = [
        (place * stride - padding + tap, tap)
        for place in range(made)
        for tap in range(kernel)
        if 0 <= place * stride - padding + tap < size
    ]
    return _Reach(len(met), len({tap for _, tap in met}), len({at for at, _ in met}))


class _Origin(NamedTuple):
    """Where a tensor is from."""

    made_by: int  # the last layer that had a part in it; -1: the clip
    numbers: int  # how many of its elements are not zeros of a padded shortcut
    source: int  # equal for tensors that are one in a fused engine


class _Counter:
    """Follows every tensor of one run of a model and notes its layers."""

    def __init__(self, parameter_names: Dict[int, str], clip: Any) -> None:
        self.layers: List[Layer] = []
        self._names = parameter_names
        self._origins = {id(clip): _Origin(-1, clip.numel(), 0)}
        self._alive = [clip]  # so that no id is used twice
        self._read: List[int] = []  # sources that some convolution has read

    def see(self, name: str, arguments: Any, result: Any) -> None:
        """Note what a torch function did; ``arguments`` are its positional ones."""
        tensors = arguments[0] if name == "cat" else arguments
        origins = [self._origins[id(one)] for one in tensors if id(one) in self._origins]
        if not origins:
            return
        first = origins[0]
        last = max(origin.made_by for origin in origins)
        fresh = _Origin(last, min(first.numbers, result.numel()), len(self._alive))
        if name in ("conv3d", "linear"):
            self._convolution(first, arguments, result)
            fresh = fresh._replace(made_by=len(self.layers) - 1, numbers=result.numel())
        elif name in _POOLS and arguments[1:2] != (1,) and self.layers[-1].kind != HEAD:
            title = f"pool {1 + sum(layer.kind == POOL for layer in self.layers)}"
            self.layers.append(Layer(title, POOL, 0, 0, first.numbers, result.numel()))
            fresh = fresh._replace(made_by=len(self.layers) - 1, numbers=result.numel())
        elif name == "add":
            self._addition(origins)
            fresh = fresh._replace(numbers=result.numel())
        elif name == "cat":
            fresh = fresh._replace(numbers=sum(origin.numbers for origin in origins))
        elif name == "mul":  # a padded shortcut's zeros
            fresh = fresh._replace(numbers=0)
        elif name in ("relu", "hardtanh", "batch_norm", "dropout"):
            fresh = first
        self._origins[id(result)] = fresh
        self._alive.append(result)

    def _convolution(self, read: _Origin, arguments: Any, result: Any) -> None:
        weight, bias = arguments[1], (tuple(arguments) + (None,))[2]
        made, channels = weight.shape[:2]  # channels of one group
        groups = arguments[0].shape[1] // channels
        products = taps = positions = 1
        if weight.dim() == 5:
            sizes = (arguments[0].shape, result.shape, weight.shape)
            for size, out, kernel, stride, padding in zip(
                *(shape[2:] for shape in sizes), arguments[3], arguments[4]
            ):
                reach = _reach(size, out, kernel, stride, padding)
                products *= reach.products
                taps *= reach.taps
                positions *= reach.positions
        touched = min(read.numbers, arguments[0].shape[1] * positions)
        self.layers.append(
            Layer(
                self._names[id(weight)].rsplit(".", 1)[0],
                self._kind(channels, groups, taps, made),
                made * channels * products,
                made * channels * taps + (0 if bias is None else bias.numel()),
                0 if read.source in self._read else touched,
                result.numel(),
            )
        )
        self._read.append(read.source)

    def _kind(self, channels: int, groups: int, taps: int, made: int) -> str:
        if not self.layers:
            return STEM
        if made == paper.CLASSES:  # no layer within a model has as many
            return HEAD
        if taps == 1:
            return POINTWISE
        return DEPTHWISE if groups > 1 and channels == 1 else CONV

    def _addition(self, origins: Sequence[_Origin]) -> None:
        """Let the layer that ran last add the other operand, which it reads."""
        last = max(origins, key=lambda origin: origin.made_by)
        added = sum(origin.numbers for origin in origins if origin is not last)
        layer = self.layers[last.made_by]
        self.layers[last.made_by] = layer._replace(inputs=layer.inputs + added)


def count_all() -> str:
    """Return the text of the file for the models as they are: one layer a line."""
    from clipedge.trainside.models import list_models, widths

    parts = []
    for model in list_models():
        for width in widths(model) or (None,):
            network = count_network(model, width)
            layers = ",\n".join(json.dumps(layer) for layer in network.layers)
            head = json.dumps(
                {"model": model, "width": width, "clip_shape": network.clip_shape, "layers": []}
            )
            parts.append(head[:-2] + "\n" + layers + "\n]}")
    head = json.dumps({"schema": SCHEMA, "fields": Layer._fields, "models": []})
    return head[:-2] + "\n" + ",\n".join(parts) + "\n]}\n"


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.layer_costs",
        description="Compare the kept costs of all layers with the models; needs torch.",
    )
    parser.add_argument("--write", action="store_true", help="make the file anew")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    text = count_all()
    if arguments.write:
        write_whole(FILE, text)
    same = FILE.is_file() and FILE.read_text(encoding="utf-8") == text
    sys.stdout.write(
        f"{FILE.name} is as the models are.\n"
        if same
        else f"{FILE.name} is not as the models are; make it anew with --write.\n"
    )
    return DONE if same else FAILED


if __name__ == "__main__":
    sys.exit(main())
