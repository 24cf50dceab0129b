"""The process in which jetson-bench measures, with a runner that does what a test wants.

    python tests/stand_ins/odd_worker.py TRICK...

Each trick is ``WHAT:WHEN``; WHEN is the number of an inference, 0 for the opening, ``every`` or
``close``. Of several streams the first one alone has tricks, but for those of ``every``.
"""

import ctypes
import os
import signal
import sys
import time

from clipedge.benchmarks.speed import pipe, worker
from clipedge.jetson.errors import BackendError

SLOW_S = 0.03


def crash() -> None:
    """Read from where nothing is."""
    ctypes.string_at(0)


def print_from_c() -> None:
    """Write to stdout past Python, as libraries do."""
    libc = ctypes.CDLL(None)
    libc.puts(b"a library talks")
    libc.fflush(None)


def fail() -> None:
    """Fail as a backend does."""
    raise BackendError("the backend is out of order")


def break_down() -> None:
    """Fail as a program does."""
    raise RuntimeError("something is broken")


TRICKS = {
    "slow": lambda: time.sleep(SLOW_S),
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": crash,
    "print": print_from_c,
    "fail": fail,
    "break": break_down,
    "hang": lambda: time.sleep(600),
    "no-memory": lambda: bytearray(1 << 60),
}
EVERY = "every"


class OddRunner:
    """A runner with its tricks; everything else is the real one's."""

    def __init__(self, runner, tricks) -> None:
        self._runner = runner
        self._tricks = [trick.split(":") for trick in tricks]
        self._calls = 0
        self._play("0")

    def __getattr__(self, name):
        return getattr(self._runner, name)

    def infer(self, clips):
        """Infer, with what is due now before it."""
        self._calls += 1
        self._play(str(self._calls), EVERY)
        return self._runner.infer(clips)

    def close(self) -> None:
        """Close, with what is due then before it."""
        self._play("close")
        self._runner.close()

    def _play(self, *now) -> None:
        for what, when in self._tricks:
            if when in now:
                TRICKS[what]()


def main(tricks) -> int:
    """Serve one order."""
    real, opened = worker.open_backend, []

    def open_backend(*arguments):
        runner = real(*arguments)
        opened.append(runner)
        mine = tricks if len(opened) == 1 else [one for one in tricks if one.endswith(EVERY)]
        return OddRunner(runner, mine)

    worker.open_backend = open_backend
    if "hang:close" in tricks:
        pipe.LEAVE_S = 1.0
    return worker.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
