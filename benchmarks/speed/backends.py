"""What can run a model in a benchmark: the backends of the board, and PyTorch in three ways."""

import importlib.util
import pathlib
from typing import Dict, List, Optional, Tuple

from clipedge.jetson import trt_api
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners import BACKENDS, open_runner
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.opening import DEFAULT_PRECISION, TENSORRT, candidates, is_installed

# PyTorch as the paper ran it, in the memory layout that convolutions like, and compiled.
TORCH_BACKENDS: Dict[str, str] = {
    "torch-eager": "PyTorch eager",
    "torch-channels-last": "PyTorch channels-last",
    "torch-compile": "torch.compile",
}
BENCH_BACKENDS = (*BACKENDS, *TORCH_BACKENDS)

# What runs an ONNX file, in the order of a table; engines come after them.
_ON_ONNX = [
    *((name, DEFAULT_PRECISION) for name in TORCH_BACKENDS),
    ("onnxruntime", DEFAULT_PRECISION),
    ("openvino", DEFAULT_PRECISION),
    ("openvino", "bf16"),
]
_ENGINE_PRECISIONS = ("fp32", "fp16")

_NO_TORCH = "torch is not installed: pip install torch, with Python 3.10 or newer"
NO_GPU_HERE = "engines need TensorRT and pycuda, which are not installed here"

Entry = Tuple[str, str, str]  # backend, precision, path


def open_backend(
    path: str, backend: str, threads: Optional[int], precision: str, batch: int
) -> Runner:
    """Open a model file with a backend of BENCH_BACKENDS, for batches of ``batch`` clips.

    Raises:
        ClipedgeError: as of ``open_runner``.
    """
    if backend in TORCH_BACKENDS:
        from clipedge.benchmarks.speed.torch_runners import TorchRunner

        return TorchRunner(path, backend, threads, precision, batch)
    return open_runner(path, backend, threads, precision, batch)


def require_backend(backend: str, precision: str) -> None:
    """Refuse what would fail with every ONNX file; TensorRT looks at its engines by itself.

    Raises:
        UsageError: nothing that is installed runs ``backend`` in ``precision``.
    """
    reason = None
    if backend in TORCH_BACKENDS:
        if precision != DEFAULT_PRECISION:
            reason = f"{backend} runs models in fp32; for {precision} choose another backend."
        elif importlib.util.find_spec("torch") is None:
            reason = _NO_TORCH
    elif backend != TENSORRT:
        try:
            candidates(backend, precision)
        except ClipedgeError as error:
            reason = str(error)
    if reason is not None:
        raise UsageError(reason)


def comparable(path: PathLike) -> Tuple[List[Entry], Dict[str, str]]:
    """Return what can be put side by side for an ONNX file on this machine.

    Returns:
        (backend, precision, path) of each, where the path is that of an engine with tensorrt; and
        why the others are left out, by name. An engine that does not belong to this machine is
        not noticed before it is opened.
    """
    entries: List[Entry] = []
    missing: Dict[str, str] = {}
    for backend, precision in _ON_ONNX:
        reason = _why_not(backend, precision)
        if reason is None:
            entries.append((backend, precision, str(path)))
        else:
            missing[f"{backend} {precision}"] = reason
    engines = _engines_beside(pathlib.Path(path))
    if not engines:
        missing[TENSORRT] = f"there is no engine beside {path}"
    elif not engines_run_here():
        missing[TENSORRT] = NO_GPU_HERE
    else:
        # An engine's own precision stands in its manifest; open_runner takes no other name for it.
        entries.extend((TENSORRT, DEFAULT_PRECISION, str(engine)) for engine in engines)
    return entries, missing


def engines_run_here() -> bool:
    """Return whether TensorRT and pycuda are installed; neither is imported."""
    pycuda = importlib.util.find_spec("pycuda") is not None
    return pycuda and bool(trt_api.installed_packages())


def _why_not(backend: str, precision: str) -> Optional[str]:
    """Return why a backend cannot run ONNX files here, None where it can."""
    if backend in TORCH_BACKENDS:
        if importlib.util.find_spec("torch") is None:
            return _NO_TORCH
        if backend == "torch-compile":
            from clipedge.benchmarks.speed.torch_runners import why_not_compiled

            return why_not_compiled()
        return None
    if not is_installed(backend):
        return f"{backend} is not installed: pip install {backend}"
    if precision == DEFAULT_PRECISION:
        return None
    return _why_no_bf16()


def _why_no_bf16() -> Optional[str]:
    try:
        from clipedge.jetson.runners.openvino_runner import native_precisions
    except (ImportError, OSError) as error:
        return f"openvino does not load: {error}"
    if "bf16" in native_precisions():
        return None
    return "this CPU does not compute in bf16"


def _engines_beside(path: pathlib.Path) -> List[pathlib.Path]:
    """Return the engines that export-engine builds of an ONNX file, those that are there."""
    named = [path.with_name(f"{path.stem}_{name}{ENGINE_SUFFIX}") for name in _ENGINE_PRECISIONS]
    return [engine for engine in named if engine.is_file()]
