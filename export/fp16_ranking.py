"""Which layers fp16 harms most: found where the ONNX file is made, used where engines are built.

A board has neither the onnx package nor the time to find out, so the order travels in the file.
"""

import json
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from clipedge.export.fp16_gate import ORDER_KEY
from clipedge.export.fp16_graph import LAYER_OPERATORS, float_tensors, load_graph, to_fp16
from clipedge.export.fp16_simulation import NodeRunner, Steps, Tensors, simulated_logits
from clipedge.export.parity import compare
from clipedge.jetson.errors import ModelFileError

# A number this close to fp16's largest is called hot: the clips seen are few, and others may
# reach four times as far.
HEADROOM = 4
HOT = float(np.finfo(np.float16).max) / HEADROOM

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
    model = load_graph(onnx_bytes)
    watch = _Watch(float_tensors(model))
    steps = Steps(model)
    for index in range(min(len(clips), _MOST_CLIPS)):
        if index and watch.multiplications * (index + 1) / index > _MOST_MULTIPLICATIONS:
            break
        for runner, inputs, outputs in steps.run(clips[index : index + 1]):
            watch.see(runner, inputs, outputs, steps.weights)
    return watch.ranking(steps.nodes)


def with_fp16_order(onnx_bytes: bytes, clips: np.ndarray) -> bytes:
    """Return an fp32 file with its ranking in the metadata, for ``fp16_gate.read_fp16_order``.

    The error that rounding alone causes in the logits goes there too: the measure of what may be
    asked of an engine.

    Raises:
        ModelFileError: the file cannot be run, or gives infinity or NaN in fp32.
    """
    import onnx

    some = clips[:_MOST_CLIPS]
    ranking = rank_layers(onnx_bytes, some)
    error = compare(len(some), *(_logits(one, some) for one in (onnx_bytes, to_fp16(onnx_bytes))))
    content: Dict[str, Any] = {
        "simulated_relative_error": _short(error.relative_error) if error.finite else None,
        "order": [
            {
                "layers": list(risk.layers),
                "largest_output": _short(risk.largest_output),
                "error": _short(risk.error),
            }
            for risk in ranking
        ],
    }
    model = onnx.load_from_string(onnx_bytes)
    for entry in [entry for entry in model.metadata_props if entry.key == ORDER_KEY]:
        model.metadata_props.remove(entry)
    entry = model.metadata_props.add()
    entry.key, entry.value = ORDER_KEY, json.dumps(content, separators=(",", ":"))
    ranked: bytes = model.SerializeToString()
    return ranked


class _Watch:
    """Notes, node by node and clip by clip, how large numbers get and what fp16 adds."""

    def __init__(self, floats: Set[str]) -> None:
        self._floats = floats
        self._largest: Dict[str, float] = {}  # of each float tensor that is no weight
        self._errors: Dict[str, float] = {}  # of each layer
        self.multiplications = 0.0

    def see(self, runner: NodeRunner, inputs: Tensors, outputs: Tensors, weights: Tensors) -> None:
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
        rounded = runner.run({key: _through_fp16(value) for key, value in inputs.items()})[name]
        error = float(np.abs(exact - _through_fp16(rounded)).max()) / (np.abs(exact).max() or 1.0)
        error = error if np.isfinite(error) else 1.0
        self._errors[runner.node.name] = max(error, self._errors.get(runner.node.name, 0.0))
        kernels = [weights[key].size / weights[key].shape[0] for key in inputs if key in weights]
        self.multiplications += exact.size * max(kernels, default=1.0)

    def ranking(self, nodes: Sequence[NodeRunner]) -> List[LayerRisk]:
        risks = [self._risk(group) for group in self._hot_groups(nodes)]
        hot = {name for risk in risks for name in risk.layers}
        risks += [
            self._risk([runner])
            for runner in nodes
            if runner.node.name in self._errors and runner.node.name not in hot
        ]
        return sorted(
            risks, key=lambda risk: (risk.hot, risk.largest_output if risk.hot else risk.error)
        )[::-1]

    def _hot_groups(self, nodes: Sequence[NodeRunner]) -> List[List[NodeRunner]]:
        """Group the nodes that read or write hot tensors, in the graph's order."""
        groups: List[Tuple[Set[str], List[NodeRunner]]] = []
        for runner in nodes:
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


def _logits(onnx_bytes: bytes, clips: np.ndarray) -> np.ndarray:
    infer = simulated_logits(onnx_bytes)
    return np.concatenate([infer(clip[np.newaxis]) for clip in clips])


def _short(value: float) -> float:
    return float(f"{value:.3g}")
