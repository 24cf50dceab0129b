"""export-engine: from a checkpoint or an architecture to a checked ONNX file."""

import argparse
import json
import logging
import sys
from typing import Any, Dict, Optional, Sequence

from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import UsageError

log = logging.getLogger(__name__)


def build_parser() -> CommandParser:
    """Return the parser of export-engine."""
    parser = CommandParser(
        prog="export-engine",
        description="Write a model as an ONNX file that takes raw pixels, checked against PyTorch.",
    )
    parser.add_argument(
        "--model",
        help="architecture, with random weights; train-clips summary lists them",
    )
    parser.add_argument("--width", type=positive_float, help="width multiplier, such as 2.0")
    parser.add_argument("--checkpoint", metavar="FILE", help="trained weights of train-clips")
    parser.add_argument(
        "--num-classes",
        type=positive_int,
        metavar="N",
        help="size of the head where weights are random (27 as Jester, if not given)",
    )
    parser.add_argument(
        "--batch",
        type=positive_int,
        nargs="+",
        default=[1, 8],
        metavar="N",
        help="batch sizes to check; the file takes any",
    )
    parser.add_argument(
        "--opset", type=int, default=13, help="ONNX opset; TensorRT 8.2 on the board takes 13"
    )
    parser.add_argument("--output", default="engines", metavar="DIR", help="folder of the files")
    parser.add_argument(
        "--no-engine",
        action="store_true",
        help="ONNX only, on purpose: say nothing of TensorRT engines",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _export(arguments: argparse.Namespace) -> int:
    _refuse_contradictions(arguments)
    # torch takes seconds to import: a wrong call should hear of it before.
    from clipedge.export.export_model import ExportResult, export_model

    result: ExportResult = export_model(
        model=arguments.model,
        width=arguments.width,
        checkpoint=arguments.checkpoint,
        num_classes=arguments.num_classes,
        batches=arguments.batch,
        opset=arguments.opset,
        output=arguments.output,
    )
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2))  # noqa: T201
    else:
        _show(result.to_dict())
    if not arguments.no_engine:
        log.info("This version of clipedge writes ONNX only; TensorRT engines are to come.")
    return DONE


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.model is not None and arguments.checkpoint is not None:
        raise UsageError("--model and --checkpoint were both given; a checkpoint knows its model.")
    if arguments.model is None and arguments.checkpoint is None:
        raise UsageError(
            "give either --model NAME (random weights) or --checkpoint FILE (trained weights)."
        )
    if arguments.checkpoint is not None:
        for flag, value in (("--width", arguments.width), ("--num-classes", arguments.num_classes)):
            if value is not None:
                raise UsageError(f"{flag} is read from the checkpoint; leave it out.")


def _show(result: Dict[str, Any]) -> None:
    lines = [
        "{name}: {weights}".format(**result),
        "  input   clips  (N, {}, {}, {}, {}) float32, RGB, 0-255".format(*result["clip_shape"]),
        "  output  logits (N, {})".format(result["classes"]),
        "  parity  {parity_text}".format(**result),
        "  files   {}".format("\n          ".join(result["files"])),
        "next: jetson-bench {}".format(result["files"][0]),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _export, argv)


if __name__ == "__main__":
    sys.exit(main())
