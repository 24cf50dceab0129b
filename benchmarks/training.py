"""How fast training is beside a plain loop: python -m clipedge.benchmarks.training.

Both train the same model on the same clips: ``train-clips fit`` with its processes, workers, cache
and memory layout, and a loop that decodes with PIL and learns, one after the other. All parts are
timed in turns, each in a process of its own, so that whatever else the machine does meets all
alike.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence

from clipedge.benchmarks.study import write_study
from clipedge.benchmarks.training_report import conditions, summarise, table_text
from clipedge.benchmarks.training_tree import write_tree
from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import make_folder
from clipedge.jetson.own_process import module_command
from clipedge.jetson.progress import ProgressLine

_PART = "clipedge.benchmarks.training_part"
_PATIENCE_S = 10.0  # for a process that was told to end


class Part(NamedTuple):
    """What one process times.

    Attributes:
        name: of its figures in the document.
        what: which of ``training_part.PARTS``.
        precision: of the arithmetic; None: what ``fit`` chooses on this machine.
        cached: decoded frames are kept.
    """

    name: str
    what: str
    precision: Optional[str] = None
    cached: bool = True


PARTS = (
    Part("plain", "plain"),
    Part("our loader", "our loader"),
    Part("our step", "our step"),
    Part("our step, bf16", "our step", precision="bf16"),
    Part("our both", "our both"),
    Part("our both, decoding", "our both", cached=False),
)


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.training",
        description="Compare train-clips fit with a plain loop: PIL, contiguous float32, no "
        "workers.",
    )
    add = parser.add_argument
    add("--model", default="shufflenetv1", help="architecture: see train-clips summary")
    add("--width", type=positive_float, help="width multiplier (default: 0.5, of shufflenetv1)")
    add("--size", type=positive_int, help="height and width, pixels (default: the model's own)")
    add("--data", metavar="DIR", help="a data set (default: a generated one, as Jester's)")
    layouts = ("auto", "jester", "ucf101", "kinetics600", "folder")
    add("--layout", choices=layouts, default="auto", help="of DIR")
    add("--clips", type=positive_int, default=192, help="recordings in an epoch, at most")
    add("--batch", type=positive_int, default=16, help="clips a step")
    add("--epochs", type=positive_int, default=2, help="timed in each turn, after a first one")
    add("--repeats", type=positive_int, default=3, help="turns")
    add("--json", metavar="FILE", type=pathlib.Path, help="write every figure to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.json is not None:
        if arguments.json.is_dir():
            raise UsageError(f"--json {arguments.json} is a folder; a file is needed.")
        make_folder(arguments.json.parent)
    if arguments.width is None and arguments.model == "shufflenetv1":
        arguments.width = 0.5
    with tempfile.TemporaryDirectory(prefix="clipedge-training-") as name:
        folder = pathlib.Path(name)
        data = arguments.data
        if data is None:
            data = str(folder / "data")
            with ProgressLine(f"writing {arguments.clips} generated recordings"):
                write_tree(make_folder(data), arguments.clips)
        document = conditions(_settings(arguments, data))
        try:
            for turn in range(arguments.repeats):
                _measure_turn(document, data, folder, turn)
            document["complete"] = True
        finally:
            _publish(document, arguments.json)
    return DONE


def _settings(arguments: argparse.Namespace, data: str) -> Dict[str, Any]:
    """Return what is held fixed; raise UsageError where it cannot be, before anything is timed."""
    from clipedge.benchmarks.training_part import make_model, open_part

    if arguments.batch < 2:
        raise UsageError("--batch must be 2 or more: batch normalisation needs several clips.")
    catalog = open_part(data, arguments.layout, arguments.clips, arguments.batch)
    model, spec = make_model(arguments.model, arguments.width, arguments.size, catalog)
    return {
        "model": model.config.name,
        "width": model.config.width,
        "size": spec.size,
        "frames": spec.frames,
        "data": "generated" if arguments.data is None else str(arguments.data),
        "layout": catalog.name if arguments.data is None else arguments.layout,
        "classes": len(catalog.labels),
        "clips": len(catalog),
        "batch": arguments.batch,
        "epochs": arguments.epochs,
        "repeats": arguments.repeats,
    }


def _measure_turn(document: Dict[str, Any], data: str, folder: pathlib.Path, turn: int) -> None:
    """Time each part once; every second turn in the other order."""
    settings = document["settings"]
    figures: Dict[str, Any] = {}
    for part in PARTS if turn % 2 == 0 else PARTS[::-1]:
        title = f"turn {turn + 1} of {settings['repeats']}: {part.name}"
        with ProgressLine(title), tempfile.TemporaryDirectory(dir=str(folder)) as scratch:
            asked = dict(settings, data=data, part=part.what, precision=part.precision)
            figures[part.name] = run_part(dict(asked, cached=part.cached), pathlib.Path(scratch))
    for one in figures.values():
        document["packages"].update(one.pop("packages"))
    document["turns"].append(figures)
    document.update(summarise(document["turns"]))


def run_part(settings: Dict[str, Any], scratch: pathlib.Path) -> Dict[str, Any]:
    """Run one part in a process of its own and return its figures.

    Raises:
        ClipedgeError: it failed.
    """
    result = scratch / "result.json"
    told = dict(settings, scratch=str(scratch), result=str(result), spawned_s=time.time())
    (scratch / "settings.json").write_text(json.dumps(told), encoding="utf-8")
    with (scratch / "talk.txt").open("w+", encoding="utf-8", errors="replace") as talk:
        command = [*module_command(_PART), str(scratch / "settings.json")]
        process = subprocess.Popen(command, stdout=talk, stderr=talk, start_new_session=True)
        with _ended(process):
            process.wait()
        talk.seek(0)
        lines = [line for line in talk.read().splitlines() if line.strip()]
    if process.returncode != 0 or not result.exists():
        said = "\n".join(lines[-10:])
        raise ClipedgeError(
            f"The part '{settings['part']}' ended with status {process.returncode}:\n{said}"
        )
    figures: Dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return figures


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """On an interrupt, end the process with all that it has started."""
    try:
        yield
    except BaseException:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(_PATIENCE_S)
        raise


def _publish(document: Dict[str, Any], path: Optional[pathlib.Path]) -> None:
    """Print the table and write the JSON file, of the turns that are done."""
    if not document["turns"]:
        return
    sys.stdout.write(table_text(document) + "\n")
    sys.stdout.flush()
    if path is not None:
        write_study(path, document)


if __name__ == "__main__":
    sys.exit(main())
