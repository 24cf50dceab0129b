"""The tensorrt backend: runs engines on an NVIDIA GPU, from TensorRT 8.0 on."""

import pathlib
import statistics
import threading
import time
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple

import numpy as np

from clipedge.jetson.cuda import CudaSession, GpuFacts, gpu_facts
from clipedge.jetson.engine_manifest import (
    Machine,
    check_machine,
    load_manifest,
    read_engine,
)
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.files import PathLike
from clipedge.jetson.gpu_facts import sm_name
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.layer_times import median_times_ms
from clipedge.jetson.runners.model_file import check_graph
from clipedge.jetson.runners.tensorrt_lane import MAPPED, PINNED, Lane
from clipedge.jetson.trt_api import Engine, Execution, TensorRT, installed_packages, load

# Which kind is faster where CPU and GPU share their memory is measured with the first clips: so
# many inferences in each, after one that warms up, or fewer where they take longer than this.
TRIAL_TURNS = 5
TRIAL_S = 0.5


class _Choice:
    """The kind of memory that was faster; runners beside each other share it."""

    def __init__(self, kind: Optional[str]) -> None:
        self.kind = kind  # None until it was measured
        self.trial_ms: Dict[str, float] = {}
        self.lock = threading.RLock()  # the others wait while one measures


class TensorrtRunner(Runner):
    """Runs a TensorRT engine in a CUDA context of its own, from any thread.

    Each batch size of the engine gets its execution and its buffers when it is first asked for,
    and keeps them.
    """

    backend = "tensorrt"

    def __init__(self, path: PathLike, beside: Optional["TensorrtRunner"] = None) -> None:
        """Open an engine; ``beside`` is a runner of the same file, as ``beside()`` says."""
        manifest = load_manifest(path)
        facts = gpu_facts()
        package = manifest.machine.tensorrt.partition(" ")[0]
        if package not in installed_packages():
            # It may be the wrong GPU for that package, too: installing it would not help.
            check_machine(path, manifest, gpu_here(manifest.machine.tensorrt, facts))
        trt = load(package)
        check_machine(path, manifest, machine_here(trt, facts))
        plan = read_engine(path, manifest)
        super().__init__(manifest.spec, tuple(sorted(manifest.batches)))
        self._path = pathlib.Path(path)
        self._manifest = manifest
        self._trt = trt
        self._facts = facts
        self._choice = _Choice(None if facts.integrated else PINNED)
        self._lanes: Dict[int, Lane] = {}
        self._session: Optional[CudaSession] = None
        self._engine: Any = None
        try:
            if beside is None:
                self._session = CudaSession()
            else:
                self._choice = beside._choice
                self._session = CudaSession(beside=beside._require_open())
            with self._context():
                self._engine = trt.open_engine(plan)
                self._plan_bytes = len(plan)
                _check_engine(path, self._engine, self)
        except BaseException:
            self.close()
            raise

    def beside(self) -> "TensorrtRunner":
        """Open the engine once more, to run at the same time as this one.

        Both share one CUDA context, since contexts take turns on a GPU; each has an execution, a
        stream and buffers of its own. The engine is loaded twice, and so is in memory: before
        TensorRT 10 two executions of one engine may not use the same optimization profile. They
        may be closed in any order.

        Raises:
            UsageError: this runner is closed.
            ClipedgeError: as of opening the file.
        """
        return TensorrtRunner(self._path, self)

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        with self._context():
            lane = self._lanes.get(len(clips))
            if lane is None:
                lane = self._lanes[len(clips)] = self._new_lane(clips)
            logits, self.last_timing_ms = lane.run(clips)
        return logits

    def bare_call(self, clips: np.ndarray) -> Callable[[], np.ndarray]:
        """Return the inference alone, without checks, lock and timing: what the Runner adds to.

        It copies the clips, queues copies and engine, waits and returns logits that its next call
        overwrites. For benchmarks.
        """
        self.infer(clips)
        lane = self._lanes[len(clips)]

        def call() -> np.ndarray:
            with self._context():
                return lane.run_untimed(clips)

        return call

    def layer_times_ms(self, clips: np.ndarray, runs: int) -> Dict[str, float]:
        """Return the median time of each layer, in the order they run, by TensorRT's profiler.

        Args:
            clips: as ``infer`` takes them.
            runs: how often to run them; as many runs before warm up.
        """
        timed: List[List[Tuple[str, float]]] = []
        checked = self._checked(clips)
        with self._lock, self._context():
            # An execution stays slow once it was profiled, and a profile has only one.
            self._drop_lane(len(checked))
            try:
                lane = self._lanes[len(checked)] = self._new_lane(checked)
                for _ in range(runs):
                    lane.run(checked)
                lane.execution.profile_with(lambda name, time_ms: timed[-1].append((name, time_ms)))
                for _ in range(runs):
                    timed.append([])
                    lane.run(checked)
            finally:
                self._drop_lane(len(checked))
        return median_times_ms(timed)

    def layer_information(self) -> str:
        """Return TensorRT's own JSON text on the engine's layers.

        Raises:
            BackendError: this TensorRT has no inspector.
        """
        with self._lock, self._context():
            return str(self._engine.layer_information())

    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, precision, graph form, batch sizes and memory.

        ``memory`` is None until the first inference has chosen it; ``memory_trial_ms`` is what
        that measured. ``gpu_memory_mb`` is what the engine takes there in MiB, of which CUDA's own
        is no part: the plan's weights, and so far scratch and buffers of each batch size.
        """
        architecture = sm_name(self._facts.compute_capability)
        return {
            "backend": self.backend,
            "version": self._trt.version_text,
            "package": self._trt.package,
            "device": f"{self._facts.name} ({architecture})",
            "cuda": self._facts.cuda_version,
            "threads": None,
            "precision": self._manifest.precision,
            "graph": self._manifest.graph_form,
            "batches": list(self._manifest.batches),
            "memory": self._choice.kind,
            "memory_trial_ms": dict(self._choice.trial_ms),
            "gpu_memory_mb": self._gpu_memory_mb(),
        }

    def close(self) -> None:
        """Free executions, engine, buffers and CUDA context, in this order.

        It waits for an inference that another thread is in, and for what is queued on the GPU.
        """
        super().close()
        with self._lock:
            session, self._session = self._session, None
            if session is None:
                return
            try:
                with session.current():
                    session.drain()
                    for lane in self._lanes.values():
                        lane.execution.close()
                    self._lanes.clear()
                    if self._engine is not None:
                        self._engine.close()
                    self._engine = None
            finally:
                # Also where CUDA failed: what is left must not outlive its context.
                self._lanes.clear()
                self._engine = None
                session.close()

    def _advice_on_batch(self, count: int) -> str:
        batches = tuple(sorted({count, *self._manifest.batches}))
        command = self._manifest._replace(batches=batches).rebuild_command(self._path)
        return f"An engine has the batch sizes it was built for. Rebuild: {command}"

    def _context(self) -> ContextManager[None]:
        """Have the CUDA context current for a block."""
        return self._require_open().current()  # it may be closed while a thread waits for the lock

    def _require_open(self) -> CudaSession:
        if self._session is None:
            raise UsageError("This runner is closed; open the model file again.")
        return self._session

    def _new_lane(self, clips: np.ndarray) -> "Lane":
        assert self._session is not None
        profile = self._engine.batches.index(len(clips))
        execution = self._engine.create_execution(profile, self._session.stream_handle)
        try:
            return self._equipped(execution, clips)
        except BaseException:
            self._session.drain()
            execution.close()
            raise

    def _equipped(self, execution: Execution, clips: np.ndarray) -> "Lane":
        """Return a lane with the memory that is faster; the first one measures which that is.

        Where there is no room for one of each, it is the one that there is room for.
        """
        choice = self._choice
        with choice.lock:
            if choice.kind is None:
                return self._measured(choice, execution, clips)
        return self._make_lane(execution, len(clips), choice.kind)

    def _measured(self, choice: _Choice, execution: Execution, clips: np.ndarray) -> "Lane":
        assert self._session is not None
        lanes: Dict[str, Lane] = {}
        refusals: List[BackendError] = []
        try:
            for kind in (PINNED, MAPPED):
                try:
                    lanes[kind] = self._make_lane(execution, len(clips), kind)
                except BackendError as error:
                    refusals.append(error)
            if not lanes:
                raise refusals[0]
            trial_ms = {} if refusals else _time_in_turns(lanes, clips)
            memory = min(trial_ms or lanes, key=lambda kind: trial_ms.get(kind, 0.0))
            chosen = lanes.pop(memory)
            chosen.bind()
        finally:
            refusals.clear()  # their tracebacks hold this frame
            self._session.drain()
            for lane in lanes.values():
                lane.free()
        choice.kind, choice.trial_ms = memory, trial_ms
        return chosen

    def _gpu_memory_mb(self) -> Dict[str, float]:
        lanes = list(self._lanes.values())
        scratch = self._engine.device_memory_bytes * len(lanes) if lanes else 0
        sizes = {
            "plan": self._plan_bytes,
            "scratch": scratch,
            "buffers": sum(lane.gpu_bytes for lane in lanes),
        }
        return {name: round(size / 2**20, 3) for name, size in sizes.items()}

    def _drop_lane(self, count: int) -> None:
        assert self._session is not None
        lane = self._lanes.pop(count, None)
        if lane is not None:
            self._session.drain()
            lane.execution.close()
            lane.free()

    def _make_lane(self, execution: Execution, count: int, memory: str) -> "Lane":
        assert self._session is not None
        shapes = ((count, *self.spec.clip_shape), (count, self.spec.num_classes))
        lane = Lane(self._session, self._engine, execution, shapes, memory)
        lane.bind()
        return lane


def machine_here(trt: TensorRT, facts: GpuFacts) -> Machine:
    """Return what an engine must have been built with and for to run here."""
    return gpu_here(f"{trt.package} {trt.version_text}", facts)


def gpu_here(tensorrt: str, facts: GpuFacts) -> Machine:
    """Return the same for a TensorRT by package and version."""
    return Machine(
        tensorrt,
        facts.name,
        sm_name(facts.compute_capability),
        facts.cuda_version,
    )


def _check_engine(path: PathLike, engine: Engine, runner: Runner) -> None:
    """Raise ModelFileError where the engine is not what its manifest says."""
    shapes: Dict[bool, Any] = {True: [], False: []}
    for tensor in engine.tensors:
        shapes[tensor.is_input].append([None if size < 0 else size for size in tensor.shape])
    check_graph(path, runner.spec, shapes[True], shapes[False])
    wrong = [f"{tensor.name}: {tensor.dtype}" for tensor in engine.tensors]
    if any(tensor.dtype != "float32" for tensor in engine.tensors):
        raise ModelFileError(
            "{} takes and gives {}; expected float32. Export the model again.".format(
                path, ", ".join(wrong)
            )
        )
    if tuple(sorted(engine.batches)) != runner.batch_sizes:
        raise ModelFileError(
            f"{path} has the batch sizes {engine.batches}, its manifest {runner.batch_sizes}. "
            "Build it again with export-engine."
        )


def _time_in_turns(lanes: Dict[str, Lane], clips: np.ndarray) -> Dict[str, float]:
    """Return each lane's median milliseconds for these clips."""
    latencies_ms: Dict[str, Any] = {kind: [] for kind in lanes}
    deadline_s = None
    for turn in range(TRIAL_TURNS + 1):
        for kind, lane in lanes.items():
            lane.bind()
            start_s = time.perf_counter()
            lane.run(clips)
            if turn > 0:  # the first warms up
                latencies_ms[kind].append((time.perf_counter() - start_s) * 1e3)
        now_s = time.perf_counter()
        deadline_s = now_s + TRIAL_S if deadline_s is None else deadline_s
        if turn > 0 and now_s > deadline_s:
            break
    return {kind: round(statistics.median(values), 4) for kind, values in latencies_ms.items()}
