"""A graph of clips while it is rewritten: the same numbers, seen with fewer dimensions.

An activation of a 3D network is (N, C, D, H, W): batch, channels, frames, rows, columns. A 2D
operator takes four dimensions, so each rule asks for the view in which its operator is an ordinary
2D one. Four of the five views lie alike in memory: going from one to another is a Reshape. FRAMES
lies differently, and getting there or back is a Transpose.
"""

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from clipedge.export.constant_folding import fold_constants
from clipedge.jetson.errors import ModelFileError

CLIP = "clip"  # (N, C, D, H, W)
ROWS = "rows"  # (N, C, D * H, W): a pointwise convolution sees one tall picture
LANES = "lanes"  # (N, C * D, H, W): a frame of a channel is a channel
STEPS = "steps"  # (N, C, D, H * W): time is the height, so that 2D pooling pools over time
FRAMES = "frames"  # (N * D, C, H, W): a frame is a picture of its own

_SAME_WITH_ONE_FRAME = (ROWS, LANES, FRAMES)
CLIP_DIMENSIONS = 5


class ClipSize(NamedTuple):
    """What of an activation's shape is fixed: channels, frames, rows, columns."""

    channels: int
    frames: int
    height: int
    width: int

    def shape_in(self, view: str) -> List[int]:
        """Return the shape in a view; -1 is the dimension that holds the batch."""
        channels, frames, height, width = self
        shapes = {
            CLIP: [-1, channels, frames, height, width],
            ROWS: [-1, channels, frames * height, width],
            LANES: [-1, channels * frames, height, width],
            STEPS: [-1, channels, frames, height * width],
            FRAMES: [-1, channels, height, width],
        }
        return shapes[view]


class ViewedGraph:
    """The graph that is being written, and the one that is being read.

    Tensors are called as in the graph that is read; ``view`` says under which name the written
    graph holds one in a certain view. Nodes are called ``{owner}/{suffix}`` after the node they
    come from.
    """

    def __init__(self, model: Any) -> None:
        """Read ``model``, an onnx.ModelProto, which ``finish`` changes in place."""
        fold_constants(model)
        self.model = model
        self._nodes: List[Any] = []
        self._weights: Dict[str, Any] = {one.name: one for one in model.graph.initializer}
        self._made: Dict[str, Any] = {}
        self._sizes = _clip_sizes(model)
        # For each tensor, the views that exist; the first is the one it was written in.
        self._views: Dict[str, Dict[str, str]] = {
            one.name: {CLIP: one.name} for one in model.graph.input if one.name in self._sizes
        }
        self._names = {node.name for node in model.graph.node}

    # What is read

    def is_clip(self, tensor: str) -> bool:
        """Return whether ``tensor`` is an activation with five dimensions."""
        return tensor in self._sizes

    def is_weight(self, tensor: str) -> bool:
        """Return whether ``tensor`` is constant."""
        return tensor in self._weights

    def size(self, tensor: str) -> ClipSize:
        """Return the fixed part of an activation's shape."""
        return self._sizes[tensor]

    def array(self, weight: str) -> np.ndarray:
        """Return the value of a constant."""
        from onnx import numpy_helper

        value: np.ndarray = numpy_helper.to_array(self._weights[weight])
        return value

    def weight_shape(self, weight: str) -> Tuple[int, ...]:
        """Return the shape of a constant."""
        return tuple(self._weights[weight].dims)

    def add_weight(self, name: str, value: np.ndarray) -> str:
        """Add a constant to the graph that is read; return its name."""
        from onnx import numpy_helper

        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    # Views

    def home(self, tensor: str) -> str:
        """Return the view ``tensor`` was written in."""
        return next(iter(self._views[tensor]))

    def view(self, tensor: str, view: str, owner: str) -> str:
        """Return the name of ``tensor`` in this view, adding the nodes that lead to it if missing.

        Args:
            tensor: an activation with five dimensions.
            view: one of the views.
            owner: name of the node that needs it.
        """
        views = self._views[tensor]
        if self.size(tensor).frames == 1 and view in _SAME_WITH_ONE_FRAME:
            same = [views[one] for one in _SAME_WITH_ONE_FRAME if one in views]
            if same:
                views.setdefault(view, same[0])
        if view not in views:
            views[view] = self._convert(tensor, view, owner)
        return views[view]

    def _convert(self, tensor: str, view: str, owner: str) -> str:
        size = self.size(tensor)
        if view == FRAMES and size.frames > 1:
            clip = self.view(tensor, CLIP, owner)
            turned = self.add("Transpose", [clip], owner, "by_frame", perm=[0, 2, 1, 3, 4])
            return self.reshape(turned, size.shape_in(FRAMES), owner, view)
        source = self.home(tensor)
        name = self._views[tensor][source]
        if source == FRAMES and size.frames > 1:
            apart = [-1, size.frames, size.channels, size.height, size.width]
            name = self.reshape(name, apart, owner, "apart")
            name = self.add("Transpose", [name], owner, "by_channel", perm=[0, 2, 1, 3, 4])
            self._views[tensor][CLIP] = name
            if view == CLIP:
                return name
        # Zero copies the batch, so that a reader knows which dimension it is.
        return self.reshape(name, [0] + size.shape_in(view)[1:], owner, view)

    def write(self, tensor: str, view: str, name: str) -> None:
        """Say that the tensor ``name`` of the written graph is ``tensor`` in this view."""
        self._views[tensor] = {view: name}

    def between(self, tensor: str, size: ClipSize) -> None:
        """Say that there is an activation that the graph which is read lacks."""
        self._sizes[tensor] = size

    def alias(self, tensor: str, other: str) -> None:
        """Say that ``tensor`` is ``other``, in all its views."""
        self._views[tensor] = dict(self._views[other])

    # What is written

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        owner: str,
        suffix: str,
        output: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node and return the name of its output.

        Args:
            operator: ONNX operator.
            inputs: names in the written graph.
            owner: the node of the read graph it comes from.
            suffix: its part of the new node.
            output: a name for the output; chosen if empty.
            **attributes: of the operator.
        """
        from onnx import helper

        name = self._new_name(f"{owner}/{suffix}")
        output = output or f"{name}:0"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name, **attributes))
        return output

    def keep(self, node: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Add a node of the read graph as it is, between other tensors."""
        import onnx

        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        del kept.input[:], kept.output[:]
        kept.input.extend(inputs)
        kept.output.extend(outputs)
        self._nodes.append(kept)

    def reshape(
        self, name: str, shape: Sequence[int], owner: str, suffix: str, output: str = ""
    ) -> str:
        """Add a Reshape to a constant shape (0 copies, -1 is what is left)."""
        return self.add("Reshape", [name, self.integers(shape)], owner, suffix, output)

    def slice(
        self, name: str, axis: int, bounds: Tuple[int, int, int], owner: str, suffix: str
    ) -> str:
        """Add a Slice along one axis; ``bounds`` are start, end and step."""
        start, end, step = bounds
        inputs = [name] + [self.integers([one]) for one in (start, end, axis, step)]
        return self.add("Slice", inputs, owner, suffix)

    def integers(self, values: Sequence[int]) -> str:
        """Return the name of a constant int64 vector; equal ones are one."""
        name = "int64/" + ",".join(map(str, values))
        return self.constant(name, np.array(values, np.int64))

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant unless one of this name was added; return the name."""
        from onnx import numpy_helper

        if name not in self._made:
            self._made[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def reshaped_weight(self, weight: str, shape: Sequence[int]) -> str:
        """Return the name of a constant with the same numbers in another shape."""
        import onnx

        name = "{}/{}".format(weight, "x".join(map(str, shape)))
        if name not in self._made:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(self._weights[weight])
            tensor.name = name
            tensor.dims[:] = shape
            self._made[name] = tensor
        return name

    def finish(self) -> Any:
        """Put what was written into the model, without what nothing needs, and return it."""
        graph = self.model.graph
        needed = {one.name for one in graph.output}
        nodes = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        constants = dict(self._weights, **self._made)
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(reversed(nodes))
        graph.initializer.extend(one for name, one in constants.items() if name in needed)
        return self.model

    def _new_name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name


def _clip_sizes(model: Any) -> Dict[str, ClipSize]:
    """Return the size of every activation with five dimensions."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(_without_numbers(model))
    weights = {one.name for one in model.graph.initializer}
    sizes = {}
    for value in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]:
        dimensions = [one.dim_value for one in value.type.tensor_type.shape.dim]
        if len(dimensions) != CLIP_DIMENSIONS or value.name in weights:
            continue
        if not all(dimensions[1:]):
            raise ModelFileError(
                f"{value.name} has the shape {dimensions} (0: unknown); only the batch may be "
                "dynamic. Export the model again with this version."
            )
        sizes[value.name] = ClipSize(*dimensions[1:])
    return sizes


def _without_numbers(model: Any) -> Any:
    """Return a copy whose weights are inputs: shapes do not depend on hundreds of megabytes."""
    import onnx
    from onnx import helper

    graph = model.graph
    integers = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT64]
    numbers = [one for one in graph.initializer if one.data_type != onnx.TensorProto.INT64]
    inputs = [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in numbers]
    light = helper.make_graph(
        graph.node, graph.name, [*graph.input, *inputs], graph.output, initializer=integers
    )
    return helper.make_model(light, opset_imports=model.opset_import, ir_version=model.ir_version)
