"""What the documents of all studies begin with, and how they are written."""

import datetime
import json
from typing import Any, Dict

from clipedge.jetson import board
from clipedge.jetson.files import PathLike, write_whole
from clipedge.jetson.version import own_version


def new_study(schema: str, settings: Dict[str, Any], **more: Any) -> Dict[str, Any]:
    """Return a study's document before anything is measured.

    Args:
        schema: name and version, such as ``clipedge.training/1``; raised when a field changes its
            meaning or goes away.
        settings: what was asked for.
        **more: fields of this study, still empty.
    """
    return {
        "schema": schema,
        "clipedge": own_version(),
        "started_utc": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "complete": False,
        "machine": board.machine_facts(),
        "load_average_at_start": board.load_average(),
        "packages": {},
        "settings": settings,
        **more,
    }


def write_study(path: PathLike, study: Dict[str, Any]) -> None:
    """Write the document, with the versions of the packages that were loaded, whole or not."""
    study["packages"].update(board.package_versions())
    write_whole(path, json.dumps(study, indent=1) + "\n")
