"""Runs jetson-bench: finds the files, measures one after the other, reports what is done."""

import argparse
import datetime
import logging
import pathlib
import sys
from typing import Any, Dict, List, Sequence

from clipedge.benchmarks import report
from clipedge.benchmarks.timing import measure, random_clips
from clipedge.jetson import board
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import make_folder, plain_path
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners import open_runner
from clipedge.jetson.version import own_version

DEFAULT_FOLDER = pathlib.Path("engines")  # where export-engine writes
MODEL_SUFFIX = ".onnx"

# Above this share of the cores' time, other work slows the measurement.
BUSY_SHARE = 0.25

_log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Measure what the arguments name; return the exit status."""
    paths = find_models(arguments.files)
    if arguments.json is not None:
        _check_json_path(arguments.json)
    document = _conditions(arguments)
    try:
        for index, path in enumerate(paths, 1):
            _measure_into(document, path, f"[{index}/{len(paths)}] {path.name}", arguments)
        document["complete"] = True
    finally:
        # On an interrupt too: what is measured is not lost.
        _publish(document, arguments)
    return FAILED if document["failures"] else DONE


def find_models(given: Sequence[pathlib.Path]) -> List[pathlib.Path]:
    """Return the model files among files and folders, those of a folder by name.

    Raises:
        UsageError: a path does not exist, a folder holds no ONNX file, or nothing was given and
            there is no default folder.
    """
    if not given and not DEFAULT_FOLDER.is_dir():
        raise UsageError(
            f"No files were given and there is no folder {DEFAULT_FOLDER} here. Write a model with "
            "export-engine --model shufflenetv1 --width 2.0, or name ONNX files."
        )
    paths: List[pathlib.Path] = []
    for path in given or [DEFAULT_FOLDER]:
        plain_path(path)
        if path.is_dir():
            found = sorted(
                file for file in path.glob(f"*{MODEL_SUFFIX}") if not file.name.startswith(".")
            )
            if not found:
                raise UsageError(
                    f"The folder {path} holds no {MODEL_SUFFIX} file; write one with export-engine."
                )
            paths.extend(found)
        elif path.exists():
            paths.append(path)
        else:
            raise UsageError(f"{path} does not exist; check the path.")
    return paths


def _check_json_path(path: pathlib.Path) -> None:
    """Fail before the measurement, not after it."""
    if path.is_dir():
        raise UsageError(f"--json {path} is a folder; a file is needed.")
    make_folder(path.parent)


def _conditions(arguments: argparse.Namespace) -> Dict[str, Any]:
    busy = board.busy_share()
    if busy is not None and busy > BUSY_SHARE:
        _log.warning(
            "This machine is busy: %.0f %% of its cores' time is taken. The figures will be "
            "too low.",
            100 * busy,
        )
    return {
        "clipedge": own_version(),
        "started_utc": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "complete": False,
        "machine": board.machine_facts(),
        "busy_share_at_start": busy,
        "load_average_at_start": board.load_average(),
        "settings": {
            "batch": arguments.batch,
            "duration_s": arguments.duration,
            "warmup_s": arguments.warmup,
            "backend": arguments.backend,
            "precision": arguments.precision,
            "threads": arguments.threads,
        },
        "packages": {},
        "results": [],
        "failures": [],
    }


def _measure_into(
    document: Dict[str, Any], path: pathlib.Path, title: str, arguments: argparse.Namespace
) -> None:
    try:
        with open_runner(
            path, arguments.backend, arguments.threads, arguments.precision
        ) as runner, ProgressLine(title) as progress:
            clips = random_clips(runner.spec, arguments.batch)
            timings = measure(runner.infer, clips, arguments.duration, arguments.warmup, progress)
            document["results"].append(report.result_row(path, runner, timings))
    except ClipedgeError as error:
        document["failures"].append({"file": str(path), "error": str(error)})
        _log.error("jetson-bench: %s", error)


def _publish(document: Dict[str, Any], arguments: argparse.Namespace) -> None:
    """Print the table and write the JSON file, of whatever is done."""
    document["packages"] = board.package_versions()
    if document["results"]:
        heading = report.conditions_text(document["machine"], document["settings"])
        sys.stdout.write(f"{heading}\n\n{report.table_text(document['results'])}\n")
        sys.stdout.flush()
    if arguments.json is not None and (document["complete"] or document["results"]):
        report.write_json(arguments.json, document)
        _log.info("Wrote %s", arguments.json)
