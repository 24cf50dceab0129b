"""The worker's end of its pipe: lines of JSON, requests on stdin and answers on stdout."""

import json
import logging
import os
import queue
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, TextIO

from clipedge.jetson.command_line import FAILED

LEAVE_S = 8.0  # to close what is open, once the input is at its end

Say = Callable[..., None]  # say("event", field=value)


def private_stdout() -> TextIO:
    """Return stdout for ourselves; what libraries print there goes to stderr from now on."""
    own = os.dup(1)
    os.dup2(2, 1)
    return open(own, "w", encoding="utf-8")  # noqa: PTH123  open until the end


def answering(pipe: TextIO) -> Say:
    """Return what writes a line on the pipe; any thread may call it."""
    lock = threading.Lock()

    def say(event: str, **fields: Any) -> None:
        line = json.dumps(dict(fields, event=event)) + "\n"
        with lock:
            pipe.write(line)
            pipe.flush()

    return say


class Requests:
    """What is asked on stdin, one request after another.

    Where stdin ends while something is being done, the process ends at once: whoever waited is
    gone. Where it ends in between, the process has LEAVE_S to close what is open.
    """

    def __init__(self) -> None:
        self._lines = queue.Queue()  # type: queue.Queue[bytes]
        self._undone: List[bytes] = []
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Give each request; ``done`` is called behind it."""
        for line in iter(self._lines.get, b""):
            yield json.loads(line.decode())

    def done(self) -> None:
        """Note that the request is done: before its answer, whose reader may close the pipe."""
        self._undone.clear()

    def _read(self) -> None:
        # Unbuffered: a buffer's lock, held while waiting, would keep the interpreter from ending.
        stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  open until the end
        for line in iter(stdin.readline, b""):
            self._undone.append(line)
            self._lines.put(line)
        if self._undone:
            os._exit(FAILED)
        self._lines.put(b"")
        time.sleep(LEAVE_S)
        os._exit(FAILED)  # something hangs in its close


def pass_warnings_on(say: Say) -> None:
    """Let the user see our own warnings; what libraries say goes to stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    ours = logging.getLogger("clipedge")
    ours.addHandler(_PassOn(say))
    ours.propagate = False


class _PassOn(logging.Handler):
    """Says what is logged on the pipe."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say("log", level=record.levelno, text=record.getMessage())
