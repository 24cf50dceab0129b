"""export-engine: a checked ONNX file out of a checkpoint, and checked engines out of that."""

import argparse
import json
import logging
import os
import pathlib
import re
import shlex
import sys
import threading
from typing import Any, Dict, List, Optional, Sequence, Tuple

from clipedge.export.graph_names import AUTO, FORMS
from clipedge.jetson.command_line import (
    DONE,
    FAILED,
    CommandParser,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import ClipedgeError, UsageError

DEFAULT_FOLDER = "engines"
PRECISIONS = ("fp32", "fp16")
BUILDERS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # the packages they import

# What only makes sense for engines: who gives one of these wants engines or an error.
ENGINE_FLAGS = ("precision", "builder", "target", "force", "profile", "workspace")

BUILD_THREAD = "clipedge-build"  # the name of the thread that TensorRT builds in

log = logging.getLogger(__name__)


def build_parser() -> CommandParser:
    """Return the parser of export-engine."""
    parser = CommandParser(
        prog="export-engine",
        description="Write a model as an ONNX file that takes raw pixels, checked against PyTorch, "
        "and build TensorRT engines from it, checked against the ONNX file. On the board, give "
        "--onnx FILE: an engine runs only where it was built.",
    )
    _add_model_arguments(parser)
    _add_engine_arguments(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        help=f"folder of the files (default: {DEFAULT_FOLDER}, with --onnx that file's folder)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _add_model_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--model",
        help="architecture, with random weights; train-clips summary lists them",
    )
    parser.add_argument("--width", type=positive_float, help="width multiplier, such as 2.0")
    parser.add_argument("--checkpoint", metavar="FILE", help="trained weights of train-clips")
    parser.add_argument(
        "--onnx",
        metavar="FILE",
        type=pathlib.Path,
        help="ONNX file that export-engine wrote: build engines only",
    )
    parser.add_argument(
        "--num-classes",
        type=positive_int,
        metavar="N",
        help="size of the head where weights are random (27 as Jester, if not given)",
    )
    parser.add_argument(
        "--opset",
        type=int,
        help="ONNX opset (default: 13; TensorRT 8.2 on the board takes 13 at most)",
    )


def _add_engine_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--batch",
        type=positive_int,
        nargs="+",
        default=[1, 8],
        metavar="N",
        help="batch sizes to check and to build engines for; the ONNX file takes any",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=(*PRECISIONS, "int8"),
        help="an engine for each (default: {})".format(" ".join(PRECISIONS)),
    )
    parser.add_argument(
        "--graph",
        choices=(*FORMS, AUTO),
        default=AUTO,
        help="conv3d: as trained; conv2d: rewritten exactly into 2D convolutions; tensorcore: "
        "into what tensor cores do well; auto: build what suits the GPU and keep the fastest",
    )
    parser.add_argument(
        "--builder",
        choices=sorted(BUILDERS),
        help="where both are installed (default: tensorrt)",
    )
    parser.add_argument(
        "--target",
        nargs="+",
        type=compute_capability,
        metavar="SM",
        help="with tensorrt-rtx: GPUs that are elsewhere, such as sm_86 sm_89, in one engine",
    )
    parser.add_argument(
        "--workspace",
        type=positive_int,
        metavar="MIB",
        help="scratch memory an engine may use (default: 1024 on a board, elsewhere no limit)",
    )
    parser.add_argument(
        "--force", action="store_true", help="build again what is there and up to date"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show the engines layer by layer, and write it"
    )
    parser.add_argument("--no-engine", action="store_true", help="write the ONNX file only")


def compute_capability(text: str) -> Tuple[int, int]:
    """Parse ``sm_86`` (an argparse type)."""
    match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no compute capability; they are written sm_75, sm_86, sm_89"
        )
    return int(match.group(1)), int(match.group(2))


def _run(arguments: argparse.Namespace) -> int:
    _refuse_contradictions(arguments)
    result: Dict[str, Any] = {}
    onnx_path = arguments.onnx
    if onnx_path is None:
        result = _export(arguments)
        onnx_path = pathlib.Path(result["files"][0])
    result["engines"], result["failures"] = [], []
    if not arguments.no_engine:
        _build_engines(arguments, onnx_path, result)
    if arguments.json:
        print(json.dumps(result, indent=2))  # noqa: T201
    else:
        sys.stdout.write(_text(result, onnx_path))
    for failure in result["failures"]:
        log.error("export-engine: %s", failure)
    return FAILED if result["failures"] else DONE


def _export(arguments: argparse.Namespace) -> Dict[str, Any]:
    # torch takes seconds to import: a wrong call should hear of it before.
    from clipedge.export.export_model import export_model

    exported = export_model(
        model=arguments.model,
        width=arguments.width,
        checkpoint=arguments.checkpoint,
        num_classes=arguments.num_classes,
        batches=arguments.batch,
        opset=arguments.opset or 13,
        output=arguments.output or DEFAULT_FOLDER,
        graph=arguments.graph,
    )
    return exported.to_dict()


def _build_engines(
    arguments: argparse.Namespace, onnx_path: pathlib.Path, result: Dict[str, Any]
) -> None:
    """Add the engines to the result, and what went wrong with others."""
    from clipedge.export.engine_builder import EngineOrder, build_engines
    from clipedge.export.workbench import Workbench

    _require_onnx(onnx_path)
    folder = onnx_path.parent if arguments.output is None else pathlib.Path(arguments.output)
    wanted = arguments.onnx is not None or any(getattr(arguments, flag) for flag in ENGINE_FLAGS)
    try:
        bench = Workbench(
            folder,
            package=BUILDERS.get(arguments.builder),
            targets=tuple(sorted(set(arguments.target or ()))),
            workspace_mib=arguments.workspace,
        )
    except ClipedgeError as problem:
        if wanted:
            raise
        log.info("No engines were built. %s", problem)
        return
    order = EngineOrder(
        onnx_path=onnx_path,
        folder=folder,
        precisions=_unique(arguments.precision or PRECISIONS),
        batches=tuple(sorted(set(arguments.batch))),
        graph=arguments.graph,
        force=arguments.force,
        profile=arguments.profile,
    )
    engines, failures = build_engines(bench, order)
    result["engines"] = [engine.to_dict() for engine in engines]
    result["failures"] = failures


def _require_onnx(path: pathlib.Path) -> None:
    """Refuse what is no ONNX file before anything is said of GPUs."""
    from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
    from clipedge.jetson.runners.model_file import read_model_spec

    if path.suffix == ENGINE_SUFFIX:
        raise UsageError(f"{path} is an engine; give the ONNX file it was built from.")
    read_model_spec(path)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    sources = [name for name in ("model", "checkpoint", "onnx") if getattr(arguments, name)]
    if len(sources) != 1:
        raise UsageError(
            "give one of --model NAME (random weights), --checkpoint FILE (trained weights) and "
            "--onnx FILE (engines from a file that is there){}.".format(
                "; got " + " and ".join("--" + name for name in sources) if sources else ""
            )
        )
    known_by = {"checkpoint": "checkpoint", "onnx": "ONNX file"}.get(sources[0])
    fixed = ["width", "num_classes"] + (["opset"] if sources[0] == "onnx" else [])
    for name in fixed if known_by else ():
        if getattr(arguments, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} is fixed by the {known_by}; leave it out.")
    contrary = [flag for flag in ENGINE_FLAGS if getattr(arguments, flag)]
    if arguments.no_engine and (contrary or arguments.onnx):
        flag = contrary[0] if contrary else "onnx"
        raise UsageError(f"--{flag} is for engines; leave it or --no-engine out.")


def _unique(values: Sequence[Any]) -> Tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _text(result: Dict[str, Any], onnx_path: pathlib.Path) -> str:
    lines: List[str] = []
    if "files" in result:
        lines += [
            "{name}: {weights}".format(**result),
            "  input   clips  (N, {}, {}, {}, {}) float32, RGB, 0-255".format(
                *result["clip_shape"]
            ),
            "  output  logits (N, {})".format(result["classes"]),
            "  parity  {parity_text}".format(**result),
            "  files   {}".format("\n          ".join(result["files"])),
        ]
    for engine in result["engines"]:
        lines += [
            "{}{}".format(engine["file"], " (was there already)" if engine["cached"] else ""),
            "  {}, {}, batch {}, {:.1f} MB, built in {:.1f} s".format(
                engine["precision"],
                engine["graph_form"],
                " and ".join(str(batch) for batch in engine["batches"]),
                engine["engine_bytes"] / 1e6,
                engine["build_s"],
            ),
            f"  for     {_where(engine)}",
            "  checked {}".format(engine["check_text"]),
        ]
        if "profile" in engine:
            lines += engine["profile"]["text"]
    runnable = [engine["file"] for engine in result["engines"] if not engine["targets"]]
    if not result["engines"] and not result["failures"]:
        lines.append(f"on the board: export-engine --onnx {shlex.quote(onnx_path.name)}")
    elsewhere = [engine for engine in result["engines"] if engine["targets"]]
    if elsewhere:
        lines.append("next: copy each .engine and its .engine.json to a machine with that GPU")
    elif not result["failures"]:
        lines.append(f"next: jetson-bench {shlex.quote(str((runnable or [onnx_path])[-1]))}")
    return "".join(line + "\n" for line in lines)


def _where(engine: Dict[str, Any]) -> str:
    machine = engine["machine"]
    gpu = "{gpu} ({compute_capability})".format(**machine)
    return "{}, {}".format(", ".join(engine["targets"]) or gpu, machine["tensorrt"])


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    status = run_command(build_parser, _run, argv)
    if any(thread.name == BUILD_THREAD for thread in threading.enumerate()):
        # Interrupted in a build that cannot be stopped. An orderly end takes away what TensorRT
        # and ONNX Runtime still use, and they abort; what is ours is closed already.
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
