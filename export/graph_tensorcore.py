"""The form ``tensorcore``: shapes that a GPU's tensor cores take as they are.

They multiply matrices whose channels lie innermost and come in eights (fp16). Where the channels of
a group are fewer, TensorRT-RTX fills up the activations with zeros: constants of up to seven times
the activation's size on sm_75 and of its size on sm_86, in the engine, and copied in at each run.
This form has the eights in the weights instead, where they cost next to nothing:

- Depthwise convolutions get groups of eight channels, with zeros between the old groups. That is
  eight times the multiplications, and no copy. They stay 3D, so that no layout changes.
- The channels between two pointwise convolutions are filled up to eights, and a channel shuffle
  between them is folded into the weights of the first, which becomes dense (``graph_middle``).
- A pointwise convolution of half the channels takes all, with weights of zero for the others.
- The first convolution, over three colours and with stride 2, becomes one of stride 1 over the
  four phases of each colour: twelve channels, and four of them again for sixteen.
- Taps that see nothing but padding are left out: half of a ResNet-18's weights.

Dense 3D convolutions and poolings stay as they are.
"""

from typing import Any, Dict

import numpy as np

from clipedge.export.graph_kernels import along, halved, merge_groups, phases
from clipedge.export.graph_middle import widen_middles
from clipedge.export.graph_rules import (
    Convolution,
    Rewriting,
    Rule,
    banded,
    channels_sliced,
    one_frame_at_a_time,
    read_convolution,
)
from clipedge.export.graph_views import CLIP, ViewedGraph

LANES = 8  # fp16 channels that a tensor core takes at once


def to_tensorcore(model: Any) -> Any:
    """Rewrite an onnx.ModelProto in place and return it."""
    widen_middles(model, LANES)
    return Rewriting(model, _RULES, {}).run()


def _convolution(rewriting: Rewriting, node: Any) -> bool:
    _absorb_slice(rewriting, node)
    for conv in read_convolution(rewriting.graph, node):
        pointwise = conv.rows.is_trivial and conv.columns.is_trivial
        if pointwise and one_frame_at_a_time(rewriting, conv):
            return True
        if not conv.is_depthwise:
            return _over_phases(rewriting.graph, conv) or _trimmed(rewriting.graph, conv)
        if conv.groups % LANES == 0:
            return _in_eights(rewriting.graph, conv)
        frames = rewriting.graph.size(node.output[0]).frames
        return banded(rewriting, conv, _merged(frames, conv.groups))
    return False


def _absorb_slice(rewriting: Rewriting, node: Any) -> None:
    """Let a convolution take all channels, with weights of zero, instead of the half it wants."""
    graph = rewriting.graph
    maker = rewriting.maker(node.input[0])
    wanted = [] if maker is None else channels_sliced(graph, maker)
    for conv in read_convolution(graph, node):
        channels = graph.size(maker.input[0]).channels if wanted else 0
        if conv.groups == 1 and 0 < channels <= 2 * len(wanted):
            narrow = graph.array(node.input[1])
            wide = np.zeros((narrow.shape[0], channels, *narrow.shape[2:]), narrow.dtype)
            wide[:, list(wanted)] = narrow
            node.input[0] = maker.input[0]
            node.input[1] = graph.add_weight(f"{node.input[1]}/all", wide)


def _in_eights(graph: ViewedGraph, conv: Convolution) -> bool:
    weight = conv.node.input[1]
    wide = merge_groups(graph.array(weight), conv.groups, LANES)
    eights = conv._replace(groups=conv.groups // LANES)
    return _convolve_3d(graph, eights, conv.node.input[0], f"{weight}/eights", wide)


def _merged(frames: int, groups: int) -> int:
    """Return how many groups make one with a multiple of eight channels; 1 if no number does."""
    for merged in range(1, LANES + 1):
        if merged * frames % LANES == 0 and groups % merged == 0:
            return merged
    return 1


def _trimmed(graph: ViewedGraph, conv: Convolution) -> bool:
    weight = conv.node.input[1]
    return _convolve_3d(graph, conv, conv.node.input[0], weight, graph.array(weight))


def _convolve_3d(
    graph: ViewedGraph, conv: Convolution, source: str, name: str, weight: np.ndarray
) -> bool:
    """Write a 3D convolution without the taps over time that only ever see padding."""
    node, time = conv.node, conv.time
    first, last = time.used_taps(graph.size(source).frames, graph.size(node.output[0]).frames)
    time = time._replace(
        kernel=last - first + 1,
        before=time.before - first * time.dilation,
        after=time.after - (time.kernel - 1 - last) * time.dilation,
    )
    if time.before < 0 or time.after < 0:
        return False
    wanted = [
        graph.view(source, CLIP, node.name),
        graph.constant(f"{name}/taps{first}to{last}", weight[:, :, first : last + 1]),
        *node.input[2:],
    ]
    axes = along([time, conv.rows, conv.columns])
    made = graph.add("Conv", wanted, node.name, "conv3d", group=conv.groups, **axes)
    graph.write(node.output[0], CLIP, made)
    return True


def _over_phases(graph: ViewedGraph, conv: Convolution) -> bool:
    """A convolution of stride 2 over few channels, as one of stride 1 over four times as many."""
    node = conv.node
    channels, _, height, width = graph.size(node.input[0])
    space = (conv.rows, conv.columns)
    even = height % 2 == width % 2 == 0 and all(one.stride == 2 for one in space)
    if not even or conv.groups != 1 or 4 * channels > 2 * LANES or conv.rows.dilation != 1:
        return False
    after = graph.size(node.output[0])
    halves = (halved(conv.rows, height, after.height), halved(conv.columns, width, after.width))
    if any(one.before < 0 or one.after < 0 for one in halves):
        return False
    weight = phases(graph.array(node.input[1]), *space)
    filled = -4 * channels % LANES
    # Real channels again, with weights of zero: a constant of zeros would be stored in the engine.
    weight = np.concatenate([weight, np.zeros_like(weight[:, :filled])], axis=1)
    source = _phases_of(graph, node, filled)
    wide = conv._replace(rows=halves[0], columns=halves[1])
    return _convolve_3d(graph, wide, source, f"{node.input[1]}/phases", weight)


def _phases_of(graph: ViewedGraph, node: Any, filled: int) -> str:
    """Return the input with its four phases as channels, and the first ``filled`` again."""
    size = graph.size(node.input[0])
    channels, frames, height, width = size
    half = size._replace(channels=4 * channels + filled, height=height // 2, width=width // 2)
    name = graph.view(node.input[0], CLIP, node.name)
    apart = [-1, channels, frames, half.height, 2, half.width, 2]
    name = graph.reshape(name, apart, node.name, "apart")
    name = graph.add("Transpose", [name], node.name, "phases", perm=[0, 1, 4, 6, 2, 3, 5])
    together = [-1, 4 * channels, frames, half.height, half.width]
    name = graph.reshape(name, together, node.name, "together")
    if filled:
        again = graph.slice(name, 1, (0, filled, 1), node.name, "again")
        name = graph.add("Concat", [name, again], node.name, "filled", axis=1)
    source = f"{node.input[0]}/phases"
    graph.between(source, half)
    graph.write(source, CLIP, name)
    return source


_RULES: Dict[str, Rule] = {"Conv": _convolution}
