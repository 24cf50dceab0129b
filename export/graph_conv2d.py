"""The rules by which a 3D network becomes an equal 2D network, operator by operator."""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from clipedge.export.graph_kernels import Axis, axes_of, band, stack
from clipedge.export.graph_views import CLIP, FRAMES, LANES, ROWS, STEPS, ViewedGraph, shape_in

Attributes = Dict[str, Any]


class Recipe(NamedTuple):
    """What a form leaves open.

    Attributes:
        lanes: a group of a depthwise convolution gets a multiple of this many channels, by merging
            neighbours; 1: as few as there are.
    """

    depthwise: str = "band"
    lanes: int = 1


def to_conv2d(model: Any, recipe: Recipe) -> Any:
    """Rewrite every 3D convolution and pooling of an onnx.ModelProto in place, and return it."""
    graph = ViewedGraph(model)
    nodes = list(model.graph.node)
    shuffles = _channel_shuffles(graph, nodes)
    inside = {id(node) for found in shuffles.values() for node in found[1:]}
    for node in nodes:
        if id(node) in inside:
            continue
        if id(node) in shuffles:
            _shuffle(graph, shuffles[id(node)])
            continue
        clips = [name for name in node.input if graph.is_clip(name)]
        if not clips and not any(graph.is_clip(name) for name in node.output):
            graph.keep(node, node.input, node.output)
        elif not _RULES.get(node.op_type, _as_it_is)(graph, node, recipe):
            _as_it_is(graph, node, recipe)
    return graph.finish()


def _attributes(node: Any) -> Attributes:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _as_it_is(graph: ViewedGraph, node: Any, recipe: Recipe) -> bool:
    """Keep an operator no rule knows, on five dimensions."""
    inputs = [
        graph.view(name, CLIP, node.name) if graph.is_clip(name) else name for name in node.input
    ]
    graph.keep(node, inputs, node.output)
    for name in node.output:
        if graph.is_clip(name):
            graph.write(name, CLIP, name)
    return True


# --- Convolution ----------------------------------------------------------------------------------


def _convolution(graph: ViewedGraph, node: Any, recipe: Recipe) -> bool:
    attributes = _attributes(node)
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return False
    source, weight = node.input[0], node.input[1]
    if not graph.is_weight(weight):
        return False
    shape = graph.weight_shape(weight)
    time, rows, columns = axes_of(attributes, shape[2:])
    groups = attributes.get("group", 1)
    before, after = graph.size(source), graph.size(node.output[0])
    lone = before.frames == after.frames == 1 and time.tap(0, 0) is not None
    if time.is_trivial or lone:
        flat = rows.is_trivial and columns.is_trivial
        home = graph.home(source)
        view = ROWS if home != FRAMES and (flat or before.frames == 1) else FRAMES
        return _single_tap(graph, node, view, time.tap(0, 0) or 0, (rows, columns), groups)
    if shape[1] == 1 and groups == before.channels and recipe.depthwise == "band":
        return _banded(graph, node, recipe, (time, rows, columns), groups)
    return _stacked(graph, node, (time, rows, columns), groups)


def _single_tap(
    graph: ViewedGraph, node: Any, view: str, tap: int, space: Tuple[Axis, Axis], groups: int
) -> bool:
    """A convolution that sees one frame at a time."""
    weight = node.input[1]
    shape = graph.weight_shape(weight)
    if shape[2] == 1:
        flat = graph.reshaped_weight(weight, shape[:2] + shape[3:])
    else:
        flat = graph.constant(f"{weight}/tap{tap}", graph.array(weight)[:, :, tap])
    source = graph.view(node.input[0], view, node.name)
    _convolve(graph, node, (source, flat, *node.input[2:]), space, groups, view)
    return True


def _banded(
    graph: ViewedGraph, node: Any, recipe: Recipe, axes: Tuple[Axis, Axis, Axis], groups: int
) -> bool:
    """A depthwise convolution, with all frames of a channel as the channels of its group."""
    weight = node.input[1]
    frames_in = graph.size(node.input[0]).frames
    frames_out = graph.size(node.output[0]).frames
    merged = _merged(recipe.lanes, frames_out, groups)
    name = f"{weight}/band{frames_in}to{frames_out}x{merged}"
    banded = graph.constant(
        name, band(graph.array(weight), axes[0], frames_in, frames_out, groups, merged)
    )
    inputs = [graph.view(node.input[0], LANES, node.name), banded]
    if len(node.input) > 2:
        bias = node.input[2]
        inputs.append(
            graph.constant(f"{bias}/x{frames_out}", np.repeat(graph.array(bias), frames_out))
        )
    _convolve(graph, node, inputs, axes[1:], groups // merged, LANES)
    return True


def _merged(lanes: int, frames: int, groups: int) -> int:
    """Return how many groups make a group with a multiple of ``lanes`` channels; 1 if none do."""
    for merged in range(1, lanes + 1):
        if merged * frames % lanes == 0 and groups % merged == 0:
            return merged
    return 1


def _stacked(graph: ViewedGraph, node: Any, axes: Tuple[Axis, Axis, Axis], groups: int) -> bool:
    """Any other convolution: each output frame sees the frames of its taps, stacked."""
    weight = node.input[1]
    size, after = graph.size(node.input[0]), graph.size(node.output[0])
    frames = graph.view(node.input[0], FRAMES, node.name)
    shape = [-1, size.frames, groups, size.channels // groups * size.height * size.width]
    steps = graph.reshape(frames, shape, node.name, "steps")
    time = axes[0]
    if time.before or time.after:
        pads = [0, time.before, 0, 0, 0, time.after, 0, 0]
        steps = graph.add("Pad", [steps, graph.integers(pads)], node.name, "pad")
    taps = [
        _every(graph, steps, tap * time.dilation, time.stride, after.frames, node.name)
        for tap in range(time.kernel)
    ]
    stacked = taps[0]
    if len(taps) > 1:
        stacked = graph.add("Concat", taps, node.name, "stack", axis=3)
    picture = [-1, time.kernel * size.channels, size.height, size.width]
    source = graph.reshape(stacked, picture, node.name, "frames")
    flat = graph.constant(f"{weight}/stack", stack(graph.array(weight)))
    _convolve(graph, node, [source, flat, *node.input[2:]], axes[1:], groups, FRAMES)
    return True


def _every(graph: ViewedGraph, steps: str, first: int, stride: int, count: int, owner: str) -> str:
    """Every ``stride``-th of the steps along axis 1, ``count`` of them."""
    bounds = [[first], [first + (count - 1) * stride + 1], [1], [stride]]
    inputs = [steps] + [graph.integers(one) for one in bounds]
    return graph.add("Slice", inputs, owner, "tap")


def _convolve(
    graph: ViewedGraph,
    node: Any,
    inputs: Sequence[str],
    space: Sequence[Axis],
    groups: int,
    view: str,
) -> None:
    made = graph.add("Conv", inputs, node.name, "conv2d", group=groups, **_spatial(space))
    graph.write(node.output[0], view, made)


def _spatial(axes: Sequence[Axis]) -> Attributes:
    return {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": [axis.before for axis in axes] + [axis.after for axis in axes],
        "dilations": [axis.dilation for axis in axes],
    }


# --- Pooling --------------------------------------------------------------------------------------


def _pooling(graph: ViewedGraph, node: Any, recipe: Recipe) -> bool:
    """Pool over space, then over time: the largest of the largest, the average of averages."""
    attributes = _attributes(node)
    axes = axes_of(attributes, attributes["kernel_shape"])
    odd = attributes.get("ceil_mode", 0) or any(axis.dilation != 1 for axis in axes)
    if odd or attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or len(node.output) > 1:
        return False
    rest = {key: attributes[key] for key in ("count_include_pad",) if key in attributes}
    source, target = node.input[0], node.output[0]
    time, space = axes[0], axes[1:]
    if not (space[0].is_trivial and space[1].is_trivial):
        view = FRAMES if graph.home(source) == FRAMES else LANES
        name = graph.view(source, view, node.name)
        made = graph.add(node.op_type, [name], node.name, "space", **rest, **_pool(space))
        after = graph.size(target)
        # The tensor between the two poolings is none of the graph that is read.
        source = graph.between(
            f"{target}/space", graph.size(source)._replace(height=after.height, width=after.width)
        )
        graph.write(source, view, made)
    if not time.is_trivial:
        name = graph.view(source, STEPS, node.name)
        made = graph.add(node.op_type, [name], node.name, "time", **rest, **_pool([time, Axis(1)]))
        graph.write(target, STEPS, made)
    else:
        graph.alias(target, source)
    return True


def _pool(axes: Sequence[Axis]) -> Attributes:
    spatial = _spatial(axes)
    del spatial["dilations"]  # AveragePool has none before opset 19
    return spatial


# --- What looks at each position alone ------------------------------------------------------------


def _elementwise(graph: ViewedGraph, node: Any, recipe: Recipe) -> bool:
    clips = [name for name in node.input if graph.is_clip(name)]
    view = graph.home(clips[0])
    inputs = []
    for name in node.input:
        if name in clips:
            inputs.append(graph.view(name, view, node.name))
        elif not name or not graph.is_weight(name) or np.prod(graph.weight_shape(name)) == 1:
            inputs.append(name)
        else:
            return view == CLIP and _as_it_is(graph, node, recipe)
    graph.keep(node, inputs, [f"{node.output[0]}/{view}"])
    graph.write(node.output[0], view, f"{node.output[0]}/{view}")
    return True


def _along_channels(graph: ViewedGraph, node: Any, recipe: Recipe) -> bool:
    """Concat, Slice and Split along the channels, which are axis 1 of both views."""
    attributes = _attributes(node)
    if node.op_type == "Slice":
        if len(node.input) < 4 or graph.array(node.input[3]).tolist() != [1]:
            return False
    elif attributes.get("axis", 0) != 1:
        return False
    clips = [name for name in node.input if graph.is_clip(name)]
    view = FRAMES if graph.home(clips[0]) == FRAMES else ROWS
    inputs = [graph.view(name, view, node.name) if name in clips else name for name in node.input]
    outputs = [f"{name}/{view}" for name in node.output]
    graph.keep(node, inputs, outputs)
    for name, written in zip(node.output, outputs):
        graph.write(name, view, written)
    return True


def _mean(graph: ViewedGraph, node: Any, recipe: Recipe) -> bool:
    """The mean over space, or over space and time."""
    attributes = _attributes(node)
    axes, keep = sorted(attributes.get("axes", [])), attributes.get("keepdims", 1)
    source, target = node.input[0], node.output[0]
    frames = graph.size(source).frames
    if axes == [2, 3, 4] and not keep and (frames == 1 or graph.home(source) != FRAMES):
        name = graph.view(source, ROWS, node.name)
        made = graph.add("ReduceMean", [name], node.name, "", axes=[2, 3], keepdims=0)
        graph.nodes[-1].output[0] = target
        return bool(made)
    if axes == [3, 4] and keep and graph.home(source) == FRAMES:
        name = graph.view(source, FRAMES, node.name)
        made = graph.add("ReduceMean", [name], node.name, "", axes=[2, 3], keepdims=1)
        graph.write(target, FRAMES, made)
        return True
    return False


# --- Channel shuffle ------------------------------------------------------------------------------


def _channel_shuffles(graph: ViewedGraph, nodes: Sequence[Any]) -> Dict[int, Sequence[Any]]:
    """Find Reshape, Transpose, Reshape that deal channels out over groups; key: id of the first."""
    users: Dict[str, List[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found: Dict[int, Sequence[Any]] = {}
    for first in nodes:
        if first.op_type != "Reshape" or not graph.is_clip(first.input[0]):
            continue
        second = users.get(first.output[0], [])
        third = users.get(second[0].output[0], []) if len(second) == 1 else []
        if len(third) != 1 or [second[0].op_type, third[0].op_type] != ["Transpose", "Reshape"]:
            continue
        apart = graph.array(first.input[1]).tolist()
        together = third[0].output[0]
        if (
            len(apart) == 4
            and _attributes(second[0])["perm"] == [0, 2, 1, 3]
            and apart[1] * apart[2] == graph.size(first.input[0]).channels
            and graph.is_clip(together)
            and graph.size(together) == graph.size(first.input[0])
        ):
            found[id(first)] = (first, second[0], third[0])
    return found


def _shuffle(graph: ViewedGraph, nodes: Sequence[Any]) -> None:
    first, second, third = nodes
    source, target = first.input[0], third.output[0]
    groups, others = graph.array(first.input[1]).tolist()[1:3]
    view = FRAMES if graph.home(source) == FRAMES else ROWS
    shape = shape_in(view, graph.size(source))
    name = graph.view(source, view, first.name)
    name = graph.reshape(name, [-1, groups, others, shape[2] * shape[3]], first.name, "")
    name = graph.add("Transpose", [name], second.name, "", perm=[0, 2, 1, 3])
    graph.write(target, view, graph.reshape(name, shape, third.name, ""))


_Rule = Callable[[ViewedGraph, Any, Recipe], bool]
_RULES: Dict[str, _Rule] = {
    "Conv": _convolution,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "ReduceMean": _mean,
    "Concat": _along_channels,
    "Slice": _along_channels,
    "Split": _along_channels,
}
_RULES.update(
    dict.fromkeys(("Relu", "Clip", "Add", "Sub", "Mul", "Div", "Sigmoid", "Identity"), _elementwise)
)
