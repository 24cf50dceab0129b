"""The manifest beside an engine: what it was built from, with what, for which GPU."""

import hashlib
import json
import os
import pathlib
import shlex
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from clipedge.jetson.errors import BackendError, ModelFileError, SpecError, UsageError
from clipedge.jetson.files import PathLike, readable_os_error
from clipedge.jetson.spec import ClipSpec, spec_from_dict

FORMAT_VERSION = 1
ENGINE_SUFFIX = ".engine"
MANIFEST_SUFFIX = ".json"  # appended: NAME.engine.json

_DRIVER_PREFIX = "NVIDIA "  # newer drivers put it before the names of the same cards


class EngineMismatchError(BackendError):
    """An engine belongs to another TensorRT, GPU or ONNX file than those that are here."""


class Machine(NamedTuple):
    """What engines are tied to.

    ``gpu`` and ``compute_capability`` are None where TensorRT for RTX built for ``targets``
    without a GPU; ``cuda`` is the driver's version, for information.
    """

    tensorrt: str  # package and full version, such as "tensorrt 8.2.1.8"
    gpu: Optional[str] = None
    compute_capability: Optional[str] = None  # such as "sm_62"
    cuda: Optional[str] = None


class Manifest(NamedTuple):
    """What is known of an engine."""

    spec: ClipSpec
    machine: Machine
    targets: Tuple[str, ...]  # such as ("sm_86",); empty: the machine's own GPU
    onnx_file: str  # the file it was built from, seen from the engine's folder: mostly its name
    onnx_sha256: str
    graph: str  # as asked for: a form, or auto
    graph_form: str  # as built
    precision: str
    batches: Tuple[int, ...]
    workspace_bytes: Optional[int]  # as asked for
    fp32_layers: Tuple[str, ...]  # of an fp16 engine: what the gate put back
    engine_sha256: str
    engine_bytes: int
    build_s: float
    clipedge: str
    parity: Optional[Dict[str, Any]] = None  # how it compares, and what ran
    candidates: Tuple[Dict[str, Any], ...] = ()  # graph forms that were tried, with their figures

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types, ``format_version`` first."""
        fields: Dict[str, Any] = {"format_version": FORMAT_VERSION}
        for name, value in zip(self._fields, self):
            fields[name] = list(value) if type(value) is tuple else value
        fields["spec"] = self.spec.to_dict()
        fields["machine"] = dict(self.machine._asdict())
        return fields

    def to_json(self) -> str:
        """Return indented JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def key(self) -> Tuple[Any, ...]:
        """Return all that decides what is built: with another key, it is worth building again."""
        return (
            self.onnx_sha256,
            self.graph,
            self.precision,
            self.batches,
            self.targets,
            self.workspace_bytes,
            self.clipedge,  # another one may rewrite the graph, or make it fp16, in another way
            self.machine._replace(cuda=None, gpu=_card(self.machine.gpu)),
        )

    def rebuild_command(self, engine_path: PathLike, for_this_gpu: bool = False) -> str:
        """Return the command that builds this engine again, from the current folder.

        Args:
            engine_path: where the engine lies, as it was opened.
            for_this_gpu: for the GPU that is here, whatever it was built for.
        """
        folder = pathlib.Path(engine_path).parent
        onnx = pathlib.Path(os.path.normpath(str(folder / self.onnx_file)))
        parts = [
            f"export-engine --onnx {shlex.quote(str(onnx))} --precision {self.precision}",
            "--batch {}".format(" ".join(str(batch) for batch in self.batches)),
            f"--graph {self.graph}",
        ]
        if onnx.parent != folder:
            parts.append(f"--output {shlex.quote(str(folder))}")
        if self.workspace_bytes is not None:
            parts.append(f"--workspace {self.workspace_bytes >> 20}")
        if not for_this_gpu:
            if self.machine.tensorrt.startswith("tensorrt_rtx "):
                parts.append("--builder tensorrt-rtx")
            if self.targets:
                parts.append("--target {}".format(" ".join(self.targets)))
        return " ".join(parts)


def manifest_path(engine_path: PathLike) -> pathlib.Path:
    """Return where the manifest of an engine lies: NAME.engine.json."""
    path = pathlib.Path(engine_path)
    return path.with_name(path.name + MANIFEST_SUFFIX)


def load_manifest(engine_path: PathLike) -> Manifest:
    """Read the manifest beside an engine.

    Raises:
        UsageError: there is no such engine.
        ModelFileError: the manifest is missing or damaged.
    """
    engine, path = pathlib.Path(engine_path), manifest_path(engine_path)
    if not engine.is_file():
        raise UsageError(f"{engine} does not exist or is no file; check the path.")
    if not path.exists():
        raise ModelFileError(
            f"{engine} has no manifest: {path.name} must lie beside it. Copy it too, or build the "
            "engine again on this machine: export-engine --onnx FILE"
        )
    try:
        return _from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelFileError(str(readable_os_error(error, path))) from None
    except (ValueError, TypeError, KeyError, AttributeError, SpecError) as error:
        raise ModelFileError(
            f"{path} is damaged ({error}); build the engine again: export-engine --onnx FILE"
        ) from None


def read_engine(engine_path: PathLike, manifest: Manifest) -> bytes:
    """Return the engine's bytes.

    Raises:
        ModelFileError: it is truncated or is another engine than the manifest's.
    """
    path = pathlib.Path(engine_path)
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise ModelFileError(str(readable_os_error(error, path))) from None
    if len(plan) != manifest.engine_bytes:
        raise ModelFileError(
            f"{path} has {len(plan)} bytes, its manifest says {manifest.engine_bytes}: it is "
            f"truncated or replaced. Rebuild: {manifest.rebuild_command(path)}"
        )
    if hashlib.sha256(plan).hexdigest() != manifest.engine_sha256:
        raise ModelFileError(
            f"{path} is damaged: its content is not what its manifest says. Rebuild: "
            f"{manifest.rebuild_command(path)}"
        )
    return plan


def check_machine(engine_path: PathLike, manifest: Manifest, here: Machine) -> None:
    """Compare what an engine was built with and for with what is here.

    Args:
        engine_path: the engine, for messages.
        manifest: of the engine.
        here: this machine, with its GPU.

    Raises:
        EngineMismatchError: it cannot run here, or its ONNX file has changed since.
    """
    built = manifest.machine
    name = pathlib.Path(engine_path).name
    for_gpus = ", ".join(manifest.targets) or f"{built.gpu} ({built.compute_capability})"
    problems: List[str] = []
    if built.tensorrt != here.tensorrt:
        problems.append(f"was built with {built.tensorrt}; this machine has {here.tensorrt}")
    if manifest.targets:
        fits = here.compute_capability in manifest.targets
    else:
        fits = built.compute_capability == here.compute_capability
        fits = fits and _card(built.gpu) == _card(here.gpu)
    if not fits:
        problems.append(
            f"was built for {for_gpus}; this machine has {here.gpu} ({here.compute_capability})"
        )
    onnx = pathlib.Path(engine_path).parent / manifest.onnx_file
    if onnx.is_file() and sha256_of(onnx) != manifest.onnx_sha256:
        problems.append(f"was built from another {onnx.name} than the one that is here")
    if problems:
        raise EngineMismatchError(
            "{} {}. Rebuild: {}".format(
                name, "; it ".join(problems), manifest.rebuild_command(engine_path, not fits)
            )
        )


def sha256_of(path: PathLike) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits.

    Raises:
        ClipedgeError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with pathlib.Path(path).open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise readable_os_error(error, path) from None
    return digest.hexdigest()


def _card(gpu: Optional[str]) -> Optional[str]:
    if gpu is not None and gpu.startswith(_DRIVER_PREFIX):
        return gpu[len(_DRIVER_PREFIX) :]
    return gpu


def _from_dict(fields: Dict[str, Any]) -> Manifest:
    values = dict(fields)
    version = values.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(f"format version {version}, this clipedge reads {FORMAT_VERSION}")
    values["spec"] = spec_from_dict(values["spec"])
    values["machine"] = Machine(**values["machine"])
    for name in ("targets", "batches", "fp32_layers", "candidates"):
        values[name] = tuple(values[name])
    return Manifest(**values)
