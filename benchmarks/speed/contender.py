"""A model file in a process of its own, with one backend: this side of the worker's pipe.

The thread pools of two runtimes in one process disturb each other, a backend that crashes or is
ended for want of memory takes nothing else along, and the memory of one is not counted as that of
the next.
"""

import contextlib
import json
import logging
import pathlib
import signal
import subprocess
import tempfile
import threading
from typing import Any, Callable, Dict, Iterator, Optional

from clipedge.benchmarks.speed.pipe import LEAVE_S
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import BackendError, ClipedgeError, UsageError
from clipedge.jetson.own_process import module_command

WORKER = module_command("clipedge.benchmarks.speed.worker")
_LEAVE_S = LEAVE_S + 2.0  # that a process gets to end by itself
SILENT_S = 30.0  # after which somebody may wonder
_LAST_WORDS = 400  # characters of its stderr, in an error

Told = Callable[[float, float], None]

_log = logging.getLogger(__name__)


class Contender(Closing):
    """One open Order. A context manager; its process waits, asleep, while others are measured.

    Attributes:
        order: what is open.
        opened: what the worker said of it: ``spec``, ``facts``, ``auto_trial_ms``, ``open_s``.
    """

    def __init__(self, order: Order) -> None:
        """Start the process and open the file in it.

        Raises:
            ClipedgeError: it cannot be opened, or the process ended.
        """
        self.order = order
        self._name = f"{pathlib.Path(order.path).name} with {order.backend}"
        self._start()
        try:
            self._write(order._asdict())
            self.opened = self._answer("opened", None)
        except BaseException:
            self.close()
            raise

    def warm_up(self, fixed_s: Optional[float], told: Optional[Told] = None) -> Dict[str, Any]:
        """Warm up; return ``batches``, ``elapsed_s``, ``steady`` and ``facts``."""
        self._write({"do": "warm", "fixed_s": fixed_s})
        return self._answer("warm", told)

    def measure(
        self, duration_s: float, batches: Optional[int], told: Optional[Told] = None
    ) -> Dict[str, Any]:
        """Measure; return what ``Bench.measure`` says."""
        self._write({"do": "measure", "duration_s": duration_s, "batches": batches})
        return self._answer("measured", told)

    def profile(self, runs: int) -> Dict[str, Any]:
        """Time each layer; return ``layers``, and the ``reason`` where that is None."""
        self._write({"do": "profile", "runs": runs})
        return self._answer("profiled", None)

    def close(self) -> None:
        """End the process; a second call does nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended before
                    pipe.close()
        self._wait()
        self._talk.close()

    def _start(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                self._talk = stack.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    WORKER,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._talk,
                    universal_newlines=True,
                )
            except OSError as error:
                # Popen of Python 3.6 hides an interrupt behind the failure of its own clearing up.
                if isinstance(error.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from None
                raise BackendError(
                    f"{self._name}: no process can be started to measure it: {error}."
                ) from None
            stack.pop_all()  # close() takes over

    def _wait(self) -> int:
        """Let the process end; return its status."""
        try:
            return self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _write(self, request: Dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer tells
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def _answer(self, wanted: str, told: Optional[Told]) -> Dict[str, Any]:
        with _listening(self._name) as heard:
            return self._answer_heard(wanted, told, heard)

    def _answer_heard(
        self, wanted: str, told: Optional[Told], heard: threading.Event
    ) -> Dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            heard.set()
            if not line.endswith("\n"):  # it ended while it wrote
                break
            answer: Dict[str, Any] = json.loads(line)
            event = answer.pop("event")
            if event == wanted:
                return answer
            if event == "failed":
                raise (UsageError if answer["wrong_call"] else ClipedgeError)(answer["error"])
            if event == "log":
                _log.log(answer["level"], "%s", answer["text"])
            elif told is not None:
                told(answer["done_s"], answer["planned_s"])
        raise BackendError(f"{self._name}: {self._why_it_ended()}")

    def _why_it_ended(self) -> str:
        status = self._wait()
        if status == -signal.SIGKILL:
            return "the system ended the process, most likely for want of memory; try less --batch."
        self._talk.seek(0)
        words = self._talk.read().decode("utf-8", "replace").strip()[-_LAST_WORDS:]
        said = f" It said: {' '.join(words.split())}" if words else ""
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"the process that measures it ended {how}.{said}"


@contextlib.contextmanager
def _listening(name: str) -> Iterator[threading.Event]:
    """Say so where nothing is heard of a process for long; the event is to be set at each word."""
    heard, over = threading.Event(), threading.Event()

    def listen() -> None:
        silent_s = 0.0
        while not over.is_set():
            if heard.wait(SILENT_S):
                silent_s = 0.0
                heard.clear()
                continue
            silent_s += SILENT_S
            _log.warning("%s: nothing was heard of it for %.0f s; Ctrl-C ends it.", name, silent_s)

    listener = threading.Thread(target=listen, name="silence of a worker", daemon=True)
    listener.start()
    try:
        yield heard
    finally:
        over.set()
        heard.set()
        listener.join()
