"""Runs jetson-bench: finds the files, measures one after the other, keeps what is done, reports."""

import argparse
import logging
import pathlib
from typing import Any, Dict, List, Optional

from clipedge.benchmarks.reports import publish
from clipedge.benchmarks.speed import document as documents
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.limits import LimitDevices
from clipedge.benchmarks.speed.plan import Job, find_models
from clipedge.benchmarks.speed.rows import add_limit, row_name
from clipedge.benchmarks.speed.session import Outcome, Settings, measure_orders
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.conditions import Sampler
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import make_folder

_log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Measure what the arguments name; return the exit status."""
    _check_targets(arguments)
    settings = asked_settings(arguments)
    document = None
    if arguments.resume:
        document = documents.resumable(arguments.json, settings)
    paths = find_models(arguments.files, arguments.backend)
    jobs = [
        Job(path, batch, streams)
        for path in paths
        for batch in arguments.batch
        for streams in arguments.streams
    ]
    if document is None:
        document = documents.new_document(settings)
    _measure(document, jobs, arguments)
    return FAILED if document["failures"] else DONE


def asked_settings(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Return what the figures depend on, as it stands in the document."""
    return {
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


def _check_targets(arguments: argparse.Namespace) -> None:
    """Fail before the measurement, not after it."""
    if arguments.resume and arguments.json is None:
        raise UsageError("--resume goes on with the document of --json FILE; name it.")
    for flag in ("json",):
        path: Optional[pathlib.Path] = getattr(arguments, flag)
        if path is not None:
            if path.is_dir():
                raise UsageError(f"--{flag} {path} is a folder; a file is needed.")
            make_folder(path.parent)


def _measure(document: Document, jobs: List[Job], arguments: argparse.Namespace) -> None:
    settings = Settings(
        arguments.duration,
        arguments.batches,
        arguments.warmup,
        arguments.repeats,
        arguments.profile,
    )
    complete = False
    try:
        limits = LimitDevices(document, arguments.limit, arguments.threads)
        with Sampler() as sampler:
            for number, job in enumerate(jobs, 1):
                if _is_done(document, job):
                    continue
                title = f"[{number}/{len(jobs)}] {_job_name(job, arguments)}"
                orders = [_order(job, arguments)]
                for outcome in measure_orders(orders, settings, sampler, title):
                    _take(document, outcome, limits)
                _save(document, arguments)
        complete = True
    finally:
        # On an interrupt too: what is measured is not lost.
        documents.end_document(document, complete)
        _save(document, arguments)
        publish(document, arguments)


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
    return bool(documents.measured_before(document, file, sha256_of(file), job.batch, job.streams))


def _take(document: Document, outcome: Outcome, limits: LimitDevices) -> None:
    """Put a row, or why there is none, into the document."""
    order, row = outcome.order, outcome.row
    name = pathlib.Path(order.path).name
    if row is None:
        document["failures"].append(dict(order._asdict(), error=str(outcome.error)))
        _log.error("jetson-bench: %s: %s", name, outcome.error)
        return
    document["packages"].update(outcome.packages)
    add_limit(row, limits.of(row))
    document["rows"].append(row)
    for warning in row["warnings"]:
        _log.warning("%s: %s.", row_name(row), warning)


def _save(document: Document, arguments: argparse.Namespace) -> None:
    if arguments.json is not None and (document["complete"] or document["rows"]):
        documents.write_document(arguments.json, document)
