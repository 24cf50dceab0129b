"""train-clips: train, evaluate, compare with the paper, import released weights."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from clipedge.jetson.command_line import (
    help_formatter,
    positive_float,
    positive_int,
    run_command,
)

# Each module has run(arguments) -> exit status and is imported only when its command runs.
COMMANDS = {
    "fit": "clipedge.trainside.fit",
    "evaluate": "clipedge.trainside.evaluate",
    "summary": "clipedge.trainside.summary",
    "import": "clipedge.trainside.import_weights",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; torch is imported only once a command runs."""
    parser = argparse.ArgumentParser(
        prog="train-clips",
        description="Train and evaluate 3D CNNs for video gesture recognition.",
        formatter_class=help_formatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_fit(commands.add_parser("fit", formatter_class=help_formatter, help="train a model"))
    _add_evaluate(
        commands.add_parser("evaluate", formatter_class=help_formatter, help="measure accuracy")
    )
    _add_summary(
        commands.add_parser(
            "summary", formatter_class=help_formatter, help="models beside the paper's tables"
        )
    )
    _add_import(
        commands.add_parser(
            "import", formatter_class=help_formatter, help="released weights -> checkpoint"
        )
    )
    return parser


def _add_model(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument("--model", required=required, help="architecture: see train-clips summary")
    parser.add_argument("--width", type=positive_float, help="width multiplier, such as 2.0")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, required=True)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", metavar="FILE", required=True)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser(), _dispatch, argv)


if __name__ == "__main__":
    sys.exit(main())
