"""Rows of the document: one model file with one backend at one batch size, and what held."""

import pathlib
import statistics
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from clipedge.benchmarks.devices import Device
from clipedge.benchmarks.limit import limit_of_row
from clipedge.benchmarks.speed.layers import annotate_row
from clipedge.benchmarks.speed.memory_use import row_memory
from clipedge.benchmarks.speed.spans import joined_span, mean_clocks_mhz
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson import paper
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.runners.base import TimingMs
from clipedge.jetson.spec import RANDOM_WEIGHTS, ClipSpec, spec_from_dict

PAPER_CLIP_SHAPE = (3, 16, 112, 112)  # section 4 of the paper; its speeds hold for no other
PAPER_CONDITIONS = f"PyTorch fp32, batch {paper.BATCH_SIZE}"

WIDE_SPREAD = 0.10  # of the repeats, above which a figure is not firm
CLOCKS_APART = 0.05  # of the higher of two repeats' means
OTHERS_SHARE = 0.10  # of the cores' time, taken by other programs

# What every backend says of itself; the rest are the details of one.
_COMMON_FACTS = ("backend", "version", "device", "threads", "precision")


def make_row(
    order: Order,
    opened: Dict[str, Any],
    warmed: Dict[str, Any],
    repeats: Sequence[Dict[str, Any]],
    series: Dict[str, List[Optional[float]]],
    profile: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Return a row as plain JSON types, without its limit.

    Args:
        order: what was measured.
        opened: what the worker said when it had opened it.
        warmed: when it was warm.
        repeats: what it said of each measurement, with ``span`` (of a Sampler's ``summary``),
            ``start_s`` (since the first) and ``others_share`` added.
        series: readings of power, temperature and clocks.
        profile: what it said of the layers.
    """
    spec = spec_from_dict(opened["spec"])
    facts = warmed["facts"]
    latencies_ms = [ms for one in repeats for ms in one["latencies_ms"]]
    rates = [one["clips_per_s"] for one in repeats]
    row = {
        "file": order.path,
        "sha256": sha256_of(order.path),
        "model": spec.model,
        "width": spec.width,
        "dataset": spec.dataset,
        "random_weights": spec.dataset == RANDOM_WEIGHTS,
        "classes": spec.num_classes,
        "clip_shape": list(spec.clip_shape),
        "backend": facts["backend"],
        "backend_version": facts["version"],
        "device": facts["device"],
        "threads": facts["threads"],
        "precision": facts["precision"],
        "details": {name: facts[name] for name in facts if name not in _COMMON_FACTS},
        "auto_trial_ms": {name: round(ms, 4) for name, ms in opened["auto_trial_ms"].items()},
        "batch": order.batch,
        "streams": order.streams,
        "open_s": opened["open_s"],
        "warmup": {
            "batches": warmed["batches"],
            "elapsed_s": warmed["elapsed_s"],
            "steady": warmed["steady"],
            "asked_s": warmed.get("fixed_s"),
        },
        "clips_per_s": round(statistics.median(rates), 4),
        "spread": _spread(rates),
        "latency_ms": _latency_ms(latencies_ms),
        "gpu_median_ms": _gpu_medians(repeats),
        "clips_per_s_without_copies": None,
        "memory": row_memory(warmed, repeats),
        "repeats": [_repeat(one) for one in repeats],
        "span": joined_span(
            [(one["start_s"], one["span"]) for one in repeats], len(latencies_ms) * order.batch
        ),
        "series": series,
        "latencies_ms": latencies_ms,
        "profile": profile,
        "paper": paper_fields(spec, order.batch, order.streams, statistics.median(rates)),
        "limit": None,
    }
    if row["gpu_median_ms"] is not None and order.streams == 1:
        compute_ms = row["gpu_median_ms"]["compute"]
        row["clips_per_s_without_copies"] = round(order.batch / compute_ms * 1e3, 4)
    row["warnings"] = warnings_of(row)
    return row


def add_limit(row: Dict[str, Any], device: Optional[Device]) -> None:
    """Put the physical limit on ``device`` into a row and its profile, where it is counted."""
    annotate_row(row, device)
    if device is None:
        return
    limit = limit_of_row(row, device)
    if limit is None:
        return
    speed = row["clips_per_s"]
    row["limit"] = {
        "device": device.name,
        "strict_clips_per_s": round(limit.strict_clips_per_s, 4),
        "by_layer_clips_per_s": round(limit.by_layer_clips_per_s, 4),
        "share_of_strict": round(speed / limit.strict_clips_per_s, 6),
        "share_of_by_layer": round(speed / limit.by_layer_clips_per_s, 6),
        "memory_bound_share": round(limit.memory_bound_share, 4),
        "time_shares": {kind: round(share, 4) for kind, share in limit.shares().items()},
    }


def paper_fields(
    spec: ClipSpec, batch: int, streams: int, clips_per_s: float
) -> Optional[Dict[str, Any]]:
    """Return the paper's figures for a model; None where it has none for this model and clip.

    The ratios are this figure over the paper's; None where batch or streams differ from its.
    """
    published = paper.published(spec.model, spec.width)
    if published is None or spec.clip_shape != paper_clip_shape(spec.model):
        return None
    alike = batch == paper.BATCH_SIZE and streams == 1
    fields = {"conditions": PAPER_CONDITIONS, "mflops": published.mflops}
    for name in ("titan_xp", "jetson_tx2"):
        speed = getattr(published, f"{name}_clips_per_s")
        fields[f"{name}_clips_per_s"] = speed
        fields[f"ratio_to_{name}"] = round(clips_per_s / speed, 4) if speed and alike else None
    for name in ("kinetics600", "jester", "ucf101"):
        fields[f"{name}_top1_percent"] = getattr(published, f"{name}_top1_percent")
    return fields


def paper_clip_shape(model: str) -> Sequence[int]:
    """Return the (3, T, H, W) that the paper's figures of a model hold for."""
    return (3, 64, 224, 224) if model == "i3d" else PAPER_CLIP_SHAPE


def warnings_of(row: Dict[str, Any]) -> List[str]:
    """Return what makes a row's figure less than firm, in words."""
    found = []
    span = row["span"]
    if any(span["throttled"].values()):
        found.append("the machine throttled itself: it is too hot, or short of power")
    if span["clock_changes"]:
        first, more = span["clock_changes"][0], len(span["clock_changes"]) > 1
        found.append(
            "the clock of {} changed from {:.0f} to {:.0f} MHz while it was measured{}".format(
                first["clock"], first["from_mhz"], first["to_mhz"], ", and more" if more else ""
            )
        )
    else:
        found += _clocks_apart(row["repeats"])
    if row["spread"] is not None and row["spread"] > WIDE_SPREAD:
        found.append(
            f"the repeats differ by {100 * row['spread']:.0f} %: quiet the machine, or measure "
            "longer with --duration"
        )
    others = [one["others_share"] for one in row["repeats"] if one["others_share"] is not None]
    if others and max(others) > OTHERS_SHARE:
        found.append(f"other programs took up to {100 * max(others):.0f} % of the cores' time")
    found += _warmup_warnings(row["warmup"])
    return found


def _warmup_warnings(warmup: Dict[str, Any]) -> List[str]:
    if warmup["steady"] is False:
        return [f"the latency still drifted after {warmup['elapsed_s']:.0f} s of warm-up"]
    if warmup["steady"] is None and warmup["asked_s"] is None:
        return [
            f"{warmup['batches']} batches in {warmup['elapsed_s']:.0f} s of warm-up are too few to "
            "tell whether the latency was steady: give it longer with --warmup"
        ]
    return []


def _clocks_apart(repeats: Sequence[Dict[str, Any]]) -> List[str]:
    """Tell of clocks that changed between two repeats, when nobody looked."""
    found = []
    for name in repeats[0]["clocks_mhz"]:
        means = [one["clocks_mhz"][name] for one in repeats if name in one["clocks_mhz"]]
        if max(means) - min(means) > CLOCKS_APART * max(means):
            found.append(
                f"the clock of {name.upper()} was {min(means):.0f} MHz in one repeat and "
                f"{max(means):.0f} MHz in another"
            )
    return found


def row_name(row: Dict[str, Any]) -> str:
    """Return what a table calls the row's model: its file without folder and suffix."""
    return pathlib.PurePath(row["file"]).stem


def _repeat(one: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "start_s": round(one["start_s"], 3),
        "clips_per_s": round(one["clips_per_s"], 4),
        "batches": len(one["latencies_ms"]),
        "elapsed_s": one["elapsed_s"],
        "cpu_s": one["cpu_s"],
        "others_share": one["others_share"],
        "clocks_mhz": mean_clocks_mhz(one["span"]),
    }


def _spread(rates: Sequence[float]) -> Optional[float]:
    """Return how far apart the repeats are, of their median; None where there is only one."""
    if len(rates) < 2:
        return None
    return round((max(rates) - min(rates)) / statistics.median(rates), 4)


def _latency_ms(latencies_ms: Sequence[float]) -> Dict[str, float]:
    median, p95, p99 = np.percentile(latencies_ms, (50, 95, 99))
    values = {
        "min": min(latencies_ms),
        "median": median,
        "p95": p95,
        "p99": p99,
        "max": max(latencies_ms),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


def _gpu_medians(repeats: Sequence[Dict[str, Any]]) -> Optional[Dict[str, float]]:
    """Return the median of each part of the time; None where nothing was measured."""
    times_ms = [times for one in repeats for times in one["gpu_times_ms"]]
    if not times_ms:
        return None
    medians = np.median(np.array(times_ms), axis=0)
    return {name: round(float(value), 4) for name, value in zip(TimingMs._fields, medians)}
