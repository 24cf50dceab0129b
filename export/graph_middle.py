"""Gives the channels in the middle of a block the number and the order that suit a compiler.

The middle is what lies between the convolution that opens a block and the one that closes it, most
often pointwise: a depthwise convolution, activations, and in ShuffleNetV1 a channel shuffle. Nobody
else sees those channels, so the two convolutions can number them as they like.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.export.constant_folding import fold_constants
from clipedge.export.graph_rules import Shuffle, attributes_of, channel_shuffles, users_of

_ACTIVATIONS = ("Relu", "Clip")  # channel by channel

# Zeros that a dense weight may have more than the grouped one. Reading 0.4 MB of them in fp16 takes
# a GPU about as long as starting a kernel that shuffles.
_MOST_ZEROS = 200000


class _Middle(NamedTuple):
    opening: Any  # Conv nodes
    depthwise: Any
    closing: Any
    shuffle: Optional[Shuffle]


def widen_middles(model: Any, lanes: int) -> None:
    """Fill up each middle to a multiple of ``lanes`` channels a group, and fold shuffles away.

    The new channels have weights of zero in, and zero out: they hold what an activation makes of
    zero. A pointwise convolution that was grouped and shuffled becomes dense, its rows in the order
    of the shuffle, unless that makes it much larger.

    Args:
        model: an onnx.ModelProto, changed in place.
        lanes: what the number of channels is to be a multiple of.
    """
    fold_constants(model)
    weights = _Weights(model)
    for middle in _find_middles(model, weights):
        if _widen(weights, middle, lanes) and middle.shuffle is not None:
            _bypass(model.graph, middle.shuffle)
    weights.write()


class _Weights:
    """The constants of a graph, replaced by name; one that two nodes share is left to the other."""

    def __init__(self, model: Any) -> None:
        self._graph = model.graph
        self._stored = {one.name: one for one in model.graph.initializer}
        self._new: Dict[str, np.ndarray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._stored

    def shape(self, name: str) -> Tuple[int, ...]:
        return tuple(self._stored[name].dims)

    def array(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        value: np.ndarray = numpy_helper.to_array(self._stored[name])
        return value

    def replace(self, node: Any, index: int, value: np.ndarray) -> None:
        name = f"{node.input[index]}/middle"
        self._new[name] = value
        node.input[index] = name

    def write(self) -> None:
        from onnx import numpy_helper

        used = {name for node in self._graph.node for name in node.input}
        kept = [one for name, one in self._stored.items() if name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        self._graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self._new.items()
        )


def _find_middles(model: Any, weights: _Weights) -> List[_Middle]:
    nodes = list(model.graph.node)
    users = users_of(nodes)
    makers = {name: node for node in nodes for name in node.output}
    shuffles = channel_shuffles(nodes, weights.array)
    ends = {one.target: one for one in shuffles.values()}
    found = []
    for node in nodes:
        if not _is_depthwise(node, weights):
            continue
        shuffle, name = None, node.input[0]
        while len(users[name]) == 1:
            if name in ends and shuffle is None:
                shuffle = ends[name]
                name = shuffle.source
            elif name in makers and makers[name].op_type in _ACTIVATIONS:
                name = makers[name].input[0]
            else:
                break
        after = users.get(node.output[0], [])
        while len(after) == 1 and after[0].op_type in _ACTIVATIONS:
            after = users.get(after[0].output[0], [])
        opening, closing = makers.get(name), after[0] if len(after) == 1 else None
        alone = len(users[name]) == 1
        if alone and all(_can_be_dense(one, weights) for one in (opening, closing)):
            found.append(_Middle(opening, node, closing, shuffle))
    return found


def _widen(weights: _Weights, middle: _Middle, lanes: int) -> bool:
    """Widen a middle and fold its shuffle; return whether that was worth it."""
    opening, depthwise, closing = middle.opening, middle.depthwise, middle.closing
    count = weights.shape(depthwise.input[1])[0]
    groups = _groups(closing)
    per_group = count // groups
    filled = -(-per_group // lanes) * lanes
    zeros = np.prod(weights.shape(opening.input[1])) * (_groups(opening) - 1)
    if filled == per_group and (middle.shuffle is None or zeros > _MOST_ZEROS):
        return False
    here = np.arange(count)
    there = here // per_group * filled + here % per_group  # where each channel goes
    shuffled_from = here
    if middle.shuffle is not None:
        dealt = middle.shuffle.groups
        shuffled_from = here % dealt * (count // dealt) + here // dealt
    total = groups * filled
    dense = _dense(weights.array(opening.input[1]), _groups(opening))
    weights.replace(opening, 1, _placed(dense[shuffled_from], there, total, axis=0))
    _ungroup(opening)
    weights.replace(depthwise, 1, _placed(weights.array(depthwise.input[1]), there, total, axis=0))
    _set_groups(depthwise, total)
    for node, order in ((opening, shuffled_from), (depthwise, here)):
        if len(node.input) > 2:
            bias = weights.array(node.input[2])[order]
            weights.replace(node, 2, _placed(bias, there, total, axis=0))
    columns = np.arange(per_group)
    closed = _placed(weights.array(closing.input[1]), columns, filled, axis=1)
    weights.replace(closing, 1, closed)
    return True


def _placed(values: np.ndarray, there: np.ndarray, total: int, axis: int) -> np.ndarray:
    """Return an array of ``total`` along ``axis``, zero where no value goes."""
    shape = list(values.shape)
    shape[axis] = total
    placed = np.zeros(shape, values.dtype)
    placed[(slice(None),) * axis + (there,)] = values
    return placed


def _dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return the weight (O, I, ...) of a convolution with one group."""
    outputs, inputs = weight.shape[:2]
    dense = np.zeros((outputs, groups, inputs, *weight.shape[2:]), weight.dtype)
    rows = np.arange(outputs)
    dense[rows, rows // (outputs // groups)] = weight
    return dense.reshape(outputs, groups * inputs, *weight.shape[2:])


def _bypass(graph: Any, shuffle: Shuffle) -> None:
    """Take a shuffle out of the graph."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == shuffle.target:
                node.input[index] = shuffle.source
    for node in shuffle.nodes:
        graph.node.remove(node)


def _is_depthwise(node: Any, weights: _Weights) -> bool:
    if node.op_type != "Conv" or node.input[1] not in weights:
        return False
    outputs, inputs = weights.shape(node.input[1])[:2]
    return inputs == 1 and outputs == _groups(node) > 1


def _can_be_dense(node: Any, weights: _Weights) -> bool:
    """Return whether a convolution has one group, or is cheap enough to get one."""
    if node is None or node.op_type != "Conv" or node.input[1] not in weights:
        return False
    return _groups(node) == 1 or set(weights.shape(node.input[1])[2:]) == {1}


def _groups(node: Any) -> int:
    return int(attributes_of(node).get("group", 1))


def _ungroup(node: Any) -> None:
    _set_groups(node, 1)


def _set_groups(node: Any, groups: int) -> None:
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = groups
            return
    attribute = node.attribute.add()
    attribute.name, attribute.type, attribute.i = "group", attribute.INT, groups
