"""The tensorrt backend: runs engines on an NVIDIA GPU, from TensorRT 8.0 on."""

import contextlib
import pathlib
import statistics
import time
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple, TypeVar

import numpy as np

from clipedge.jetson.cuda import Buffer, CudaSession, Event, GpuFacts, gpu_facts
from clipedge.jetson.engine_manifest import (
    Machine,
    check_machine,
    load_manifest,
    read_engine,
)
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.files import PathLike
from clipedge.jetson.gpu_facts import sm_name
from clipedge.jetson.runners.base import Runner, TimingMs
from clipedge.jetson.runners.layer_times import median_times_ms
from clipedge.jetson.runners.model_file import check_graph
from clipedge.jetson.trt_api import Engine, Execution, TensorRT, installed_packages, load

PINNED, MAPPED = "pinned", "mapped"  # kinds of host memory; `_Lane` says what they are

# Which kind is faster where CPU and GPU share their memory is measured with the first clips: so
# many inferences in each, after one that warms up, or fewer where they take longer than this.
TRIAL_TURNS = 5
TRIAL_S = 0.5


_Resource = TypeVar("_Resource", Buffer, Event)


class TensorrtRunner(Runner):
    """Runs a TensorRT engine in a CUDA context of its own, from any thread.

    Each batch size of the engine gets its execution and its buffers when it is first asked for,
    and keeps them.
    """

    backend = "tensorrt"

    def __init__(self, path: PathLike) -> None:
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
        self._memory = None if facts.integrated else PINNED
        self._trial_ms: Dict[str, float] = {}
        self._lanes: Dict[int, _Lane] = {}
        self._session: Optional[CudaSession] = None
        self._engine: Any = None
        try:
            self._session = CudaSession()
            with self._context():
                self._engine = trt.open_engine(plan)
                self._plan_bytes = len(plan)
                _check_engine(path, self._engine, self)
        except BaseException:
            self.close()
            raise

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
            "memory": self._memory,
            "memory_trial_ms": dict(self._trial_ms),
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
        if self._session is None:  # closed while this thread waited for the lock
            raise UsageError("This runner is closed; open the model file again.")
        return self._session.current()

    def _new_lane(self, clips: np.ndarray) -> "_Lane":
        assert self._session is not None
        profile = self._engine.batches.index(len(clips))
        execution = self._engine.create_execution(profile, self._session.stream_handle)
        try:
            return self._equipped(execution, clips)
        except BaseException:
            self._session.drain()
            execution.close()
            raise

    def _equipped(self, execution: Execution, clips: np.ndarray) -> "_Lane":
        """Return a lane with the memory that is faster; the first one measures which that is.

        Where there is no room for one of each, it is the one that there is room for.
        """
        assert self._session is not None
        if self._memory is not None:
            return self._make_lane(execution, len(clips), self._memory)
        lanes: Dict[str, _Lane] = {}
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
        self._memory, self._trial_ms = memory, trial_ms
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

    def _make_lane(self, execution: Execution, count: int, memory: str) -> "_Lane":
        assert self._session is not None
        shapes = ((count, *self.spec.clip_shape), (count, self.spec.num_classes))
        lane = _Lane(self._session, self._engine, execution, shapes, memory)
        lane.bind()
        return lane


class _Lane:
    """The execution, buffers and events of one batch size.

    ``pinned``: the GPU copies page-locked memory of the host to its own and back. ``mapped``: its
    kernels read and write the host's memory. That saves the copies where both share one memory,
    but a TX2 does not cache it for the CPU.
    """

    def __init__(
        self,
        session: CudaSession,
        engine: Engine,
        execution: Execution,
        shapes: Tuple[Tuple[int, ...], Tuple[int, ...]],
        memory: str,
    ) -> None:
        self.execution = execution
        self._session = session
        self._names = [tensor.name for tensor in engine.tensors if tensor.is_input]
        self._names += [tensor.name for tensor in engine.tensors if not tensor.is_input]
        self._kept = contextlib.ExitStack()
        with self._kept:  # where one fails, the others are freed
            self._copies = memory == PINNED
            make_host = session.pinned_buffer if self._copies else session.mapped_buffer
            self._host = [self._keep(make_host, shape, np.float32) for shape in shapes]
            self._device = self._host
            if self._copies:
                make = session.device_buffer
                self._device = [self._keep(make, shape, np.float32) for shape in shapes]
            self._events = [self._keep(session.event) for _ in range(4)]
            self._kept = self._kept.pop_all()

    @property
    def gpu_bytes(self) -> int:
        """The GPU's own memory that clips and logits take."""
        return sum(buffer.array.nbytes for buffer in self._host) if self._copies else 0

    def bind(self) -> None:
        """Let the execution use this lane's buffers."""
        addresses = [buffer.address for buffer in self._device]
        self.execution.bind(dict(zip(self._names, addresses)))

    def run(self, clips: np.ndarray) -> Tuple[np.ndarray, TimingMs]:
        """Score clips; return logits of the caller's own, and where the time went."""
        session, events = self._session, self._events
        start_s = time.perf_counter()
        np.copyto(self._host[0].array, clips)
        staging_ms = (time.perf_counter() - start_s) * 1e3
        session.record(events[0])
        self._queue(lambda index: session.record(events[index]))
        session.record(events[3])
        session.synchronize()
        h2d, compute, d2h = [
            session.elapsed_ms(start, end) for start, end in zip(events, events[1:])
        ]
        if not self._copies:
            h2d = d2h = 0.0
        return np.array(self._host[1].array), TimingMs(h2d, compute, d2h, staging_ms)

    def run_untimed(self, clips: np.ndarray) -> np.ndarray:
        """Score clips; return the buffer that the logits lie in."""
        np.copyto(self._host[0].array, clips)
        self._queue(lambda index: None)
        self._session.synchronize()
        logits: np.ndarray = self._host[1].array
        return logits

    def free(self) -> None:
        """Free buffers and events; the execution stays."""
        self._kept.close()

    def _queue(self, between: Callable[[int], None]) -> None:
        """Queue copies and engine; call ``between`` with 1 before the engine and 2 behind it."""
        if self._copies:
            self._session.copy_to_device(self._host[0], self._device[0])
        between(1)
        self.execution.enqueue(self._session.stream_handle)
        between(2)
        if self._copies:
            self._session.copy_to_host(self._device[1], self._host[1])

    def _keep(self, make: Callable[..., _Resource], *arguments: Any) -> _Resource:
        resource = make(*arguments)
        self._kept.callback(self._session.free, resource)
        return resource


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


def _time_in_turns(lanes: Dict[str, _Lane], clips: np.ndarray) -> Dict[str, float]:
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
