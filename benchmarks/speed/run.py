"""Runs jetson-bench: measures, or reads what was measured, and says what to make of it."""

import argparse
import pathlib
import sys
from typing import Any, Dict, Optional

from clipedge.benchmarks.reports import check_targets, print_tables, write_reports
from clipedge.benchmarks.speed.baseline import changes, changes_text, regressed
from clipedge.benchmarks.speed.conditions_apart import condition_differences
from clipedge.benchmarks.speed.document import check_replaced, read_document
from clipedge.benchmarks.speed.measuring import measure_and_report
from clipedge.benchmarks.speed.recommend import reaches, recommend
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import UsageError
from clipedge.jetson.runners.opening import AUTO, DEFAULT_PRECISION

DEFAULT_DOCUMENT = pathlib.Path("bench.json")
DOCUMENT_SUFFIX = ".json"

_OF_MEASURING = (
    *("batch", "streams", "backend", "precision", "threads", "compare_backends"),
    *("duration", "batches", "repeats", "warmup", "limit", "profile", "resume"),
)


def run(arguments: argparse.Namespace) -> int:
    """Measure what the arguments name, or read it, and report; return the exit status."""
    given = _given_document(arguments)
    if arguments.all and arguments.json is None:
        arguments.json = DEFAULT_DOCUMENT
    _check_call(arguments, given)
    check_targets(arguments, given)
    if arguments.json is not None and not arguments.resume:
        check_replaced(arguments.json)
    baseline = None if arguments.baseline is None else read_document(arguments.baseline)
    if given is None:
        document = measure_and_report(arguments, asked_settings(arguments))
    else:
        document = read_document(given)
        write_reports(document, arguments)
        if not arguments.recommend and baseline is None:
            print_tables(document)
    failed = given is None and bool(document["failures"])
    if baseline is not None:
        found = changes(document, baseline, arguments.max_regression)
        differences = condition_differences(document, baseline)
        apart = "\n" if given is None else ""  # from the run's tables
        text = changes_text(found, arguments.max_regression, differences)
        sys.stdout.write(f"{apart}{text}\n")
        failed = failed or regressed(found)
    if arguments.recommend:
        asked = document, arguments.min_cps, arguments.dataset
        sys.stdout.write(recommend(*asked) + "\n")
        failed = failed or not reaches(*asked)
    return FAILED if failed else DONE


def _refuse_without_effect(arguments: argparse.Namespace, given: Optional[pathlib.Path]) -> None:
    """Refuse flags that nothing would come of."""
    from clipedge.benchmarks.cli import build_parser

    defaults = build_parser().parse_args([])
    without_effect = []
    if arguments.baseline is None:
        without_effect += [("max_regression", "without --baseline")]
    if not arguments.recommend:
        without_effect += [("min_cps", "without --recommend"), ("dataset", "without --recommend")]
    if given is not None:
        without_effect += [(name, f"as {given} is not measured again") for name in _OF_MEASURING]
    for name, when in without_effect:
        if getattr(arguments, name) != getattr(defaults, name):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} has no effect {when}; leave it out.")


def asked_settings(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Return what the figures depend on, as it stands in the document."""
    return {
        "all": arguments.all,
        "compare_backends": arguments.compare_backends,
        "batch": arguments.batch,
        "streams": arguments.streams,
        "duration_s": arguments.duration,
        "batches": arguments.batches,
        "warmup_s": arguments.warmup,
        "repeats": arguments.repeats,
        "backend": arguments.backend,
        "precision": arguments.precision,
        "threads": arguments.threads,
        "profile": arguments.profile,
    }


def _given_document(arguments: argparse.Namespace) -> Optional[pathlib.Path]:
    """Return the document to report on; None where there is something to measure."""
    named = [path for path in arguments.files if path.suffix == DOCUMENT_SUFFIX]
    if not named:
        if not arguments.recommend or arguments.files or arguments.all:
            return None
        if not DEFAULT_DOCUMENT.exists():
            raise UsageError(
                f"--recommend needs figures, and there is no {DEFAULT_DOCUMENT} here. Measure with "
                "jetson-bench --all, or name a document: jetson-bench FILE.json --recommend"
            )
        return DEFAULT_DOCUMENT
    if len(arguments.files) > 1 or arguments.all:
        raise UsageError(
            f"{named[0]} is a document to report on, which goes alone; or name models to measure."
        )
    path: pathlib.Path = named[0]
    return path


def _check_call(arguments: argparse.Namespace, given: Optional[pathlib.Path]) -> None:
    """Refuse what contradicts itself."""
    if arguments.resume and arguments.json is None:
        raise UsageError("--resume goes on with the document of --json FILE; name it.")
    if given is not None and arguments.json is not None:
        raise UsageError(
            f"{given} is a document already, and --json writes what is measured; leave it out."
        )
    _refuse_without_effect(arguments, given)
    if not arguments.compare_backends:
        return
    for name, default in (("backend", AUTO), ("precision", DEFAULT_PRECISION)):
        if getattr(arguments, name) != default:
            raise UsageError(
                f"--compare-backends measures every backend there is; leave out --{name}, or "
                "--compare-backends."
            )
    engines = [path for path in arguments.files if path.suffix == ENGINE_SUFFIX]
    if engines:
        raise UsageError(
            f"{engines[0]} is an engine; --compare-backends takes its ONNX file, and compares the "
            "engines beside that one too."
        )
