"""train-clips: train, evaluate, compare with the paper, import released weights."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from clipedge.jetson.command_line import (
    WRONG_CALL,
    CommandParser,
    positive_float,
    positive_int,
    probability,
    run_command,
)

# Each module has run(arguments) -> exit status and is imported only when its command runs.
COMMANDS = {
    "fit": "clipedge.trainside.fit",
    "evaluate": "clipedge.trainside.evaluate",
    "summary": "clipedge.trainside.summary",
    "import": "clipedge.trainside.import_weights",
}


def build_parser() -> CommandParser:
    """Return the parser; torch is imported only once a command runs."""
    parser = CommandParser(
        prog="train-clips",
        description="Train and evaluate 3D CNNs for video gesture recognition.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_fit(commands.add_parser("fit", help="train a model"))
    _add_evaluate(commands.add_parser("evaluate", help="measure accuracy"))
    _add_summary(commands.add_parser("summary", help="models beside the paper's tables"))
    _add_import(commands.add_parser("import", help="released weights -> checkpoint"))
    return parser


def _add_model(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument("--model", required=required, help="architecture: see train-clips summary")
    parser.add_argument("--width", type=positive_float, help="width multiplier, such as 2.0")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        default="synthetic",
        metavar="DIR",
        help="folder DIR/CLASS/VIDEO, or 'synthetic': generated gestures",
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s --model NAME [--width WIDTH] [--data DIR] [--output CKPT] [options]"
    _add_model(parser, required=True)
    _add_data(parser)
    parser.add_argument(
        "--output", metavar="CKPT", help="checkpoint to write, else checkpoints/MODEL_DATA.pt"
    )
    add = parser.add_argument
    add("--epochs", type=positive_int, default=6, help="passes over the data")
    add("--minutes", type=positive_float, help="train for so long at most")
    add("--batch", type=positive_int, default=24, help="clips a step")
    add("--learning-rate", type=positive_float, default=0.008, help="the highest, of one cycle")
    add("--dropout", type=probability, help="before the last layer, else the paper's 0.2")
    add("--size", type=positive_int, help="height and width of a clip, else the model's own")
    add("--frames", type=positive_int, help="length of a clip, else the model's own")
    add("--stride", type=positive_int, default=2, help="frames from one of a clip to the next")
    add("--frame-rate", type=positive_float, default=12.0, help="that --stride counts in, Hz")
    add("--clips", type=positive_int, default=4050, help="of the generated training set")
    add(
        "--seed",
        type=int,
        default=0,
        help="of weights, order and clips; with dropout it repeats on one thread only",
    )
    _add_threads(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", metavar="FILE", required=True)
    _add_data(parser)
    parser.add_argument(
        "--part",
        choices=("auto", "all", "training", "validation"),
        default="auto",
        help="of a folder; auto: validation where the model was trained on it, else all",
    )
    add = parser.add_argument
    add("--clips", type=positive_int, default=540, help="of the generated validation set")
    add("--seed", type=int, default=0, help="of the generated clips")
    add("--batch", type=positive_int, default=32, help="clips scored at a time")
    add("--json", action="store_true", help="print JSON")
    _add_threads(parser)


def _add_threads(parser: argparse.ArgumentParser) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=positive_int, default=cores or 1, help="cores to use")


def _add_summary(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--all | --model NAME [--width WIDTH]] [--classes N]"
    _add_model(parser, required=False)
    parser.add_argument(
        "--all", action="store_true", help="the paper's rows and the widths it has no row for"
    )
    parser.add_argument("--classes", type=positive_int, default=600, help="size of the head")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FILE --dataset NAME [--model NAME] [--width WIDTH] [options]"
    parser.add_argument("file", metavar="FILE", help="a checkpoint of the paper's released code")
    _add_model(parser, required=False)
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="jester, ucf101 or kinetics600"
    )
    parser.add_argument(
        "--output", metavar="CKPT", help="checkpoint to write, else checkpoints/MODEL_DATASET.pt"
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="one label a line, else the data set's where they fit"
    )
    parser.add_argument(
        "--channel-order",
        choices=("RGB", "BGR"),
        help="that the weights expect, else BGR for kinetics600 and RGB for the others",
    )


def _dispatch(arguments: argparse.Namespace) -> int:
    module = importlib.import_module(COMMANDS[arguments.command])
    status: int = module.run(arguments)
    return status


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command; return its exit status."""
    if sys.version_info < (3, 10):  # noqa: UP036  the wheel is the board's too
        here = ".".join(str(part) for part in sys.version_info[:2])
        sys.stderr.write(
            f"train-clips: needs Python 3.10 or newer, a workstation's; {here} is too old.\n"
        )
        return WRONG_CALL
    return run_command(build_parser, _dispatch, argv)


if __name__ == "__main__":
    sys.exit(main())
