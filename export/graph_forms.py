"""Graph forms: the same network, written in the operators that a compiler handles well."""

from typing import Any, Callable, Dict

from clipedge.export.graph_conv2d import to_conv2d
from clipedge.export.graph_names import CONV2D, CONV3D, FORM_KEY, FORMS, TENSORCORE
from clipedge.export.graph_tensorcore import to_tensorcore
from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import ModelFileError, UsageError

# From an onnx.ModelProto of the form conv3d, changed in place.
_REWRITINGS: Dict[str, Callable[[Any], Any]] = {CONV2D: to_conv2d, TENSORCORE: to_tensorcore}


def rewrite(onnx_bytes: bytes, form: str) -> bytes:
    """Return the network in another form: the same logits for the same clips.

    Args:
        onnx_bytes: an ONNX file as trained, with 3D convolutions.
        form: one of FORMS.

    Returns:
        The file's content; inputs, outputs, opset and metadata are kept, and FORM_KEY is added.
        ``conv3d`` returns the bytes it was given.

    Raises:
        UsageError: there is no such form.
        ModelFileError: the bytes are no ONNX graph, or it has a form other than conv3d already.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if form not in FORMS:
        raise UsageError(f"There is no graph form '{form}'; {nearest(form, FORMS)}")
    try:
        model = onnx.load_from_string(onnx_bytes)
    except DecodeError as error:
        raise ModelFileError(f"This is no ONNX file: {error}. Export the model again.") from None
    present = form_of({one.key: one.value for one in model.metadata_props})
    if present == form:
        return onnx_bytes
    if present != CONV3D:
        raise ModelFileError(
            f"This graph has the form {present} already, and only {CONV3D} can be rewritten to "
            f"{form}: start from the file that was exported with --graph {CONV3D}."
        )
    _check_names(model)
    rewritten = _REWRITINGS[form](model)
    entry = rewritten.metadata_props.add()
    entry.key, entry.value = FORM_KEY, form
    content: bytes = rewritten.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    return content


def form_of(metadata: Dict[str, str]) -> str:
    """Return the form a file has, from the metadata of its ONNX file."""
    return metadata.get(FORM_KEY, CONV3D)


def _check_names(model: Any) -> None:
    """Give each node a name: what is made of it is named after it."""
    for node in model.graph.node:
        node.name = node.name or "node_of_" + node.output[0]
