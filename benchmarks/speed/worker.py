"""The process that opens one model with one backend and times it, as it is told on its pipe.

Lines of JSON go both ways. The first line in is the Order; the answer is ``opened`` or ``failed``.
Then each line in is one of

    {"do": "warm", "fixed_s": null}                      -> warm
    {"do": "measure", "duration_s": 5, "batches": null}  -> measured
    {"do": "profile", "runs": 20}                        -> profiled

with ``progress`` and ``log`` lines before the answer. At the end of the input the process ends, in
the middle of its work too: nobody waits for the answer any more.
"""

import concurrent.futures
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.benchmarks.speed.backends import open_backend
from clipedge.benchmarks.speed.memory_use import RESIDENT, growth_mb, peak_mb, process_mb
from clipedge.benchmarks.speed.pipe import (
    Requests,
    Say,
    answering,
    pass_warnings_on,
    private_stdout,
)
from clipedge.benchmarks.timing import Infer, OnBatch, Timings, measure, random_clips, warm_up
from clipedge.jetson import board
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.errors import BackendError, ClipedgeError, UsageError
from clipedge.jetson.runners.base import Runner, TimingMs
from clipedge.jetson.runners.tensorrt_runner import TensorrtRunner

ANSWERS = {"warm": "warm", "measure": "measured", "profile": "profiled"}
PROGRESS_S = 0.2
TOGETHER_S = 60.0  # for the streams to start; the first one waits for the last

# Does something with a runner, whose inference goes through the function given.
Work = Callable[[Runner, Infer, OnBatch], Any]


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
    say = answering(private_stdout())
    pass_warnings_on(say)
    requests = Requests()

    def answer(event: str, fields: Dict[str, Any]) -> None:
        requests.done()
        say(event, **fields)

    asked = iter(requests)
    try:
        order = Order(**next(asked))
        with Bench(order, say) as bench:
            answer("opened", bench.facts())
            for request in asked:
                do = request.pop("do")
                answer(ANSWERS[do], getattr(bench, do)(**request))
    except (ClipedgeError, MemoryError) as error:
        text = str(error) or "there is not enough memory"
        answer("failed", {"error": text, "wrong_call": isinstance(error, UsageError)})
    except BrokenPipeError:  # nobody waits for the answer any more
        return FAILED
    return DONE


class Bench:
    """The runners of one order, and what is timed on them. A context manager."""

    def __init__(self, order: Order, say: Say) -> None:
        self._order = order
        self._say = say
        self._runners: List[Runner] = []
        self._before_mb = process_mb(RESIDENT)
        start_s = time.perf_counter()
        try:
            for threads in shared_threads(order.threads, order.streams):
                self._runners.append(self._open(threads))
                self._runners[-1].check_batch(order.batch)
            self._open_s = time.perf_counter() - start_s
            self._clips = random_clips(self._runners[0].spec, order.batch)
        except BaseException:
            self.close()
            raise

    def _open(self, threads: Optional[int]) -> Runner:
        first = self._runners[0] if self._runners else None
        if isinstance(first, TensorrtRunner):  # contexts of their own would take turns on the GPU
            return first.beside()
        order = self._order
        return open_backend(order.path, order.backend, threads, order.precision, order.batch)

    def facts(self) -> Dict[str, Any]:
        """Return what was opened, as plain JSON types."""
        runner = self._runners[0]
        return {
            "spec": runner.spec.to_dict(),
            "facts": self._described(),
            "auto_trial_ms": runner.auto_trial_ms,
            "open_s": round(self._open_s, 4),
            "packages": board.package_versions(),
        }

    def warm(self, fixed_s: Optional[float]) -> Dict[str, Any]:
        """Warm every stream up, all at once; return how it went."""
        found = self._on_each(
            lambda runner, infer, told: warm_up(infer, self._clips, fixed_s, told)
        )
        known = [one.steady for one in found]
        return {
            "batches": sum(one.batches for one in found),
            "elapsed_s": round(max(one.elapsed_s for one in found), 4),
            "steady": None if None in known else all(known),
            "fixed_s": fixed_s,
            "facts": self._described(),  # an engine chose its memory with the first clips
            "model_mb": growth_mb(self._before_mb, self._clips.nbytes),
        }

    def measure(self, duration_s: float, batches: Optional[int]) -> Dict[str, Any]:
        """Time every stream, all at once; return every latency."""
        cpu_start_s = time.process_time()
        found = self._on_each(
            lambda runner, infer, told: _timed(
                runner, infer, self._clips, duration_s, batches, told
            )
        )
        timings = [one for one, _ in found]
        # Of several streams: from the first start to the last end.
        elapsed_s = max(one.end_s for one in timings) - min(one.start_s for one in timings)
        batches = sum(one.batches for one in timings)
        return {
            "elapsed_s": round(elapsed_s, 9),
            "clips_per_s": batches * self._order.batch / elapsed_s,
            "latencies_ms": [round(ms, 4) for one in timings for ms in one.latencies_ms],
            "gpu_times_ms": [
                [round(part, 4) for part in times] for _, all_ in found for times in all_
            ],
            "cpu_s": round(time.process_time() - cpu_start_s, 4),
            "peak_mb": peak_mb(),
        }

    def profile(self, runs: int) -> Dict[str, Any]:
        """Time each layer; return them in the order they run, None where the backend cannot."""
        try:
            times_ms = self._runners[0].layer_times_ms(self._clips, runs)
        except ClipedgeError as error:
            return {"layers": None, "reason": str(error)}
        layers = [{"name": name, "median_ms": round(ms, 5)} for name, ms in times_ms.items()]
        return {"layers": layers, "reason": None}

    def close(self) -> None:
        """Close the runners, the last one first."""
        while self._runners:
            self._runners.pop().close()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _described(self) -> Dict[str, Any]:
        """Return what the first runner says of itself, with the GPU's memory of all of them."""
        facts = [runner.describe() for runner in self._runners]
        sizes = [one["gpu_memory_mb"] for one in facts if one.get("gpu_memory_mb") is not None]
        if not sizes:
            return facts[0]
        summed = {name: round(sum(one[name] for one in sizes), 3) for name in sizes[0]}
        return dict(facts[0], gpu_memory_mb=summed)

    def _on_each(self, work: Work) -> List[Any]:
        """Do something with every runner at the same time; the first one tells of progress.

        Where one fails the others stop at their next batch, and its error is raised.
        """
        told_s = [time.monotonic()]

        def tell(done_s: float, planned_s: float) -> None:
            if time.monotonic() - told_s[0] >= PROGRESS_S:
                told_s[0] = time.monotonic()
                self._say("progress", done_s=round(done_s, 2), planned_s=round(planned_s, 2))

        if len(self._runners) == 1:
            return [work(self._runners[0], self._runners[0].infer, tell)]
        together = threading.Barrier(len(self._runners), timeout=TOGETHER_S)
        errors: List[BaseException] = []  # the first one is the cause of the others

        def begin(runner: Runner) -> Any:
            def infer(clips: np.ndarray) -> np.ndarray:
                if errors:
                    raise BackendError("Another stream failed.")
                return runner.infer(clips)

            try:
                together.wait()
                return work(runner, infer, tell if runner is self._runners[0] else _nothing)
            except BaseException as error:
                errors.append(error)
                raise

        with concurrent.futures.ThreadPoolExecutor(len(self._runners)) as pool:
            running = [pool.submit(begin, runner) for runner in self._runners]
        if errors:
            raise errors[0]
        return [one.result() for one in running]


def shared_threads(threads: Optional[int], streams: int) -> List[Optional[int]]:
    """Return the threads of each stream: all cores' worth divided, at least one each."""
    if streams == 1:
        return [threads]
    return [max(1, (threads or board.physical_cores()) // streams)] * streams


def _timed(
    runner: Runner,
    infer: Infer,
    clips: np.ndarray,
    duration_s: float,
    batches: Optional[int],
    told: OnBatch,
) -> Tuple[Timings, List[TimingMs]]:
    gpu_times_ms: List[TimingMs] = []

    def noting(batch: np.ndarray) -> np.ndarray:
        logits = infer(batch)
        if runner.last_timing_ms is not None:
            gpu_times_ms.append(runner.last_timing_ms)
        return logits

    return measure(noting, clips, duration_s, batches, told), gpu_times_ms


def _nothing(done_s: float, planned_s: float) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    sys.exit(main())
