"""The form ``conv2d``: every convolution and pooling in two dimensions, with little arithmetic.

For compilers whose 3D operators are slow or missing. A depthwise convolution becomes a grouped one
over all frames of its channel, or where there is one frame a plain 2D depthwise one. Any other
convolution over time has the frames of its taps stacked as channels.
"""

from typing import Any, Dict, Sequence

from clipedge.export.graph_kernels import Axis, along, axes_of, stack
from clipedge.export.graph_rules import (
    Attributes,
    Convolution,
    Rewriting,
    Rule,
    attributes_of,
    banded,
    convolve_2d,
    one_frame_at_a_time,
    read_convolution,
)
from clipedge.export.graph_views import FRAMES, LANES, STEPS, ViewedGraph


def to_conv2d(model: Any) -> Any:
    """Rewrite an onnx.ModelProto in place and return it."""
    return Rewriting(model, _RULES, _TAIL_RULES).run()


def _convolution(rewriting: Rewriting, node: Any) -> bool:
    for conv in read_convolution(rewriting.graph, node):
        if one_frame_at_a_time(rewriting, conv):
            return True
        return banded(rewriting, conv) if conv.is_depthwise else _stacked(rewriting, conv)
    return False


def _stacked(rewriting: Rewriting, conv: Convolution) -> bool:
    """Each output frame sees the frames of its taps, stacked as channels."""
    graph, node, time = rewriting.graph, conv.node, conv.time
    size, after = graph.size(node.input[0]), graph.size(node.output[0])
    channels, frames, height, width = size
    source = graph.view(node.input[0], FRAMES, node.name)
    # (N, D, groups, C / groups * H * W): frames side by side on axis 3 stay within their group.
    steps = [-1, frames, conv.groups, channels // conv.groups * height * width]
    name = graph.reshape(source, steps, node.name, "steps")
    if time.before or time.after:
        pads = graph.integers([0, time.before, 0, 0, 0, time.after, 0, 0])
        name = graph.add("Pad", [name, pads], node.name, "pad")
    span = (after.frames - 1) * time.stride + 1
    taps = [
        graph.slice(name, 1, (first, first + span, time.stride), node.name, "tap")
        for first in range(0, time.kernel * time.dilation, time.dilation)
    ]
    if len(taps) > 1:
        taps = [graph.add("Concat", taps, node.name, "stack", axis=3)]
    picture = [-1, time.kernel * channels, height, width]
    stacked = graph.reshape(taps[0], picture, node.name, "frames")
    flat = graph.constant(f"{node.input[1]}/stack", stack(graph.array(node.input[1])))
    convolve_2d(graph, conv, [stacked, flat, *node.input[2:]], FRAMES)
    return True


def _pooling(rewriting: Rewriting, node: Any) -> bool:
    """Pool over space, then over time: the largest of the largest, the average of averages."""
    graph = rewriting.graph
    attributes = attributes_of(node)
    axes = axes_of(attributes, attributes["kernel_shape"])
    odd = attributes.get("ceil_mode", 0) or any(axis.dilation != 1 for axis in axes)
    if odd or attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or len(node.output) > 1:
        return False
    source, target = node.input[0], node.output[0]
    if not all(axis.is_trivial for axis in axes[1:]):
        view = FRAMES if graph.home(source) == FRAMES else LANES
        made = _pool(graph, node, graph.view(source, view, node.name), axes[1:], "space")
        after = graph.size(target)
        between = graph.size(source)._replace(height=after.height, width=after.width)
        source = f"{target}/space"
        graph.between(source, between)
        graph.write(source, view, made)
    if axes[0].is_trivial:
        graph.alias(target, source)
    else:
        name = graph.view(source, STEPS, node.name)
        graph.write(target, STEPS, _pool(graph, node, name, [axes[0], Axis(1)], "time"))
    return True


def _pool(graph: ViewedGraph, node: Any, source: str, axes: Sequence[Axis], suffix: str) -> str:
    rest: Attributes = along(axes)
    del rest["dilations"]  # AveragePool has none before opset 19
    given = attributes_of(node)
    if "count_include_pad" in given:
        rest["count_include_pad"] = given["count_include_pad"]
    return graph.add(node.op_type, [source], node.name, suffix, **rest)


def _linear(rewriting: Rewriting, node: Any) -> bool:
    """Write the classifier as a convolution over one pixel: sm_75 has no fp32 Gemm."""
    graph, given = rewriting.graph, attributes_of(node)
    plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
    weight = node.input[1]
    if not plain or not given.get("transB", 0) or not all(map(graph.is_weight, node.input[1:])):
        return False
    classes, channels = graph.weight_shape(weight)
    if any(graph.weight_shape(bias) != (classes,) for bias in node.input[2:]):
        return False
    pixel = graph.reshape(node.input[0], [0, channels, 1, 1], node.name, "pixel")
    kernel = graph.reshaped_weight(weight, [classes, channels, 1, 1])
    made = graph.add("Conv", [pixel, kernel, *node.input[2:]], node.name, "conv2d", group=1)
    graph.reshape(made, [0, classes], node.name, "logits", output=node.output[0])
    return True


_TAIL_RULES: Dict[str, Rule] = {"Gemm": _linear}
_RULES: Dict[str, Rule] = {"Conv": _convolution, "MaxPool": _pooling, "AveragePool": _pooling}
