"""A benchmark's document as one HTML file with charts; it needs no network.

The table, the warnings and the conditions are in the file as text. The charts are drawn by
page/*.js with the JavaScript of plotly (MIT licence), which is put into the file.
"""

import base64
import hashlib
import pathlib
from html import escape
from importlib.util import find_spec
from string import Template
from typing import Any, Dict, List, Sequence

from clipedge.benchmarks.reports.html_data import data_json
from clipedge.benchmarks.reports.html_facts import conditions_html, rows_html
from clipedge.benchmarks.reports.html_table import table_html
from clipedge.benchmarks.reports.remarks import gathered
from clipedge.benchmarks.reports.terminal import heading_text
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import PAPER_CONDITIONS
from clipedge.benchmarks.speed.texts import PAGE, case_text, failure_file
from clipedge.jetson.errors import UsageError

_PAGE = pathlib.Path(__file__).resolve().parent / "page"
_SCRIPTS = ("theme.js", "rows.js", "front.js", "latency.js", "series.js", "limit.js", "layers.js")
_INSTALL = "python3 -m pip install plotly"


def require_plotly() -> pathlib.Path:
    """Return plotly's JavaScript; its Python is not imported.

    Raises:
        UsageError: plotly is not installed.
    """
    spec = find_spec("plotly")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for folder in folders:
        script = pathlib.Path(folder) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script
    what = "is not installed" if spec is None else "has no package_data/plotly.min.js"
    raise UsageError(f"--html draws its charts with plotly, which {what}: {_INSTALL}")


def page_text(document: Document) -> str:
    """Return the page.

    Raises:
        UsageError: plotly is not installed.
    """
    rows = document["rows"]
    plotly = _in_script(require_plotly().read_text(encoding="utf-8"))
    script = "\n".join(
        ["'use strict';", *[(_PAGE / name).read_text(encoding="utf-8") for name in _SCRIPTS]]
    )
    script = f"(() => {{\n{script}\n}})();"
    return Template((_PAGE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"jetson-bench on {_machine_name(document)}"),
        style=(_PAGE / "page.css").read_text(encoding="utf-8"),
        hashes=f"'{_hash(plotly)}' '{_hash(script)}'",
        headline=_headline_html(document),
        notices=_notices_html(document),
        table=_table_section(rows),
        conditions=conditions_html(document),
        details=rows_html(rows),
        data=data_json(document),
        plotly=plotly,
        script=script,
    )


def _machine_name(document: Document) -> str:
    machine = document.get("machine") or {}
    board = (document.get("conditions") or {}).get("board") or {}
    name, module = board.get("name") or machine.get("board"), board.get("module")
    if name and module and module not in name:
        return f"{module} ({name})"
    known = [one for one in (name, module, machine.get("cpu")) if one]
    return str(known[0] if known else machine.get("architecture") or "an unknown machine")


def _headline_html(document: Document) -> str:
    rows, failures = document["rows"], document["failures"]
    state = "complete" if document.get("complete") else "stopped before its end"
    counts = _count(len(rows), "figure")
    if failures:
        counts += f", {_count(len(failures), 'failure')}"
    when = str(document.get("started_utc") or "at an unknown time").replace("T", " ")
    kind = "good" if document.get("complete") else "bad"
    lines = [
        f"<h1>{escape(_machine_name(document))}</h1>",
        f'<p><span class="state {kind}">{state}</span> {counts}, measured '
        f"{escape(when.replace('Z', ' UTC'))} with clipedge "
        f"{escape(str(document.get('clipedge')))}</p>",
        '<ul class="held">',
        *[f"<li>{escape(line)}</li>" for line in heading_text(document).splitlines()],
        "</ul>",
    ]
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _notices_html(document: Document) -> str:
    """Return failures and warnings with their reasons; nothing where there are none."""
    failed = [
        (failure_file(one), case_text(one, PAGE), one["error"]) for one in document["failures"]
    ]
    told = [(row, warning) for row in document["rows"] for warning in row["warnings"]]
    warned = [
        (name, "" if row is None else case_text(row, PAGE), warning)
        for row, name, warning in gathered(told, len(document["rows"]))
    ]
    return _notice("Failed", "bad", failed) + _notice("Less than firm", "warn", warned)


def _notice(title: str, kind: str, items: Sequence[Sequence[str]]) -> str:
    if not items:
        return ""
    lines: List[str] = [
        f"<li><strong>{escape(name)}</strong>{escape(context and f' ({context})')}: "
        f"{escape(str(text))}</li>"
        for name, context, text in items
    ]
    opened = " open" if len(items) <= 8 else ""
    return (
        f'<details class="notice {kind}"{opened}><summary>{title}: {len(items)}</summary>'
        f"<ul>\n{''.join(lines)}\n</ul></details>\n"
    )


def _table_section(rows: Sequence[Dict[str, Any]]) -> str:
    if not rows:
        return '<p class="none">Nothing was measured.</p>'
    notes = ["Latencies are of a whole batch. Point at a figure to see it unrounded."]
    if any(row["paper"] for row in rows):
        notes.append(
            f"Paper: Köpüklü et al. 2019, Table 8 ({PAPER_CONDITIONS}), not measured here. A ratio "
            "stands where batch and streams are the paper's."
        )
    if any(row["random_weights"] for row in rows):
        notes.append("Models named “random” have random weights: good for speed only.")
    return (
        '<div class="box" tabindex="0" role="region" aria-labelledby="table-title">\n'
        f'{table_html(rows)}\n</div>\n<p id="sorted" role="status" class="unseen"></p>\n'
        f'<p class="quiet">{escape(" ".join(notes))}</p>'
    )


def _in_script(text: str) -> str:
    """Return JavaScript that cannot end the element it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
