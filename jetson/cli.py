"""gesture-demo: recognise gestures in a camera's picture, a stream, a video or frames."""

import argparse
import sys
from typing import Optional, Sequence

from clipedge.jetson.command_line import (
    CommandParser,
    natural_float,
    positive_float,
    positive_int,
    run_command,
    threshold,
)
from clipedge.jetson.display.web_address import DEFAULT_ADDRESS
from clipedge.jetson.source_options import add_source_arguments

DISPLAYS = ("none", "window", "web")
DEFAULT_RATE_HZ = 12.0
DEFAULT_EVERY_S = 0.5


def build_parser() -> CommandParser:
    """Return the parser of gesture-demo."""
    parser = CommandParser(
        prog="gesture-demo",
        description="Recognise gestures and print one JSON line for each.",
    )
    add = parser.add_argument_group("model").add_argument
    add("--model", required=True, metavar="FILE", help="ONNX file or engine of export-engine")
    add("--detector", metavar="FILE", help="a small model that tells whether there is any gesture")
    add("--backend", default="auto", help="auto, onnxruntime, openvino or tensorrt")
    add("--threads", type=positive_int, metavar="N", help="CPU threads")
    add_source_arguments(parser, required=False, folder_rate="the rate the model was trained at")
    parser.add_argument(
        "--replay", metavar="FILE", help="repeat what --save-session recorded, instead of --source"
    )
    _add_recogniser_arguments(parser)
    _add_display_arguments(parser)
    _add_output_arguments(parser)
    return parser


def _add_recogniser_arguments(parser: CommandParser) -> None:
    add = parser.add_argument_group("recogniser").add_argument
    add("--recogniser", metavar="FILE", help="its settings (if not given: NAME.recogniser.json or "
        "recogniser.json beside the model, or the defaults)")  # fmt: skip
    add("--threshold", type=threshold, help="score that a gesture needs, instead of the settings'")
    add("--allow", nargs="+", metavar="LABEL", help="the only gestures to name")
    add("--deny", nargs="+", metavar="LABEL", help="gestures never to name")
    add("--rate", type=positive_float, metavar="HZ",
        help=f"clips scored a second at most (if not given: {DEFAULT_RATE_HZ:g}, or with --hop no "
        "limit)")  # fmt: skip
    add("--hop", type=positive_int, metavar="N",
        help="score at every Nth new frame (1: each)")  # fmt: skip
    add("--reuse-stem", action="store_true", help="keep what the first layer made of frames seen "
        "before; ONNX files on a CPU")  # fmt: skip


def _add_display_arguments(parser: CommandParser) -> None:
    add = parser.add_argument_group("what is seen").add_argument
    add("--display", choices=DISPLAYS, default="none", help="a window, or a page for browsers")
    add("--web", metavar="HOST:PORT", help=f"address of the page (if not given: {DEFAULT_ADDRESS})")
    add("--token", help="that viewers of the page must give (if not given: one is made where the "
        "page can be reached from other machines)")  # fmt: skip


def _add_output_arguments(parser: CommandParser) -> None:
    add = parser.add_argument_group("what comes out").add_argument
    add("--events", metavar="FILE", help="write the JSON lines here instead of to stdout")
    add("--on-event", metavar="COMMAND", help="run this for each gesture, such as "
        "'notify-send {label}'; {score}, {time_s}, {kind} and {frame} are known too")  # fmt: skip
    add("--on-event-every", type=natural_float, metavar="S",
        help=f"skip gestures that follow sooner (if not given: {DEFAULT_EVERY_S:g})")  # fmt: skip
    add("--mqtt", metavar="URL", help="publish to mqtt://[user:password@]host[:port]/topic")
    add("--record", metavar="FILE.mp4", help="write the annotated video here")
    add("--save-clips", metavar="DIR", help="keep the clip behind each gesture, by label")
    add("--save-session", metavar="FILE", help="record what the model sees, for --replay")
    add("--truth", metavar="FILE", help="JSON lines of the true gestures, to compare with")


def _run(arguments: argparse.Namespace) -> int:
    from clipedge.jetson.demo import run

    return run(arguments)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
