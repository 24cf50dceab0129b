"""Runs jetson-bench: finds the files, measures one after the other, reports what is done."""

import argparse
import datetime
import logging
import pathlib
import sys
from typing import Any, Dict, List, Sequence

import numpy as np

from clipedge.benchmarks import report
from clipedge.benchmarks.timing import measure, random_clips, warn_where_busy
from clipedge.jetson import board
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.conditions import Sampler, read_conditions
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import make_folder, plain_path
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners import open_runner
from clipedge.jetson.runners.base import TimingMs
from clipedge.jetson.runners.opening import AUTO, TENSORRT
from clipedge.jetson.version import own_version

DEFAULT_FOLDER = pathlib.Path("engines")  # where export-engine writes
ONNX_SUFFIX = ".onnx"

_log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Measure what the arguments name; return the exit status."""
    paths = find_models(arguments.files, arguments.backend)
    if arguments.json is not None:
        _check_json_path(arguments.json)
    document = _conditions(arguments)
    try:
        with Sampler() as sampler:
            for index, path in enumerate(paths, 1):
                title = f"[{index}/{len(paths)}] {path.name}"
                _measure_into(document, path, title, arguments, sampler)
        document["complete"] = True
    finally:
        # On an interrupt too: what is measured is not lost.
        _publish(document, arguments)
    return FAILED if document["failures"] else DONE


def find_models(given: Sequence[pathlib.Path], backend: str = AUTO) -> List[pathlib.Path]:
    """Return the model files among files and folders, those of a folder by name.

    Of a folder those count that ``backend`` runs: engines, ONNX files, or both with ``auto``.

    Raises:
        UsageError: a path does not exist, a folder holds no model file, or nothing was given and
            there is no default folder.
    """
    suffixes = [ONNX_SUFFIX, ENGINE_SUFFIX]
    if backend != AUTO:
        suffixes = [ENGINE_SUFFIX if backend == TENSORRT else ONNX_SUFFIX]
    if not given and not DEFAULT_FOLDER.is_dir():
        raise UsageError(
            f"No files were given and there is no folder {DEFAULT_FOLDER} here. Write a model with "
            "export-engine --model shufflenetv1 --width 2.0, or name ONNX files or engines."
        )
    paths: List[pathlib.Path] = []
    for path in given or [DEFAULT_FOLDER]:
        plain_path(path)
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if file.suffix in suffixes and not file.name.startswith(".")
            )
            if not found:
                kinds = " or ".join(suffixes)
                raise UsageError(
                    f"The folder {path} holds no {kinds} file; write one with export-engine."
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
    busy = warn_where_busy("The figures will be too low.")
    return {
        "clipedge": own_version(),
        "started_utc": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "complete": False,
        "machine": board.machine_facts(),
        "conditions": read_conditions(),
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
    document: Dict[str, Any],
    path: pathlib.Path,
    title: str,
    arguments: argparse.Namespace,
    sampler: Sampler,
) -> None:
    began_s: List[float] = []
    try:
        with open_runner(
            path, arguments.backend, arguments.threads, arguments.precision
        ) as runner, ProgressLine(title) as progress:
            runner.check_batch(arguments.batch)
            clips = random_clips(runner.spec, arguments.batch)
            gpu_times_ms: List[TimingMs] = []

            def infer(batch: np.ndarray) -> np.ndarray:
                logits = runner.infer(batch)
                if runner.last_timing_ms is not None:
                    gpu_times_ms.append(runner.last_timing_ms)
                return logits

            timings = measure(
                infer,
                clips,
                arguments.duration,
                arguments.warmup,
                progress,
                on_warm=lambda: began_s.append(sampler.mark()),
            )
            row = report.result_row(path, runner, timings, gpu_times_ms[timings.warmup_batches :])
            row["span"] = sampler.summary(
                began_s[0], sampler.mark(), timings.batches * timings.batch
            )
            document["results"].append(row)
        _warn_of_span(path, row["span"])
    except ClipedgeError as error:
        document["failures"].append({"file": str(path), "error": str(error)})
        _log.error("jetson-bench: %s: %s", path.name, error)


def _warn_of_span(path: pathlib.Path, span: Dict[str, Any]) -> None:
    """Say what makes a figure one of a machine that was not the same all the time."""
    if any(span["throttled"].values()):
        _log.warning(
            "%s: the machine throttled itself; it is too hot, or short of power.", path.name
        )
    if span["clock_changes"]:
        first = span["clock_changes"][0]
        _log.warning(
            "%s: the clock of %s changed from %.0f to %.0f MHz while it was measured%s.",
            path.name,
            first["clock"],
            first["from_mhz"],
            first["to_mhz"],
            " (and more)" if len(span["clock_changes"]) > 1 else "",
        )


def _publish(document: Dict[str, Any], arguments: argparse.Namespace) -> None:
    """Print the table and write the JSON file, of whatever is done."""
    document["packages"] = board.package_versions()
    if document["results"]:
        heading = report.conditions_text(
            document["machine"], document["settings"], document["conditions"]
        )
        sys.stdout.write(f"{heading}\n\n{report.table_text(document['results'])}\n")
        sys.stdout.flush()
    if arguments.json is not None and (document["complete"] or document["results"]):
        report.write_json(arguments.json, document)
        _log.info("Wrote %s", arguments.json)
