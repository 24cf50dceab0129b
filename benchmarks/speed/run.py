"""Runs jetson-bench: finds the files, measures one after the other, keeps what is done, reports."""

import argparse
import functools
import logging
import pathlib
import sys
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

from clipedge.benchmarks.reports import check_targets, print_tables, write_reports
from clipedge.benchmarks.speed.backends import comparable
from clipedge.benchmarks.speed.baseline import changes, changes_text, regressed
from clipedge.benchmarks.speed.conditions_apart import condition_differences
from clipedge.benchmarks.speed.document import (
    Document,
    end_document,
    measured_before,
    new_document,
    read_document,
    resumable,
    write_document,
)
from clipedge.benchmarks.speed.exporting import exported_path
from clipedge.benchmarks.speed.limits import LimitDevices
from clipedge.benchmarks.speed.plan import Job, find_models, jobs_of
from clipedge.benchmarks.speed.recommend import recommend
from clipedge.benchmarks.speed.rows import add_limit, row_name
from clipedge.benchmarks.speed.session import Outcome, Settings, auto_pick, measure_orders
from clipedge.benchmarks.speed.table import files_of, table_plan
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.conditions import Sampler
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.runners.opening import DEFAULT_PRECISION

DEFAULT_DOCUMENT = pathlib.Path("bench.json")
DOCUMENT_SUFFIX = ".json"

_log = logging.getLogger(__name__)


class Step(NamedTuple):
    """A line of the plan."""

    path: pathlib.Path  # of the file, also where it is not there yet
    files: Callable[[str], List[pathlib.Path]]  # of a title; it may take an export


def run(arguments: argparse.Namespace) -> int:
    """Measure what the arguments name, or read it, and report; return the exit status."""
    given = _given_document(arguments)
    if arguments.all and arguments.json is None:
        arguments.json = DEFAULT_DOCUMENT
    if arguments.resume and arguments.json is None:
        raise UsageError("--resume goes on with the document of --json FILE; name it.")
    check_targets(arguments)
    baseline = None if arguments.baseline is None else read_document(arguments.baseline)
    if given is None:
        document = _measured(arguments)
    else:
        document = read_document(given)
        if not arguments.recommend and baseline is None:
            print_tables(document)
        write_reports(document, arguments)
    failed = given is None and bool(document["failures"])
    if baseline is not None:
        found = changes(document, baseline, arguments.max_regression)
        differences = condition_differences(document, baseline)
        sys.stdout.write(changes_text(found, arguments.max_regression, differences) + "\n")
        failed = failed or regressed(found)
    if arguments.recommend:
        sys.stdout.write(recommend(document, arguments.min_cps, arguments.dataset) + "\n")
    return FAILED if failed else DONE


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
        asks_only = arguments.recommend and not arguments.files and not arguments.all
        return DEFAULT_DOCUMENT if asks_only else None
    if len(arguments.files) > 1 or arguments.all:
        raise UsageError(
            f"{named[0]} is a document to report on, which goes alone; or name models to measure."
        )
    path: pathlib.Path = named[0]
    return path


def _measured(arguments: argparse.Namespace) -> Document:
    settings = asked_settings(arguments)
    document = resumable(arguments.json, settings) if arguments.resume else None
    steps = _steps(arguments)
    if document is None:
        document = new_document(settings)
    complete = False
    try:
        limits = LimitDevices(document, arguments.limit, arguments.threads)
        with Sampler() as sampler:
            try:
                for number, step in enumerate(steps, 1):
                    title = f"[{number}/{len(steps)}] "
                    _measure_step(document, step, title, arguments, limits, sampler)
            finally:
                document["sampler"] = sampler.facts()
        complete = True
    finally:
        # On an interrupt too: what is measured is not lost.
        end_document(document, complete)
        if document["rows"] or document["failures"]:
            print_tables(document)
            write_reports(document, arguments)
        _save(document, arguments)
        if arguments.json is not None:
            _log.info("Wrote %s", arguments.json)
        if not complete and arguments.json is not None and document["rows"]:
            _log.warning("Go on with the same command and --resume.")
    return document


def _steps(arguments: argparse.Namespace) -> List[Step]:
    if not arguments.all:
        paths = find_models(arguments.files, arguments.backend)
        return [Step(path, lambda title, path=path: [path]) for path in paths]  # type: ignore[misc]
    plan = table_plan(arguments.files, arguments.backend, arguments.batch)
    for note in plan.notes():
        _log.info("%s", note)
    damaged = [Step(path, functools.partial(_fail, error)) for path, error in plan.damaged]
    return damaged + [
        Step(
            exported_path(row.model, row.width, plan.folder),
            lambda title, row=row: files_of(row, plan, title),  # type: ignore[misc]
        )
        for row in plan.rows
    ]


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
    first = (arguments.batch[0], arguments.streams[0])
    try:
        paths = step.files(title)
    except ClipedgeError as error:
        _note_failure(document, _order(Job(step.path, *first), arguments), error)
        return
    for job in jobs_of(paths, arguments.batch, arguments.streams):
        if _is_done(document, job):
            continue
        name = title + _job_name(job, arguments)
        for outcome in _outcomes(job, name, arguments, sampler):
            _take(document, outcome, limits)
        _save(document, arguments)


def _outcomes(
    job: Job, title: str, arguments: argparse.Namespace, sampler: Sampler
) -> Iterator[Outcome]:
    """Measure a job with the backend asked for, or with all there are."""
    settings = Settings(
        arguments.duration,
        arguments.batches,
        arguments.warmup,
        arguments.repeats,
        arguments.profile,
    )
    order = _order(job, arguments)
    try:
        if not arguments.compare_backends:
            yield from measure_orders([order], settings, sampler, title)
            return
        orders = _comparable_orders(job, order)
        chosen, trial_ms = auto_pick(order._replace(precision=DEFAULT_PRECISION))
    except ClipedgeError as error:
        yield Outcome(order, None, {}, error)
        return
    for outcome in measure_orders(orders, settings, sampler, title):
        if outcome.row is not None:
            is_chosen = (outcome.order.backend, outcome.order.precision) == (
                chosen,
                DEFAULT_PRECISION,
            )
            outcome.row["auto_choice"] = is_chosen
            outcome.row["auto_trial_ms"] = trial_ms if is_chosen else {}
        yield outcome


def _comparable_orders(job: Job, order: Order) -> List[Order]:
    found, missing = comparable(job.path)
    for name, reason in missing.items():
        _log.info("%s: without %s: %s", job.path.name, name, reason)
    return [
        order._replace(path=str(path), backend=backend, precision=precision)
        for backend, precision, path in found
    ]


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


def _is_done(document: Document, job: Job) -> bool:
    if not document["rows"]:
        return False
    file = str(job.path)
    return bool(measured_before(document, file, sha256_of(file), job.batch, job.streams))


def _take(document: Document, outcome: Outcome, limits: LimitDevices) -> None:
    """Put a row, or why there is none, into the document."""
    row = outcome.row
    if row is None:
        assert outcome.error is not None
        _note_failure(document, outcome.order, outcome.error)
        return
    document["packages"].update(outcome.packages)
    add_limit(row, limits.of(row))
    document["rows"].append(row)
    for warning in row["warnings"]:
        _log.warning("%s: %s.", row_name(row), warning)


def _note_failure(document: Document, order: Order, error: ClipedgeError) -> None:
    document["failures"].append(dict(order._asdict(), error=str(error)))
    _log.error("jetson-bench: %s: %s", pathlib.Path(order.path).name, error)


def _save(document: Document, arguments: argparse.Namespace) -> None:
    if arguments.json is not None and (document["complete"] or document["rows"]):
        write_document(arguments.json, document)
