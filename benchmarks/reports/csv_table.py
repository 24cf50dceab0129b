"""A benchmark's document as CSV: a line for each row, and for each failure.

The columns are those of ``columns.ALL``, with units in their names and all digits, and ``error``,
which says why a line has no figures. What is not known is empty.
"""

import csv
import io
from typing import Any, Dict, List

from clipedge.benchmarks.reports import columns
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import row_name

# Spreadsheets run a text that begins so as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(document: Document) -> str:
    """Return the document by RFC 4180: commas, lines that end in CR LF, quotes where needed.

    A text that a spreadsheet would take for a formula, such as a file named ``=1+1.onnx``, gets an
    apostrophe before it, which is how spreadsheets mark text. Numbers never do.
    """
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([*[column.name for column in columns.ALL], "error"])
    for row in document["rows"]:
        lines.writerow([_cell(column.value(row)) for column in columns.ALL] + [""])
    for failure in document["failures"]:
        lines.writerow(_failure_cells(failure))
    return text.getvalue()


def _failure_cells(failure: Dict[str, Any]) -> List[Any]:
    known = dict(failure, file=failure["path"], name=row_name({"file": failure["path"]}))
    return [_cell(known.get(column.name)) for column in columns.ALL] + [_cell(failure["error"])]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value
