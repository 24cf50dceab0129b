"""What makes a stand-in's calls look like calls of a C library, seen from Python.

Python runs signal handlers on the main thread, between its own instructions, and a call of a C
library is a single one: an interrupt is raised when the call is over, and the result it had has no
name yet. And a C function has no frame: a traceback keeps nothing of what it had in its hands.
"""

import contextlib
import functools
import os
import signal
import threading
from typing import Any, Callable, Dict, Iterator, List

NUMBERS = (signal.SIGINT, signal.SIGTERM)
# Set it to see where in a stand-in an error comes from.
KEEP_TRACEBACKS = bool(os.environ.get("STAND_INS_TRACEBACKS"))


class _MainThread:
    """The handlers of the main thread, put aside while it is "in C", and the signals that came."""

    def __init__(self) -> None:
        self.depth = 0
        self.handlers: Dict[int, Any] = {}
        self.came: List[int] = []

    def note(self, number: int, frame: Any) -> None:
        if number not in self.came:  # one that comes twice before it is seen counts once
            self.came.append(number)

    def put_aside(self) -> None:
        found = {number: signal.getsignal(number) for number in NUMBERS}
        self.handlers = {number: known for number, known in found.items() if callable(known)}
        for number in self.handlers:
            signal.signal(number, self.note)

    def put_back(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        while self.came:
            number = self.came.pop(0)
            self.handlers[number](number, None)


_main = _MainThread()


def _on_the_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def as_c(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a C library would have it."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        result = error = None
        mine = _on_the_main_thread()
        if mine:
            _main.depth += 1
            if _main.depth == 1:
                _main.put_aside()
        try:
            result = function(*arguments, **named)
        except BaseException as raised:
            error = raised if KEEP_TRACEBACKS else raised.with_traceback(None)
            if not KEEP_TRACEBACKS:
                error.__context__ = None
        arguments = named = ()  # type: ignore[assignment]
        try:
            if mine:
                _main.depth -= 1
                if _main.depth == 0:
                    _main.put_back()
                    _main.deliver()
            if error is not None:
                raise error
            return result
        finally:
            result = error = None

    return call


@contextlib.contextmanager
def in_python() -> Iterator[None]:
    """For a callback: while it runs, the main thread is in Python again and sees its signals."""
    if not _on_the_main_thread() or _main.depth == 0:
        yield
        return
    depth, _main.depth = _main.depth, 0
    _main.put_back()
    try:
        _main.deliver()
        yield
    finally:
        _main.depth = depth
        _main.put_aside()
