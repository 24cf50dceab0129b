"""What a benchmark says: rows and conditions as JSON with a schema version, and as a table."""

import json
import pathlib
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from clipedge.benchmarks.timing import Timings
from clipedge.jetson import paper
from clipedge.jetson.command_line import format_table
from clipedge.jetson.conditions import conditions_text as machine_conditions_text
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.files import PathLike, write_whole
from clipedge.jetson.runners import Runner
from clipedge.jetson.runners.base import TimingMs
from clipedge.jetson.spec import RANDOM_WEIGHTS, ClipSpec

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.bench/1"

PAPER_CLIP_SHAPE = (3, 16, 112, 112)  # section 4 of the paper; its speeds hold for no other
PAPER_CONDITIONS = f"PyTorch fp32, batch {paper.BATCH_SIZE}"

_HEADER = (
    "model",
    "backend",
    "clips/s",
    "median ms",
    "p95 ms",
    "p99 ms",
    "batches",
    "paper: Titan Xp",
    "paper: Jetson TX2",
)
_DASH = "-"
# What every backend says of itself; the rest are the details of one.
_COMMON_FACTS = ("backend", "version", "device", "threads", "precision")


def result_row(
    path: PathLike, runner: Runner, timings: Timings, gpu_times_ms: Sequence[TimingMs] = ()
) -> Dict[str, Any]:
    """Return one model's figures and what was held fixed, as plain JSON types.

    Args:
        path: the model file.
        runner: that ran it.
        timings: what was measured.
        gpu_times_ms: where each of these batches spent its time, on a GPU; else empty.
    """
    spec = runner.spec
    facts = runner.describe()
    return {
        "file": str(path),
        "sha256": sha256_of(path),
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
        "batch": timings.batch,
        "warmup_batches": timings.warmup_batches,
        "batches": timings.batches,
        "elapsed_s": round(timings.elapsed_s, 6),
        "clips_per_s": round(timings.clips_per_s, 4),
        "latency_ms": {
            "median": round(timings.latency_ms(50), 4),
            "p95": round(timings.latency_ms(95), 4),
            "p99": round(timings.latency_ms(99), 4),
        },
        "latencies_ms": [round(latency, 4) for latency in timings.latencies_ms],
        "gpu_median_ms": _medians(gpu_times_ms),
        "paper": paper_row(spec),
    }


def _medians(times_ms: Sequence[TimingMs]) -> Optional[Dict[str, float]]:
    """Return the median of each part of the time; None where nothing was measured."""
    if not times_ms:
        return None
    medians = np.median(np.array(times_ms), axis=0)
    return {name: round(float(value), 4) for name, value in zip(TimingMs._fields, medians)}


def paper_row(spec: ClipSpec) -> Optional[Dict[str, Any]]:
    """Return the paper's speeds for a model; None where it has none for this model and clip."""
    published = paper.published(spec.model, spec.width)
    if published is None or spec.clip_shape != PAPER_CLIP_SHAPE:
        return None
    return {
        "conditions": PAPER_CONDITIONS,
        "titan_xp_clips_per_s": published.titan_xp_clips_per_s,
        "jetson_tx2_clips_per_s": published.jetson_tx2_clips_per_s,
    }


def write_json(path: PathLike, document: Dict[str, Any]) -> pathlib.Path:
    """Write a benchmark's document, schema first, whole or not at all."""
    fields: Dict[str, Any] = {"schema": SCHEMA}
    fields.update(document)
    return write_whole(path, json.dumps(fields, indent=1, ensure_ascii=False) + "\n")


def table_text(rows: Sequence[Dict[str, Any]]) -> str:
    """Return the table of results with notes on what its columns are."""
    return "\n".join([format_table(_HEADER, [_cells(row) for row in rows]), *_notes(rows)])


def conditions_text(
    machine: Dict[str, Any],
    settings: Dict[str, Any],
    conditions: Optional[Dict[str, Any]] = None,
) -> str:
    """Return what was held fixed, in the lines that go above the table.

    Args:
        machine: of ``board.machine_facts``.
        settings: of the run.
        conditions: of ``read_conditions``, where they were read: they come after the machine.
    """
    name = machine["board"] or machine["cpu"] or machine["architecture"]
    memory = "" if machine["memory_mb"] is None else f", {machine['memory_mb'] / 1024:.1f} GiB"
    system = machine["os"] if machine["l4t"] is None else f"{machine['os']}, L4T {machine['l4t']}"
    found = "" if conditions is None else f"{machine_conditions_text(conditions)}\n"
    return (
        f"{name}, {machine['logical_cores']} cores{memory}, {system}, Python {machine['python']}\n"
        f"{found}"
        f"batch {settings['batch']}, {settings['duration_s']:g} s a model after "
        f"{settings['warmup_s']:g} s of warm-up"
    )


def _cells(row: Dict[str, Any]) -> List[str]:
    latency_ms = row["latency_ms"]
    published = row["paper"] or {}
    speeds = (published.get("titan_xp_clips_per_s"), published.get("jetson_tx2_clips_per_s"))
    return [
        pathlib.Path(row["file"]).stem,
        f"{row['backend']} {row['precision']}{_times(row['threads'])}",
        f"{row['clips_per_s']:.1f}",
        f"{latency_ms['median']:.1f}",
        f"{latency_ms['p95']:.1f}",
        f"{latency_ms['p99']:.1f}",
        str(row["batches"]),
        *[_DASH if speed is None else str(speed) for speed in speeds],
    ]


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
    unpublished = [tuple(row["clip_shape"]) for row in rows if row["paper"] is None]
    if any(shape != PAPER_CLIP_SHAPE for shape in unpublished):
        notes.append("-: the paper has speeds for clips of 16 x 112 x 112 only.")
    if PAPER_CLIP_SHAPE in unpublished:
        notes.append("-: the paper has no speed for this model or width.")
    if any(row["random_weights"] for row in rows):
        notes.append("Models named 'random' have random weights: good for speed only.")
    few = min(row["batches"] for row in rows)
    if few < _BATCHES_FOR_P99:
        notes.append(
            f"p99 of {few} batches is next to the slowest one; --duration makes it firmer."
        )
    return notes


_BATCHES_FOR_P99 = 100  # below, fewer than one batch in the sample lies above it
