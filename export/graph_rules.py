"""What all graph forms share: the walk over the graph, and the rules that move no arithmetic."""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from clipedge.export.graph_kernels import Axis, along, axes_of, band, merge_groups
from clipedge.export.graph_views import CLIP, CLIP_DIMENSIONS, FRAMES, LANES, ROWS, ViewedGraph

Attributes = Dict[str, Any]

# Writes what a node computes and returns True; or returns False and leaves the node to others.
Rule = Callable[["Rewriting", Any], bool]


class Shuffle(NamedTuple):
    """A channel shuffle: the three nodes that write it, and how many groups it deals from."""

    nodes: Sequence[Any]
    groups: int

    @property
    def source(self) -> str:
        """Name of the tensor that is shuffled."""
        name: str = self.nodes[0].input[0]
        return name

    @property
    def target(self) -> str:
        """Name of the shuffled tensor."""
        name: str = self.nodes[2].output[0]
        return name


class Rewriting:
    """One walk over a graph with the rules of a form.

    Attributes:
        graph: what is read and what is written.
    """

    def __init__(self, model: Any, rules: Dict[str, Rule], tail_rules: Dict[str, Rule]) -> None:
        """Read ``model``.

        Args:
            model: an onnx.ModelProto, changed in place by ``run``.
            rules: by operator, for nodes that take or make activations with five dimensions.
            tail_rules: by operator, for all other nodes.
        """
        self.graph = ViewedGraph(model)
        self._rules = dict(_SHARED_RULES, **rules)
        self._tail_rules = tail_rules
        self._nodes = list(model.graph.node)
        self._makers = {name: node for node in self._nodes for name in node.output}

    def run(self) -> Any:
        """Write all nodes and return the model, changed in place."""
        graph = self.graph
        shuffles = channel_shuffles(self._nodes, graph.array)
        inside = {id(node) for one in shuffles.values() for node in one.nodes[1:]}
        for node in self._nodes:
            if id(node) in inside:
                continue
            if id(node) in shuffles:
                self._write_shuffle(shuffles[id(node)])
            else:
                clips = any(graph.is_clip(name) for name in [*node.input, *node.output])
                rule = (self._rules if clips else self._tail_rules).get(node.op_type)
                if rule is None or not rule(self, node):
                    as_it_is(self, node)
        return graph.finish()

    def maker(self, tensor: str) -> Any:
        """Return the node of the read graph that makes ``tensor``; None where there is none."""
        return self._makers.get(tensor)

    def _write_shuffle(self, shuffle: Shuffle) -> None:
        graph, source = self.graph, shuffle.source
        first, second, third = (node.name for node in shuffle.nodes)
        view = FRAMES if graph.home(source) == FRAMES else ROWS
        size = graph.size(source)
        shape = size.shape_in(view)
        others = size.channels // shuffle.groups
        name = graph.view(source, view, first)
        name = graph.reshape(name, [-1, shuffle.groups, others, shape[2] * shape[3]], first, "x")
        name = graph.add("Transpose", [name], second, "x", perm=[0, 2, 1, 3])
        graph.write(shuffle.target, view, graph.reshape(name, shape, third, "x"))


def attributes_of(node: Any) -> Attributes:
    """Return the attributes of a node by name."""
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def channel_shuffles(
    nodes: Sequence[Any], array: Callable[[str], np.ndarray]
) -> Dict[int, Shuffle]:
    """Find each Reshape, Transpose, Reshape that deals channels out; key: id of the first node.

    Args:
        nodes: of the graph.
        array: returns the value of a constant.
    """
    users = users_of(nodes)
    found = {}
    for first in nodes:
        second = users.get(first.output[0], [])
        third = users.get(second[0].output[0], []) if len(second) == 1 else []
        if [one.op_type for one in (first, *second, *third)] != ["Reshape", "Transpose", "Reshape"]:
            continue
        apart = array(first.input[1]).tolist()
        together = array(third[0].input[1]).tolist()
        turned = attributes_of(second[0])["perm"] == [0, 2, 1, 3]
        if turned and len(apart) == 4 and len(together) == 5 and together[1] == apart[1] * apart[2]:
            found[id(first)] = Shuffle((first, second[0], third[0]), apart[1])
    return found


def users_of(nodes: Sequence[Any]) -> Dict[str, List[Any]]:
    """Return the nodes that take each tensor."""
    users: Dict[str, List[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users


def channels_sliced(graph: ViewedGraph, node: Any) -> Sequence[int]:
    """Return which channels a Slice takes; none where it is no Slice along channels alone."""
    if node.op_type != "Slice" or len(node.input) < 4:
        return []
    bounds = [graph.array(name).tolist() for name in node.input[1:]]
    if bounds[2] != [1]:
        return []
    step = bounds[3][0] if len(bounds) > 3 else 1
    return range(graph.size(node.input[0]).channels)[bounds[0][0] : bounds[1][0] : step]


def as_it_is(rewriting: Rewriting, node: Any) -> bool:
    """Keep a node on five dimensions."""
    graph = rewriting.graph
    inputs = [
        graph.view(name, CLIP, node.name) if graph.is_clip(name) else name for name in node.input
    ]
    graph.keep(node, inputs, node.output)
    for name in node.output:
        if graph.is_clip(name):
            graph.write(name, CLIP, name)
    return True


# --- Convolutions that two forms write alike ------------------------------------------------------


class Convolution(NamedTuple):
    """A 3D Conv node, read."""

    node: Any
    time: Axis
    rows: Axis
    columns: Axis
    groups: int
    weight_shape: Tuple[int, ...]

    @property
    def is_depthwise(self) -> bool:
        """Each input channel is a group of its own."""
        return self.weight_shape[1] == 1


def read_convolution(graph: ViewedGraph, node: Any) -> List[Convolution]:
    """Return the convolution, or nothing where it is written in a way that no rule knows."""
    attributes = attributes_of(node)
    weight = node.input[1]
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or not graph.is_weight(weight):
        return []
    shape = graph.weight_shape(weight)
    axes = axes_of(attributes, shape[2:])
    return [Convolution(node, axes[0], axes[1], axes[2], attributes.get("group", 1), shape)]


def one_frame_at_a_time(rewriting: Rewriting, conv: Convolution) -> bool:
    """Write a convolution as 2D where an output frame depends on one input frame alone."""
    graph, node = rewriting.graph, conv.node
    before, after = graph.size(node.input[0]), graph.size(node.output[0])
    tap = 0 if conv.time.is_trivial else conv.time.tap(0, 0)
    if tap is None or not (conv.time.is_trivial or before.frames == after.frames == 1):
        return False
    pointwise = conv.rows.is_trivial and conv.columns.is_trivial
    rows = before.frames == 1 or (pointwise and graph.home(node.input[0]) != FRAMES)
    view = ROWS if rows else FRAMES
    weight, shape = node.input[1], conv.weight_shape
    if shape[2] == 1:
        flat = graph.reshaped_weight(weight, shape[:2] + shape[3:])
    else:
        flat = graph.constant(f"{weight}/tap{tap}", graph.array(weight)[:, :, tap])
    source = graph.view(node.input[0], view, node.name)
    convolve_2d(graph, conv, [source, flat, *node.input[2:]], view)
    return True


def banded(rewriting: Rewriting, conv: Convolution, merged: int = 1) -> bool:
    """Write a grouped convolution as 2D, with all frames of a channel as channels of its group.

    Args:
        rewriting: of the graph.
        conv: the convolution.
        merged: how many neighbouring groups become one.
    """
    graph, node = rewriting.graph, conv.node
    weight = node.input[1]
    frames_in, frames_out = (graph.size(name).frames for name in (node.input[0], node.output[0]))
    wide = merge_groups(
        band(graph.array(weight), conv.time, frames_in, frames_out), conv.groups, merged
    )
    name = f"{weight}/band{frames_in}to{frames_out}x{merged}"
    inputs = [graph.view(node.input[0], LANES, node.name), graph.constant(name, wide)]
    if len(node.input) > 2:
        bias = np.repeat(graph.array(node.input[2]), frames_out)
        inputs.append(graph.constant(f"{node.input[2]}/x{frames_out}", bias))
    convolve_2d(graph, conv._replace(groups=conv.groups // merged), inputs, LANES)
    return True


def convolve_2d(graph: ViewedGraph, conv: Convolution, inputs: Sequence[str], view: str) -> None:
    """Add the 2D Conv that writes the output of ``conv`` in ``view``."""
    space = along([conv.rows, conv.columns])
    made = graph.add("Conv", inputs, conv.node.name, "conv2d", group=conv.groups, **space)
    graph.write(conv.node.output[0], view, made)


# --- Operators that look at each position alone ---------------------------------------------------


def _elementwise(rewriting: Rewriting, node: Any) -> bool:
    graph = rewriting.graph
    clips = [name for name in node.input if graph.is_clip(name)]
    view = graph.home(clips[0])
    inputs = []
    for name in node.input:
        if name in clips:
            inputs.append(graph.view(name, view, node.name))
        elif not name or _is_one_number(graph, name):
            inputs.append(name)
        else:
            return False  # such as the mean of three colours: it has five dimensions
    made = f"{node.output[0]}/{view}"
    graph.keep(node, inputs, [made])
    graph.write(node.output[0], view, made)
    return True


def _is_one_number(graph: ViewedGraph, name: str) -> bool:
    """Return whether a constant is the same for all, in four dimensions as in five."""
    shape = graph.weight_shape(name) if graph.is_weight(name) else (0,)
    return set(shape) <= {1} and len(shape) < CLIP_DIMENSIONS


def _concat(rewriting: Rewriting, node: Any) -> bool:
    return attributes_of(node)["axis"] == 1 and _along_channels(rewriting.graph, node)


def _split(rewriting: Rewriting, node: Any) -> bool:
    return attributes_of(node).get("axis", 0) == 1 and _along_channels(rewriting.graph, node)


def _slice(rewriting: Rewriting, node: Any) -> bool:
    graph = rewriting.graph
    return bool(channels_sliced(graph, node)) and _along_channels(graph, node)


def _along_channels(graph: ViewedGraph, node: Any) -> bool:
    """Concat, Slice and Split along the channels, which are axis 1 of both views."""
    clips = [name for name in node.input if graph.is_clip(name)]
    view = FRAMES if graph.home(clips[0]) == FRAMES else ROWS
    inputs = [graph.view(name, view, node.name) if name in clips else name for name in node.input]
    outputs = [f"{name}/{view}" for name in node.output]
    graph.keep(node, inputs, outputs)
    for name, written in zip(node.output, outputs):
        graph.write(name, view, written)
    return True


def _mean(rewriting: Rewriting, node: Any) -> bool:
    """The mean over space, or over space and time."""
    graph = rewriting.graph
    attributes = attributes_of(node)
    axes, keep = sorted(attributes.get("axes", [])), attributes.get("keepdims", 1)
    source, target = node.input[0], node.output[0]
    in_frames = graph.home(source) == FRAMES
    if axes == [3, 4] and keep and in_frames:
        name = graph.view(source, FRAMES, node.name)
        graph.write(
            target, FRAMES, graph.add("ReduceMean", [name], node.name, "x", axes=[2, 3], keepdims=1)
        )
        return True
    if axes != [2, 3, 4] or keep or (in_frames and graph.size(source).frames > 1):
        return False
    # Read as a pooling by every compiler; a ReduceMean is code of its own in TensorRT-RTX.
    name = graph.view(source, ROWS, node.name)
    pooled = graph.add("GlobalAveragePool", [name], node.name, "pool")
    graph.reshape(pooled, [0, graph.size(source).channels], node.name, "mean", output=target)
    return True


_SHARED_RULES: Dict[str, Rule] = {
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "ReduceMean": _mean,
}
_SHARED_RULES.update(
    dict.fromkeys(("Relu", "Clip", "Add", "Sub", "Mul", "Div", "Sigmoid", "Identity"), _elementwise)
)
