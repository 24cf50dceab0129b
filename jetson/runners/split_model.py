"""A model in two halves: its first convolution, of three frames at a time, and all that follows."""

import pathlib
from typing import Any, Callable, NamedTuple, Tuple

import numpy as np

from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.model_file import reason_of

TRIPLE = 3  # frames that one output of the first convolution sees
PICTURES, FEATURES = "pictures", "features"  # axes that are named in the halves

Call = Callable[[np.ndarray], np.ndarray]


class SplitModel(NamedTuple):
    """The halves as the content of ONNX files.

    Attributes:
        stem: (N, 3, 3, H, W) float32, RGB, 0-255, three frames each, to (N, C, 1, H', W') float32.
        rest: (N, C, T, H', W') float32 to logits (N, classes).
        features: (C, T, H', W') of one clip.
    """

    stem: bytes
    rest: bytes
    features: Tuple[int, int, int, int]


def split_model(path: PathLike) -> SplitModel:
    """Cut an ONNX file of export-engine behind its first convolution.

    Raises:
        UsageError: the onnx package is not installed, or the first convolution is not one over
            three frames with a stride of one.
        ModelFileError: the file cannot be read.
    """
    try:
        import onnx
        import onnx.utils
    except ImportError:
        raise UsageError("Reusing the stem needs the onnx package: pip install onnx") from None
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    except Exception as error:
        raise ModelFileError(f"onnx cannot read {path}: {reason_of(error)}.") from None
    graph = model.graph
    convolution = next((node for node in graph.node if node.op_type == "Conv"), None)
    if convolution is None or not _spans_three_frames(graph, convolution):
        raise UsageError(
            f"{pathlib.Path(path).name}: its first layer is not a convolution over three frames "
            "with a stride of one, so no work on frames already seen can be kept. Give the ONNX "
            "file in the form conv3d, or leave the stem whole."
        )
    cut = _behind_activation(graph, convolution.output[0])
    extractor = onnx.utils.Extractor(model)
    stem = extractor.extract_model([graph.input[0].name], [cut])
    rest = extractor.extract_model([cut], [graph.output[0].name])
    features = tuple(one.dim_value for one in rest.graph.input[0].type.tensor_type.shape.dim[1:])
    _to_triples(stem.graph)
    return SplitModel(stem.SerializeToString(), rest.SerializeToString(), features)


def _spans_three_frames(graph: Any, convolution: Any) -> bool:
    ints = {entry.name: list(entry.ints) for entry in convolution.attribute}
    weights = [one for one in graph.initializer if one.name == convolution.input[1]]
    kernel = list(weights[0].dims[2:]) if weights else ints.get("kernel_shape", [])
    pads = ints.get("pads", [])
    return (
        len(kernel) == 3
        and kernel[0] == TRIPLE
        and len(pads) == 6
        and pads[0] == pads[3] == 1
        and ints.get("strides", [1])[0] == ints.get("dilations", [1])[0] == 1
    )


def _behind_activation(graph: Any, name: str) -> str:
    """Follow a value through the activation that alone reads it."""
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type not in ("Relu", "Clip"):
            return name
        name = str(readers[0].output[0])


def _to_triples(graph: Any) -> None:
    """Let the stem take three frames and give the one output that sees them all."""
    for node in graph.node:
        for entry in node.attribute:
            if node.op_type == "Conv" and entry.name == "pads":
                entry.ints[0] = entry.ints[3] = 0
    del graph.value_info[:]
    for port, frames in ((graph.input[0], TRIPLE), (graph.output[0], 1)):
        dims = port.type.tensor_type.shape.dim
        dims[0].dim_param = PICTURES
        dims[2].dim_value = frames


def open_half(content: bytes, shape: Tuple[int, ...], backend: str, threads: int) -> Call:
    """Return a function that runs one half.

    Args:
        content: of its ONNX file.
        shape: of the only input it will get.
        backend: ``onnxruntime`` or ``openvino``.
        threads: of the CPU.

    Raises:
        UsageError: the backend is another one.
        BackendError: it cannot open the half.
    """
    openers = {"onnxruntime": _with_onnxruntime, "openvino": _with_openvino}
    if backend not in openers:
        raise UsageError(
            f"The stem is reused on a CPU, with {' or '.join(sorted(openers))}; got {backend}. "
            "Leave it whole."
        )
    try:
        return openers[backend](content, shape, threads)
    except Exception as error:
        raise BackendError(f"{backend} cannot open half a model: {reason_of(error)}.") from None


def _with_onnxruntime(content: bytes, shape: Tuple[int, ...], threads: int) -> Call:
    from clipedge.jetson.runners.onnxruntime_runner import new_session

    session = new_session(content, threads)
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]

    def run(values: np.ndarray) -> np.ndarray:
        result: np.ndarray = session.run(outputs, {name: values})[0]
        return result

    return run


def _with_openvino(content: bytes, shape: Tuple[int, ...], threads: int) -> Call:
    from clipedge.jetson.runners.openvino_runner import fp32_request

    request = fp32_request(content, shape, threads)

    def run(values: np.ndarray) -> np.ndarray:
        # The result is the request's own memory: good until it runs again.
        result: np.ndarray = request.infer([values], share_inputs=True, share_outputs=True)[0]
        return result

    return run
