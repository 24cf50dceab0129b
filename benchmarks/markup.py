"""Markdown: tables and lists of text that stands in them as it is."""

import re
from typing import Iterable, List, Sequence

# What GitHub's Markdown reads as markup in the middle of a line, or as a mention of somebody.
_MARKUP = re.compile(r"([\\`*<>\[\]|~&@])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# ... and what it reads as a list or a heading at the start of a line.
_START = re.compile(r"^(\d+(?=[.)]\s)|(?=[#+-]))(.)")


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
    return _MARKUP.sub(lambda match: "\\" + match.group(), " ".join(text.split()))


def _line(cells: List[str]) -> str:
    return "| {} |".format(" | ".join(cells))
