"""Which model to take: the most accurate, as published, of those that are fast enough here."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.texts import (
    batch_text,
    model_text,
    percent,
    ran_by,
    rate_text,
    significant,
)
from clipedge.jetson import paper
from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError

Row = Dict[str, Any]

_MOST_NAMED = 3  # of the models that were not measured
_UNMEASURED = "more accurate but not measured"


class Candidate(NamedTuple):
    """A model with the row that speaks for it."""

    row: Row
    percent: float  # top-1, as published
    slowest: float  # clips/s of the slowest repeat
    why: str = ""  # this row, of several batches of the model


def recommend(document: Document, min_cps: float, dataset: str) -> str:
    """Return in one line which model to take, with its figures, and what a better one lacks.

    A model is fast enough where the slowest repeat of one of its rows reaches ``min_cps``. Of
    several rows that do, the one with the smallest batch speaks for it: it answers soonest.

    Args:
        document: with rows of models of the paper's Table 8, on the paper's clips.
        min_cps: clips per second that are needed.
        dataset: whose published accuracy counts: a name of ``paper.DATASETS``.

    Raises:
        UsageError: the data set is not known, or the paper has no accuracy on it for any row.
    """
    dataset = _known_dataset(dataset)
    best_first = sorted(
        _candidates(document, min_cps, dataset),
        key=lambda one: (one.percent, one.slowest),
        reverse=True,
    )
    fitting = [one for one in best_first if one.slowest >= min_cps]
    if not fitting:
        return _none_fits(best_first, min_cps, dataset)
    taken = fitting[0]
    better = [one for one in best_first if one.percent > taken.percent]
    parts = [
        f"{_name(taken.row)}, {_percent(taken)} on {paper.DATASETS[dataset]} as published: "
        f"{_figures(taken)}"
    ]
    if better:
        parts.append(_lacks(better[-1], min_cps))
    else:
        parts.append("no model measured here is more accurate")
    parts += _unmeasured(document, taken.percent, dataset)
    return "; ".join(parts) + "."


def reaches(document: Document, min_cps: float, dataset: str) -> bool:
    """Return whether a model of the document is fast enough; arguments as of ``recommend``."""
    candidates = _candidates(document, min_cps, _known_dataset(dataset))
    return any(one.slowest >= min_cps for one in candidates)


def _known_dataset(dataset: str) -> str:
    plain = "".join(one for one in dataset.lower() if one.isalnum())
    for name in paper.DATASETS:
        if plain in (name, "20bn" + name):
            return name
    raise UsageError(
        f"The paper has no accuracies on '{dataset}'; {nearest(plain, paper.DATASETS)}"
    )


def _candidates(document: Document, min_cps: float, dataset: str) -> List[Candidate]:
    """Return each model once."""
    rows = document["rows"]
    if not rows:
        raise UsageError("No model was measured, so none can be recommended.")
    known = [row for row in rows if row["paper"] is not None]
    if not known:
        raise UsageError(
            "None of the models measured is one of the paper's Table 8 with its clips of 16 x 112 "
            "x 112, so that no accuracy is known. Measure those: jetson-bench --all."
        )
    by_model: Dict[Tuple[str, Optional[float]], List[Candidate]] = {}
    for row in known:
        accuracy = row["paper"][f"{dataset}_top1_percent"]
        if accuracy is not None:
            slowest = min(one["clips_per_s"] for one in row["repeats"])
            candidate = Candidate(row, accuracy, slowest)
            by_model.setdefault((row["model"], row["width"]), []).append(candidate)
    if not by_model:
        names = ", ".join(sorted({_name(row) for row in known}))
        raise UsageError(
            f"The paper has no accuracy on {paper.DATASETS[dataset]} for {names}; choose another "
            "data set, or measure other models."
        )
    return [_speaker(several, min_cps) for several in by_model.values()]


def _speaker(several: Sequence[Candidate], min_cps: float) -> Candidate:
    fitting = [one for one in several if one.slowest >= min_cps]
    if fitting:
        taken = min(fitting, key=lambda one: (_at_once(one), -one.row["clips_per_s"]))
        why = f"the smallest batch of {{}} that reaches {min_cps:g}"
    else:
        taken = max(several, key=lambda one: one.slowest)
        why = "the fastest batch of {}"
    batches = len({_at_once(one) for one in several})
    return taken._replace(why=why.format(batches)) if batches > 1 else taken


def _at_once(one: Candidate) -> int:
    return int(one.row["batch"] * one.row["streams"])


def _none_fits(best_first: Sequence[Candidate], min_cps: float, dataset: str) -> str:
    fastest = max(best_first, key=lambda one: one.slowest)
    count = len(best_first)
    which = "the one model measured" if count == 1 else f"the fastest of {count} models"
    return (
        f"None reaches {min_cps:g} clips/s: {which}, {_name(fastest.row)} "
        f"({_percent(fastest)} on {paper.DATASETS[dataset]} as published), "
        f"makes {_figures(fastest)}: {percent(fastest.slowest / min_cps)} of what is needed."
    )


def _lacks(better: Candidate, min_cps: float) -> str:
    speed = better.row["clips_per_s"]
    text = f"{_name(better.row)} has {_percent(better)} but makes {rate_text(speed)}"
    if speed >= min_cps:
        return f"{text}, and {rate_text(better.slowest)} in its slowest repeat"
    return text


def _unmeasured(document: Document, least: float, dataset: str) -> List[str]:
    """Return which more accurate models of the paper this run has no figure of."""
    measured = {(row["model"], row["width"]) for row in document["rows"] if row["paper"]}
    names = []
    for row in paper.TABLE_8:
        accuracy = getattr(row, f"{dataset}_top1_percent")
        if accuracy is not None and accuracy > least and (row.model, row.width) not in measured:
            names.append(model_text(row.model, row.width))
    if len(names) > _MOST_NAMED:
        more = len(names) - _MOST_NAMED
        return [f"{_UNMEASURED}: {', '.join(names[:_MOST_NAMED])} and {more} more"]
    return [f"{_UNMEASURED}: {', '.join(names)}"] if names else []


def _figures(one: Candidate) -> str:
    row = one.row
    why = f" ({one.why})" if one.why else ""
    text = f"{rate_text(row['clips_per_s'])} clips/s at batch {batch_text(row)}{why}"
    text += f" with {ran_by(row)}"
    if len(row["repeats"]) > 1:
        text += f", {rate_text(one.slowest)} in the slowest of {len(row['repeats'])} repeats"
    else:
        text += ", measured once"
    energy_j = row["span"]["energy_per_clip_j"]
    return text if energy_j is None else f"{text}, {significant(energy_j)} J a clip"


def _percent(one: Candidate) -> str:
    return f"{one.percent:g} %"


def _name(row: Row) -> str:
    return model_text(row["model"], row["width"])
