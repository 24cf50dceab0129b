"""What every backend needs to know of an ONNX file before and after it opens it."""

import pathlib
import re
from typing import Any, List, Optional, Sequence, Tuple

from clipedge.jetson.errors import ModelFileError, SpecError
from clipedge.jetson.files import PathLike
from clipedge.jetson.onnx_metadata import read_onnx_metadata
from clipedge.jetson.spec import METADATA_KEY, SPEC_SUFFIX, ClipSpec, load_spec, spec_from_json

# In the metadata of an ONNX file whose arithmetic is not fp32.
PRECISION_KEY = "clipedge.precision"

# Whole lines of OpenVINO's messages, and the beginning of ONNX Runtime's, that tell a user nothing.
_NOISE = re.compile(
    r"^(Exception from .*|Check .* failed at .*|FrontEnd API failed .*|Loading input model|Summary:"
    r"|\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed: ?)?"
    r"(Failed to load model with error: )?(/\S+:\d+ [^()]*\([^()]*\) )?)"
)
_LONGEST_REASON = 200  # characters


def read_model_spec(path: PathLike) -> ClipSpec:
    """Return the ClipSpec of an ONNX file: out of its metadata, else of the JSON file beside it.

    Raises:
        UsageError: there is no such file.
        ModelFileError: the file is no ONNX model, or has no or a damaged ClipSpec.
    """
    path = pathlib.Path(path)
    text = read_onnx_metadata(path).get(METADATA_KEY)
    beside = path.with_suffix(SPEC_SUFFIX)
    try:
        if text is not None:
            return spec_from_json(text)
        if beside.exists():
            return load_spec(beside)
    except SpecError as error:
        raise ModelFileError(f"{path}: {error} Export the model again.") from None
    raise ModelFileError(
        f"{path} has no ClipSpec: neither '{METADATA_KEY}' in its metadata nor {beside.name} "
        "beside it. Export the model with export-engine, or put its spec there."
    )


def check_graph(
    path: PathLike,
    spec: ClipSpec,
    inputs: Sequence[Sequence[Any]],
    outputs: Sequence[Sequence[Any]],
) -> Optional[Tuple[int, ...]]:
    """Compare a graph's inputs and outputs with the ClipSpec.

    Args:
        path: the model file, for messages.
        spec: what the file says it is.
        inputs: shape of each input; a dimension that is no int is free.
        outputs: shape of each output, likewise.

    Returns:
        The only batch size the graph takes, as a tuple; None where it takes any.

    Raises:
        ModelFileError: the graph is not one input of clips and one output of logits.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelFileError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each: "
            "clips and logits. Export the model with export-engine."
        )
    _check_shape(path, "input", inputs[0], [None, *spec.clip_shape])
    _check_shape(path, "output", outputs[0], [None, spec.num_classes])
    batch_size = inputs[0][0]
    return (batch_size,) if isinstance(batch_size, int) else None


def _check_shape(
    path: PathLike, what: str, shape: Sequence[Any], expected: List[Optional[int]]
) -> None:
    fits = len(shape) == len(expected) and all(
        want is None or not isinstance(got, int) or got == want
        for got, want in zip(shape, expected)
    )
    if not fits:
        raise ModelFileError(
            f"{path} has an {what} of shape {_shape_text(shape)}; its ClipSpec says "
            f"{_shape_text(expected)}. Export the model again."
        )


def _shape_text(shape: Sequence[Any]) -> str:
    return "({})".format(", ".join(str(size) if isinstance(size, int) else "N" for size in shape))


def reason_of(error: BaseException) -> str:
    """Return what a backend's message says, in one short line without a last full stop.

    Backends put source positions, codes and headings into their messages, over many lines.
    """
    lines = [_NOISE.sub("", line.strip()) for line in str(error).splitlines()]
    text = " ".join(line.strip() for line in lines if line.strip()) or type(error).__name__
    if len(text) > _LONGEST_REASON:
        text = text[:_LONGEST_REASON].rsplit(" ", 1)[0] + " ..."
    return text.rstrip(".")
