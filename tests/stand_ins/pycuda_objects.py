"""What everything in the pycuda stand-in shares: errors as pycuda has them, and ownership."""

import functools
import threading
from typing import Any, Callable, Dict, Optional, TypeVar, cast

from stand_ins.limited import Bound
from stand_ins.machine import CudaContext, CudaError, Stream

_CLASS_OF_CODE = {
    "OUT_OF_MEMORY": "MemoryError",
    "NO_DEVICE": "RuntimeError",
    "NOT_READY": "RuntimeError",
    "LAUNCH_FAILED": "LaunchError",
}
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Translated:
    """Turns the machine's errors into pycuda's, by the class that pycuda gives each code."""

    def __init__(self, errors: Dict[str, Any]) -> None:
        self.errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, CudaError):
            name = _CLASS_OF_CODE.get(error.code, "LogicError")
            raise self.errors[name](str(error)) from None


def driver_call(function: _Function) -> _Function:
    @functools.wraps(function)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        with self._home.translated():
            return function(self, *arguments, **named)

    return cast("_Function", call)


class Owned(Bound):
    """Something that a context owns. It is destroyed as pycuda's destructors do it."""

    _home: Any
    _key: Optional[int] = None

    def _own(self, what: str, call: str) -> CudaContext:
        self._context = self._home.current(call)
        self._what = what
        self._key = self._home.machine.born(what)
        return self._context

    def _disown(self) -> bool:
        """Whether it could be destroyed; where not, it stays in the list of what is alive."""
        machine, key = self._home.machine, self._key
        self._key = None
        if key is None:
            return False
        if not self._context.alive:
            machine.died(key)  # CUDA took it along; pycuda warns of a dead context
            machine.problem(f"{self._what} outlived its CUDA context")
            return True
        current = machine.current_context() is self._context
        if not current and threading.get_ident() != self._context.thread:
            machine.problem(f"{self._what} was freed in another thread: pycuda leaks it")
            return False
        machine.died(key)
        return True


def stream_of(home: Any, stream: Any) -> Stream:
    if stream is None:
        return cast("Stream", home.machine.stream(0))
    if not stream._context.alive:
        raise CudaError("cuStream", "INVALID_HANDLE", "invalid resource handle")
    return cast("Stream", stream._stream)


def check_initialised(machine: Any, call: str) -> None:
    if not machine.initialised:
        raise CudaError(call, "NOT_INITIALIZED", "initialization error")
