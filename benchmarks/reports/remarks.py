"""What stands beside a benchmark's tables: what was held fixed, notes, warnings and failures."""

import pathlib
from typing import Any, Dict, List, Sequence

from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import PAPER_CONDITIONS, paper_clip_shape, row_name
from clipedge.jetson import paper
from clipedge.jetson.conditions import conditions_text

_BATCHES_FOR_P99 = 100  # below, fewer than one batch in the sample lies above it


def machine_text(document: Document) -> str:
    """Return the machine in one line."""
    machine = document["machine"]
    name = machine["board"] or machine["cpu"] or machine["architecture"]
    memory = "" if machine["memory_mb"] is None else f", {machine['memory_mb'] / 1024:.1f} GiB"
    return (
        f"{name}, {machine['logical_cores']} cores{memory}, {machine['os']}, "
        f"Python {machine['python']}"
    )


def condition_lines(document: Document) -> List[str]:
    """Return what held when the run began, and how it measured, a line each."""
    return [*conditions_text(document["conditions"]).splitlines(), _how_text(document["settings"])]


def _how_text(settings: Dict[str, Any]) -> str:
    length = f"{settings['duration_s']:g} s"
    if settings["batches"] is not None:
        length = f"{settings['batches']} batches"
    warmup = "until steady" if settings["warmup_s"] is None else f"of {settings['warmup_s']:g} s"
    return f"{settings['repeats']} times {length} a model after a warm-up {warmup}"


def state_lines(document: Document) -> List[str]:
    """Return that the run was stopped, where it was."""
    if document["complete"]:
        return []
    done = len(document["rows"])
    return [f"The run was stopped: {done} {'row is' if done == 1 else 'rows are'} done, not all."]


def failure_lines(document: Document) -> List[str]:
    """Return what failed and why, a line each."""
    return [f"{failure_name(one)}: {one_line(one['error'])}" for one in document["failures"]]


def failure_name(failure: Dict[str, Any]) -> str:
    """Return what was tried, such as ``a.onnx (auto fp32, batch 8)``."""
    streams = "" if failure["streams"] == 1 else f" x {failure['streams']}"
    return (
        f"{pathlib.PurePath(failure['path']).name} ({failure['backend']} {failure['precision']}, "
        f"batch {failure['batch']}{streams})"
    )


def warning_lines(document: Document) -> List[str]:
    """Return what makes figures less than firm, a line for each row and warning."""
    several = len({(row["batch"], row["streams"]) for row in document["rows"]}) > 1
    backends = len({(row["backend"], row["precision"]) for row in document["rows"]}) > 1
    lines = []
    for row in document["rows"]:
        name = row_name(row)
        if backends:
            name += f" {row['backend']} {row['precision']}"
        if several:
            name += f" batch {row['batch']}" + (
                f" x {row['streams']}" if row["streams"] > 1 else ""
            )
        lines += [f"{name}: {one_line(warning)}" for warning in row["warnings"]]
        if row["profile"] and row["profile"]["layers"] is None:
            lines.append(f"{name}: no time of a layer: {one_line(row['profile']['reason'])}")
    return lines


def notes(rows: Sequence[Dict[str, Any]]) -> List[str]:
    """Return what the columns are, a line each."""
    if not rows:
        return []
    lines = ["Latencies are of a whole batch."]
    if any(row["threads"] for row in rows):
        lines[0] = "Latencies are of a whole batch; x2 behind a backend: on 2 threads."
    if any(row["streams"] > 1 for row in rows):
        lines.append("Batch 8 x 2: two batches of 8 at once, each in a context of its own.")
    if any(row["clips_per_s_without_copies"] for row in rows):
        lines.append("Without copies: clips/s as if the clips were in the GPU's memory already.")
    lines += _paper_notes(rows)
    if any(row["random_weights"] for row in rows):
        lines.append("Models named 'random' have random weights: good for speed only.")
    if any(row["limit"] for row in rows):
        lines.append("Of limit: the share of the clips/s that layers one after the other allow.")
    few = min(sum(one["batches"] for one in row["repeats"]) for row in rows)
    if few < _BATCHES_FOR_P99:
        lines.append(
            f"p99 of {few} batches is next to the slowest one; --duration makes it firmer."
        )
    return lines


def _paper_notes(rows: Sequence[Dict[str, Any]]) -> List[str]:
    lines = []
    if any(row["paper"] for row in rows):
        note = (
            "Paper: clips/s of a Titan Xp and a Jetson TX2 as published (Kopuklu et al. 2019, "
            f"Table 8; {PAPER_CONDITIONS}), not measured here."
        )
        if any(row["batch"] != paper.BATCH_SIZE for row in rows):
            note += f" This run's batch differs from the paper's {paper.BATCH_SIZE}."
        lines.append(note)
    unpublished = [row for row in rows if row["paper"] is None]
    others = [row for row in unpublished if not _has_paper_clip(row)]
    if others:
        lines.append("Paper -: it has speeds for clips of 16 x 112 x 112 only.")
    if len(others) < len(unpublished):
        lines.append("Paper -: it has no speed for this model or width.")
    return lines


def _has_paper_clip(row: Dict[str, Any]) -> bool:
    return tuple(row["clip_shape"]) == tuple(paper_clip_shape(row["model"]))


def one_line(text: str) -> str:
    """Return a message of several lines as one."""
    return " ".join(text.split())
