"""CUDA through pycuda: the GPU's facts, a context of our own, memory, copies, events.

This is the only module that imports pycuda, and it does so when it is first asked for something.
It keeps to what pycuda 2020.1 has, the last that TensorRT 8.2 on Python 3.6 goes with.

pycuda frees streams, events and memory when their Python objects die, which is too late where a
traceback or a cycle holds them until their context is gone. So a CudaSession owns what it hands
out and frees it itself, in reverse order, with its context current.
"""

import contextlib
import importlib
import logging
import sys
import traceback
import warnings
from typing import (
    Any,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
    Union,
)

import numpy as np

from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import BackendError, UsageError

_log = logging.getLogger(__name__)

_MIB = 2.0**20

_Resource = TypeVar("_Resource", "Buffer", "Event")

_OTHERWISE = "Without an NVIDIA GPU, open the ONNX file instead of the engine."
# pycuda is compiled where it is installed. TensorRT 8.2 asks for a release before 2021.1, which
# imports six without asking for it.
_INSTALL = (
    "PATH=/usr/local/cuda/bin:$PATH CPATH=/usr/local/cuda/include python3 -m pip install {}".format(
        "'pycuda<2021.1' six" if sys.version_info < (3, 7) else "pycuda"
    )
)


class GpuFacts(NamedTuple):
    """What a GPU is, and what its driver can do."""

    name: str
    compute_capability: Tuple[int, int]
    memory_bytes: int  # of an integrated GPU: the machine's own
    integrated: bool  # it shares its memory with the CPU, as a Jetson's does
    cuda_version: str  # the latest the driver supports, such as "10.2"


class Buffer:
    """Memory that the GPU reaches: its own, the host's, or the host's mapped into its addresses.

    Attributes:
        array: the host's side, a numpy array; None where the memory is the GPU's own.
        address: what a kernel reads and writes; None where it cannot.
    """

    def __init__(
        self, allocation: Any, array: Optional[np.ndarray], address: Optional[int]
    ) -> None:
        self._allocation = allocation
        self.array: Any = array
        self.address: Any = address

    def free(self) -> None:
        """Free the memory; the session that made it calls this. A second call does nothing."""
        # Nobody may touch the array any more: it would read memory that is not there.
        self.array = self.address = None
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            allocation.free()


class Event:
    """A mark in the stream, which notes the time when the GPU passes it."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def free(self) -> None:
        """Destroy it; the session that made it calls this."""
        self.native = None


class CudaSession(Closing):
    """A CUDA context with one stream, and what is allocated for it. A context manager.

    The context is current only inside ``with session.current():``, in whichever thread that runs;
    all methods but ``close`` are called in there. Two threads must not be in there at once.

    Contexts take turns on a GPU, streams of one context run at once: a session ``beside`` another
    one shares its context, which goes with the last of them. Two threads may be in two of them.

    Attributes:
        facts: GpuFacts of its GPU.

    Raises:
        BackendError: as of ``gpu_facts``, or CUDA fails.
        UsageError: the session beside it is closed.
    """

    def __init__(self, index: int = 0, beside: Optional["CudaSession"] = None) -> None:
        self._driver = _started_driver()
        device = _device(self._driver, index)
        self.facts = _facts(self._driver, device)
        self._owned: List[Union[Buffer, Event]] = []
        self._stream: Any = None
        self._context: Any = None
        self._emptied = False
        self._holders: Set[CudaSession] = set() if beside is None else beside._holders
        outer = self._driver.Context.get_current()
        try:
            if beside is None:
                self._make_context(device)
            else:
                self._share_context(beside)
            with self.current():
                self._stream = self._driver.Stream()
        except BaseException:
            if self._context is None and beside is None:
                # Making one takes long; Ctrl-C meanwhile is raised when it is there, without name.
                made = self._driver.Context.get_current()
                self._context = None if made == outer else made
            self.close()
            raise

    def _make_context(self, device: Any) -> None:
        self._holders.add(self)
        with _cuda_errors(self._driver):
            self._context = device.make_context(flags=self._driver.ctx_flags.MAP_HOST)
            self._driver.Context.pop()

    def _share_context(self, other: "CudaSession") -> None:
        if other._context is None:
            raise UsageError("The CUDA session to share a context with is closed.")
        self._context = other._context
        self._holders.add(self)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread for the block; errors of CUDA become ours.

        Raises:
            UsageError: the session is closed.
            BackendError: CUDA failed inside the block.
        """
        context = self._context
        if context is None:
            raise UsageError("This CUDA session is closed.")
        with _cuda_errors(self._driver):
            try:
                context.push()
                yield
            except BaseException as error:
                _drop_what_frames_hold(error)
                raise
            finally:
                # An interrupt may have come before the push, or the block may have closed us.
                if self._driver.Context.get_current() == context:
                    self._driver.Context.pop()

    @property
    def stream_handle(self) -> int:
        """The stream's address, as TensorRT takes it."""
        return int(self._stream.handle)

    def device_buffer(self, shape: Sequence[int], dtype: Any) -> Buffer:
        """Return memory of the GPU that holds an array of this shape."""
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        allocation = self._allocate(size_bytes, self._driver.mem_alloc, size_bytes)
        return self._own(Buffer(allocation, None, int(allocation)))

    def pinned_buffer(self, shape: Sequence[int], dtype: Any) -> Buffer:
        """Return page-locked memory of the host: copies to and from the GPU run on their own."""
        array = self._host_array(shape, dtype, 0)
        return self._own(Buffer(array.base, array, None))

    def mapped_buffer(self, shape: Sequence[int], dtype: Any) -> Buffer:
        """Return page-locked memory of the host that kernels read and write: nothing is copied."""
        array = self._host_array(shape, dtype, self._driver.host_alloc_flags.DEVICEMAP)
        allocation: Any = array.base
        return self._own(Buffer(allocation, array, int(allocation.get_device_pointer())))

    def free(self, resource: Union[Buffer, Event]) -> None:
        """Free a buffer or event before the session ends; the caller has synchronised."""
        self._owned.remove(resource)
        resource.free()

    def copy_to_device(self, host: Buffer, device: Buffer) -> None:
        """Queue a copy of a pinned buffer into a device buffer; leave both alone until then."""
        self._driver.memcpy_htod_async(device.address, host.array, self._stream)

    def copy_to_host(self, device: Buffer, host: Buffer) -> None:
        """Queue a copy of a device buffer into a pinned buffer."""
        self._driver.memcpy_dtoh_async(host.array, device.address, self._stream)

    def event(self) -> Event:
        """Return a new event, for ``record`` and ``elapsed_ms``."""
        return self._own(Event(self._driver.Event()))

    def record(self, event: Event) -> None:
        """Queue the event."""
        event.native.record(self._stream)

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Return the GPU's milliseconds between two events that have happened."""
        return float(start.native.time_till(end.native))

    def synchronize(self) -> None:
        """Wait until all that was queued is done; other threads run meanwhile."""
        self._stream.synchronize()

    def drain(self) -> None:
        """Wait until nothing is queued any more, also after a failure that was told already."""
        if self._stream is None:
            return
        try:
            self._stream.synchronize()
        except self._driver.Error as error:
            _log.debug("CUDA failed before the session was closed: %s", error)

    def close(self) -> None:
        """Free everything in reverse order, the context last; a second call does nothing.

        What is queued is waited for, so that no copy writes to memory that is gone. A context
        that another session holds stays.
        """
        interrupt: Optional[KeyboardInterrupt] = None
        while self._context is not None:
            try:
                self._free_all()
            except KeyboardInterrupt as error:  # told when everything is free
                _drop_what_frames_hold(error)
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _free_all(self) -> None:
        """Free everything; called again after an interrupt, it goes on."""
        try:
            if not self._emptied:
                # Not through `current`: detaching takes the context off this thread's stack too,
                # and in another thread than its maker's pycuda detaches only what is current.
                self._context.push()
                self.drain()
                while self._owned:
                    self._owned[-1].free()
                    self._owned.pop()
                self._stream = None
                self._emptied = True
            self._holders.discard(self)
            if not self._holders:
                self._context.detach()
            while self._driver.Context.get_current() == self._context:
                self._driver.Context.pop()  # more than one after an interrupt
        except self._driver.Error as error:  # the context is gone, and all that was in it
            _log.debug("CUDA while the session was closed: %s", error)
            self._holders.discard(self)
        self._context = None

    def _own(self, resource: _Resource) -> _Resource:
        self._owned.append(resource)
        return resource

    def _host_array(self, shape: Sequence[int], dtype: Any, flags: int) -> np.ndarray:
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        make = self._driver.pagelocked_empty
        array: np.ndarray = self._allocate(size_bytes, make, tuple(shape), dtype, mem_flags=flags)
        return array

    def _allocate(self, size_bytes: int, make: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return make(*arguments, **options)
        except self._driver.MemoryError:
            raise BackendError(
                f"{self.facts.name} has not {size_bytes / _MIB:.1f} MiB of memory left for a "
                "buffer; close other programs that use the GPU, or choose a smaller batch."
            ) from None


def gpu_facts(index: int = 0) -> GpuFacts:
    """Return what the GPU ``index`` is; no context is made.

    Raises:
        BackendError: pycuda is not installed or does not load, the driver is missing or too old,
            or there is no such GPU.
    """
    driver = _started_driver()
    return _facts(driver, _device(driver, index))


def _started_driver() -> Any:
    """Return pycuda's driver module, started."""
    driver = _imported_driver()
    try:
        driver.init()
    except driver.Error as error:
        raise BackendError(
            f"CUDA does not start: {_reason(error)}. On a Jetson the user must be in the group "
            f"video; in a container the GPU must be handed in. {_OTHERWISE}"
        ) from None
    built, supported = tuple(driver.get_version()), _version_pair(driver.get_driver_version())
    if supported < built[:1]:
        raise BackendError(
            "The NVIDIA driver supports CUDA {}.{} and pycuda was built with CUDA {}.{}: update "
            "the driver, or build pycuda again with the older CUDA.".format(
                *(supported + built[:2])
            )
        )
    return driver


def _imported_driver() -> Any:
    try:
        with warnings.catch_warnings():
            # It warns of an old driver before it fails; the error says it too.
            warnings.simplefilter("ignore")
            return importlib.import_module("pycuda.driver")
    except ImportError as error:
        text = _reason(error)
        if isinstance(error, ModuleNotFoundError) and error.name in ("pycuda", "pycuda.driver"):
            message = (
                f"pycuda, which runs engines, is not installed here. Install with: {_INSTALL}."
            )
        elif "libcuda.so" in text and "undefined symbol" not in text:
            message = (
                "The NVIDIA driver (libcuda.so.1) is not on this machine or not in this container."
            )
        elif "undefined symbol: cu" in text:
            message = f"The NVIDIA driver is older than pycuda needs ({text}): update the driver."
        else:
            message = f"pycuda does not load: {text}. Build it again: {_INSTALL} --no-cache-dir."
        raise BackendError(f"{message} {_OTHERWISE}") from None


def _device(driver: Any, index: int) -> Any:
    count = driver.Device.count()
    if not 0 <= index < count:
        raise BackendError(
            f"CUDA finds {count} GPUs here; there is no GPU {index}. Is CUDA_VISIBLE_DEVICES set?"
        )
    return driver.Device(index)


def _facts(driver: Any, device: Any) -> GpuFacts:
    return GpuFacts(
        name=str(device.name()),
        compute_capability=tuple(device.compute_capability()),
        memory_bytes=int(device.total_memory()),
        integrated=bool(device.get_attribute(driver.device_attribute.INTEGRATED)),
        cuda_version="{}.{}".format(*_version_pair(driver.get_driver_version())),
    )


def _version_pair(number: int) -> Tuple[int, int]:
    """Return (10, 2) for 10020, as the driver writes it."""
    return number // 1000, number % 1000 // 10


def _drop_what_frames_hold(error: BaseException) -> None:
    """Let go of what the frames of a traceback hold, while its context is current.

    An interrupt during a long call is raised when the call is over. What it made has no name yet,
    or only one in a frame that the traceback keeps until the context is gone.
    """
    traceback.clear_frames(error.__traceback__)


@contextlib.contextmanager
def _cuda_errors(driver: Any) -> Iterator[None]:
    """Turn pycuda's errors into BackendError."""
    try:
        yield
    except driver.MemoryError as error:
        raise BackendError(
            f"The GPU is out of memory ({_reason(error)}); close other programs that use it, or "
            "choose a smaller batch or model."
        ) from None
    except driver.Error as error:
        raise BackendError(
            f"CUDA failed: {_reason(error)}. Open the model again; where it stays, build the "
            "engine again with export-engine."
        ) from None


def _reason(error: BaseException) -> str:
    """Return the first line of what an error says, without a last full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
