"""How much a Runner adds to its backend: python -m clipedge.benchmarks.overhead FILE.

The Runner checks shape, dtype and the range of a sample of pixels before each inference. Here its
``infer`` and the backend's own call are timed in turns on one loaded model, so that whatever else
the machine does meets both alike.
"""

import argparse
import pathlib
import statistics
import sys
import time
from typing import Callable, List, NamedTuple, Optional, Sequence

import numpy as np

from clipedge.benchmarks.timing import random_clips
from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    format_table,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import BackendError
from clipedge.jetson.runners import BACKENDS, Runner, open_runner
from clipedge.jetson.runners.tensorrt_runner import TensorrtRunner

Call = Callable[[], object]


class Overhead(NamedTuple):
    """Medians over all turns."""

    runner_ms: float
    direct_ms: float
    ratio: float  # of the two within one turn, median


def direct_call(runner: Runner, clips: np.ndarray) -> Call:
    """Return the backend's own inference call on ``clips``, as its documentation has it.

    Of an engine that is: clips into page-locked memory, copy, engine, copy back, wait.
    """
    if runner.backend == "onnxruntime":
        session = runner._session  # type: ignore[attr-defined]
        feed = {session.get_inputs()[0].name: clips}
        return lambda: session.run(None, feed)
    if runner.backend == "openvino":
        request = runner._request(len(clips))  # type: ignore[attr-defined]
        return lambda: request.infer([clips], share_inputs=True)
    if isinstance(runner, TensorrtRunner):
        return runner.bare_call(clips)
    raise BackendError(f"There is no direct call for {runner.backend}.")


def measure_overhead(through_runner: Call, direct: Call, turns: int) -> Overhead:
    """Time the two calls in turns, each first in every second one."""
    through_runner()
    direct()
    pairs_ms: List[List[float]] = []
    for turn in range(turns):
        pair_ms = [0.0, 0.0]
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            call = direct if which else through_runner
            start_s = time.perf_counter()
            call()
            pair_ms[which] = (time.perf_counter() - start_s) * 1e3
        pairs_ms.append(pair_ms)
    return Overhead(
        statistics.median(pair[0] for pair in pairs_ms),
        statistics.median(pair[1] for pair in pairs_ms),
        statistics.median(pair[0] / pair[1] for pair in pairs_ms),
    )


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.overhead",
        description="Compare a Runner's infer with its backend's own call.",
    )
    parser.add_argument("file", metavar="FILE", type=pathlib.Path, help="ONNX file or engine")
    parser.add_argument("--batch", type=positive_int, nargs="+", default=[1, 8])
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--threads", type=positive_int)
    parser.add_argument("--turns", type=positive_int, default=50, help="times each call is timed")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    rows = []
    with open_runner(arguments.file, arguments.backend, arguments.threads) as runner:
        for batch in arguments.batch:
            runner.check_batch(batch)
            clips = random_clips(runner.spec, batch)
            call = direct_call(runner, clips)
            result = measure_overhead(_infer_call(runner, clips), call, arguments.turns)
            rows.append(
                [
                    f"{runner.spec.architecture} {runner.backend} batch {batch}",
                    f"{result.runner_ms:.2f}",
                    f"{result.direct_ms:.2f}",
                    f"{(result.ratio - 1) * 100:+.2f} %",
                ]
            )
    sys.stdout.write(format_table(["", "runner ms", "direct ms", "overhead"], rows) + "\n")
    return DONE


def _infer_call(runner: Runner, clips: np.ndarray) -> Call:
    return lambda: runner.infer(clips)


if __name__ == "__main__":
    sys.exit(main())
