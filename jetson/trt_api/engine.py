"""Loaded engines and their executions, in every era.

Everything here is called with the CUDA context of the engine current. Close executions before
their engine, and the engine before the context.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import BackendError
from clipedge.jetson.trt_api.native import make_profiler, member_name
from clipedge.jetson.trt_api.release import Era, Release

# By TensorRT's own names: its nptype() needs numpy.bool, which newer numpy releases lack.
_NUMPY_NAMES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32"}


class TensorInfo(NamedTuple):
    """An input or output of an engine; -1 where its shape is dynamic."""

    name: str
    is_input: bool
    dtype: str  # numpy's name
    shape: Tuple[int, ...]


def open_engine(release: Release, plan: bytes) -> "Engine":
    """Load a serialized engine; ``TensorRT.open_engine`` documents it."""
    runtime = release.create(lambda: release.module.Runtime(release.logger))
    release.logger.errors.clear()
    native = runtime.deserialize_cuda_engine(plan)
    if native is None:
        raise BackendError(
            f"{release} cannot load the engine: {release.logger.reason()}. An engine runs only on "
            "the TensorRT release and the kind of GPU it was built with; build it again."
        )
    kind = _IndexedEngine if release.era == Era.BINDINGS else Engine
    return kind(release, runtime, native)


class Engine(Closing):
    """A loaded engine. A context manager.

    Attributes:
        tensors: its inputs and outputs.
        batches: the batch size of each optimization profile, in profile order.
        device_memory_bytes: what one execution needs on the GPU beside its buffers.
    """

    def __init__(self, release: Release, runtime: Any, native: Any) -> None:
        self._release = release
        self._runtime = runtime
        self._native = native
        self.tensors = tuple(self._tensors())
        profiles = range(native.num_optimization_profiles)
        self.batches = tuple(self._batch_of(profile) for profile in profiles)

    @property
    def device_memory_bytes(self) -> int:
        """Scratch memory of one execution on the GPU."""
        if self._release.since(11):
            return int(self._native.device_memory_size_v2)
        return int(self._native.device_memory_size)

    def create_execution(self, profile: int, stream_handle: int) -> "Execution":
        """Return an execution of one profile's batch size.

        Args:
            profile: index into ``batches``; only one execution of a profile may exist.
            stream_handle: the CUDA stream it will be enqueued on.

        Raises:
            BackendError: the GPU has not enough memory left.
        """
        return _NamedExecution(self._release, self, profile, stream_handle)

    def layer_information(self) -> str:
        """Return the inspector's JSON text: each layer after fusion, with precision and shapes.

        Raises:
            BackendError: this TensorRT has no inspector.
        """
        if not self._release.since(8, 2):
            raise BackendError(
                f"{self._release} has no engine inspector; it came with 8.2 (JetPack 4.6.1)."
            )
        inspector = self._native.create_engine_inspector()
        form = self._release.module.LayerInformationFormat.JSON
        return str(inspector.get_engine_information(form))

    def close(self) -> None:
        """Free the engine, then the runtime; a second call does nothing."""
        self._native = None
        self._runtime = None

    def _tensors(self) -> List[TensorInfo]:
        native, mode = self._native, self._release.module.TensorIOMode
        names = [native.get_tensor_name(index) for index in range(native.num_io_tensors)]
        return [
            TensorInfo(
                name,
                native.get_tensor_mode(name) == mode.INPUT,
                _numpy_name(native.get_tensor_dtype(name)),
                tuple(native.get_tensor_shape(name)),
            )
            for name in names
        ]

    def _batch_of(self, profile: int) -> int:
        return int(self._native.get_tensor_profile_shape(self.clips.name, profile)[1][0])

    @property
    def clips(self) -> TensorInfo:
        """The input."""
        return next(tensor for tensor in self.tensors if tensor.is_input)

    def shape_of_batch(self, profile: int) -> Tuple[int, ...]:
        """Return the input's shape in a profile."""
        return (self.batches[profile], *self.clips.shape[1:])


class _IndexedEngine(Engine):
    """Before 8.5: tensors by index; every profile repeats them all, one set behind the other."""

    def create_execution(self, profile: int, stream_handle: int) -> "Execution":
        return _IndexedExecution(self._release, self, profile, stream_handle)

    @property
    def bindings_a_profile(self) -> int:
        return int(self._native.num_bindings) // int(self._native.num_optimization_profiles)

    def _tensors(self) -> List[TensorInfo]:
        native = self._native
        return [
            TensorInfo(
                native.get_binding_name(index),
                bool(native.binding_is_input(index)),
                _numpy_name(native.get_binding_dtype(index)),
                tuple(native.get_binding_shape(index)),
            )
            for index in range(self.bindings_a_profile)
        ]

    def _batch_of(self, profile: int) -> int:
        return int(self._native.get_profile_shape(profile, self._binding_of_clips(profile))[1][0])

    def _binding_of_clips(self, profile: int) -> int:
        return profile * self.bindings_a_profile + self.tensors.index(self.clips)


class Execution:
    """Runs one profile of an engine: bind once, enqueue as often as wanted."""

    def __init__(self, release: Release, engine: Engine, profile: int, stream_handle: int) -> None:
        self._release = release
        self._engine = engine
        self._profile = profile
        self._profiler: Any = None
        release.logger.errors.clear()
        self._context = engine._native.create_execution_context()
        if self._context is None:
            raise BackendError(
                f"{release} has no memory for a batch of {engine.batches[profile]}: "
                f"{release.logger.reason()}. It needs {engine.device_memory_bytes >> 20} MiB on "
                "the GPU; close other programs or build a smaller --batch."
            )
        try:
            chosen = self._context.set_optimization_profile_async(profile, stream_handle)
        except RuntimeError:  # some releases raise where it fails
            chosen = False
        self._require(chosen, "cannot choose the batch size")
        self._set_shape()

    def bind(self, addresses: Dict[str, int]) -> None:
        """Say where on the device each tensor lies, by name."""
        raise NotImplementedError

    def enqueue(self, stream_handle: int) -> None:
        """Start on a stream and return; the logits are there once the stream is synchronised.

        Raises:
            BackendError: TensorRT could not start it.
        """
        raise NotImplementedError

    def profile_with(self, report: Callable[[str, float], None]) -> None:
        """Call ``report`` with each layer's name and milliseconds from now on, at each enqueue."""
        self._profiler = make_profiler(self._release.module, report)
        self._context.profiler = self._profiler

    def close(self) -> None:
        """Free it; a second call does nothing."""
        self._context = None
        self._profiler = None

    def _set_shape(self) -> None:
        raise NotImplementedError

    def _require(self, done: bool, problem: str) -> None:
        if not done:
            reason = self._release.logger.reason()
            raise BackendError(f"{self._release} {problem}: {reason}.")


class _NamedExecution(Execution):
    def bind(self, addresses: Dict[str, int]) -> None:
        for name, address in addresses.items():
            self._require(
                self._context.set_tensor_address(name, address), f"refuses the buffer of {name}"
            )

    def enqueue(self, stream_handle: int) -> None:
        self._require(self._context.execute_async_v3(stream_handle), "could not run the engine")

    def _set_shape(self) -> None:
        shape = self._engine.shape_of_batch(self._profile)
        self._require(
            self._context.set_input_shape(self._engine.clips.name, shape), f"refuses clips {shape}"
        )


class _IndexedExecution(Execution):
    _engine: _IndexedEngine
    _bindings: List[int]

    def bind(self, addresses: Dict[str, int]) -> None:
        count, profiles = self._engine.bindings_a_profile, len(self._engine.batches)
        self._bindings = [0] * (count * profiles)
        for index, tensor in enumerate(self._engine.tensors):
            self._bindings[self._profile * count + index] = addresses[tensor.name]

    def enqueue(self, stream_handle: int) -> None:
        if self._profiler is not None and not self._release.since(8, 2):
            # A profiler hears of nothing else there. It waits for what the stream holds.
            done = self._context.execute_v2(self._bindings)
        else:
            done = self._context.execute_async_v2(self._bindings, stream_handle)
        self._require(done, "could not run the engine")

    def _set_shape(self) -> None:
        shape = self._engine.shape_of_batch(self._profile)
        index = self._engine._binding_of_clips(self._profile)
        self._require(self._context.set_binding_shape(index, shape), f"refuses clips {shape}")


def _numpy_name(dtype: Any) -> str:
    name = member_name(dtype)
    if name not in _NUMPY_NAMES:
        raise BackendError(f"The engine has a tensor of type {name}; export the model again.")
    return _NUMPY_NAMES[name]
