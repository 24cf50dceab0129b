"""Facts of the document as lists of names and values, each missing one with its reason."""

from html import escape
from typing import Any, Dict, List, Optional, Sequence, Tuple

from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import row_name
from clipedge.benchmarks.speed.texts import PAGE, backend_text, batch_text

Facts = Dict[str, Any]

# By the end of a key; the first that fits.
_UNITS = {
    "clips_per_s": "clips/s",
    "clips_per_j": "clips/J",
    "_mhz": "MHz",
    "_mb": "MiB",
    "_gb": "GB",
    "_w": "W",
    "_j": "J",
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
    "clips_per_s": "speed",
    "clips_per_j": "clips a joule",
    "energy_per_clip_j": "energy per clip",
}
_MISSING = "missing"  # the key of reasons
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
        f"<details><summary>{escape(row_name(row))}, {escape(backend_text(row, PAGE))}, batch "
        f"{batch_text(row)}</summary>\n"
        + facts_html({key: row[key] for key in row if key not in _SHOWN_ELSEWHERE})
        + _span_html(row)
        + "</details>"
        for row in rows
    )


def facts_html(before: Optional[Facts], after: Optional[Facts] = None) -> str:
    """Return a definition list of nested facts.

    Args:
        before: as plain JSON types; ``missing`` in them holds reasons by keys with dots.
        after: the same at another time; where it differs, both are shown.
    """
    if not before:
        return ""
    missing, missing_later = _reasons(before), _reasons(after or {})
    later = None if after is None else dict(_flat(after))
    lines = []
    for path, value in _flat(before):
        text = _value_html(path, value, missing)
        if later is not None and path in later and later[path] != value:
            text += f" → {_value_html(path, later[path], missing_later)}"
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
    """Return the leaves but the reasons, with paths; lists of plain values are leaves."""
    if isinstance(facts, dict) and facts:
        known = [key for key in facts if not (key == _MISSING and isinstance(facts[key], dict))]
        return [leaf for key in known for leaf in _flat(facts[key], path + (str(key),))]
    if isinstance(facts, list) and any(isinstance(one, dict) for one in facts):
        return [leaf for one in _named(facts) for leaf in _flat(one[1], path + (one[0],))]
    return [(path, facts)]


def _reasons(facts: Any, path: Path = ()) -> Dict[str, str]:
    """Return why values are missing, by their paths with dots; nested facts have their own."""
    found: Dict[str, str] = {}
    if isinstance(facts, dict):
        own = facts.get(_MISSING)
        for key, reason in own.items() if isinstance(own, dict) else ():
            found[".".join(path + (str(key),))] = reason
        inner = [(str(key), facts[key]) for key in facts if key != _MISSING]
    else:
        several = isinstance(facts, list) and any(isinstance(one, dict) for one in facts)
        inner = [(name, one) for name, one in _named(facts)] if several else []
    for name, one in inner:
        found.update(_reasons(one, path + (name,)))
    return found


def _named(items: Sequence[Facts]) -> List[Tuple[str, Facts]]:
    """Return each with what it calls itself, or its number."""
    named = []
    for number, one in enumerate(items, 1):
        own = next((key for key in ("what", "name") if isinstance(one.get(key), str)), None)
        rest = {key: one[key] for key in one if key != own}
        named.append((str(number) if own is None else str(one[own]), rest))
    return named


def _name(path: Path) -> str:
    return ", ".join(_word(part) for part in path)


def _word(part: str) -> str:
    if part in _NAMES:
        return _NAMES[part]
    stem = part[: len(part) - len(_unit_key(part))]
    return _NAMES.get(stem, stem.replace("_", " "))


def _unit_key(part: str) -> str:
    """Return the end of a key that says its unit; nothing where it has none."""
    return next((end for end in _UNITS if part.endswith(end)), "")


def _value_html(path: Path, value: Any, missing: Dict[str, str]) -> str:
    key = ".".join(path)
    if value is None:
        return _reason_html(missing.get(key))
    return escape(_value_text(path, value))


def _reason_html(reason: Optional[str]) -> str:
    told = "" if not reason else f' <span class="quiet">{escape(str(reason))}</span>'
    return PAGE.dash + told


def _value_text(path: Path, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, dict)):
        return ", ".join(str(one) for one in value) if value else "none"
    if isinstance(value, (int, float)):
        # A temperature's own name has no unit; that of the group it stands in has.
        units = [_UNITS[_unit_key(part)] for part in path if _unit_key(part)]
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
