"""gesture-record: record labelled clips to train on, from a camera or a video."""

import argparse
import sys
from typing import Optional, Sequence

from clipedge.jetson.command_line import (
    CommandParser,
    number_to,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.source_options import DEFAULT_RATE_HZ, add_source_arguments

LONGEST_S = 60.0


def build_parser() -> CommandParser:
    """Return the parser of gesture-record."""
    parser = CommandParser(
        prog="gesture-record",
        usage="%(prog)s --label NAME --source SOURCE --output DIR [options]\n"
        "       %(prog)s --list --output DIR",
        description="Record clips of one class into DIR/NAME, for train-clips fit --data DIR.",
    )
    add = parser.add_argument
    add("--label", metavar="NAME", help="the class, such as 'Swipe left'")
    add("--output", required=True, metavar="DIR", help="folder of classes; clips are added to it")
    add("--count", type=positive_int, default=20, metavar="N", help="clips to record")
    add(
        "--seconds",
        type=_seconds,
        default=3.0,
        metavar="S",
        help="length of a clip; models look at 2.5 s",
    )
    add(
        "--countdown",
        type=number_to(LONGEST_S),
        default=3.0,
        metavar="S",
        help="before each, of a camera",
    )
    add("--yes", action="store_true", help="keep every clip without asking")
    add(
        "--preview",
        choices=("auto", "none", "window"),
        default="auto",
        help="show the camera's picture; auto: where there is a display",
    )
    add(
        "--every",
        type=positive_float,
        metavar="S",
        help="of a video: from the start of a clip to the next (if not given: --seconds)",
    )
    add("--list", action="store_true", help="show the classes in DIR and what to do next")
    add_source_arguments(parser, required=False, folder_rate=f"{DEFAULT_RATE_HZ:g}")
    return parser


def _seconds(text: str) -> float:
    """Argparse type: the length of a clip."""
    value = positive_float(text)
    if value > LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"'{text}' is longer than {LONGEST_S:g} s; a clip holds one gesture"
        )
    return value


def _run(arguments: argparse.Namespace) -> int:
    from clipedge.jetson.record import run

    return run(arguments)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
