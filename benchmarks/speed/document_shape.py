"""What the fields of a benchmark's document are, so far as reports and comparisons rely on them."""

import json
import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Union

_SHOWN = 40  # characters of a value, in an error


class _Kind(NamedTuple):
    """What a value is, as an error says it, and how that is told."""

    name: str
    holds: Callable[[Any], bool]


class _OrNull(NamedTuple):
    """A value that may be null."""

    shape: Any  # a _Shape


class _Optional(NamedTuple):
    """A field that may be absent."""

    shape: Any  # a _Shape


class _Several(NamedTuple):
    """A list of at least so many values of one shape."""

    shape: Any  # a _Shape
    fewest: int = 0


class _Values(NamedTuple):
    """An object whose values, under any keys, have one shape."""

    shape: Any  # a _Shape


_Shape = Union[_Kind, _OrNull, _Optional, _Several, _Values, Dict[str, Any]]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_TEXT = _Kind("a text", lambda value: isinstance(value, str))
_BOOL = _Kind("true or false", lambda value: isinstance(value, bool))
_NUMBER = _Kind("a number", _is_number)
_ABOVE_0 = _Kind("a number above 0", lambda value: _is_number(value) and value > 0)
_COUNT = _Kind(
    "a whole number above 0",
    lambda value: _is_number(value) and isinstance(value, int) and value > 0,
)
_OBJECT = _Kind("an object", lambda value: isinstance(value, dict))

_NUMBER_OR_NULL, _TEXT_OR_NULL = _OrNull(_NUMBER), _OrNull(_TEXT)
_SUMMARY = _OrNull({"min": _NUMBER, "mean": _NUMBER, "max": _NUMBER})

_REPEAT = {
    "start_s": _NUMBER,
    "clips_per_s": _ABOVE_0,
    "batches": _COUNT,
    "elapsed_s": _NUMBER,
    "others_share": _NUMBER_OR_NULL,
    "clocks_mhz": _Values(_NUMBER),
}

_SPAN = {
    "span_s": _NUMBER,
    "power_w": _SUMMARY,
    "power_from": _TEXT_OR_NULL,
    "energy_j": _NUMBER_OR_NULL,
    "energy_per_clip_j": _NUMBER_OR_NULL,
    "clips_per_j": _NUMBER_OR_NULL,
    "temperature_c": _SUMMARY,
    "temperature_from": _TEXT_OR_NULL,
    "gpu_mhz": _SUMMARY,
    "cpu_mhz": _SUMMARY,
    "emc_mhz": _SUMMARY,
    "throttled": _Values(_OrNull(_BOOL)),
    "throttle_events": _Several(_OBJECT),
    "clock_changes": _Several(_OBJECT),
    "missing": _Values(_TEXT),
}

_PAPER = {
    "jester_top1_percent": _NUMBER_OR_NULL,
    "titan_xp_clips_per_s": _NUMBER_OR_NULL,
    "ratio_to_titan_xp": _NUMBER_OR_NULL,
}

_LAYER = {
    "name": _TEXT,
    "kind": _TEXT,
    "median_ms": _NUMBER,
    "limit_ms": _Optional(_NUMBER_OR_NULL),
}

_ROW = {
    "file": _TEXT,
    "asked_file": _Optional(_TEXT),
    "sha256": _TEXT,
    "model": _TEXT,
    "width": _NUMBER_OR_NULL,
    "dataset": _TEXT,
    "random_weights": _BOOL,
    "clip_shape": _Several(_COUNT, 4),
    "backend": _TEXT,
    "backend_version": _TEXT_OR_NULL,
    "device": _TEXT_OR_NULL,
    "threads": _OrNull(_COUNT),
    "precision": _TEXT,
    "details": _OBJECT,
    "auto_trial_ms": _Values(_NUMBER),
    "batch": _COUNT,
    "streams": _COUNT,
    "open_s": _NUMBER,
    "warmup": _OBJECT,
    "clips_per_s": _ABOVE_0,
    "spread": _NUMBER_OR_NULL,
    "latency_ms": dict.fromkeys(("min", "median", "p95", "p99", "max"), _NUMBER),
    "latencies_ms": _Several(_NUMBER, 1),
    "gpu_median_ms": _OrNull(_Values(_NUMBER)),
    "clips_per_s_without_copies": _NUMBER_OR_NULL,
    "memory": _OBJECT,
    "repeats": _Several(_REPEAT, 1),
    "span": _SPAN,
    "series": _Values(_Several(_NUMBER_OR_NULL)),
    "profile": _OrNull({"layers": _OrNull(_Several(_LAYER))}),
    "paper": _OrNull(_PAPER),
    "limit": _OrNull(
        {
            "device": _TEXT,
            "strict_clips_per_s": _NUMBER,
            "by_layer_clips_per_s": _NUMBER,
            "share_of_strict": _NUMBER,
            "share_of_by_layer": _NUMBER,
            "time_shares": _Values(_NUMBER),
        }
    ),
    "warnings": _Several(_TEXT),
}

_FAILURE = {
    "path": _TEXT,
    "asked_file": _Optional(_TEXT),
    "backend": _TEXT,
    "precision": _TEXT,
    "batch": _COUNT,
    "streams": _COUNT,
    "error": _TEXT,
}

_MACHINE = {
    **dict.fromkeys(("board", "cpu", "os", "kernel", "architecture", "python"), _TEXT_OR_NULL),
    **dict.fromkeys(("logical_cores", "memory_mb"), _NUMBER_OR_NULL),
}

_CLOCK = {
    "name": _TEXT,
    **dict.fromkeys(("now_mhz", "max_mhz"), _NUMBER_OR_NULL),
}
_CARD = {
    "index": _NUMBER_OR_NULL,
    "slowed_by": _OrNull(_Several(_TEXT)),
    **dict.fromkeys(("name", "driver"), _TEXT_OR_NULL),
    **dict.fromkeys(
        ("power_w", "power_limit_w", "graphics_mhz", "max_graphics_mhz", "temperature_c"),
        _NUMBER_OR_NULL,
    ),
}

_CONDITIONS = {
    "board": dict.fromkeys(("name", "module", "l4t", "jetpack"), _TEXT_OR_NULL),
    "software": dict.fromkeys(("cuda", "cudnn", "tensorrt"), _TEXT_OR_NULL),
    "power_mode": {"id": _NUMBER_OR_NULL, "name": _TEXT_OR_NULL},
    "jetson_clocks": _OrNull(_BOOL),
    **dict.fromkeys(("jetson_clocks_from", "throttled_from", "power_from"), _TEXT_OR_NULL),
    "clocks": {
        "cpu": _OrNull(_Several(_CLOCK)),
        "gpu": _OrNull(_CLOCK),
        "emc": _OrNull(_CLOCK),
    },
    "cards": _OrNull(_Several(_CARD)),
    "temperatures_c": _OrNull(_Values(_NUMBER)),
    "throttled": _OrNull(_BOOL),
    "power_w": _NUMBER_OR_NULL,
    "memory": dict.fromkeys(("total_mb", "available_mb", "process_peak_mb"), _NUMBER_OR_NULL),
    "load_average": _NUMBER_OR_NULL,
    "missing": _Values(_TEXT),
}

_DOCUMENT = {
    "clipedge": _TEXT,
    "started_utc": _TEXT,
    "ended_utc": _TEXT_OR_NULL,
    "complete": _BOOL,
    "machine": _MACHINE,
    "conditions": _CONDITIONS,
    "busy_share_at_start": _NUMBER_OR_NULL,
    "settings": {
        "compare_backends": _BOOL,
        "batch": _Several(_COUNT, 1),
        "streams": _Several(_COUNT, 1),
        "duration_s": _NUMBER,
        "batches": _OrNull(_COUNT),
        "warmup_s": _NUMBER_OR_NULL,
        "repeats": _COUNT,
        "backend": _TEXT,
        "precision": _TEXT,
        "threads": _OrNull(_COUNT),
    },
    "packages": _Values(_TEXT),
    "limit_devices": _OBJECT,
    "rows": _Several(_ROW),
    "failures": _Several(_FAILURE),
}


def wrong_field(document: Dict[str, Any]) -> Optional[str]:
    """Return what is wrong with the first field that is not as it should be; None where all are.

    Such as ``rows[0].clips_per_s is "fast" and should be a number above 0``.
    """
    lacking = [name for name in _DOCUMENT if name not in document]
    if lacking:
        return f"it has no {', '.join(lacking)}"
    return _wrong(document, _DOCUMENT, "")


def _wrong(value: Any, shape: _Shape, where: str) -> Optional[str]:
    if isinstance(shape, _OrNull):
        return None if value is None else _wrong(value, shape.shape, where)
    if isinstance(shape, _Optional):
        return _wrong(value, shape.shape, where)
    if isinstance(shape, _Several):
        if not isinstance(value, list) or len(value) < shape.fewest:
            some = f" of {shape.fewest} or more" if shape.fewest else ""
            return _said(value, f"a list{some}", where)
        return _first(
            [_wrong(one, shape.shape, f"{where}[{index}]") for index, one in enumerate(value)]
        )
    if isinstance(shape, _Kind):
        return None if shape.holds(value) else _said(value, shape.name, where)
    if not isinstance(value, dict):
        return _said(value, "an object", where)
    fields = dict.fromkeys(value, shape.shape) if isinstance(shape, _Values) else shape
    return _first([_wrong_below(value, name, fields[name], where) for name in fields])


def _wrong_below(value: Dict[str, Any], name: str, shape: _Shape, where: str) -> Optional[str]:
    path = f"{where}.{name}" if where else name
    if name in value:
        return _wrong(value[name], shape, path)
    return None if isinstance(shape, _Optional) else f"{path} is missing"


def _first(found: List[Optional[str]]) -> Optional[str]:
    return next((one for one in found if one is not None), None)


def _said(value: Any, wanted: str, where: str) -> str:
    text = json.dumps(value)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"{where} is {shown} and should be {wanted}"
