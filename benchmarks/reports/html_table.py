"""The table of the page: a row of the document each, its figures to the digit in data-value."""

import json
from html import escape
from typing import Any, Dict, List, Optional, Sequence

from clipedge.benchmarks.reports.columns import (
    BACKEND,
    BATCH,
    JETSON_TX2,
    MODEL,
    PAGE_FIGURES,
    RATIOS,
    TITAN_XP,
    Column,
    filled,
    has_paper_batch,
)
from clipedge.benchmarks.speed.texts import PAGE, backend_text
from clipedge.jetson import paper

Row = Dict[str, Any]

_NAMED_BY = (MODEL, BACKEND, BATCH)
_AS_TEXT = (MODEL, BACKEND)  # the others sort as numbers
_OF_ITS_BATCH = [one.path for one in (TITAN_XP, JETSON_TX2, *RATIOS)]  # the paper's


def table_html(rows: Sequence[Row]) -> str:
    """Return the table, its boxes and buttons; the page's script sorts it."""
    columns = filled(PAGE_FIGURES, rows)
    lines = [_head(columns), "<tbody>"]
    lines += [_row(row, columns, number) for number, row in enumerate(rows)]
    lines.append("</tbody>")
    return '<table id="rows">\n' + "\n".join(lines) + "\n</table>"


def _head(columns: Sequence[Column]) -> str:
    groups: List[List[Any]] = []
    for column in columns:
        if not groups or groups[-1][0] != column.page.group:
            groups.append([column.page.group, 0])
        groups[-1][1] += 1
    over = "".join(
        f'<th scope="colgroup" colspan="{count}">{escape(name)}</th>' for name, count in groups
    )
    cells = [_sortable(one, one in _AS_TEXT) for one in (*_NAMED_BY, *columns)]
    spans = '<colgroup span="3"></colgroup>'
    spans += "".join(f'<colgroup span="{count}"></colgroup>' for _, count in groups)
    return (
        f'{spans}\n<thead>\n<tr><td colspan="3"></td>{over}</tr>\n'
        f"<tr>{''.join(cells)}</tr>\n</thead>"
    )


def _sortable(column: Column, as_text: bool) -> str:
    kind = ' class="text"' if as_text else ""
    title = escape(column.page.title)
    return (
        f'<th scope="col" data-key="{column.path}" abbr="{title}"{kind}><button type="button" '
        f'title="{escape(column.page.explanation)}">{title}</button></th>'
    )


def _row(row: Row, columns: Sequence[Column], number: int) -> str:
    mark = ""
    if row["warnings"]:
        text = escape("; ".join(row["warnings"]))
        mark = (
            f' <span class="mark" role="img" aria-label="Warning: {text}" title="{text}">▲</span>'
        )
    name, ran_by = MODEL.cell(row, PAGE), backend_text(row, PAGE)
    cells = [
        f'<th scope="row" data-value="{_exact(name)}" title="{escape(row["file"])}">'
        f"{escape(name)}{mark}</th>",
        f'<td class="text" data-value="{_exact(ran_by)}">{escape(ran_by)}</td>',
        f'<td data-value="{_exact(BATCH.value(row))}">{BATCH.cell(row, PAGE)}</td>',
    ]
    cells += [_cell(column, row) for column in columns]
    return f'<tr data-row="{number}">{"".join(cells)}</tr>'


def _cell(column: Column, row: Row) -> str:
    value, text = column.value(row), escape(column.cell(row, PAGE))
    if value is None:
        reason = _reason(row, column.path)
        told = f' title="{escape(reason)}"' if reason else ""
        return f'<td data-value="null"{told}>{text}</td>'
    exact = _exact(value)
    return f'<td data-value="{exact}" title="{exact}">{text}</td>'


def _reason(row: Row, key: str) -> Optional[str]:
    """Return why a value is not there, where that is known."""
    part, _, rest = key.partition(".")
    if key in _OF_ITS_BATCH and row["paper"] and not has_paper_batch(row):
        return f"the paper's figure is of batch {paper.BATCH_SIZE}, one at a time"
    missing = (row.get(part) or {}).get("missing") if part in ("span", "memory") else None
    if not missing:
        return None
    reason = missing.get(rest) or missing.get(rest.partition(".")[0])
    return None if reason is None else str(reason)


def _exact(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False))
