"""The process that opens one model with one backend and times it, as it is told on its pipe.

Lines of JSON go both ways. The first line in is the Order; the answer is ``opened`` or ``failed``.
Then each line in is one of

    {"do": "warm", "fixed_s": null}                      -> warm
    {"do": "measure", "duration_s": 5, "batches": null}  -> measured
    {"do": "profile", "runs": 20}                        -> profiled

with ``progress`` lines before the answer. At the end of the input the process ends.
"""

import concurrent.futures
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, TextIO, Tuple

import numpy as np

from clipedge.benchmarks.speed.backends import open_backend
from clipedge.benchmarks.timing import Timings, measure, random_clips, warm_up
from clipedge.jetson import board
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.runners.base import Runner, TimingMs

PROGRESS_S = 0.2

Say = Callable[..., None]


class Order(NamedTuple):
    """What is to be opened."""

    path: str
    backend: str
    precision: str
    threads: Optional[int]  # of the CPU, all streams together
    batch: int
    streams: int = 1  # inferences that run at once, each with a runner of its own


def main() -> int:
    """Serve one order; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end of the pipe hears it and ends us
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    answers = _private_stdout()

    def say(event: str, **fields: Any) -> None:
        answers.write(json.dumps(dict(fields, event=event)) + "\n")
        answers.flush()

    try:
        order = Order(**json.loads(sys.stdin.readline()))
        with Bench(order, say) as bench:
            say("opened", **bench.facts())
            for line in sys.stdin:
                request = json.loads(line)
                getattr(bench, request.pop("do"))(**request)
    except (ClipedgeError, MemoryError) as error:
        text = str(error) or "there is not enough memory"
        say("failed", error=text, wrong_call=isinstance(error, UsageError))
    except BrokenPipeError:  # nobody waits for the answer any more
        return 1
    return 0


class Bench:
    """The runners of one order, and what is timed on them. A context manager."""

    def __init__(self, order: Order, say: Say) -> None:
        self._order = order
        self._say = say
        self._runners: List[Runner] = []
        start_s = time.perf_counter()
        try:
            for threads in shared_threads(order.threads, order.streams):
                runner = open_backend(
                    order.path, order.backend, threads, order.precision, order.batch
                )
                self._runners.append(runner)
                runner.check_batch(order.batch)
            self._clips = random_clips(self._runners[0].spec, order.batch)
        except BaseException:
            self.close()
            raise
        self._open_s = time.perf_counter() - start_s

    def facts(self) -> Dict[str, Any]:
        """Return what was opened, as plain JSON types."""
        runner = self._runners[0]
        return {
            "spec": runner.spec.to_dict(),
            "facts": runner.describe(),
            "auto_trial_ms": runner.auto_trial_ms,
            "open_s": round(self._open_s, 4),
            "packages": board.package_versions(),
        }

    def warm(self, fixed_s: Optional[float]) -> None:
        """Warm every stream up, all at once, and say how it went."""
        found = self._on_each(
            lambda runner, told: warm_up(runner.infer, self._clips, fixed_s, told)
        )
        known = [one.steady for one in found]
        self._say(
            "warm",
            batches=sum(one.batches for one in found),
            elapsed_s=round(max(one.elapsed_s for one in found), 4),
            steady=None if None in known else all(known),
            facts=self._runners[0].describe(),  # an engine chooses its memory with the first clips
        )

    def measure(self, duration_s: float, batches: Optional[int]) -> None:
        """Time every stream, all at once, and say every latency."""
        cpu_start_s = time.process_time()
        found = self._on_each(
            lambda runner, told: _timed(runner, self._clips, duration_s, batches, told)
        )
        timings = [one for one, _ in found]
        self._say(
            "measured",
            elapsed_s=round(max(one.elapsed_s for one in timings), 6),
            clips_per_s=sum(one.clips_per_s for one in timings),
            latencies_ms=[round(ms, 4) for one in timings for ms in one.latencies_ms],
            gpu_times_ms=[
                [round(part, 4) for part in times] for _, all_ in found for times in all_
            ],
            cpu_s=round(time.process_time() - cpu_start_s, 4),
            peak_mb=_peak_mb(),
        )

    def profile(self, runs: int) -> None:
        """Time each layer, and say it in the order they run; null where the backend cannot."""
        try:
            times_ms = self._runners[0].layer_times_ms(self._clips, runs)
        except ClipedgeError as error:
            self._say("profiled", layers=None, reason=str(error))
            return
        layers = [{"name": name, "median_ms": round(ms, 5)} for name, ms in times_ms.items()]
        self._say("profiled", layers=layers, reason=None)

    def close(self) -> None:
        """Close the runners, the last one first."""
        while self._runners:
            self._runners.pop().close()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _on_each(self, work: Callable[[Runner, Callable[[float, float], None]], Any]) -> List[Any]:
        """Do something with every runner at the same time; the first one tells of progress."""
        told_s = [time.monotonic()]

        def tell(done_s: float, planned_s: float) -> None:
            if time.monotonic() - told_s[0] >= PROGRESS_S:
                told_s[0] = time.monotonic()
                self._say("progress", done_s=round(done_s, 2), planned_s=round(planned_s, 2))

        if len(self._runners) == 1:
            return [work(self._runners[0], tell)]
        together = threading.Barrier(len(self._runners))

        def begin(runner: Runner) -> Any:
            together.wait()
            return work(runner, tell if runner is self._runners[0] else _nothing)

        with concurrent.futures.ThreadPoolExecutor(len(self._runners)) as pool:
            return list(pool.map(begin, self._runners))


def shared_threads(threads: Optional[int], streams: int) -> List[Optional[int]]:
    """Return the threads of each stream: all cores' worth divided, at least one each."""
    if streams == 1:
        return [threads]
    return [max(1, (threads or board.physical_cores()) // streams)] * streams


def _timed(
    runner: Runner,
    clips: np.ndarray,
    duration_s: float,
    batches: Optional[int],
    told: Callable[[float, float], None],
) -> Tuple[Timings, List[TimingMs]]:
    gpu_times_ms: List[TimingMs] = []

    def infer(batch: np.ndarray) -> np.ndarray:
        logits = runner.infer(batch)
        if runner.last_timing_ms is not None:
            gpu_times_ms.append(runner.last_timing_ms)
        return logits

    return measure(infer, clips, duration_s, batches, told), gpu_times_ms


def _nothing(done_s: float, planned_s: float) -> None:
    """Tell nobody."""


def _peak_mb() -> float:
    """Return the most memory that this process has had, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _private_stdout() -> TextIO:
    """Return stdout for ourselves; what libraries print there goes to stderr from now on."""
    own = os.dup(1)
    os.dup2(2, 1)
    return open(own, "w", encoding="utf-8")  # noqa: PTH123  open until the end


if __name__ == "__main__":
    sys.exit(main())
