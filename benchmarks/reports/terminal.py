"""A benchmark's document as tables in text, with notes on what their columns are."""

from typing import Any, Dict, List, Optional, Sequence

from clipedge.benchmarks.reports import columns, remarks
from clipedge.benchmarks.reports.columns import Column
from clipedge.benchmarks.speed.comparison import comparison_text, groups_of
from clipedge.benchmarks.speed.document import Document
from clipedge.jetson.command_line import format_table

WIDTH = 120  # of the terminal; what is the same in every row moves above a table that is wider

_SAID_ONCE = (columns.BACKEND, columns.BATCH)
_LAYERS_TITLE = "Layers: the slowest, the least it could take, shares of time by kind:"
_ON_GPU = (*columns.ON_GPU, columns.GPU_MEMORY)


def table_text(document: Document) -> str:
    """Return the tables of results, notes, warnings, and what failed and why.

    The first table has the speeds. Below it stand, where rows have them: the parts of the time on
    a GPU, power and energy, layers, the paper's accuracies with ratios to its speeds, and backends
    side by side where they were asked for. Columns that no row has a value for are left out.
    """
    rows = document["rows"]
    blocks = [_speed_table(rows)] if rows else []
    blocks += [
        f"{title}\n{table}"
        for title, table in (
            ("On the GPU, median of a batch:", _side_table(rows, _ON_GPU)),
            ("Power and energy:", _side_table(rows, columns.ENERGY)),
            (_LAYERS_TITLE, _side_table(rows, columns.LAYERS)),
            (_paper_title(rows), _paper_table(document)),
        )
        if table
    ]
    blocks.append("\n".join(remarks.notes(rows)))
    if rows and document["settings"]["compare_backends"]:
        blocks.append(comparison_text(document))
    for title, lines in (
        ("Not firm:", remarks.warning_lines(document)),
        ("Failed:", remarks.failure_lines(document)),
    ):
        if lines:
            blocks.append("\n".join([title, *[f"  {line}" for line in lines]]))
    blocks += remarks.state_lines(document)
    return "\n\n".join(block for block in blocks if block)


def heading_text(document: Document) -> str:
    """Return what was held fixed, in the lines that go above the table."""
    return "\n".join([remarks.machine_text(document), *remarks.condition_lines(document)])


def _speed_table(rows: Sequence[Dict[str, Any]]) -> str:
    found = _columns_of_speed(rows)
    table = _table(found, rows)
    said = []
    for column in _SAID_ONCE:
        texts = {column.cell(row) for row in rows}
        if len(table.partition("\n")[0]) > WIDTH and len(texts) == 1:
            found = [one for one in found if one is not column]
            said.append(f"{column.title} {texts.pop()}")
            table = _table(found, rows)
    return f"All with {', '.join(said)}:\n{table}" if said else table


def _columns_of_speed(rows: Sequence[Dict[str, Any]]) -> List[Column]:
    figures = [
        *columns.SPEED,
        columns.SHARE_BY_LAYER,
        columns.TITAN_XP,
        columns.JETSON_TX2,
    ]
    return [columns.MODEL, *_SAID_ONCE, *columns.filled(figures, rows)]


def _side_table(rows: Sequence[Dict[str, Any]], figures: Sequence[Column]) -> str:
    """Return a table of some figures of the rows that have any; nothing where none has."""
    known = [row for row in rows if columns.filled(figures, [row])]
    if not known:
        return ""
    named = [one for one in _SAID_ONCE if len({one.cell(row) for row in rows}) > 1]
    return _table([columns.MODEL, *named, *columns.filled(figures, known)], known)


def _paper_title(rows: Sequence[Dict[str, Any]]) -> str:
    ratios = columns.filled(columns.RATIOS, rows)
    return "Ratio to the paper, and its top-1 accuracy:" if ratios else "Top-1 accuracy by paper:"


def _paper_table(document: Document) -> str:
    """Return ratios and accuracies: of rows that compare, and of other models once each.

    Where backends were put side by side, the rows of auto's choice stand for their models.
    """
    rows = document["rows"]
    if document["settings"]["compare_backends"]:
        speaking = [group.chosen() or group.fastest() for group in groups_of(document)]
        rows = [row for row in speaking if row is not None]
    known = [row for row in rows if row["paper"]]
    compared = [row for row in known if columns.filled(columns.RATIOS, [row])]
    told = {(row["model"], row["width"]) for row in compared}
    chosen = []
    for row in known:
        name = (row["model"], row["width"])
        if row in compared or name not in told:
            told.add(name)
            chosen.append(row)
    return _side_table(chosen, (*columns.RATIOS, *columns.ACCURACY))


def _table(found: Sequence[Column], rows: Sequence[Dict[str, Any]]) -> str:
    """Return a table that names a model, and what ran it, once in rows that follow each other."""
    lines = []
    before: Optional[List[str]] = None
    for row in rows:
        cells = [column.cell(row) for column in found]
        lines.append(_without_repetition(cells, before, found))
        before = cells
    return format_table([column.title for column in found], lines)


def _without_repetition(
    cells: List[str], before: Optional[List[str]], found: Sequence[Column]
) -> List[str]:
    if before is None:
        return cells
    shown = list(cells)
    for place, column in enumerate(found):
        if column not in (columns.MODEL, columns.BACKEND) or cells[place] != before[place]:
            break
        shown[place] = ""
    return shown
