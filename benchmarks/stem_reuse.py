"""What reusing the stem saves: python -m clipedge.benchmarks.stem_reuse FILE.

A camera's stream is scored at each new frame, by the whole model and by one that does not repeat
its first convolution on frames it has seen, in turns. Times are the processor's, of all threads.
"""

import argparse
import pathlib
import statistics
import sys
import time
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from clipedge.benchmarks.study import new_study, write_study
from clipedge.jetson import board
from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    format_table,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import UsageError
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners import Runner, open_runner
from clipedge.jetson.stem_reuse import StemReuse, relative_difference

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.stem-reuse/1"

BACKENDS = ("onnxruntime", "openvino")
WARM_CLIPS = 3


def measure(runner: Runner, reuse: StemReuse, rate_hz: float, clips: int) -> Dict[str, Any]:
    """Score so many clips both ways in turns, one at each new frame of a steady camera.

    Returns:
        ``whole_ms`` and ``reused_ms`` of each clip, ``reused_share`` of the stem's outputs, and
        the largest ``difference`` of the logits as a part of their range.
    """
    spec, rng = runner.spec, np.random.RandomState(0)
    buffer, clip = ClipBuffer(spec), np.empty((1, *spec.clip_shape), np.float32)
    result: Dict[str, Any] = {"whole_ms": [], "reused_ms": [], "difference": 0.0}
    number, scored = 0, 0
    while scored < clips + WARM_CLIPS:
        frame = rng.randint(0, 256, (3, spec.size, spec.size)).astype(np.uint8)
        buffer.push(frame, number / rate_hz)
        number += 1
        if not buffer.ready:
            continue
        logits: List[np.ndarray] = [np.empty(0), np.empty(0)]
        times_ms = [0.0, 0.0]
        for way in (0, 1) if number % 2 else (1, 0):
            start_s = time.process_time()
            if way == 0:
                logits[way] = runner.infer(buffer.clip(out=clip))[0]
            else:
                logits[way] = reuse.logits(*buffer.chosen())
            times_ms[way] = (time.process_time() - start_s) * 1e3
        scored += 1
        result["difference"] = max(result["difference"], relative_difference(*logits))
        if scored > WARM_CLIPS:
            result["whole_ms"].append(times_ms[0])
            result["reused_ms"].append(times_ms[1])
    result["reused_share"] = reuse.reused / (reuse.reused + reuse.computed)
    return result


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.stem_reuse",
        description="Time clips scored at each new frame with and without reusing the stem.",
    )
    parser.add_argument("files", metavar="FILE", type=pathlib.Path, nargs="+", help="ONNX files")
    parser.add_argument("--backend", choices=BACKENDS, nargs="+", default=list(BACKENDS))
    parser.add_argument("--threads", type=positive_int, default=1, help="of the CPU")
    parser.add_argument("--rate", type=positive_float, default=30.0, help="of the camera, Hz")
    parser.add_argument("--clips", type=positive_int, default=100, help="scored each way")
    parser.add_argument("--json", metavar="FILE", help="write every figure to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    settings = {name: getattr(arguments, name) for name in ("threads", "rate", "clips")}
    study = new_study(SCHEMA, settings, busy_share_at_start=board.busy_share(), results=[])
    jobs = [(path, backend) for path in arguments.files for backend in arguments.backend]
    with ProgressLine("the whole model and the split one, in turns", unit="models") as progress:
        for done, (path, backend) in enumerate(jobs):
            study["results"].append(_measured(path, backend, arguments))
            progress(done + 1, len(jobs))
    study["complete"] = True
    sys.stdout.write(table_text(study["results"]))
    if arguments.json:
        write_study(arguments.json, study)
    return DONE


def _measured(path: pathlib.Path, backend: str, arguments: argparse.Namespace) -> Dict[str, Any]:
    row: Dict[str, Any] = {"file": path.name, "backend": backend}
    with open_runner(path, backend, threads=arguments.threads) as runner:
        row["model"] = runner.spec.architecture
        try:
            reuse = StemReuse(path, runner)
        except UsageError as error:
            return {**row, "error": str(error)}
        return {**row, **measure(runner, reuse, arguments.rate, arguments.clips)}


def table_text(results: Sequence[Dict[str, Any]]) -> str:
    """Return the table for a terminal."""
    header = ["model", "backend", "whole, ms", "reused, ms", "saved", "stem reused", "difference"]
    rows = []
    for one in results:
        row = [one["model"], one["backend"]]
        if "error" in one:
            rows.append([*row, "-", "-", "-", "-", "-"])
            continue
        saved = [1 - new / old for old, new in zip(one["whole_ms"], one["reused_ms"])]
        row += [f"{statistics.median(one[way]):.1f}" for way in ("whole_ms", "reused_ms")]
        row += [f"{100 * statistics.median(saved):.0f} %", f"{100 * one['reused_share']:.0f} %"]
        rows.append([*row, f"{one['difference']:.0e}"])
    text = (
        format_table(header, rows)
        + "\n\nMedians of the processor's time; saved: within a turn. Difference: the largest"
    )
    text += ", as a part of the logits' range.\n"
    return text + "".join(f"{one['error']}\n" for one in results if "error" in one)


if __name__ == "__main__":
    sys.exit(main())
