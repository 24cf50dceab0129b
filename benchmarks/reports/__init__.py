"""What a benchmark's document says: on the terminal, as CSV, as Markdown, as a page."""

import argparse
import logging
import sys

from clipedge.benchmarks.reports.terminal import heading_text, table_text
from clipedge.benchmarks.speed.document import Document

_log = logging.getLogger(__name__)


def publish(document: Document, arguments: argparse.Namespace) -> None:
    """Print the table and write the files asked for, of whatever is done."""
    if document["rows"]:
        sys.stdout.write(f"{heading_text(document)}\n\n{table_text(document)}\n")
        sys.stdout.flush()
    if arguments.json is not None and (document["complete"] or document["rows"]):
        _log.info("Wrote %s", arguments.json)
