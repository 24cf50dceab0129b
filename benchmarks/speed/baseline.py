"""Compares a benchmark's document with that of an earlier run: what changed, and is it noise."""

import math
import pathlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.benchmarks.speed.conditions_apart import row_differences
from clipedge.benchmarks.speed.document import Document, row_identity
from clipedge.benchmarks.speed.noise import noise_of_ratio
from clipedge.benchmarks.speed.rows import row_name
from clipedge.benchmarks.speed.texts import PLAIN, batch_text, one_line, percent, ran_by, rate_text
from clipedge.jetson.command_line import format_table
from clipedge.jetson.errors import UsageError
from clipedge.jetson.runners.opening import AUTO, TENSORRT

FASTER = "faster"
SLOWER = "slower"  # by no more than is allowed
WITHIN_NOISE = "within noise"
REGRESSED = "regressed"
UNSURE = "unsure"  # slower by more than is allowed, and yet within the noise
NEW = "new"
GONE = "gone"
FAILED_NOW = "failed now"
FAILED = "failed"  # and the baseline has neither figure nor failure of it

_MOST_NAMED = 5  # of those in a conclusion that the table names too

Row = Dict[str, Any]


class Change(NamedTuple):
    """What became of one row."""

    name: str
    backend: str
    batch: str
    before: Optional[float]  # clips/s; None where it is new
    now: Optional[float]  # None where it is gone, or failed
    ratio: Optional[float]  # now / before
    noise: Optional[float]  # of the ratio, as of ``noise_of_ratio``
    verdict: str  # one of the words above
    notes: List[str]  # what may explain it


def changes(document: Document, baseline: Document, max_regression: float) -> List[Change]:
    """Compare the rows of two documents.

    Rows are matched by ``row_identity``; where both runs left the backend to ``auto``, the rows
    that are left over also by all but the backend, as its choice may have changed. A row has
    regressed where it is slower by more than ``max_regression`` and by more than the noise.

    Args:
        document: of the run now.
        baseline: of the earlier run.
        max_regression: how much slower is allowed, as a share of 1.

    Returns:
        The changes in the baseline's order, then the new rows, then the new failures.
    """
    pairs, gone, new = _matched(document, baseline)
    found = {id(was): _change(row, was, max_regression) for was, row in pairs}
    found.update((id(was), _gone(was, document)) for was in gone)
    in_order = [found[id(was)] for was in baseline["rows"]]
    in_order += [_of_one(row, NEW, now=row["clips_per_s"]) for row in new]
    return in_order + _new_failures(document, baseline)


def regressed(found: Sequence[Change]) -> bool:
    """Return whether a row has regressed, or failed that was measured before.

    Raises:
        UsageError: no row of the baseline could be compared, which is no proof of anything.
    """
    if not _proves_something(found):
        raise UsageError(
            f"The baseline has no row that could be compared with this run's ({_apart(found)}): "
            "measure the same models with the same backend, precision, batch and streams, or give "
            "the baseline of this run."
        )
    return any(change.verdict in (REGRESSED, FAILED_NOW) for change in found)


def _proves_something(found: Sequence[Change]) -> bool:
    return any(change.ratio is not None or change.verdict == FAILED_NOW for change in found)


def changes_text(
    found: Sequence[Change], max_regression: float, differences: Sequence[str] = ()
) -> str:
    """Return a table of the changes, what may explain them, and one line of conclusion.

    There is no conclusion where nothing was compared; see ``regressed``.

    Args:
        found: by ``changes``.
        max_regression: it was called with.
        differences: between the conditions of the runs, by ``condition_differences``.
    """
    header = ("model", "backend", "batch", "before", "now", "change", "noise", "verdict")
    lines = [format_table(header, [_cells(change) for change in found])]
    lines += [f"{_title(change)}: {'; '.join(change.notes)}." for change in found if change.notes]
    if differences:
        lines.append(f"The conditions differ: {'; '.join(differences)}.")
    lines.append(_conclusion(found, max_regression))
    return "\n".join(line for line in lines if line)


def _matched(
    document: Document, baseline: Document
) -> Tuple[List[Tuple[Row, Row]], List[Row], List[Row]]:
    """Return (pairs of before and now, rows of the baseline left over, rows of now left over)."""
    pairs, gone, new = _paired(baseline["rows"], document["rows"], row_identity)
    if all(one["settings"].get("backend") == AUTO for one in (document, baseline)):
        more, gone, new = _paired(gone, new, _identity_without_backend)
        pairs += more
    return pairs, gone, new


def _paired(
    before: Sequence[Row], now: Sequence[Row], identity: Callable[[Row], Tuple[Any, ...]]
) -> Tuple[List[Tuple[Row, Row]], List[Row], List[Row]]:
    """Pair rows of one identity: those of one file name first, as two files may share it."""
    pairs = []
    left = list(now)
    unpaired = list(before)
    for same_file in (True, False):
        for was in list(unpaired):
            for row in left:
                if identity(row) != identity(was):
                    continue
                if same_file and row_name(row) != row_name(was):
                    continue
                pairs.append((was, row))
                left = [one for one in left if one is not row]
                unpaired = [one for one in unpaired if one is not was]
                break
    return pairs, unpaired, left


def _identity_without_backend(row: Row) -> Tuple[Any, ...]:
    same = dict(row, backend=AUTO, details={})
    return row_identity(same)


def _change(row: Row, was: Row, max_regression: float) -> Change:
    ratio = row["clips_per_s"] / was["clips_per_s"]
    noise = noise_of_ratio(row, was)
    return Change(
        row_name(row),
        ran_by(row),
        batch_text(row),
        was["clips_per_s"],
        row["clips_per_s"],
        ratio,
        noise,
        verdict_of(ratio, noise, max_regression),
        row_differences(row, was),
    )


def verdict_of(ratio: float, noise: Optional[float], max_regression: float) -> str:
    """Return the word for a ratio; where the noise is not known, every change may be noise."""
    certain = noise is not None and abs(math.log(ratio)) > noise
    if ratio < 1.0 - max_regression:
        return REGRESSED if certain else UNSURE
    if not certain:
        return WITHIN_NOISE
    return FASTER if ratio > 1.0 else SLOWER


def _gone(was: Row, document: Document) -> Change:
    for failure in document["failures"]:
        if _is_of(failure, was):
            change = _of_one(was, FAILED_NOW, before=was["clips_per_s"])
            return change._replace(notes=[one_line(failure["error"]).rstrip(".")])
    return _of_one(was, GONE, before=was["clips_per_s"])


def _new_failures(document: Document, baseline: Document) -> List[Change]:
    """Return what failed that the baseline has neither figure nor failure of."""

    def same(one: Row) -> Tuple[Any, ...]:
        name = pathlib.PurePath(one["path"]).name
        return name, one["backend"], one["precision"], one["batch"], one["streams"]

    known = {same(one) for one in baseline["failures"]}
    return [
        _of_one(dict(one, file=one["path"]), FAILED)
        for one in document["failures"]
        if same(one) not in known and not any(_is_of(one, was) for was in baseline["rows"])
    ]


def _is_of(failure: Dict[str, Any], was: Row) -> bool:
    """Return whether a failure is of what a row of the baseline measured."""
    names = [pathlib.PurePath(path).name for path in (failure["path"], was["file"])]
    return (
        names[0] == names[1]
        and (failure["batch"], failure["streams"]) == (was["batch"], was["streams"])
        and failure["backend"] in (AUTO, was["backend"])
        and (failure["precision"] == was["precision"] or was["backend"] == TENSORRT)
    )


def _of_one(
    row: Row, verdict: str, before: Optional[float] = None, now: Optional[float] = None
) -> Change:
    return Change(row_name(row), ran_by(row), batch_text(row), before, now, None, None, verdict, [])


def _title(change: Change) -> str:
    return f"{change.name}, {change.backend}, batch {change.batch}"


def _cells(change: Change) -> List[str]:
    return [
        change.name,
        change.backend,
        change.batch,
        PLAIN.dash if change.before is None else rate_text(change.before),
        PLAIN.dash if change.now is None else rate_text(change.now),
        PLAIN.dash if change.ratio is None else f"{100 * (change.ratio - 1):+.1f} %",
        PLAIN.dash if change.noise is None else percent(change.noise),
        change.verdict,
    ]


def _conclusion(found: Sequence[Change], max_regression: float) -> str:
    if not _proves_something(found):
        return ""
    parts = []
    compared = sum(change.ratio is not None for change in found)
    if compared:
        slower = _names(found, REGRESSED)
        are = "is" if len(slower) < 2 else "are"
        text = f"{len(slower) or 'no row'} of {compared} {are} slower by more than "
        text += f"{100 * max_regression:g} % and the noise"
        parts.append(f"{text} ({', '.join(slower)})" if slower else text)
    for verdict, title in ((FAILED_NOW, "failed that ran before"), (FAILED, "failed and new")):
        names = _names(found, verdict)
        if names:
            more = len(names) - _MOST_NAMED
            parts.append(f"{title}: {', '.join(names[:_MOST_NAMED])}")
            parts[-1] += f" and {more} more" if more > 0 else ""
    apart = _apart(found)
    if apart:
        parts.append(f"not compared: {apart}")
    conclusion = "; ".join(parts) + _unsure(found)
    return f"{conclusion[0].upper()}{conclusion[1:]}."


def _names(found: Sequence[Change], verdict: str) -> List[str]:
    return [change.name for change in found if change.verdict == verdict]


def _apart(found: Sequence[Change]) -> str:
    """Return how many rows stand in one document alone, such as ``2 gone, 1 new``."""
    counts = [(len(_names(found, verdict)), verdict) for verdict in (GONE, NEW)]
    return ", ".join(f"{count} {verdict}" for count, verdict in counts if count)


def _unsure(found: Sequence[Change]) -> str:
    """Return which slower rows may be noise, and what would tell."""
    text = ""
    for known, why in ((True, "the noise is as large"), (False, "the noise is not known")):
        names = _names([one for one in found if (one.noise is not None) is known], UNSURE)
        if names:
            text += f"; unsure, as {why}: {', '.join(names)}"
    if text:
        text += (
            ": quiet the machine and measure both again with more --repeats or a longer --duration"
        )
    return text
