"""pycuda.driver on the make-believe machine.

It behaves as pycuda's C++ does where that is easy to get wrong: a context is current for one thread
only; streams and events have no ``free``, dropping the last reference destroys them; and what is
freed in another thread than its context's, without that context current, is quietly not freed.
"""

import functools
import threading
import types
import weakref
from typing import Any, Callable, Dict, List, Optional

from stand_ins import pycuda_memory
from stand_ins.in_c import as_c
from stand_ins.limited import Bound, Members, enumeration, limited
from stand_ins.machine import CudaContext, CudaError, Machine, Stream
from stand_ins.pycuda_memory import DEVICEMAP, MAP_HOST
from stand_ins.pycuda_objects import Owned, Translated, check_initialised, driver_call, stream_of

_DISABLE_TIMING = 0x2

# pycuda's enumerations are Boost's, those of flags classes with plain numbers.
ENUMERATIONS: Dict[str, Dict[str, int]] = {
    "device_attribute": {"INTEGRATED": 18, "CANMAP_HOST_MEMORY": 19, "MULTIPROCESSOR_COUNT": 16},
}
FLAGS: Dict[str, Dict[str, int]] = {
    "ctx_flags": {"SCHED_AUTO": 0, "SCHED_BLOCKING_SYNC": 4, "MAP_HOST": MAP_HOST},
    "host_alloc_flags": {"PORTABLE": 1, "DEVICEMAP": DEVICEMAP, "WRITECOMBINED": 4},
    "event_flags": {"DEFAULT": 0, "BLOCKING_SYNC": 1, "DISABLE_TIMING": _DISABLE_TIMING},
}
ERRORS = ("Error", "MemoryError", "LogicError", "RuntimeError", "LaunchError")


class PycudaStandIn:
    """pycuda with the listed members; `module` is ``pycuda.driver``."""

    def __init__(self, machine: Machine, members: Members) -> None:
        self.machine = machine
        # pycuda's context stack holds what it handed out, so it is the same object again.
        self.handed_out: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
        self.errors: Dict[str, Any] = {"Error": type("Error", (Exception,), {})}
        for name in ERRORS[1:]:
            self.errors[name] = type(name, (self.errors["Error"],), {})
        for error in self.errors.values():
            error.__module__ = "pycuda._driver"
        self.classes: Dict[str, Any] = {
            name: self._class(name, listed) for name, listed in members.items() if name != "module"
        }
        self.package = types.ModuleType("pycuda")
        self.module = types.ModuleType("pycuda.driver")
        for name in members["module"]:
            setattr(self.module, name, self._named(name))

    def _class(self, name: str, listed: List[str]) -> Any:
        if name in ENUMERATIONS:
            return enumeration(name, ENUMERATIONS[name], listed)
        if name in FLAGS:
            return type(name, (), {key: FLAGS[name][key] for key in listed})
        made = limited(name, _CLASSES[name], listed, "pycuda._driver")
        made._home = self
        return made

    def _named(self, name: str) -> Any:
        if name in self.errors:
            return self.errors[name]
        if name in self.classes:
            return self.classes[name]
        function = _FUNCTIONS[name]

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            with self.translated():
                return function(self, *arguments, **named)

        return as_c(call)

    def translated(self) -> "Translated":
        return Translated(self.errors)

    def current(self, call: str) -> CudaContext:
        """This thread's context, or the error of a call that needs one."""
        context = self.machine.current_context()
        if context is None:
            raise CudaError(call, "INVALID_CONTEXT", "invalid device context")
        return context


class Device(Bound):
    _home: PycudaStandIn

    def __init__(self, ordinal: int) -> None:
        with self._home.translated():
            check_initialised(self._home.machine, "cuDeviceGet")
            if not 0 <= ordinal < self._home.machine.gpu.count:
                raise CudaError("cuDeviceGet", "INVALID_DEVICE", "invalid device ordinal")

    @classmethod
    def count(cls) -> int:
        with cls._home.translated():
            check_initialised(cls._home.machine, "cuDeviceGetCount")
        return int(cls._home.machine.gpu.count)

    def name(self) -> str:
        return self._home.machine.gpu.name

    def compute_capability(self) -> Any:
        return self._home.machine.gpu.compute_capability

    def total_memory(self) -> int:
        return self._home.machine.gpu.memory_bytes

    def get_attribute(self, attribute: Any) -> int:
        values = {"INTEGRATED": int(self._home.machine.gpu.integrated), "CANMAP_HOST_MEMORY": 1}
        values["MULTIPROCESSOR_COUNT"] = 2
        return values[attribute.name]

    def make_context(self, flags: int = 0) -> Any:
        home = self._home
        made = home.classes["Context"]._make(CudaContext(home.machine, flags))
        home.machine.stack().append(made._context)
        return made


class Context(Bound):
    _home: PycudaStandIn
    _context: CudaContext

    def __init__(self) -> None:
        raise RuntimeError("This class cannot be instantiated from Python")

    @classmethod
    def _make(cls, context: CudaContext) -> Any:
        made = cls.__new__(cls)
        made._context = context
        made._key = cls._home.machine.born("CUDA context")
        cls._home.handed_out[context] = made
        return made

    @driver_call
    def push(self) -> None:
        if not self._context.alive:
            raise CudaError("cuCtxPushCurrent", "INVALID_CONTEXT", "invalid device context")
        self._home.machine.stack().append(self._context)

    @classmethod
    def pop(cls) -> None:
        stack = cls._home.machine.stack()
        with cls._home.translated():
            if not stack:
                raise CudaError("context::pop", "INVALID_CONTEXT", "cannot pop non-current context")
        stack.pop()

    @classmethod
    def get_current(cls) -> Any:
        return cls._home.handed_out.get(cls._home.machine.current_context())

    @classmethod
    def synchronize(cls) -> None:
        with cls._home.translated():
            cls._home.current("cuCtxSynchronize")
            cls._home.machine.run_all()

    @driver_call
    def detach(self) -> None:
        machine = self._home.machine
        if not self._context.alive:
            raise CudaError("context::detach", "INVALID_CONTEXT", "cannot detach invalid context")
        current = machine.current_context() is self._context
        if not current and threading.get_ident() != self._context.thread:
            machine.problem("a CUDA context was detached in another thread: pycuda leaks it")
            self._context.alive = False
            return
        machine.destroy(self._context)
        machine.died(self._key)

    def __del__(self) -> None:
        if self._context.alive:
            self._home.machine.problem("a CUDA context was dropped before it was detached")


class PycudaStream(Owned):
    def __init__(self, flags: int = 0) -> None:
        with self._home.translated():
            context = self._own("stream", "cuStreamCreate")
            self._stream: Stream = self._home.machine.new_stream(context)

    @property
    def handle(self) -> int:
        return self._stream.handle

    @driver_call
    def synchronize(self) -> Any:
        self._home.current("cuStreamSynchronize")
        self._stream.run()
        return self

    def is_done(self) -> bool:
        return not self._stream.queue

    def __del__(self) -> None:
        if self._key is not None and self._disown():
            if self._stream.queue:
                self._home.machine.problem("a stream was destroyed with work waiting in it")
            self._home.machine.streams.pop(self._stream.handle, None)


class Event(Owned):
    def __init__(self, flags: int = 0) -> None:
        with self._home.translated():
            self._own("event", "cuEventCreate")
        self._timed = not flags & _DISABLE_TIMING
        self._stream: Optional[Stream] = None
        self._at_ms: Optional[float] = None

    @driver_call
    def record(self, stream: Any = None) -> Any:
        self._home.current("cuEventRecord")
        queue = stream_of(self._home, stream)
        self._stream, self._at_ms = queue, None

        def stamp() -> None:
            self._at_ms = self._home.machine.clock_ms

        queue.add(stamp)
        return self

    @driver_call
    def synchronize(self) -> Any:
        self._home.current("cuEventSynchronize")
        if self._stream is not None:
            self._stream.run(until=lambda: self._at_ms is not None)
        return self

    def query(self) -> bool:
        return self._at_ms is not None

    @driver_call
    def time_till(self, later: Any) -> float:
        self._home.current("cuEventElapsedTime")
        if self._stream is None or later._stream is None or not (self._timed and later._timed):
            raise CudaError("cuEventElapsedTime", "INVALID_HANDLE", "invalid resource handle")
        if self._at_ms is None or later._at_ms is None:
            raise CudaError("cuEventElapsedTime", "NOT_READY", "device not ready")
        return float(later._at_ms - self._at_ms)

    def time_since(self, earlier: Any) -> float:
        return float(earlier.time_till(self))

    def __del__(self) -> None:
        self._disown()


def _init(home: PycudaStandIn, flags: int = 0) -> None:
    if home.machine.gpu.count == 0:
        raise CudaError("cuInit", "NO_DEVICE", "no CUDA-capable device is detected")
    home.machine.initialised = True


def _driver_version(home: PycudaStandIn) -> int:
    major, minor = home.machine.gpu.cuda_version
    return major * 1000 + minor * 10


_CLASSES: Dict[str, type] = {
    "Device": Device,
    "Context": Context,
    "Stream": PycudaStream,
    "Event": Event,
}
_CLASSES.update(pycuda_memory.CLASSES)
_FUNCTIONS: Dict[str, Callable[..., Any]] = {
    "init": _init,
    "get_driver_version": _driver_version,
    "get_version": lambda home: (*home.machine.gpu.cuda_version, 0),
}
_FUNCTIONS.update(pycuda_memory.FUNCTIONS)
