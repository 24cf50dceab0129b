"""What stands beside a benchmark's tables: what was held fixed, notes, warnings and failures."""

import pathlib
import re
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from clipedge.benchmarks.reports.columns import has_paper_batch
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import PAPER_CONDITIONS, paper_clip_shape, row_name
from clipedge.benchmarks.speed.texts import (
    batch_text,
    case_text,
    failure_file,
    failure_name,
    one_line,
    ran_by,
)
from clipedge.jetson import paper
from clipedge.jetson.conditions import conditions_text

Row = Dict[str, Any]
Told = Tuple[Row, str]

_BATCHES_FOR_P99 = 100  # below, fewer than one batch in the sample lies above it
_ALIKE = 3  # warnings of one kind, from which on one line tells them, where most rows have it
_MODEL_FLAGS = re.compile(r"--model \S+(?: --width \S+)?")  # in a command that would help
# A number of its own, not the 1 of cpu1 or the 0.5 of shufflenetv1_0.5x.
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-]*\w)")


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
        length = _count(settings["batches"], "batch", "batches")
    warmup = "until steady" if settings["warmup_s"] is None else f"of {settings['warmup_s']:g} s"
    times = "once" if settings["repeats"] == 1 else f"{settings['repeats']} times"
    return f"{times} {length} a model after a warm-up {warmup}"


def _count(number: Any, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def state_lines(document: Document) -> List[str]:
    """Return that the run was stopped, where it was."""
    if document["complete"]:
        return []
    done = _count(len(document["rows"]), "row is", "rows are")
    return [f"The run was stopped: {done} done, not all."]


def failure_lines(document: Document) -> List[str]:
    """Return what failed and why, a line each.

    Where several failed for a reason that differs in names and numbers alone, one line tells it
    with one of them for an example.
    """
    kinds: Dict[Tuple[str, str], List[Row]] = {}
    for one in document["failures"]:
        kinds.setdefault((case_text(one), _kind_of_failure(one)), []).append(one)
    lines = []
    for (case, _), alike in kinds.items():
        told = alike
        if len(alike) >= _ALIKE:
            example = alike[0]
            files = len({one["path"] for one in alike})
            lines.append(
                f"{_count(files, 'model', 'models')} ({case}), such as {failure_file(example)}: "
                f"{one_line(example['error'])}"
            )
            told = []
        lines += [f"{failure_name(one)}: {one_line(one['error'])}" for one in told]
    return lines


def _kind_of_failure(failure: Row) -> str:
    """Return why something failed without what names it."""
    text = one_line(failure["error"])
    path = pathlib.PurePath(failure["path"])
    for name in (str(path), path.name, path.stem):
        text = text.replace(name, "#")
    return _kind(_MODEL_FLAGS.sub("#", text))


def warning_lines(document: Document) -> List[str]:
    """Return what makes figures less than firm: a line for each row and warning.

    A kind that most rows have is one line.
    """
    rows = document["rows"]
    several = len({(row["batch"], row["streams"]) for row in rows}) > 1
    backends = len({ran_by(row) for row in rows}) > 1
    told: List[Told] = []
    for row in rows:
        told += [(row, warning) for warning in row["warnings"]]
        if row["profile"] and row["profile"]["layers"] is None:
            told.append((row, f"no time of a layer: {row['profile']['reason']}"))
    lines = []
    for one, who, warning in gathered(told, len(rows)):
        if one and backends:
            who += f" {ran_by(one)}"
        if one and several:
            who += f" batch {batch_text(one)}"
        lines.append(f"{who}: {one_line(warning)}")
    return lines


def gathered(told: Sequence[Told], rows: int) -> List[Tuple[Optional[Row], str, str]]:
    """Return what is told of rows, with one line for what is told of most of them.

    Args:
        told: rows with a text each; texts that differ in their numbers alone are of one kind.
        rows: how many there are, also of those that nothing is told of.

    Returns:
        (row, its name, text); the row is None where it is told of several, and each number that
        differs in them is then a range, such as ``75-83``. These come first.
    """
    kinds: Dict[str, List[str]] = {}
    for _, text in told:
        kinds.setdefault(_kind(text), []).append(text)
    common = {
        kind: texts
        for kind, texts in kinds.items()
        if len(texts) >= _ALIKE and 2 * len(texts) > rows
    }
    lines: List[Tuple[Optional[Row], str, str]] = [
        (None, f"All {rows} rows" if len(texts) == rows else f"{len(texts)} of {rows} rows", text)
        for texts, text in ((texts, _with_ranges(texts)) for texts in common.values())
    ]
    return lines + [(row, row_name(row), text) for row, text in told if _kind(text) not in common]


def _kind(text: str) -> str:
    return _NUMBER.sub("#", text)


def _with_ranges(texts: Sequence[str]) -> str:
    """Return the text of several that differ in their numbers alone."""
    places = zip(*[_NUMBER.findall(text) for text in texts])
    ranges = [_range(sorted(numbers, key=float)) for numbers in places]
    return _NUMBER.sub(lambda _: ranges.pop(0), texts[0])


def _range(ordered: Sequence[str]) -> str:
    least, most = ordered[0], ordered[-1]
    return least if least == most else f"{least}-{most}"


def notes(rows: Sequence[Row]) -> List[str]:
    """Return what the columns are, a line each."""
    if not rows:
        return []
    lines = ["Latencies are of a whole batch."]
    threads = {row["threads"] for row in rows if row["threads"]}
    if threads:
        each = threads.pop() if len(threads) == 1 else "N"
        on = _count(each, "thread", "threads")
        lines[0] = f"Latencies are of a whole batch; x{each} behind a backend: on {on}."
    if any(row["streams"] > 1 for row in rows):
        lines.append("Streams: so many batches at once, each in a context of its own.")
    if any(row["clips_per_s_without_copies"] for row in rows):
        lines.append("Without copies: clips/s as if the clips were in the GPU's memory already.")
    lines += _paper_notes(rows)
    if any(row["random_weights"] for row in rows):
        lines.append("Models named 'random' have random weights: good for speed only.")
    if any(row["limit"] for row in rows):
        lines.append("Of limit: the share of the clips/s that layers one after the other allow.")
    few = min(sum(one["batches"] for one in row["repeats"]) for row in rows)
    if few == 1:
        lines.append("p95 and p99 of 1 batch are that batch; --duration makes them firmer.")
    elif few < _BATCHES_FOR_P99:
        lines.append(
            f"p99 of {few} batches is next to the slowest one; --duration makes it firmer."
        )
    return lines


def _paper_notes(rows: Sequence[Row]) -> List[str]:
    lines = []
    known = [row for row in rows if row["paper"]]
    if any(has_paper_batch(row) for row in known):
        lines.append(
            "Paper: clips/s of a Titan Xp and a Jetson TX2 as published (Kopuklu et al. 2019, "
            f"Table 8; {PAPER_CONDITIONS}), not measured here."
        )
    elif known:
        lines.append("Accuracies are as published (Kopuklu et al. 2019, Table 8).")
    batches = {batch_text(row): None for row in known if not has_paper_batch(row)}
    if batches:
        lines.append(f"Paper -: its speeds are of batch {paper.BATCH_SIZE}, not of {_or(batches)}.")
    unpublished = [row for row in rows if row["paper"] is None]
    others = [row for row in unpublished if not _has_paper_clip(row)]
    if others:
        lines.append("Paper -: it has speeds for clips of 16 x 112 x 112 only.")
    if len(others) < len(unpublished):
        lines.append("Paper -: it has no speed for this model or width.")
    return lines


def _or(batches: Iterable[str]) -> str:
    """Return batches as words: ``1, 4 or 8 in 2 streams``."""
    *first, last = [one.replace(",", " in") for one in batches]
    return f"{', '.join(first)} or {last}" if first else last


def _has_paper_clip(row: Row) -> bool:
    return tuple(row["clip_shape"]) == tuple(paper_clip_shape(row["model"]))
