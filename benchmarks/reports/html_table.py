"""The table of the page: a row of the document each, its figures to the digit in data-value."""

import json
from html import escape
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from clipedge.benchmarks.speed.rows import row_name

DASH = "\u2013"
TIMES = "\u00d7"

Row = Dict[str, Any]


class Column(NamedTuple):
    """One column: which value of a row it shows, and how."""

    key: str  # where the value stands in a row, with dots
    group: str
    title: str
    text: Callable[[Any], str]  # of a value that is there
    explanation: str


def _digits(count: int) -> Callable[[Any], str]:
    return lambda value: f"{value:,.{count}f}"


def rate_text(value: float) -> str:
    """Return a rate with one decimal; below 1 with two digits that count."""
    return f"{value:,.1f}" if value >= 1 or value == 0 else f"{value:.2g}"


def _share_text(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _times_text(value: float) -> str:
    if value >= 10:
        return f"{value:,.1f}\u00a0{TIMES}"
    return f"{value:.2f}\u00a0{TIMES}" if value >= 0.1 else f"{value:.2g}\u00a0{TIMES}"


def _plain_text(value: Any) -> str:
    return str(value)


_HERE, _LATENCY, _GPU = "This machine", "Latency of a batch, ms", "On the GPU, median ms"
_ENERGY, _LIMIT, _XP, _TX2 = "Energy", "Of the limit", "Paper: Titan Xp", "Paper: Jetson TX2"
_ACCURACY, _MEMORY = "Top-1 as published, %", "Memory, MB"

COLUMNS: List[Column] = [
    Column("clips_per_s", _HERE, "clips/s", rate_text, "clips inferred a second, median"),
    Column("spread", _HERE, "spread", _share_text, "how far apart the repeats are"),
    Column(
        "clips_per_s_without_copies",
        _HERE,
        "without copies",
        rate_text,
        "clips/s: batch size over the time that the GPU computes",
    ),
    Column("latency_ms.median", _LATENCY, "median", _digits(1), "half of the batches are faster"),
    Column("latency_ms.p95", _LATENCY, "p95", _digits(1), "95 % of the batches are faster"),
    Column("latency_ms.p99", _LATENCY, "p99", _digits(1), "99 % of the batches are faster"),
    Column("gpu_median_ms.h2d", _GPU, "copy in", _digits(2), "host to device"),
    Column("gpu_median_ms.compute", _GPU, "compute", _digits(2), "by the GPU's own clock"),
    Column("gpu_median_ms.d2h", _GPU, "copy out", _digits(2), "device to host"),
    Column("span.energy_per_clip_j", _ENERGY, "J/clip", _digits(3), "energy of one clip"),
    Column("span.power_w.mean", _ENERGY, "W", _digits(1), "mean power"),
    Column(
        "limit.share_of_strict",
        _LIMIT,
        "strict",
        _share_text,
        "all arithmetic at peak rate, each number moved once",
    ),
    Column(
        "limit.share_of_by_layer",
        _LIMIT,
        "by layer",
        _share_text,
        "each layer at peak arithmetic or bandwidth, one after the other",
    ),
    Column("paper.titan_xp_clips_per_s", _XP, "clips/s", _plain_text, "as published"),
    Column("paper.ratio_to_titan_xp", _XP, "ratio", _times_text, "this figure over the paper's"),
    Column("paper.jetson_tx2_clips_per_s", _TX2, "clips/s", _plain_text, "as published"),
    Column("paper.ratio_to_jetson_tx2", _TX2, "ratio", _times_text, "this figure over the paper's"),
    Column("paper.kinetics600_top1_percent", _ACCURACY, "Kinetics-600", _digits(2), "Table 8"),
    Column("paper.jester_top1_percent", _ACCURACY, "Jester", _digits(2), "Table 8"),
    Column("paper.ucf101_top1_percent", _ACCURACY, "UCF-101", _digits(2), "Table 8"),
    Column("memory.process_peak_mb", _MEMORY, "process", _digits(0), "the most it has had"),
    Column("memory.model_mb", _MEMORY, "model", _digits(0), "what opening it took"),
    Column("memory.gpu_mb", _MEMORY, "GPU", _digits(0), "what opening it took of the GPU's"),
]


def value_at(row: Row, key: str) -> Any:
    """Return the value under a key with dots; None where a part of the way is missing."""
    value: Any = row
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def columns_of(rows: Sequence[Row]) -> List[Column]:
    """Return the columns in which one row has a value."""
    return [one for one in COLUMNS if any(value_at(row, one.key) is not None for row in rows)]


def backend_text(row: Row) -> str:
    """Return backend, precision and threads."""
    threads = "" if row["threads"] is None else f" {TIMES}{row['threads']}"
    return f"{row['backend']} {row['precision']}{threads}"


def batch_text(row: Row) -> str:
    """Return the batch size, and the streams where there are several."""
    return str(row["batch"]) + ("" if row["streams"] == 1 else f" {TIMES} {row['streams']}")


def table_html(rows: Sequence[Row]) -> str:
    """Return the table, its boxes and buttons; the page's script sorts it."""
    columns = columns_of(rows)
    lines = [_head(columns), "<tbody>"]
    lines += [_row(row, columns, number) for number, row in enumerate(rows)]
    lines.append("</tbody>")
    return '<table id="rows">\n' + "\n".join(lines) + "\n</table>"


def _head(columns: Sequence[Column]) -> str:
    groups: List[List[Any]] = []
    for column in columns:
        if not groups or groups[-1][0] != column.group:
            groups.append([column.group, 0])
        groups[-1][1] += 1
    over = "".join(
        f'<th scope="colgroup" colspan="{count}">{escape(name)}</th>' for name, count in groups
    )
    titles = [("name", "model", "the file's name"), ("backend", "backend", f"{TIMES} threads")]
    titles.append(("batch", "batch", f"clips in a batch {TIMES} inferences at once"))
    cells = [_sortable(key, title, text, key != "batch") for key, title, text in titles]
    cells += [_sortable(one.key, one.title, one.explanation, False) for one in columns]
    spans = '<colgroup span="3"></colgroup>'
    spans += "".join(f'<colgroup span="{count}"></colgroup>' for _, count in groups)
    return (
        f'{spans}\n<thead>\n<tr><td colspan="3"></td>{over}</tr>\n'
        f"<tr>{''.join(cells)}</tr>\n</thead>"
    )


def _sortable(key: str, title: str, explanation: str, as_text: bool) -> str:
    kind = ' class="text"' if as_text else ""
    return (
        f'<th scope="col" data-key="{key}" abbr="{escape(title)}"{kind}><button type="button" '
        f'title="{escape(explanation)}">{escape(title)}</button></th>'
    )


def _row(row: Row, columns: Sequence[Column], number: int) -> str:
    mark = ""
    if row["warnings"]:
        text = escape("; ".join(row["warnings"]))
        mark = (
            f' <span class="mark" role="img" aria-label="Warning: {text}" title="{text}">▲</span>'
        )
    cells = [
        f'<th scope="row" data-value="{_exact(row_name(row))}" title="{escape(row["file"])}">'
        f"{escape(row_name(row))}{mark}</th>",
        f'<td class="text" data-value="{_exact(backend_text(row))}">'
        f"{escape(backend_text(row))}</td>",
        f'<td data-value="{_exact([row["batch"], row["streams"]])}">{batch_text(row)}</td>',
    ]
    cells += [_cell(value_at(row, column.key), column, row) for column in columns]
    return f'<tr data-row="{number}">{"".join(cells)}</tr>'


def _cell(value: Any, column: Column, row: Row) -> str:
    if value is None:
        reason = _reason(row, column.key)
        told = f' title="{escape(reason)}"' if reason else ""
        return f'<td data-value="null"{told}>{DASH}</td>'
    exact = _exact(value)
    return f'<td data-value="{exact}" title="{exact}">{escape(column.text(value))}</td>'


def _reason(row: Row, key: str) -> Optional[str]:
    """Return why a value is not there, where the row says so."""
    part, _, rest = key.partition(".")
    missing = (row.get(part) or {}).get("missing") if part in ("span", "memory") else None
    if not missing:
        return None
    reason = missing.get(rest) or missing.get(rest.partition(".")[0])
    return None if reason is None else str(reason)


def _exact(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False))
