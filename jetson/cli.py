"""gesture-demo: recognise gestures in a video, a folder of frames or a camera's picture."""

import argparse
import sys
from typing import Optional, Sequence

from clipedge.jetson.command_line import (
    CommandParser,
    positive_float,
    positive_int,
    run_command,
    threshold,
)
from clipedge.jetson.source_options import add_source_arguments


def build_parser() -> CommandParser:
    """Return the parser of gesture-demo."""
    parser = CommandParser(
        prog="gesture-demo",
        description="Recognise gestures and print one JSON line for each.",
    )
    parser.add_argument(
        "--model", required=True, metavar="FILE", help="ONNX file or engine of export-engine"
    )
    parser.add_argument(
        "--events", metavar="FILE", help="write the JSON lines here instead of to stdout"
    )
    parser.add_argument("--record", metavar="FILE.mp4", help="write the annotated video here")
    parser.add_argument(
        "--truth", metavar="FILE", help="JSON lines of the true gestures, to compare with"
    )
    parser.add_argument("--backend", default="auto", help="auto, onnxruntime, openvino or tensorrt")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads")
    parser.add_argument(
        "--threshold",
        type=threshold,
        help="score that names a gesture; else the model's",
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        metavar="HZ",
        default=12.0,
        help="clips scored a second at most",
    )
    add_source_arguments(parser, required=True, folder_rate="the rate the model was trained at")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from clipedge.jetson.demo import run

    return run(arguments)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
