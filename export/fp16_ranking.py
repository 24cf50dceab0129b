"""Which layers fp16 harms most: found where the ONNX file is made, used where engines are built.

A board has neither the onnx package nor the time to find out, so the order travels in the file.
"""

import json
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from clipedge.export.fp16_graph import LARGEST, LAYER_OPERATORS, float_tensors, load_graph, to_fp16
from clipedge.export.fp16_simulation import NodeRunner, Steps, Tensors, simulated_logits
from clipedge.jetson.errors import ModelFileError
from clipedge.jetson.logits import compare
from clipedge.jetson.runners.precision_gate import ORDER_KEY, SIMULATED

# A number this close to fp16's largest is called hot: the clips seen are few, and others may
# reach four times as far.
HEADROOM = 4
HOT = LARGEST / HEADROOM

# Multiplications spent on ranking, about ten seconds on two cores: three clips for a network of
# the paper, one for I3D with its 64 frames of 224 x 224.
_MOST_MULTIPLICATIONS = 6e10
_MOST_CLIPS = 3


class LayerRisk(NamedTuple):
    """Layers that are put back to fp32 together, and why.

    Attributes:
        layers: node names: one layer, or all nodes that hand hot numbers to each other.
        largest_output: of any number they read or write, in fp32.
        error: what fp16 adds at most, relative to the largest output of the layer; 1 where the
            result is not finite.
    """

    layers: Tuple[str, ...]
    largest_output: float
    error: float

    @property
    def name(self) -> str:
        """The first of the layers."""
        return self.layers[0]

    @property
    def hot(self) -> bool:
        """A number comes within a factor of 4 of fp16's largest, 65504."""
        return self.largest_output >= HOT


def rank_layers(onnx_bytes: bytes, clips: np.ndarray) -> List[LayerRisk]:
    """Rank the layers of an fp32 file by the harm that fp16 would do, most harmful first.

    The rule: first what overflows, then what is inexact.

    1. Hot layers: where a tensor's largest number is within a factor of 4 of 65504, the nodes that
       write and read it form a group, with those that share another hot tensor with them. Putting
       back the writer alone would not help: the number is infinite as soon as it is stored in fp16.
       The group with the largest number comes first.
    2. All other layers (convolutions and matrix products) by the error they add: each is fed its
       fp32 input and weights, both rounded to fp16, and its rounded output is compared with its
       fp32 output. Errors it inherits from earlier layers are not held against it.

    Args:
        onnx_bytes: the fp32 file's content.
        clips: (N, 3, T, H, W) float32, RGB, 0-255. As many are used as a few seconds allow,
            from the front, at most three.

    Raises:
        ModelFileError: the file cannot be run, or gives infinity or NaN in fp32.
    """
    return _watch(onnx_bytes, clips).ranking()


def with_fp16_order(onnx_bytes: bytes, clips: np.ndarray) -> bytes:
    """Return an fp32 file with its ranking in the metadata, for ``fp16_gate.read_fp16_order``.

    The error that rounding alone causes in the logits goes there too, as the measure of what may be
    asked of an engine: the worst clip's, of that clip's own largest logit. (Of the largest of all,
    one clip with huge logits would hide how the others move.)

    Args:
        onnx_bytes: the fp32 file's content.
        clips: as ``rank_layers`` takes them.

    Raises:
        ModelFileError: the file cannot be run, or gives infinity or NaN in fp32.
    """
    import onnx

    watch = _watch(onnx_bytes, clips)
    fp16 = simulated_logits(to_fp16(onnx_bytes))
    errors = [
        compare(1, logits, fp16(clips[index : index + 1])).relative_error
        for index, logits in enumerate(watch.logits)
    ]
    simulated = float(max(errors)) if np.isfinite(errors).all() else None
    content: Dict[str, Any] = {
        SIMULATED: None if simulated is None else _short(simulated),
        "order": [
            {
                "layers": list(risk.layers),
                "largest_output": _short(risk.largest_output),
                "error": _short(risk.error),
            }
            for risk in watch.ranking()
        ],
    }
    model = onnx.load_from_string(onnx_bytes)
    for entry in [entry for entry in model.metadata_props if entry.key == ORDER_KEY]:
        model.metadata_props.remove(entry)
    entry = model.metadata_props.add()
    entry.key, entry.value = ORDER_KEY, json.dumps(content, separators=(",", ":"))
    ranked: bytes = model.SerializeToString()
    return ranked


def _watch(onnx_bytes: bytes, clips: np.ndarray) -> "_Watch":
    """Run as many of the clips as are affordable, at least one."""
    watch = _Watch(load_graph(onnx_bytes))
    for index in range(min(len(clips), _MOST_CLIPS)):
        if index and watch.multiplications * (index + 1) / index > _MOST_MULTIPLICATIONS:
            break
        watch.run(clips[index : index + 1])
    return watch


class _Watch:
    """Notes, node by node and clip by clip, how large numbers get and what fp16 adds."""

    def __init__(self, model: Any) -> None:
        self.logits: List[np.ndarray] = []  # (1, classes) float32, of each clip
        self._floats = float_tensors(model)
        self._steps = Steps(model)
        self._rounded: Tensors = {}  # the layers' weights
        self._largest: Dict[str, float] = {}  # of each float tensor that is no weight
        self._errors: Dict[str, float] = {}  # of each layer
        self.multiplications = 0.0

    def run(self, clip: np.ndarray) -> None:
        for runner, inputs, outputs in self._steps.run(clip):
            self._see(runner, inputs, outputs)
            if self._steps.output_name in outputs:
                self.logits.append(outputs[self._steps.output_name])

    def ranking(self) -> List[LayerRisk]:
        risks = [self._risk(group) for group in self._hot_groups()]
        hot = {name for risk in risks for name in risk.layers}
        risks += [
            self._risk([runner])
            for runner in self._steps.nodes
            if runner.node.name in self._errors and runner.node.name not in hot
        ]
        return sorted(
            risks,
            key=lambda risk: (risk.hot, risk.largest_output if risk.hot else risk.error),
            reverse=True,
        )

    def _see(self, runner: NodeRunner, inputs: Tensors, outputs: Tensors) -> None:
        for name in self._floats.intersection(outputs):
            largest = float(np.abs(outputs[name]).max())
            if not np.isfinite(largest):
                raise ModelFileError(
                    f"{runner.node.op_type} {runner.node.name} gives infinity or NaN in fp32: the "
                    "weights are damaged. Export another checkpoint."
                )
            self._largest[name] = max(largest, self._largest.get(name, 0.0))
        if runner.node.op_type not in LAYER_OPERATORS:
            return
        name, exact = runner.outputs[0], outputs[runner.outputs[0]]
        fed = {key: self._in_fp16(key, value) for key, value in inputs.items()}
        rounded = _through_fp16(runner.run(fed)[name])
        error = float(np.abs(exact - rounded).max() / (np.abs(exact).max() or 1.0))
        error = error if np.isfinite(error) else 1.0
        self._errors[runner.node.name] = max(error, self._errors.get(runner.node.name, 0.0))
        weights = [self._steps.weights[key] for key in inputs if key in self._steps.weights]
        taps = max((weight.size // (weight.shape or (1,))[0] for weight in weights), default=1)
        self.multiplications += float(exact.size) * taps

    def _in_fp16(self, name: str, value: np.ndarray) -> np.ndarray:
        """Round a tensor, a weight only once for all clips: there are more of them."""
        if name not in self._steps.weights:
            return _through_fp16(value)
        if name not in self._rounded:
            self._rounded[name] = _through_fp16(value)
        return self._rounded[name]

    def _hot_groups(self) -> List[List[NodeRunner]]:
        """Group the nodes that read or write the same hot tensors."""
        groups: List[Tuple[Set[str], List[NodeRunner]]] = []
        for runner in self._steps.nodes:
            hot = {name for name in _tensors(runner) if self._largest.get(name, 0.0) >= HOT}
            if not hot:
                continue
            touching = [group for group in groups if group[0] & hot]
            groups = [group for group in groups if not group[0] & hot]
            members = [one for _, joined in touching for one in joined]
            groups.append((hot.union(*(tensors for tensors, _ in touching)), [*members, runner]))
        return [members for _, members in groups]

    def _risk(self, runners: Sequence[NodeRunner]) -> LayerRisk:
        tensors = [name for runner in runners for name in _tensors(runner)]
        return LayerRisk(
            layers=tuple(runner.node.name for runner in runners),
            largest_output=max(self._largest.get(name, 0.0) for name in tensors),
            error=max(self._errors.get(runner.node.name, 0.0) for runner in runners),
        )


def _tensors(runner: NodeRunner) -> List[str]:
    return [*runner.inputs, *runner.outputs]


def _through_fp16(value: np.ndarray) -> np.ndarray:
    """Round a float tensor to fp16; other tensors stay as they are."""
    if value.dtype != np.float32:
        return value
    with np.errstate(over="ignore"):
        return value.astype(np.float16).astype(np.float32)


def _short(value: float) -> float:
    return float(f"{value:.3g}")
