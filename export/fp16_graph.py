"""An ONNX file whose weights and activations are fp16: how strongly typed TensorRT is told fp16.

ONNX Runtime has a converter of its own (``onnxruntime.transformers.float16``), which is not used:
it rounds every tensor between two layers that stay fp32 to fp16 and back, so that a value beyond
fp16's range becomes infinity between the very layers kept in fp32 because of it; it silently
changes weights beyond the range to the largest number, and those below the smallest to the
smallest; and it rounds the weight that a layer in fp32 shares with one in fp16.
"""

import logging
from typing import Any, Dict, List, Sequence, Set, Tuple

import numpy as np

from clipedge.export.constant_folding import fold_constants
from clipedge.jetson.errors import ModelFileError
from clipedge.jetson.runners.model_file import PRECISION_KEY

log = logging.getLogger(__name__)

FP16 = "fp16"

LARGEST = float(np.finfo(np.float16).max)  # 65504

# Layers in the sense of fp16: they multiply weights, all others only pass numbers on.
LAYER_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

# What runs in fp16, here and in TensorRT; any other operator on floats stays in fp32.
_FP16_OPERATORS = set(LAYER_OPERATORS) | {
    "Add", "AveragePool", "Clip", "Concat", "Div", "Expand", "Flatten", "Gather",
    "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "ReduceMax", "ReduceMean", "ReduceSum",
    "Relu", "Reshape", "Sigmoid", "Slice", "Split", "Squeeze", "Sub", "Tanh", "Transpose",
    "Unsqueeze", "Where",
}  # fmt: skip

# On raw pixels: in fp16 a pixel minus the mean would carry the mean rounded to 1/16.
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")

# Here a number beyond fp16's range is a bound that no fp16 number reaches: infinity says the same.
_BOUND_OPERATORS = ("Clip", "Max", "Min", "Pad")


def to_fp16(onnx_bytes: bytes, fp32_layers: Sequence[str] = ()) -> bytes:
    """Convert an fp32 ONNX file to fp16, all but a few layers.

    Input and output stay float32, and so does the arithmetic on raw pixels in front of the first
    layer. Two neighbours that stay in fp32 hand their tensors on in fp32.

    Args:
        onnx_bytes: the file's content, as ``build_onnx`` makes it.
        fp32_layers: names of nodes that stay in fp32, with all nodes called ``{name}/...``. A name
            that the graph lacks is warned of. Layers with a weight that fp16 cannot hold stay in
            fp32 unasked, with a warning.

    Returns:
        The file's content: same opset, IR version and metadata, and ``clipedge.precision`` = fp16.

    Raises:
        ModelFileError: the bytes are no ONNX graph that can be converted.
    """
    import onnx

    model = load_graph(onnx_bytes)
    if any(entry.key == PRECISION_KEY and entry.value == FP16 for entry in model.metadata_props):
        raise ModelFileError("This ONNX file is fp16 already; convert the fp32 file it came from.")
    kept = nodes_of_layers(model.graph, fp32_layers) | _pixel_arithmetic(model.graph)
    _Conversion(model, kept).run()
    entry = model.metadata_props.add()
    entry.key, entry.value = PRECISION_KEY, FP16
    converted: bytes = model.SerializeToString()
    try:
        onnx.checker.check_model(converted, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelFileError(f"This graph cannot be made fp16: {error}") from None
    return converted


def load_graph(onnx_bytes: bytes) -> Any:
    """Parse ONNX bytes; constants become initializers, and every node has a name.

    A node without one gets the name that TensorRT's parser gives it.

    Raises:
        ModelFileError: the bytes are no ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_from_string(onnx_bytes)
    except DecodeError as error:
        raise ModelFileError(f"This is no ONNX file: {error}. Export the model again.") from None
    fold_constants(model)
    for node in model.graph.node:
        node.name = node.name or "node_of_" + node.output[0]
    return model


def nodes_of_layers(graph: Any, layers: Sequence[str]) -> Set[str]:
    """Return the names of all nodes that belong to these layers; warn of layers without any."""
    names = [node.name for node in graph.node]
    found: Set[str] = set()
    for layer in layers:
        own = {name for name in names if name == layer or name.startswith(layer + "/")}
        if not own:
            log.warning(
                "no layer of this graph is called '%s': nothing stays in fp32 for it", layer
            )
        found |= own
    return found


def float_tensors(model: Any) -> Set[str]:
    """Return the names of all float32 tensors, weights included.

    Raises:
        ModelFileError: the type of a tensor cannot be told.
    """
    import onnx

    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    try:
        graph = onnx.shape_inference.infer_shapes(_without_weights(model), strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelFileError(f"This ONNX graph makes no sense: {error}") from None
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    for node in graph.node:
        unknown = [name for name in node.output if name and not types.get(name)]
        if unknown:
            raise ModelFileError(
                f"The type of {unknown[0]}, which {node.op_type} {node.name} makes, cannot be told."
            )
    return {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT}


def _without_weights(model: Any) -> Any:
    """Return the graph with its float weights as inputs: inference would copy every one of them."""
    import onnx

    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            bare.graph.input.append(info)
        else:  # shapes, which inference reads
            bare.graph.initializer.append(tensor)
    return bare


def _pixel_arithmetic(graph: Any) -> Set[str]:
    """Return the nodes up to the last arithmetic on raw pixels in front of the first layer."""
    pixels = {value.name for value in graph.input}
    head = []
    for node in graph.node:
        if pixels & set(node.input) and node.op_type not in LAYER_OPERATORS:
            pixels |= set(node.output)
            head.append(node)
    kept: Set[str] = set()
    wanted: Set[str] = set()
    for node in reversed(head):
        if node.op_type in _ARITHMETIC or wanted & set(node.output):
            kept.add(node.name)
            wanted |= set(node.input)
    return kept


class _Conversion:
    """One pass over the nodes in order; knows in which precision each tensor is there."""

    def __init__(self, model: Any, kept: Set[str]) -> None:
        self._graph = model.graph
        self._floats = float_tensors(model)
        self._kept = kept
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer}
        self._half: Set[str] = set()  # tensors that are fp16 under their own name
        self._copies: Dict[Tuple[str, bool], str] = {}  # (tensor, as fp16) -> its other form
        self._nodes: List[Any] = []
        self._lost = 0  # weights too small for fp16

    def run(self) -> None:
        """Convert the graph in place."""
        for node in self._graph.node:
            self._convert(node)
        outputs = self._cast_outputs()
        del self._graph.node[:]
        self._graph.node.extend(self._nodes + outputs)
        del self._graph.value_info[:]  # they speak of the types there were
        used = {name for node in self._graph.node for name in node.input}
        for name in set(self._weights) - used:
            self._graph.initializer.remove(self._weights[name])
        if self._lost:
            log.debug("%d weights are too small for fp16 and became zero", self._lost)

    def _convert(self, node: Any) -> None:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ModelFileError(
                f"{node.op_type} {node.name} holds a graph of its own: it cannot be made fp16. "
                "Use --precision fp32."
            )
        floats = [index for index, name in enumerate(node.input) if name in self._floats]
        half = bool(floats) and self._runs_in_fp16(node)
        for index in floats:
            node.input[index] = self._in_precision(node.input[index], half)
        self._nodes.append(node)
        if half:
            self._half |= {name for name in node.output if name in self._floats}

    def _runs_in_fp16(self, node: Any) -> bool:
        if node.name in self._kept:
            return False
        if node.op_type not in _FP16_OPERATORS:
            if any(name in self._floats for name in node.output):
                log.info("%s %s stays in fp32", node.op_type, node.name)
            return False
        if node.op_type in _BOUND_OPERATORS:
            return True
        for name in node.input:
            largest = self._largest(name)
            if largest > LARGEST:
                log.warning(
                    "%s stays in fp32: its largest weight is %.3g and fp16 ends at 65504",
                    node.name,
                    largest,
                )
                return False
        return True

    def _largest(self, name: str) -> float:
        from onnx import numpy_helper

        if name not in self._weights or name not in self._floats:
            return 0.0
        weight = numpy_helper.to_array(self._weights[name])
        return float(np.abs(weight).max()) if weight.size else 0.0

    def _in_precision(self, name: str, half: bool) -> str:
        """Return the name under which this tensor is there in fp16 or fp32, made if need be."""
        if (name in self._half) == half:
            return name
        if (name, half) not in self._copies:
            copy = "{}/{}".format(name, "fp16" if half else "fp32")
            self._copies[name, half] = copy
            if name in self._weights:
                self._graph.initializer.append(self._rounded(name, copy))
            else:
                self._nodes.append(_cast(name, copy, half))
        return self._copies[name, half]

    def _rounded(self, name: str, copy: str) -> Any:
        from onnx import numpy_helper

        weight = numpy_helper.to_array(self._weights[name])
        with np.errstate(over="ignore"):  # a bound: _BOUND_OPERATORS
            rounded = weight.astype(np.float16)
        self._lost += int(((rounded == 0) & (weight != 0)).sum())
        return numpy_helper.from_array(rounded, copy)

    def _cast_outputs(self) -> List[Any]:
        """Give the graph's outputs back their float32; their makers get another name."""
        casts = []
        for value in self._graph.output:
            if value.name not in self._half:
                continue
            inner = value.name + "/fp16"
            for node in self._nodes:
                for names in (node.input, node.output):
                    for index, name in enumerate(names):
                        if name == value.name:
                            names[index] = inner
            casts.append(_cast(inner, value.name, half=False))
        return casts


def _cast(source: str, target: str, half: bool) -> Any:
    from onnx import TensorProto, helper

    to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    return helper.make_node("Cast", [source], [target], name=target, to=to)
