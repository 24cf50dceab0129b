"""Goes on with the document of a run that was stopped, where everything is as it was."""

import pathlib
from typing import Any, Dict, List, Tuple

from clipedge.benchmarks.speed.conditions_apart import lasting_differences
from clipedge.benchmarks.speed.document import Document, read_document
from clipedge.benchmarks.speed.plan import Job
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import ClipedgeError, UsageError

# Of a row and a failure: the file whose job it is of. An engine that is compared is not that one.
ASKED = "asked_file"

_ADVICE = "Resume with the same, or measure into another file."


def resumed(path: pathlib.Path, fresh: Document) -> Document:
    """Return the document of a run that was stopped, to go on with; ``fresh`` where there is none.

    A job is done where the file asked for has a row and no file of the job has changed since. Its
    rows and failures stay; what there is of other jobs goes, as they are measured again.

    Args:
        path: of the document.
        fresh: a new document, with the settings asked for and what holds now.

    Raises:
        UsageError: it was measured with other settings, on another machine, in another power mode
            or with other versions.
    """
    if not path.exists():
        return fresh
    document = read_document(path)
    before, now = document["settings"], fresh["settings"]
    changed = [
        f"{_flag(name)} was {_shown(before.get(name))} and is {_shown(now[name])}"
        for name in now
        if before.get(name) != now[name]
    ]
    if changed:
        raise UsageError(f"{path} was measured with other flags ({'; '.join(changed)}). {_ADVICE}")
    changed = lasting_differences(fresh, document)
    if changed:
        raise UsageError(
            f"{path} was measured under other conditions ({'; '.join(changed)}). {_ADVICE}"
        )
    rows = document["rows"]
    done = {_job_of(row) for row in rows if row["file"] == row.get(ASKED, row["file"])}
    done -= {_job_of(row) for row in rows if _has_changed(row)}
    for name in ("rows", "failures"):
        document[name] = [one for one in document[name] if _job_of(one) in done]
    document.update(complete=False, ended_utc=None)
    return document


def is_done(document: Document, job: Job) -> bool:
    """Return whether a job has its rows, and its file is the one that they are of.

    Raises:
        ClipedgeError: the file cannot be read.
    """
    known = [
        row["sha256"]
        for row in document["rows"]
        if (row["file"], row["batch"], row["streams"]) == (str(job.path), job.batch, job.streams)
    ]
    return len(known) > 0 and sha256_of(job.path) in known


def check_packages(document: Document, packages: Dict[str, str]) -> None:
    """Refuse a row that was made with other versions than those of the document.

    Raises:
        UsageError: naming them.
    """
    changed: List[str] = [
        f"{name} was {document['packages'][name]} and is {version}"
        for name, version in packages.items()
        if document["packages"].get(name, version) != version
    ]
    if changed:
        raise UsageError(f"The rows before had other versions ({'; '.join(changed)}). {_ADVICE}")


def _flag(setting: str) -> str:
    plain = setting[: -len("_s")] if setting.endswith("_s") else setting  # without its unit
    return "--" + plain.replace("_", "-")


def _shown(value: Any) -> str:
    if value is None or value is False:
        return "not given"
    if value is True:
        return "given"
    if isinstance(value, list):
        return " ".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _job_of(one: Dict[str, Any]) -> Tuple[str, int, int]:
    """Return which job a row or a failure is of."""
    file = one.get(ASKED) or one.get("file") or one["path"]
    return file, one["batch"], one["streams"]


def _has_changed(row: Dict[str, Any]) -> bool:
    """Return whether a file is another one now; one that is gone cannot be measured again."""
    try:
        return bool(sha256_of(row["file"]) != row["sha256"])
    except ClipedgeError:
        return False
