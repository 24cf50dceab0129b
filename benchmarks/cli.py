"""jetson-bench: clips per second of model files on this machine."""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

from clipedge.jetson.command_line import (
    CommandParser,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.paper import BATCH_SIZE
from clipedge.jetson.runners import BACKENDS, PRECISIONS


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="jetson-bench",
        description="Measure clips per second of exported models on this machine, beside the "
        "speeds the paper published.",
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=pathlib.Path,
        help="ONNX files and engines, or folders of them (default: the folder engines)",
    )
    parser.add_argument("--batch", type=positive_int, default=BATCH_SIZE, help="clips in a batch")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="what runs the model")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="of the backend's arithmetic with ONNX files; engines have their own",
    )
    parser.add_argument(
        "--threads", type=positive_int, help="of the CPU (default: its physical cores)"
    )
    parser.add_argument(
        "--duration",
        metavar="SECONDS",
        type=positive_float,
        default=10.0,
        help="how long to measure each model",
    )
    parser.add_argument(
        "--warmup",
        metavar="SECONDS",
        type=positive_float,
        default=2.0,
        help="how long to run each model before measuring",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=pathlib.Path,
        help="write every figure with its conditions here",
    )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from clipedge.benchmarks import speed

    return speed.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
