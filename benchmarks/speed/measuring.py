"""Measures the files one after the other, and keeps what is done after each."""

import argparse
import functools
import logging
import pathlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from clipedge.benchmarks.reports import print_tables, write_reports
from clipedge.benchmarks.speed.backends import require_backend
from clipedge.benchmarks.speed.document import (
    Document,
    end_document,
    new_document,
    write_document,
)
from clipedge.benchmarks.speed.exporting import CannotExportError, exported_path, missing_packages
from clipedge.benchmarks.speed.limits import LimitDevices
from clipedge.benchmarks.speed.plan import SIDE_BY_SIDE, Job, find_models, jobs_of
from clipedge.benchmarks.speed.resuming import ASKED, check_packages, is_done, resumed
from clipedge.benchmarks.speed.rows import add_limit
from clipedge.benchmarks.speed.session import Outcome, Settings, measure_orders
from clipedge.benchmarks.speed.side_by_side import measure_all_backends
from clipedge.benchmarks.speed.table import files_of, table_plan
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.conditions import Sampler
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX, load_manifest
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.files import readable_os_error
from clipedge.jetson.runners.opening import AUTO, ONNX_SUFFIX, TENSORRT

_WARMUP_S, _OPENING_S = 5.0, 3.0  # of most models, for how long the run takes
_WORTH_SAYING_S = 60.0

_CANNOT_EXPORT = (
    "jetson-bench: {} of {} models have no file here, and what would export them is not installed "
    "({}); each is under Failed."
)

_log = logging.getLogger(__name__)


class Step(NamedTuple):
    """A line of the plan."""

    path: pathlib.Path  # of the file, also where it is not there yet
    files: Callable[[str], List[pathlib.Path]]  # of a title; it may take an export


def measure_and_report(arguments: argparse.Namespace, settings: Dict[str, Any]) -> Document:
    """Measure what the arguments name, print the tables and write the reports.

    An interrupt does all of that with what is measured until then.

    Args:
        arguments: of the command.
        settings: what the figures depend on, for the document.

    Raises:
        ClipedgeError: there is nothing to measure or to go on with, or a file cannot be written.
    """
    steps = _steps(arguments)
    if _all_need_it(arguments, steps):
        require_backend(arguments.backend, arguments.precision)
    document = new_document(settings)
    if arguments.resume:
        document = resumed(arguments.json, document)
    say_how_long(arguments, len(steps), document)
    complete = False
    try:
        limits = LimitDevices(document, arguments.limit, arguments.threads)
        limits.complete()
        with Sampler() as sampler:
            try:
                for number, step in enumerate(steps, 1):
                    title = f"[{number}/{len(steps)}] "
                    _measure_step(document, step, title, arguments, limits, sampler)
            finally:
                document["sampler"] = sampler.facts()
        complete = True
    finally:
        end_document(document, complete)
        _report(document, arguments)
    return document


def say_how_long(arguments: argparse.Namespace, models: int, document: Document) -> None:
    """Say roughly how long the run takes, where that is long and can be told."""
    jobs = models * len(arguments.batch) * len(arguments.streams)
    jobs -= len({(row.get(ASKED), row["batch"], row["streams"]) for row in document["rows"]})
    if arguments.batches is not None or arguments.compare_backends:
        return
    warmup_s = _WARMUP_S if arguments.warmup is None else arguments.warmup
    about_s = jobs * (arguments.repeats * arguments.duration + warmup_s + _OPENING_S)
    if about_s >= _WORTH_SAYING_S:
        what = "1 figure" if jobs == 1 else f"{jobs} figures"
        _log.info("%s to measure, about %.0f min.", what, about_s / 60)


def _report(document: Document, arguments: argparse.Namespace) -> None:
    """Write the document first and the terminal last: who reads that may have gone."""
    _save(document, arguments)
    if not (document["rows"] or document["failures"]):
        return
    if arguments.json is not None:
        _log.info("Wrote %s", arguments.json)
        if not document["complete"]:
            _log.warning("Go on with the same command and --resume.")
    try:
        write_reports(document, arguments)
    finally:
        print_tables(document)


def _steps(arguments: argparse.Namespace) -> List[Step]:
    backend = SIDE_BY_SIDE if arguments.compare_backends else arguments.backend
    if not arguments.all:
        paths = find_models(arguments.files, backend)
        return [Step(path, lambda title, path=path: [path]) for path in paths]  # type: ignore[misc]
    plan = table_plan(arguments.files, backend, arguments.batch)
    for note in plan.notes():
        _log.info("%s", note)
    lacking, missing = sum(not row.paths for row in plan.rows), missing_packages()
    if lacking and missing and plan.backend != TENSORRT:
        _log.error("%s", _CANNOT_EXPORT.format(lacking, len(plan.rows), " and ".join(missing)))
    damaged = [Step(path, functools.partial(_fail, error)) for path, error in plan.damaged]
    return damaged + [
        Step(
            exported_path(row.model, row.width, plan.folder),
            lambda title, row=row: files_of(row, plan, title),  # type: ignore[misc]
        )
        for row in plan.rows
    ]


def _all_need_it(arguments: argparse.Namespace, steps: Sequence[Step]) -> bool:
    """Return whether there is no file but those that the backend asked for has to run."""
    if arguments.compare_backends:
        return False
    return arguments.backend != AUTO or all(step.path.suffix == ONNX_SUFFIX for step in steps)


def _fail(error: ClipedgeError, title: str) -> List[pathlib.Path]:
    raise error


def _measure_step(
    document: Document,
    step: Step,
    title: str,
    arguments: argparse.Namespace,
    limits: LimitDevices,
    sampler: Sampler,
) -> None:
    try:
        paths = step.files(title)
    except ClipedgeError as error:
        job = Job(step.path, arguments.batch[0], arguments.streams[0])
        told = isinstance(error, CannotExportError)  # of all of them, before the first
        _take(document, job, [Outcome(_order(job, arguments), None, {}, error)], limits, told)
        return
    for job in jobs_of(paths, arguments.batch, arguments.streams):
        try:
            if is_done(document, job):
                continue
            outcomes = _outcomes(job, title + _job_name(job, arguments), arguments, sampler)
        except ClipedgeError as error:
            outcomes = [Outcome(_order(job, arguments), None, {}, error)]
        except OSError as error:  # such as a link to itself
            reason = readable_os_error(error, error.filename or job.path)
            outcomes = [Outcome(_order(job, arguments), None, {}, reason)]
        _take(document, job, outcomes, limits)
        _save(document, arguments)


def _outcomes(
    job: Job, title: str, arguments: argparse.Namespace, sampler: Sampler
) -> List[Outcome]:
    """Measure a job with the backend asked for, or with all there are."""
    settings = Settings(
        arguments.duration,
        arguments.batches,
        arguments.warmup,
        arguments.repeats,
        arguments.profile,
    )
    order = _order(job, arguments)
    if arguments.compare_backends:
        return measure_all_backends(order, settings, sampler, title)
    return measure_orders([order], settings, sampler, title)


def _order(job: Job, arguments: argparse.Namespace) -> Order:
    return Order(
        str(job.path),
        arguments.backend,
        arguments.precision,
        arguments.threads,
        job.batch,
        job.streams,
    )


def _job_name(job: Job, arguments: argparse.Namespace) -> str:
    name = job.path.name
    if len(arguments.batch) > 1:
        name += f" batch {job.batch}"
    if len(arguments.streams) > 1:
        name += f" streams {job.streams}"
    return name


def _take(
    document: Document, job: Job, outcomes: List[Outcome], limits: LimitDevices, told: bool = False
) -> None:
    """Put the rows of a job, and why others are missing, into the document.

    Args:
        document: that gets them.
        job: what was to be measured.
        outcomes: what became of it.
        limits: of the devices.
        told: the failures were told already.
    """
    rows, failures = [], []
    for outcome in outcomes:
        if outcome.row is None:
            failures.append(_failure(outcome))
            continue
        check_packages(document, outcome.packages)
        document["packages"].update(outcome.packages)
        add_limit(outcome.row, limits.of(outcome.row))
        rows.append(outcome.row)
    for one in (*rows, *failures):
        one[ASKED] = str(job.path)
    # The rows at once, and last: a job that has one is done.
    document["failures"].extend(failures)
    document["rows"].extend(rows)
    for failure in [] if told else failures:  # the warnings of rows stand below the table
        name, reason = pathlib.Path(failure["path"]).name, failure["error"]
        _log.error("jetson-bench: %s", reason if name in reason else f"{name}: {reason}")


def _failure(outcome: Outcome) -> Dict[str, Any]:
    order = outcome.order
    if order.path.endswith(ENGINE_SUFFIX):
        order = order._replace(precision=_precision_of(order.path) or order.precision)
    return dict(order._asdict(), error=str(outcome.error))


def _precision_of(engine: str) -> Optional[str]:
    """Return what an engine computes in; None where nobody knows."""
    try:
        return load_manifest(engine).precision
    except ClipedgeError:
        return None


def _save(document: Document, arguments: argparse.Namespace) -> None:
    worth_it = document["complete"] or document["rows"] or document["failures"]
    if arguments.json is not None and worth_it:
        write_document(arguments.json, document)
