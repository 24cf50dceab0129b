"""Joins what a Sampler saw in several measurements of one row into one summary."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

_SPREADS = ("power_w", "temperature_c", "gpu_mhz", "cpu_mhz", "emc_mhz")

Span = Dict[str, Any]


def joined_span(spans: Sequence[Tuple[float, Span]], clips: float) -> Span:
    """Return one summary, with the keys of ``Recording.summary``, of several in a row.

    Args:
        spans: the start of each, in seconds since that of the first, and its summary.
        clips: how many were inferred in all of them.
    """
    summaries = [span for _, span in spans]
    joined: Span = dict(summaries[-1])
    joined["span_s"] = round(sum(span["span_s"] for span in summaries), 6)
    joined["readings"] = sum(span["readings"] for span in summaries)
    joined["missing"] = {}
    for span in summaries:
        joined["missing"].update(span["missing"])
    for key in _SPREADS:
        joined[key] = _joined_spread(summaries, key)
    energies_j = [span["energy_j"] for span in summaries]
    energy_j = None if None in energies_j else round(sum(energies_j), 4)
    joined["energy_j"] = energy_j
    joined["energy_per_clip_j"] = joined["clips_per_j"] = None
    if energy_j is not None and clips:
        joined["energy_per_clip_j"] = round(energy_j / clips, 6)
        joined["clips_per_j"] = round(clips / energy_j, 6) if energy_j else None
    joined["throttled"] = {
        "before": summaries[0]["throttled"]["before"],
        "during": _any([span["throttled"]["during"] for span in summaries]),
        "after": summaries[-1]["throttled"]["after"],
    }
    for key in ("throttle_events", "clock_changes"):
        joined[key] = [_later(event, start_s) for start_s, span in spans for event in span[key]]
    joined["events_dropped"] = max(span["events_dropped"] for span in summaries)
    known = {"throttled." + name: value for name, value in joined["throttled"].items()}
    known.update((key, joined[key]) for key in joined if key not in ("missing", "throttled"))
    joined["missing"] = {
        key: reason for key, reason in joined["missing"].items() if known.get(key) is None
    }
    return joined


def mean_clocks_mhz(span: Span) -> Dict[str, float]:
    """Return the mean clocks of ``gpu``, ``cpu`` and ``emc`` in a summary, those that are known."""
    means = {name: span[f"{name}_mhz"] for name in ("gpu", "cpu", "emc")}
    return {name: spread["mean"] for name, spread in means.items() if spread is not None}


def _joined_spread(summaries: Sequence[Span], key: str) -> Optional[Dict[str, float]]:
    known = [(span[key], span["span_s"]) for span in summaries if span[key] is not None]
    if not known:
        return None
    total_s = sum(span_s for _, span_s in known) or 1.0
    return {
        "min": min(spread["min"] for spread, _ in known),
        "mean": round(sum(spread["mean"] * span_s for spread, span_s in known) / total_s, 4),
        "max": max(spread["max"] for spread, _ in known),
    }


def _any(values: List[Optional[bool]]) -> Optional[bool]:
    known = [value for value in values if value is not None]
    return any(known) if known else None


def _later(event: Dict[str, Any], start_s: float) -> Dict[str, Any]:
    moved = dict(event, t_s=round(event["t_s"] + start_s, 3))
    if moved.get("until_s") is not None:
        moved["until_s"] = round(moved["until_s"] + start_s, 3)
    return moved
