"""jetson-bench: clips per second of model files on this machine, and what held meanwhile."""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

from clipedge.benchmarks.speed.backends import BENCH_BACKENDS
from clipedge.jetson.command_line import (
    CommandParser,
    natural_float,
    number_to,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.paper import BATCH_SIZE, DATASETS
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
        help="ONNX files and engines, or folders of them (default: the folder engines); or one "
        "document of --json, to report on without measuring",
    )
    _add_what(parser.add_argument_group("what to measure"))
    _add_how(parser.add_argument_group("how to measure"))
    _add_reports(parser.add_argument_group("where to write it"))
    _add_verdicts(parser.add_argument_group("what to make of it"))
    return parser


def _add_what(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--all",
        action="store_true",
        help="every model of the paper's Table 8; what is not among FILE is exported first, with "
        "random weights, where torch is installed",
    )
    group.add_argument(
        "--compare-backends",
        action="store_true",
        help="run each model with every backend there is, PyTorch too, in turns",
    )
    group.add_argument(
        "--batch",
        type=positive_int,
        nargs="+",
        default=[BATCH_SIZE],
        metavar="N",
        help="clips in a batch; several are measured one after the other",
    )
    group.add_argument(
        "--streams",
        type=positive_int,
        nargs="+",
        default=[1],
        metavar="N",
        help="inferences at once, each in a context of its own: 2 saturate a GPU",
    )
    group.add_argument(
        "--backend",
        metavar="NAME",
        choices=BENCH_BACKENDS,
        default="auto",
        help="what runs the model: {}".format(", ".join(BENCH_BACKENDS)),
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="of the backend's arithmetic with ONNX files; engines have their own",
    )
    group.add_argument(
        "--threads", type=positive_int, help="of the CPU (default: its physical cores)"
    )


def _add_how(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--duration",
        metavar="SECONDS",
        type=positive_float,
        default=5.0,
        help="how long to measure each model, each time",
    )
    group.add_argument(
        "--batches", metavar="N", type=positive_int, help="measure so many batches instead"
    )
    group.add_argument(
        "--repeats",
        metavar="N",
        type=positive_int,
        default=3,
        help="measure each model so often; how far apart they are is its spread",
    )
    group.add_argument(
        "--warmup",
        metavar="SECONDS",
        type=natural_float,
        help="run each model so long before measuring (default: until its latency is steady)",
    )
    group.add_argument(
        "--limit",
        action="store_true",
        help="measure this machine's peak rates, and say which share of them each model reaches",
    )
    group.add_argument(
        "--profile", action="store_true", help="time each layer, where the backend can"
    )


def _add_reports(group: argparse._ArgumentGroup) -> None:
    files = {
        "json": "write every figure with its conditions here, after each model (default with "
        "--all: bench.json)",
        "html": "write a page with charts here; it needs no network (pip install plotly)",
        "markdown": "write the table and the conditions here",
        "csv": "write one line for each figure here",
    }
    for name, text in files.items():
        group.add_argument(f"--{name}", metavar="FILE", type=pathlib.Path, help=text)
    group.add_argument(
        "--resume", action="store_true", help="go on with --json FILE of a run that was stopped"
    )


def _add_verdicts(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--baseline",
        metavar="FILE",
        type=pathlib.Path,
        help="compare with the document of an earlier run; exit with 1 where one model is slower",
    )
    group.add_argument(
        "--max-regression",
        metavar="PERCENT",
        type=percent,
        default="5%",
        help="how much slower than the baseline is still allowed",
    )
    group.add_argument(
        "--recommend",
        action="store_true",
        help="say in one line which model to take (without FILE and --all: from bench.json)",
    )
    group.add_argument(
        "--min-cps",
        metavar="CLIPS",
        type=positive_float,
        default=30.0,
        help="with --recommend: clips per second that it must reach",
    )
    group.add_argument(
        "--dataset",
        choices=tuple(DATASETS),
        default="jester",
        help="with --recommend: whose published accuracy counts",
    )


def percent(text: str) -> float:
    """Argparse type: ``5%`` or ``5``, as a share of 1."""
    return number_to(100.0)(text.strip().rstrip("%").strip()) / 100.0


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from clipedge.benchmarks.speed.run import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
