"""A benchmark's document as a table in text, with notes on what its columns are."""

from typing import Any, Dict, List, Optional, Sequence

from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import PAPER_CONDITIONS, paper_clip_shape, row_name
from clipedge.jetson import paper
from clipedge.jetson.command_line import format_table
from clipedge.jetson.conditions import conditions_text

_HEADER = (
    "model",
    "backend",
    "batch",
    "clips/s",
    "spread",
    "median ms",
    "p95 ms",
    "p99 ms",
    "of limit",
    "paper: Titan Xp",
    "paper: Jetson TX2",
)
_DASH = "-"
_BATCHES_FOR_P99 = 100  # below, fewer than one batch in the sample lies above it


def table_text(document: Document) -> str:
    """Return the table of results with notes on what its columns are."""
    rows = document["rows"]
    return "\n".join([format_table(_HEADER, [_cells(row) for row in rows]), *_notes(rows)])


def heading_text(document: Document) -> str:
    """Return what was held fixed, in the lines that go above the table."""
    machine, settings = document["machine"], document["settings"]
    name = machine["board"] or machine["cpu"] or machine["architecture"]
    memory = "" if machine["memory_mb"] is None else f", {machine['memory_mb'] / 1024:.1f} GiB"
    lines = [
        f"{name}, {machine['logical_cores']} cores{memory}, {machine['os']}, "
        f"Python {machine['python']}",
        conditions_text(document["conditions"]),
        _how_text(settings),
    ]
    return "\n".join(line for line in lines if line)


def _how_text(settings: Dict[str, Any]) -> str:
    length = f"{settings['duration_s']:g} s"
    if settings["batches"] is not None:
        length = f"{settings['batches']} batches"
    warmup = "until steady" if settings["warmup_s"] is None else f"of {settings['warmup_s']:g} s"
    return f"{settings['repeats']} times {length} a model after a warm-up {warmup}"


def _cells(row: Dict[str, Any]) -> List[str]:
    latency_ms = row["latency_ms"]
    published = row["paper"] or {}
    speeds = (published.get("titan_xp_clips_per_s"), published.get("jetson_tx2_clips_per_s"))
    streams = "" if row["streams"] == 1 else f" x {row['streams']}"
    return [
        row_name(row),
        f"{row['backend']} {row['precision']}{_times(row['threads'])}",
        f"{row['batch']}{streams}",
        f"{row['clips_per_s']:.1f}",
        _percent(row["spread"]),
        f"{latency_ms['median']:.1f}",
        f"{latency_ms['p95']:.1f}",
        f"{latency_ms['p99']:.1f}",
        _percent(row["limit"] and row["limit"]["share_of_by_layer"]),
        *[_DASH if speed is None else str(speed) for speed in speeds],
    ]


def _percent(share: Optional[float]) -> str:
    return _DASH if share is None else f"{100 * share:.1f} %"


def _times(threads: Optional[int]) -> str:
    return "" if threads is None else f" x{threads}"


def _notes(rows: Sequence[Dict[str, Any]]) -> List[str]:
    notes = ["Latencies are of a whole batch."]
    if any(row["threads"] for row in rows):
        notes = ["Latencies are of a whole batch; x2 behind a backend: on 2 threads."]
    if any(row["paper"] for row in rows):
        note = (
            f"Paper: clips/s as published (Kopuklu et al. 2019, Table 8; {PAPER_CONDITIONS}), "
            "not measured here."
        )
        if any(row["batch"] != paper.BATCH_SIZE for row in rows):
            note += f" This run's batch differs from the paper's {paper.BATCH_SIZE}."
        notes.append(note)
    unpublished = [row for row in rows if row["paper"] is None]
    others = [row for row in unpublished if not _has_paper_clip(row)]
    if others:
        notes.append("-: the paper has speeds for clips of 16 x 112 x 112 only.")
    if len(others) < len(unpublished):
        notes.append("-: the paper has no speed for this model or width.")
    if any(row["random_weights"] for row in rows):
        notes.append("Models named 'random' have random weights: good for speed only.")
    few = min(sum(one["batches"] for one in row["repeats"]) for row in rows)
    if few < _BATCHES_FOR_P99:
        notes.append(
            f"p99 of {few} batches is next to the slowest one; --duration makes it firmer."
        )
    return notes


def _has_paper_clip(row: Dict[str, Any]) -> bool:
    return tuple(row["clip_shape"]) == tuple(paper_clip_shape(row["model"]))
