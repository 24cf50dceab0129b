"""Which graph forms of an ONNX file can be built here: rewritten here, or lying beside it.

A workstation writes the forms beside each other, so that a board without the onnx package can try
them all: NAME.onnx is the network as it was trained, NAME_conv2d.onnx is rewritten from it.
"""

import hashlib
import importlib.util
import logging
import pathlib
from typing import List, NamedTuple

from clipedge.export.graph_forms import form_of, rewrite
from clipedge.export.graph_names import AUTO, CONV3D, FORMS, SOURCE_KEY, TENSORCORE
from clipedge.jetson.errors import BackendError, ClipedgeError, ModelFileError, UsageError
from clipedge.jetson.onnx_metadata import read_onnx_metadata

_log = logging.getLogger(__name__)


class Graph(NamedTuple):
    """One form of a network, as the content of an ONNX file."""

    form: str
    onnx: bytes


def form_path(onnx_path: pathlib.Path, form: str) -> pathlib.Path:
    """Return where a form of an ONNX file lies: the file itself, or NAME_FORM.onnx beside it."""
    if form == CONV3D:
        return onnx_path
    return onnx_path.with_name(f"{onnx_path.stem}_{form}{onnx_path.suffix}")


def graphs_to_build(onnx_path: pathlib.Path, graph: str, tensor_cores: bool = True) -> List[Graph]:
    """Return the forms that ``graph`` asks for: one, or with ``auto`` all that can be had here.

    Args:
        onnx_path: the network as it was trained.
        graph: a form, or ``auto``.
        tensor_cores: whether the GPU has them; without them ``auto`` does without their form.

    Raises:
        UsageError: the file is a rewritten form itself, or there is no such form.
        BackendError: the form has to be rewritten, and the onnx package is not installed.
    """
    metadata = read_onnx_metadata(onnx_path)
    trained = onnx_path.read_bytes()
    form = form_of(metadata)
    if form != CONV3D:
        if graph not in (AUTO, form):
            raise UsageError(
                f"{onnx_path} is of the form {form} already; for {graph} give the file it was "
                "rewritten from."
            )
        return [Graph(form, trained)]
    if graph == CONV3D:
        return [Graph(CONV3D, trained)]
    if graph != AUTO:
        return [_rewritten(onnx_path, trained, graph)]
    graphs = [Graph(CONV3D, trained)]
    for other in FORMS[1:]:
        if other == TENSORCORE and not tensor_cores:
            continue
        try:
            graphs.append(_rewritten(onnx_path, trained, other))
        except (BackendError, ModelFileError) as error:
            _log.warning("--graph auto does without %s: %s", other, error)
    return graphs


def copied_forms(onnx_path: pathlib.Path, tensor_cores: bool = True) -> List[str]:
    """Return the forms that ``auto`` takes from files beside, as nothing can be rewritten here."""
    if importlib.util.find_spec("onnx") is not None:
        return []
    trained = onnx_path.read_bytes()
    return [
        form
        for form in FORMS[1:]
        if (tensor_cores or form != TENSORCORE)
        and _is_made_from(form_path(onnx_path, form), trained)
    ]


def _is_made_from(beside: pathlib.Path, trained: bytes) -> bool:
    try:
        source = read_onnx_metadata(beside).get(SOURCE_KEY)
    except ClipedgeError:  # it is not there, or damaged
        return False
    return source == hashlib.sha256(trained).hexdigest()


def _rewritten(onnx_path: pathlib.Path, trained: bytes, form: str) -> Graph:
    """Return a form: rewritten here where the onnx package is, else the file beside."""
    try:
        return Graph(form, rewrite(trained, form))
    except ImportError:
        pass
    beside = form_path(onnx_path, form)
    if not beside.is_file():
        raise BackendError(
            f"{form} is rewritten from {onnx_path.name} with the onnx package, which is not "
            f"installed here, and {beside.name} does not lie beside it. export-engine writes it on "
            "a workstation: copy it too."
        )
    if not _is_made_from(beside, trained):
        raise ModelFileError(
            f"{beside.name} was not made from this {onnx_path.name}; copy both again."
        )
    return Graph(form, beside.read_bytes())
