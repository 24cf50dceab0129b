"""A benchmark's document as Markdown, ready to be pasted into a README or an issue."""

import re
from typing import Iterable, List, Sequence

from clipedge.benchmarks.reports import columns, remarks
from clipedge.benchmarks.speed.document import Document

# What GitHub's Markdown reads as markup in the middle of a line, or as a mention of somebody.
_MARKUP = re.compile(r"([\\`*<>\[\]|~&@])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# ... and what it reads as a list or a heading at the start of a line.
_START = re.compile(r"^(\d+(?=[.)]\s)|(?=[#+-]))(.)")

_COLUMNS = (
    columns.MODEL,
    columns.BACKEND,
    columns.BATCH,
    *columns.SPEED,
    *columns.ON_GPU,
    *columns.ENERGY[:2],
    columns.SHARE_BY_LAYER,
    columns.TITAN_XP,
    columns.RATIOS[0],
    columns.JETSON_TX2,
    columns.RATIOS[1],
    *columns.ACCURACY,
)


def markdown_text(document: Document) -> str:
    """Return heading, what was held fixed, one table with every figure, notes and failures."""
    rows = document["rows"]
    packages = [f"{name} {version}" for name, version in sorted(document["packages"].items())]
    conditions = [
        ", ".join([document["started_utc"], f"clipedge {document['clipedge']}", *packages]),
        *remarks.condition_lines(document),
    ]
    blocks = [f"## Clips per second: {escaped(remarks.machine_text(document))}"]
    blocks += [f"**{escaped(line)}**" for line in remarks.state_lines(document)]
    blocks.append(bullets(conditions))
    if rows:
        found = columns.filled(_COLUMNS, rows)
        cells = [[column.cell(row) for column in found] for row in rows]
        blocks += [markdown_table([column.title for column in found], cells)]
        blocks += [bullets(remarks.notes(rows))]
    for title, lines in (
        ("Not firm", remarks.warning_lines(document)),
        ("Failed", remarks.failure_lines(document)),
    ):
        if lines:
            blocks.append(f"### {title}\n\n{bullets(lines)}")
    return "\n\n".join(blocks) + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of text cells: first column flush left, the others flush right."""
    lines = [_line([escaped(title) for title in header])]
    lines.append(_line(["---", *["---:"] * (len(header) - 1)]))
    lines += [_line([escaped(cell) for cell in row]) for row in rows]
    return "\n".join(lines)


def bullets(lines: Iterable[str]) -> str:
    """Return a list of text lines."""
    return "\n".join("- " + _START.sub(r"\1\\\2", escaped(line)) for line in lines)


def escaped(text: str) -> str:
    """Return text in one line that Markdown shows as it is, also in a table's cell."""
    return _MARKUP.sub(lambda match: "\\" + match.group(), remarks.one_line(text))


def _line(cells: List[str]) -> str:
    return "| {} |".format(" | ".join(cells))
