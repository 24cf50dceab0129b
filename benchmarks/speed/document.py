"""The document of a benchmark: everything that was measured and what held, as JSON.

docs/benchmark.md says what each field is. The reports are made of it and of nothing else.
"""

import datetime
import json
import logging
import pathlib
from typing import Any, Dict, Tuple

from clipedge.benchmarks.speed.document_shape import wrong_field
from clipedge.benchmarks.timing import warn_where_busy
from clipedge.jetson import board
from clipedge.jetson.conditions import read_conditions
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import PathLike, readable_os_error, write_whole
from clipedge.jetson.version import own_version

NAME = "clipedge.bench"
# Raised when a field changes its meaning or goes away; a new field does not raise it.
VERSION = 2
SCHEMA = f"{NAME}/{VERSION}"

Document = Dict[str, Any]

_log = logging.getLogger(__name__)


def new_document(settings: Dict[str, Any]) -> Document:
    """Return the document before anything is measured; it looks at the machine."""
    busy = warn_where_busy("The figures will be too low.")
    return {
        "schema": SCHEMA,
        "clipedge": own_version(),
        "started_utc": _now_utc(),
        "ended_utc": None,
        "complete": False,
        "machine": board.machine_facts(),
        "conditions": _conditions(),
        "conditions_after": None,
        "busy_share_at_start": busy,
        "sampler": None,
        "settings": settings,
        "packages": {},
        "limit_devices": {"cpu": None, "gpu": None, "missing": {}},
        "rows": [],
        "failures": [],
    }


def end_document(document: Document, complete: bool) -> None:
    """Note how and when the run ended."""
    document["ended_utc"] = _now_utc()
    document["complete"] = complete
    document["conditions_after"] = _conditions()


def write_document(path: PathLike, document: Document) -> pathlib.Path:
    """Write it as JSON, whole or not at all."""
    return write_whole(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read_document(path: PathLike) -> Document:
    """Read a document that ``write_document`` wrote.

    Raises:
        UsageError: there is no such file, it is of another schema, or a field is not what reports
            rely on.
        ClipedgeError: it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise readable_os_error(error, path) from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"{path} is no JSON file; give one that jetson-bench --json wrote."
        ) from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise UsageError(_wrong_schema(path, schema))
    wrong = wrong_field(document)
    if wrong is not None:
        raise UsageError(f"{path} is damaged: {wrong}. Measure again, or give another document.")
    return dict(document)


def check_replaced(path: PathLike) -> None:
    """Refuse to replace a file that is no benchmark's document; warn where it is of a stopped run.

    An empty file may be replaced, as ``mktemp`` makes it.

    Raises:
        UsageError: it is something else.
        ClipedgeError: it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise readable_os_error(error, path) from None
    if not data:
        return
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        found = None
    schema = found.get("schema") if isinstance(found, dict) else None
    if str(schema).partition("/")[0] != NAME:
        raise UsageError(
            f"{path} would be replaced, and is no document of jetson-bench; give --json another "
            "name, or move that file away."
        )
    if found.get("complete") is False:
        _log.warning("%s of a stopped run is replaced; --resume would go on with it.", path)


def row_identity(row: Dict[str, Any]) -> Tuple[Any, ...]:
    """Return what two rows of different documents have in common where they can be compared."""
    return (
        row["model"],
        row["width"],
        tuple(row["clip_shape"]),
        row["backend"],
        row["precision"],
        row["details"].get("graph"),
        row["batch"],
        row["streams"],
    )


def _conditions() -> Dict[str, Any]:
    # What happens to be loaded here is not what measures: workers tell their packages.
    return read_conditions(loaded={})


def _wrong_schema(path: pathlib.Path, schema: Any) -> str:
    name, _, version = str(schema).partition("/")
    if name == NAME:
        newer = version.isdigit() and int(version) > VERSION
        remedy = "update clipedge" if newer else "measure it again with this version"
        return f"{path} has the schema {schema}, and this clipedge reads {SCHEMA}; {remedy}."
    has = "it has no schema" if schema is None else f"its schema is {schema}, not {SCHEMA}"
    return f"{path} is no document of jetson-bench: {has}. Give one that --json wrote."


def _now_utc() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
