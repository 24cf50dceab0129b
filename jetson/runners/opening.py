"""Opens a model file with the backend asked for, or with the fastest that is installed."""

import contextlib
import importlib
import importlib.util
import logging
import pathlib
import shlex
import sys
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.board import physical_cores, require_memory
from clipedge.jetson.command_line import nearest
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import BackendError, ClipedgeError, ModelFileError, UsageError
from clipedge.jetson.files import PathLike, plain_path
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.model_file import read_model_spec
from clipedge.jetson.runners.precision_gate import open_compared
from clipedge.jetson.spec import ClipSpec

AUTO = "auto"
TENSORRT = "tensorrt"
DEFAULT_PRECISION = "fp32"
ONNX_SUFFIX = ".onnx"
CHECKPOINT_SUFFIXES = (".pt", ".pth")  # of PyTorch
PRECISIONS = ("fp32", "bf16", "fp16")

# How long `auto` times each backend, seconds, after the inference that warms it up, and in how many
# turns. A batch that takes longer than its turn is run once in it, and no turn begins after
# TRIAL_MOST_S for each backend.
TRIAL_S = 0.25
TRIAL_TURNS = 3
TRIAL_MOST_S = 1.0
_TRIAL_SEED = 0
_CLIPS_IN_MEMORY = 4  # whole numbers of 8 bytes, floats of 4, and what a network makes of them

_OPENVINO_PYTHON = (3, 10)

_log = logging.getLogger(__name__)


class _Backend(NamedTuple):
    package: str  # that it imports
    module: str  # of ours that holds its Runner
    runner: str
    precisions: List[str]


# The order in which `auto` tries them; a tie goes to the first.
_BACKENDS: Dict[str, _Backend] = {
    "onnxruntime": _Backend(
        "onnxruntime",
        "clipedge.jetson.runners.onnxruntime_runner",
        "OnnxruntimeRunner",
        ["fp32"],
    ),
    "openvino": _Backend(
        "openvino",
        "clipedge.jetson.runners.openvino_runner",
        "OpenvinoRunner",
        ["fp32", "bf16", "fp16"],
    ),
}
BACKENDS = (AUTO, *_BACKENDS, TENSORRT)


def open_runner(
    path: PathLike,
    backend: str = AUTO,
    threads: Optional[int] = None,
    precision: str = DEFAULT_PRECISION,
    batch: Optional[int] = None,
) -> Runner:
    """Open a model file.

    Args:
        path: an ONNX file that carries its ClipSpec, or has it beside it as ``NAME.spec.json``;
            or a TensorRT engine with its manifest beside it, ``NAME.engine.json``.
        backend: one of BACKENDS; ``auto`` times those that are installed on an ONNX file and
            takes the fastest. Engines run with ``tensorrt`` alone, ONNX files with the others.
        threads: of the CPU, for one inference; None: as many as the machine has physical cores.
            An engine runs on the GPU and takes none.
        precision: of the arithmetic; other than fp32 only where it is asked for by name, and after
            its logits were compared with fp32's. That of an engine was chosen when it was built.
        batch: clips at once that ``auto`` times; None: the fewest that the file takes.

    Raises:
        UsageError: there is no such file, backend or precision, threads is not above 0, or the
            backend does not run this kind of file.
        ModelFileError: the file is damaged, no ONNX model, or does not fit its ClipSpec.
        BackendError: the backend is not installed, has no GPU, cannot compute in this precision
            or is too far from fp32 in it; as EngineMismatchError: the engine belongs to another
            machine.
    """
    path = pathlib.Path(plain_path(path))
    _check_arguments(backend, threads, precision)
    if path.suffix == ENGINE_SUFFIX:
        return _open_engine(path, backend, precision)
    spec = _read_spec(path)
    if backend == TENSORRT:
        raise UsageError(
            f"{path} is an ONNX file; tensorrt runs engines. Build one on the machine that will "
            f"run it: export-engine --onnx {shlex.quote(str(path))}"
        )
    count = physical_cores() if threads is None else threads
    names = candidates(backend, precision)
    if len(names) == 1:
        runner = _open(names[0], path, spec, count, precision)
        if backend == AUTO:
            _log.info("Backend: %s, the only one that can run this here.", names[0])
        return runner
    return _fastest(names, lambda name: _open(name, path, spec, count, precision), batch)


def _read_spec(path: pathlib.Path) -> ClipSpec:
    if path.suffix in CHECKPOINT_SUFFIXES and path.is_file():
        raise UsageError(
            f"{path} is a checkpoint. Make an ONNX file of it: "
            f"export-engine --checkpoint {shlex.quote(str(path))} --no-engine"
        )
    try:
        return read_model_spec(path)
    except ModelFileError:
        if path.suffix == ONNX_SUFFIX:
            raise
        raise UsageError(
            f"{path} is no model: give an ONNX file or an engine of export-engine."
        ) from None


def is_installed(backend: str) -> bool:
    """Return whether the package of a backend can be imported; it is not imported."""
    return importlib.util.find_spec(_BACKENDS[backend].package) is not None


def _check_arguments(backend: str, threads: Optional[int], precision: str) -> None:
    if backend not in BACKENDS:
        raise UsageError(f"There is no backend '{backend}'; {nearest(backend, BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision '{precision}'; {nearest(precision, PRECISIONS)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be a whole number above 0; got {threads}.")


def _open_engine(path: pathlib.Path, backend: str, precision: str) -> Runner:
    if backend not in (AUTO, TENSORRT):
        raise UsageError(
            f"{path} is a TensorRT engine and {backend} runs ONNX files: open the ONNX file it was "
            "built from, or choose the backend tensorrt."
        )
    if precision != DEFAULT_PRECISION:
        raise UsageError(
            f"{path}: the precision of an engine is chosen when it is built. Build one in "
            f"{precision}: export-engine --onnx FILE --precision {precision}"
        )
    from clipedge.jetson.runners.tensorrt_runner import TensorrtRunner

    return TensorrtRunner(path)


def candidates(backend: str, precision: str) -> List[str]:
    """Return the backends that can run ONNX files here in a precision: of ``auto``, or the one.

    Raises:
        BackendError: there is none, with what to install or to choose.
    """
    asked = list(_BACKENDS) if backend == AUTO else [backend]
    able = [name for name in asked if precision in _BACKENDS[name].precisions]
    if not able:
        raise BackendError(
            f"{backend} runs models in {', '.join(_BACKENDS[backend].precisions)}; "
            f"for {precision} choose another backend."
        )
    installed = [name for name in able if is_installed(name)]
    if not installed:
        raise BackendError(_how_to_install(able))
    return installed


def _how_to_install(names: List[str]) -> str:
    if names == ["openvino"] and sys.version_info < _OPENVINO_PYTHON:
        return (
            "openvino is not installed here, and needs Python {}.{} or newer; this is {}.{}. "
            "Choose onnxruntime.".format(*(_OPENVINO_PYTHON + tuple(sys.version_info[:2])))
        )
    if sys.version_info < _OPENVINO_PYTHON:
        names = ["onnxruntime"]
    return "{} {} not installed here. Install with: pip install {}".format(
        " and ".join(names), "is" if len(names) == 1 else "are", " ".join(names)
    )


def _open(name: str, path: PathLike, spec: ClipSpec, threads: int, precision: str) -> Runner:
    entry = _BACKENDS[name]
    try:
        module = importlib.import_module(entry.module)
    except (ImportError, OSError) as error:
        raise BackendError(
            f"{name} is installed but does not load: {error}. "
            f"Install it again: pip install --force-reinstall {entry.package}"
        ) from None
    make = getattr(module, entry.runner)

    def open_in(precision: str) -> Runner:
        extra = {"precision": precision} if len(entry.precisions) > 1 else {}
        runner: Runner = make(path, spec, threads, **extra)
        return runner

    if precision == DEFAULT_PRECISION:
        return open_in(precision)
    return open_compared(open_in, path, precision)


def _fastest(names: List[str], opener: Callable[[str], Runner], batch: Optional[int]) -> Runner:
    """Open the file with each backend, time them, keep the fastest and close the others."""
    runners: Dict[str, Runner] = {}
    trial_ms: Dict[str, float] = {}
    problems: List[ClipedgeError] = []
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                runners[name] = stack.enter_context(opener(name))
            except ClipedgeError as problem:
                problems.append(problem)
        if runners:
            trial_ms = _trial_ms(runners, batch, problems)
        if not trial_ms:
            raise problems[0]
        fastest = min(trial_ms, key=lambda name: trial_ms[name])
        losers = [runner for name, runner in runners.items() if name != fastest]
        stack.pop_all()
    for runner in losers:
        runner.close()
    for reason in problems:
        _log.warning("%s", reason)
    chosen = runners[fastest]
    chosen.auto_trial_ms = trial_ms
    clips = "one clip" if batch in (None, 1) else f"{batch} clips"
    timings = ", ".join(f"{name} {value:.1f} ms" for name, value in trial_ms.items())
    _log.info("Backend: %s, the fastest here (%s: %s).", fastest, clips, timings)
    return chosen


def _trial_ms(
    runners: Dict[str, Runner],
    batch: Optional[int],
    problems: List[ClipedgeError],
    clock: Callable[[], float] = time.perf_counter,
) -> Dict[str, float]:
    """Return the shortest latency of a batch with each backend, in milliseconds.

    The shortest, as whatever else the machine does only ever adds to it; and in turns, so that a
    busy second is not that of one backend. A backend that fails is left out and its reason is
    added to ``problems``.
    """
    some = next(iter(runners.values()))
    count = batch or (1 if some.batch_sizes is None else some.batch_sizes[0])
    clip_mb = np.prod(some.spec.clip_shape, dtype=float) * np.float32().nbytes / 2**20
    require_memory(_CLIPS_IN_MEMORY * count * clip_mb, f"A batch of {count} clips")
    pixels = np.random.RandomState(_TRIAL_SEED).randint(0, 256, size=(count, *some.spec.clip_shape))
    clips = pixels.astype(np.float32)
    left = list(runners)
    shortest_ms: Dict[str, float] = {}
    gone_s = 0.0
    for turn in range(1 + TRIAL_TURNS):
        slice_s = TRIAL_S / TRIAL_TURNS if turn > 0 else 0.0  # one inference each warms up
        for name in list(left):
            try:
                spent_s, latency_s = _timed(runners[name], clips, slice_s, clock)
            except ClipedgeError as problem:
                problems.append(problem)
                left.remove(name)
                shortest_ms.pop(name, None)
                continue
            shortest_ms[name] = min(latency_s * 1e3, shortest_ms.get(name, float("inf")))
            gone_s += spent_s if turn > 0 else 0.0
        if gone_s >= TRIAL_MOST_S * len(left):
            break
    return shortest_ms


def _timed(
    runner: Runner, clips: np.ndarray, slice_s: float, clock: Callable[[], float]
) -> Tuple[float, float]:
    """Run a batch for a while, at least once; return the seconds it took and the shortest one."""
    shortest_s = float("inf")
    start_s = end_s = clock()
    while end_s - start_s < slice_s or end_s == start_s:
        begin_s = clock()
        runner.infer(clips)
        end_s = clock()
        shortest_s = min(shortest_s, end_s - begin_s)
    return end_s - start_s, shortest_s
