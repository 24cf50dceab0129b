"""jetson-bench: clips per second of model files on this machine, and what held meanwhile."""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

from clipedge.benchmarks.speed.backends import BENCH_BACKENDS
from clipedge.jetson.command_line import (
    CommandParser,
    natural_float,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.paper import BATCH_SIZE
from clipedge.jetson.runners import PRECISIONS


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="jetson-bench",
        description="Measure clips per second of exported models on this machine, beside the "
        "speeds the paper published and the physical limit.",
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=pathlib.Path,
        help="ONNX files and engines, or folders of them (default: the folder engines)",
    )
    _add_what(parser)
    _add_how(parser)
    _add_reports(parser)
    return parser


def _add_what(parser: CommandParser) -> None:
    parser.add_argument(
        "--batch",
        type=positive_int,
        nargs="+",
        default=[BATCH_SIZE],
        metavar="N",
        help="clips in a batch; several are measured one after the other",
    )
    parser.add_argument(
        "--streams",
        type=positive_int,
        nargs="+",
        default=[1],
        metavar="N",
        help="inferences at once, each in a context of its own: 2 saturate a GPU",
    )
    parser.add_argument(
        "--backend", choices=BENCH_BACKENDS, default="auto", help="what runs the model"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="of the backend's arithmetic with ONNX files; engines have their own",
    )
    parser.add_argument(
        "--threads", type=positive_int, help="of the CPU (default: its physical cores)"
    )


def _add_how(parser: CommandParser) -> None:
    parser.add_argument(
        "--duration",
        metavar="SECONDS",
        type=positive_float,
        default=5.0,
        help="how long to measure each model, each time",
    )
    parser.add_argument(
        "--batches", metavar="N", type=positive_int, help="measure so many batches instead"
    )
    parser.add_argument(
        "--repeats",
        metavar="N",
        type=positive_int,
        default=3,
        help="measure each model so often; how far apart they are is its spread",
    )
    parser.add_argument(
        "--warmup",
        metavar="SECONDS",
        type=natural_float,
        help="run each model so long before measuring (default: until its latency is steady)",
    )
    parser.add_argument(
        "--limit",
        action="store_true",
        help="measure this machine's peak rates, and say which share of them each model reaches",
    )
    parser.add_argument(
        "--profile", action="store_true", help="time each layer, where the backend can"
    )


def _add_reports(parser: CommandParser) -> None:
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=pathlib.Path,
        help="write every figure with its conditions here, after each model",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with --json FILE of a run that was stopped"
    )


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from clipedge.benchmarks.speed.run import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
