"""Facts of the document as lists of names and values, each missing one with its reason."""

from html import escape
from typing import Any, Dict, List, Optional, Sequence, Tuple

from clipedge.benchmarks.reports.html_table import DASH, backend_text, batch_text
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import row_name

Facts = Dict[str, Any]

_UNITS = {
    "_mhz": "MHz",
    "_mb": "MB",
    "_gb": "GB",
    "_w": "W",
    "_ms": "ms",
    "_s": "s",
    "_c": "°C",
    "_percent": "%",
    "_flops": "FLOP/s",
    "_bytes": "B",
    "bandwidth": "B/s",
}
_NAMES = {
    "cpu": "CPU",
    "gpu": "GPU",
    "emc": "EMC (memory)",
    "l4t": "L4T",
    "jetpack": "JetPack",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "tensorrt": "TensorRT",
    "os": "operating system",
    "sha256": "SHA-256",
    "id": "number",
    "jetson_clocks": "jetson_clocks",
    "temperatures_c": "temperatures",
    "rails_w": "rails",
    "power_w": "power",
    "now_mhz": "now",
    "min_mhz": "least",
    "max_mhz": "most",
    "bandwidth": "bandwidth",
}
_SHOWN_ELSEWHERE = ("series", "latencies_ms", "profile", "paper", "limit", "warnings", "span")


def conditions_html(document: Document) -> str:
    """Return the conditions at the start and at the end, settings, versions and devices."""
    before, after = document.get("conditions"), document.get("conditions_after")
    blocks = [
        ("Machine", facts_html(document.get("machine"))),
        ("Settings", facts_html(document["settings"])),
        (
            "Versions",
            facts_html(dict(document.get("packages") or {}, clipedge=document.get("clipedge"))),
        ),
    ]
    lines = [f"<section><h3>{title}</h3>\n{text}</section>" for title, text in blocks if text]
    devices = facts_html(document.get("limit_devices"))
    lines.append(f'<section class="wide"><h3>Devices of the limit</h3>\n{devices}</section>')
    share = document.get("busy_share_at_start")
    busy = (
        "" if share is None else f" At the start, {100 * share:.0f} % of the cores' time was taken."
    )
    lines.append(
        f'<section class="wide"><h3>State of the machine</h3>\n'
        f'<p class="quiet">Read before the first measurement and after the last; → where it '
        f"changed.{escape(busy)}</p>\n{facts_html(before, after)}</section>"
    )
    return "\n".join(lines)


def rows_html(rows: Sequence[Facts]) -> str:
    """Return what was noted of each row beside its figures, folded."""
    return "\n".join(
        f"<details><summary>{escape(row_name(row))}, {escape(backend_text(row))}, batch "
        f"{batch_text(row)}</summary>\n"
        + facts_html({key: row[key] for key in row if key not in _SHOWN_ELSEWHERE})
        + _span_html(row)
        + "</details>"
        for row in rows
    )


def facts_html(before: Optional[Facts], after: Optional[Facts] = None) -> str:
    """Return a definition list of nested facts.

    Args:
        before: as plain JSON types; ``missing`` in it holds reasons by keys with dots.
        after: the same at another time; where it differs, both are shown.
    """
    if not before:
        return ""
    missing = before.get("missing") or {}
    later = None if after is None else dict(_flat(after))
    lines = []
    for path, value in _flat({key: before[key] for key in before if key != "missing"}):
        text = _value_html(path, value, missing)
        if later is not None and path in later and later[path] != value:
            text += f" → {_value_html(path, later[path], (after or {}).get('missing') or {})}"
        lines.append(f"<div><dt>{escape(_name(path))}</dt><dd>{text}</dd></div>")
    known = {".".join(path) for path, _ in _flat(before)}
    lines += [
        f"<div><dt>{escape(_name(tuple(key.split('.'))))}</dt><dd>{_reason_html(missing[key])}"
        f"</dd></div>"
        for key in sorted(missing)
        if key not in known
    ]
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


Path = Tuple[str, ...]


def _flat(facts: Any, path: Path = ()) -> List[Tuple[Path, Any]]:
    """Return the leaves with their paths; lists of plain values are leaves."""
    if isinstance(facts, dict) and facts:
        return [leaf for key in facts for leaf in _flat(facts[key], path + (str(key),))]
    if isinstance(facts, list) and any(isinstance(one, dict) for one in facts):
        return [leaf for one in _named(facts) for leaf in _flat(one[1], path + (one[0],))]
    return [(path, facts)]


def _named(items: Sequence[Facts]) -> List[Tuple[str, Facts]]:
    """Return each with what it calls itself, or its number."""
    named = []
    for number, one in enumerate(items, 1):
        own = next((key for key in ("what", "name") if isinstance(one.get(key), str)), None)
        rest = {key: one[key] for key in one if key != own}
        named.append((str(number) if own is None else str(one[own]), rest))
    return named


def _name(path: Path) -> str:
    words = []
    for part in path:
        stem = part
        for unit in _UNITS:
            if part.endswith(unit) and part not in _NAMES:
                stem = part[: -len(unit)]
        words.append(_NAMES.get(stem, stem.replace("_", " ")))
    return ", ".join(words)


def _value_html(path: Path, value: Any, missing: Dict[str, str]) -> str:
    key = ".".join(path)
    if value is None:
        return _reason_html(missing.get(key))
    return escape(_value_text(path, value))


def _reason_html(reason: Optional[str]) -> str:
    told = "" if not reason else f' <span class="quiet">{escape(str(reason))}</span>'
    return DASH + told


def _value_text(path: Path, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, dict)):
        return ", ".join(str(one) for one in value) if value else "none"
    if isinstance(value, (int, float)):
        # A temperature's own name has no unit; that of the group it stands in has.
        units = [_UNITS[end] for part in path for end in _UNITS if part.endswith(end)]
        return _number_text(value, units[-1] if units else "")
    return str(value)


def _number_text(value: float, unit: str) -> str:
    for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if isinstance(value, float) and abs(value) >= factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    digits = str(value) if isinstance(value, int) else f"{value:.6g}"
    return f"{digits} {unit}".rstrip()


def _span_html(row: Facts) -> str:
    """Return what was seen meanwhile, in a list of its own: its reasons are by its own keys."""
    return facts_html(row.get("span"))
