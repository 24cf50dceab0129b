"""What the charts of the page are drawn from: a part of the document, small enough for a page."""

import json
import math
from typing import Any, Dict, List, Sequence

import numpy as np

from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import row_name
from clipedge.benchmarks.speed.texts import PAGE, backend_text, batch_text, ran_by
from clipedge.jetson.paper import DATASETS

LATENCIES_A_ROW = 2000  # in the page; the document has all
_LATENCIES_IN_ALL = 60000

# Of a row's series, with the key of ``span`` that says why it is missing.
SERIES = (
    ("power_w", "power_w", "Power", "W"),
    ("temp_c", "temperature_c", "Temperature", "°C"),
    ("gpu_mhz", "gpu_mhz", "GPU clock", "MHz"),
    ("cpu_mhz", "cpu_mhz", "CPU clock", "MHz"),
    ("emc_mhz", "emc_mhz", "Memory clock", "MHz"),
)


def data_json(document: Document) -> str:
    """Return the charts' data as JSON that can stand in a script element of the page."""
    rows = document["rows"]
    names = labels(rows)
    most = max(100, min(LATENCIES_A_ROW, _LATENCIES_IN_ALL // max(1, len(rows))))
    data = {
        "rows": [_row(row, name, most) for row, name in zip(rows, names)],
        "datasets": [{"key": key, "name": name} for key, name in _dataset_names().items()],
        "series": [dict(zip(("key", "reason", "name", "unit"), one)) for one in SERIES],
        "colour_by": _colour_by(rows),
        "limit_missing": (document.get("limit_devices") or {}).get("missing") or {},
    }
    text = json.dumps(_finite(data), allow_nan=False)
    # Neither the end of the element nor a comment in it.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def labels(rows: Sequence[Dict[str, Any]]) -> List[str]:
    """Return a name for each row, each a different one: its model, and what else it takes."""
    names = [row_name(row) for row in rows]
    endings = {f"_{row['dataset']}" for row in rows}
    if len(endings) == 1:  # it says nothing where all have it
        ending = endings.pop()
        short = [name[: -len(ending)] if name.endswith(ending) else name for name in names]
        names = short if all(short) else names
    backends = [backend_text(row, PAGE) for row in rows]
    batches = [f"batch {batch_text(row)}" for row in rows]
    for parts in (backends, batches):
        if len(set(parts)) > 1:
            names = [f"{name}, {one}" for name, one in zip(names, parts)]
    seen: Dict[str, int] = {}
    different = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        different.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return different


def thinned(latencies_ms: Sequence[float], most: int) -> List[float]:
    """Return at most so many of them, in order of size: the least, the most, and evenly between."""
    ordered = np.sort(np.asarray(latencies_ms, np.float64))
    if len(ordered) > most:
        ordered = ordered[np.linspace(0, len(ordered) - 1, most).round().astype(np.int64)]
    return [float(f"{value:.5g}") for value in ordered]


def _row(row: Dict[str, Any], name: str, most: int) -> Dict[str, Any]:
    published = row["paper"] or {}
    span = row.get("span") or {}
    series = row.get("series") or {}
    known = {one[0]: series.get(one[0]) or [] for one in SERIES}
    return {
        "name": name,
        "short": name.partition(", ")[0],
        "model": row["model"],
        "backend": ran_by(row),
        "width": row["width"],
        "at_once": row["batch"] * row["streams"],
        "clips_per_s": row["clips_per_s"],
        "slowest": min((one["clips_per_s"] for one in row["repeats"]), default=None),
        "accuracy": {key: published.get(f"{key}_top1_percent") for key in _dataset_names()},
        "paper": {key: published.get(f"{key}_clips_per_s") for key in ("titan_xp", "jetson_tx2")},
        "mflops": published.get("mflops"),
        "latency_ms": row["latency_ms"],
        "latencies_ms": thinned(row["latencies_ms"] or [], most),
        "batches": len(row["latencies_ms"] or []),
        "t_s": series.get("t_s") or [],
        "series": {
            key: values if any(value is not None for value in values) else None
            for key, values in known.items()
        },
        "series_missing": {one[0]: (span.get("missing") or {}).get(one[1]) for one in SERIES},
        "events": _events(span),
        "limit": row["limit"],
        "profile": _profile(row.get("profile")),
    }


def _profile(profile: Any) -> Any:
    if not profile:
        return None
    layers = [
        {
            "name": layer["name"],
            "median_ms": layer["median_ms"],
            "kind": layer.get("kind"),
            "limit_ms": layer.get("limit_ms"),
        }
        for layer in profile.get("layers") or []
    ]
    return {
        "layers": layers,
        "reason": profile.get("reason"),
        "no_limit": (profile.get("missing") or {}).get("limit_ms"),
    }


def _events(span: Dict[str, Any]) -> List[str]:
    """Return in words when it throttled and when a clock changed."""
    said = []
    for event in span.get("throttle_events") or []:
        until_s = event["until_s"]
        end = "on" if until_s is None else f"to {until_s:.1f} s"
        said.append(f"throttled from {event['t_s']:.1f} s {end} ({event['by']})")
    for change in span.get("clock_changes") or []:
        said.append(
            "at {:.1f} s the clock of {} changed from {:.0f} to {:.0f} MHz".format(
                change["t_s"], change["clock"], change["from_mhz"], change["to_mhz"]
            )
        )
    return said


def _colour_by(rows: Sequence[Dict[str, Any]]) -> str:
    backends = {(row["backend"], row["precision"]) for row in rows}
    return "backend" if len(backends) > 1 else "model"


def _dataset_names() -> Dict[str, str]:
    return dict(DATASETS)


def _finite(value: Any) -> Any:
    """Return it with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
