"""What a benchmark's document says: on the terminal, as CSV, as Markdown, as a page."""

import argparse
import logging
import os
import pathlib
import sys
from typing import Callable, Dict, Optional

from clipedge.benchmarks.reports.csv_table import csv_text
from clipedge.benchmarks.reports.html import page_text, require_plotly
from clipedge.benchmarks.reports.markdown import markdown_text
from clipedge.benchmarks.reports.terminal import heading_text, table_text
from clipedge.benchmarks.speed.document import Document
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import writable_folder, write_whole

_log = logging.getLogger(__name__)

_WRITERS: Dict[str, Callable[[Document], str]] = {
    "csv": csv_text,
    "markdown": markdown_text,
    "html": page_text,
}


def check_targets(arguments: argparse.Namespace, given: Optional[pathlib.Path]) -> None:
    """Fail before the measurement, not after it.

    Args:
        arguments: of the command.
        given: the document that is reported on.

    Raises:
        ClipedgeError: a file asked for cannot be written, it is one that is read, or what draws
            the page is missing.
    """
    targets = {name: getattr(arguments, name) for name in ("json", *_WRITERS)}
    wanted = {name: path for name, path in targets.items() if path is not None}
    for name, path in wanted.items():
        real = pathlib.Path(os.path.realpath(str(path)))
        for title, source in (("baseline", arguments.baseline), ("document", given)):
            if source is not None and os.path.realpath(str(source)) == str(real):
                raise UsageError(
                    f"The {title} {source} would be overwritten; give --{name} another name."
                )
        if real.is_dir():
            raise UsageError(f"--{name} {path} is a folder; a file is needed.")
        if real.exists() and not real.is_file():
            raise UsageError(f"--{name} {path} is no regular file; give another name.")
        writable_folder(real.parent)
    if len({os.path.realpath(str(path)) for path in wanted.values()}) < len(wanted):
        raise UsageError("Two reports cannot go into one file; give each a name of its own.")
    if arguments.html is not None:
        require_plotly()


def print_tables(document: Document) -> None:
    """Print what was held fixed and the tables."""
    sys.stdout.write(f"{heading_text(document)}\n\n{table_text(document)}\n")
    sys.stdout.flush()


def write_reports(document: Document, arguments: argparse.Namespace) -> None:
    """Write the reports asked for, all but the document itself."""
    for name, text_of in _WRITERS.items():
        path = getattr(arguments, name)
        if path is not None:
            write_whole(path, text_of(document))
            _log.info("Wrote %s", path)
