"""What engines are built with: a TensorRT, the GPU if one is here, and their timing cache."""

import hashlib
import logging
import pathlib
import threading
import time
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.export.cli import BUILD_THREAD
from clipedge.jetson import trt_api
from clipedge.jetson.cuda import GpuFacts, gpu_facts
from clipedge.jetson.engine_manifest import Machine
from clipedge.jetson.errors import BackendError, ClipedgeError, UsageError
from clipedge.jetson.files import write_whole
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners.tensorrt_runner import machine_here

TIMING_CACHE_SUFFIX = ".timing.cache"
_TICK_S = 0.2

_log = logging.getLogger(__name__)


class Compiled(NamedTuple):
    """An engine, what it was compiled from, and how long that took."""

    plan: bytes
    onnx: bytes
    build_s: float

    @property
    def sha256(self) -> str:
        """Of the engine, as hexadecimal digits."""
        return hashlib.sha256(self.plan).hexdigest()


class Workbench:
    """Compiles ONNX files for one GPU, or with TensorRT for RTX for GPUs that are elsewhere.

    Args:
        folder: where the timing cache lies, beside the engines.
        package: one of ``trt_api.PACKAGES``; None: TensorRT, or else TensorRT for RTX.
        targets: compute capabilities of GPUs that are elsewhere; empty: the GPU that is here.
        workspace_mib: scratch memory an engine may use, MiB; None: 1024 on a board, elsewhere
            TensorRT's default.

    Raises:
        BackendError: no TensorRT is installed, there is no GPU, or TensorRT has dropped it.
        UsageError: this TensorRT does not build for other GPUs, or no target was given.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        package: Optional[str] = None,
        targets: Sequence[Tuple[int, int]] = (),
        workspace_mib: Optional[int] = None,
    ) -> None:
        self.trt = trt_api.load(package or _installed(bool(targets)))
        self.targets = tuple(targets)
        self.workspace_bytes = None if workspace_mib is None else workspace_mib << 20
        self.trt.check_targets(self.targets)
        self.gpu: Optional[GpuFacts] = None if targets else self._gpu_here()
        if self.gpu is not None:
            self.trt.refuse_old_gpu(self.gpu.name, self.gpu.compute_capability)
        self._cache_path = folder / self._cache_name()

    @property
    def gpus(self) -> Tuple[Tuple[int, int], ...]:
        """Compute capabilities that engines are built for."""
        return self.targets if self.gpu is None else (self.gpu.compute_capability,)

    @property
    def machine(self) -> Machine:
        """What the engines will be tied to."""
        if self.gpu is None:
            return Machine(f"{self.trt.package} {self.trt.version_text}")
        return machine_here(self.trt, self.gpu)

    def given(self, onnx: bytes, fp16: bool, fp32_layers: Sequence[str]) -> bytes:
        """Return the ONNX file as TensorRT gets it: in the strongly typed era, itself fp16."""
        return _as_fp16(onnx, fp32_layers) if fp16 and self.trt.strongly_typed else onnx

    def compile(
        self,
        onnx: bytes,
        batches: Sequence[int],
        fp16: bool,
        fp32_layers: Sequence[str],
        title: str,
    ) -> Compiled:
        """Compile an ONNX file, showing progress; the timing cache is read before and kept after.

        Args:
            onnx: content of the file, fp32.
            batches: batch sizes of the profiles.
            fp16: compute in fp16, except in ``fp32_layers``.
            fp32_layers: names of nodes.
            title: of the progress line.

        Raises:
            ModelFileError: TensorRT's parser refuses the file.
            BackendError: the compiler failed.
        """
        onnx = self.given(onnx, fp16, fp32_layers)
        request = trt_api.BuildRequest(
            onnx=onnx,
            batches=tuple(batches),
            fp16=fp16,
            fp32_layers=tuple(fp32_layers),
            workspace_bytes=self._workspace_given,
            timing_cache=self._read_cache(),
            targets=self.targets,
        )
        start_s = time.perf_counter()
        built = _build_shown(self.trt, request, title)
        if built.timing_cache and built.timing_cache != request.timing_cache:
            self._write_cache(built.timing_cache)
        return Compiled(built.plan, onnx, time.perf_counter() - start_s)

    @property
    def _workspace_given(self) -> Optional[int]:
        """On a board, where the GPU's memory is also the desktop's and the camera's, not all."""
        if self.workspace_bytes is None and self.gpu is not None and self.gpu.integrated:
            return trt_api.BOARD_WORKSPACE_BYTES
        return self.workspace_bytes

    def _gpu_here(self) -> GpuFacts:
        try:
            return gpu_facts()
        except BackendError as error:
            if self.trt.builds_without_gpu:
                raise UsageError(
                    f"{error} {self.trt} can build for a GPU that is elsewhere: name it, such as "
                    "--target sm_86."
                ) from None
            raise

    def _cache_name(self) -> str:
        gpu = self.machine.compute_capability or "elsewhere"
        return f"{self.trt.package}_{self.trt.version_text}_{gpu}{TIMING_CACHE_SUFFIX}"

    def _read_cache(self) -> bytes:
        try:
            return self._cache_path.read_bytes()
        except OSError:
            return b""

    def _write_cache(self, content: bytes) -> None:
        try:
            write_whole(self._cache_path, content)
        except ClipedgeError as error:
            # It saves time, no more: what was built for minutes is not given up for it.
            _log.warning("The next build will take as long as this one: %s", error)


def _installed(for_elsewhere: bool) -> str:
    """Return the package to use where none was asked for."""
    installed = trt_api.installed_packages()
    preferred = (trt_api.TENSORRT_RTX,) if for_elsewhere else trt_api.PACKAGES
    return next((name for name in preferred if name in installed), preferred[0])


def _as_fp16(onnx: bytes, fp32_layers: Sequence[str]) -> bytes:
    try:
        from clipedge.export.fp16_graph import to_fp16

        return to_fp16(onnx, fp32_layers)
    except ImportError as error:
        raise BackendError(
            f"This TensorRT takes its precision from the ONNX file, and making it fp16 needs "
            f"{error.name}: pip install {error.name}"
        ) from None


def _build_shown(
    trt: trt_api.TensorRT, request: trt_api.BuildRequest, title: str
) -> trt_api.BuiltEngine:
    """Build in a thread, so that this one can draw the progress and hear Ctrl-C."""
    results: List[Any] = []
    state = _BuildState()

    def work() -> None:
        try:
            results.append(trt.build(request, state.step))
        except BaseException as error:
            results.append(error)

    # A daemon: TensorRT before 10.0 cannot be stopped, and Ctrl-C shall not wait for minutes.
    thread = threading.Thread(target=work, name=BUILD_THREAD, daemon=True)
    start_s = time.monotonic()
    with ProgressLine(title, unit="steps") as progress:
        thread.start()
        try:
            while thread.is_alive():
                progress.show(state.text(time.monotonic() - start_s))
                thread.join(_TICK_S)
        except BaseException:
            state.stopped = True
            raise
    result = results.pop()
    if isinstance(result, BaseException):
        try:
            raise result
        finally:
            # Its traceback holds this frame, and builder and network until the next collection.
            del result
    built: trt_api.BuiltEngine = result
    return built


class _BuildState:
    """How far a build is, as TensorRT's monitor tells it from another thread."""

    def __init__(self) -> None:
        self.stopped = False
        self._phase = ""

    def step(self, phase: str, done: int, planned: int) -> bool:
        self._phase = f"{phase}, {done} of {planned}" if planned else phase
        return not self.stopped

    def text(self, elapsed_s: float) -> str:
        phase = f" ({self._phase})" if self._phase else ""
        return f"{elapsed_s:.0f} s{phase}"
