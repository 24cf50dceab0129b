"""What the benchmark of training says: every figure as JSON, and the ratios as a table."""

import statistics
from typing import Any, Dict, List, Sequence, Tuple

from clipedge.benchmarks.study import new_study
from clipedge.jetson import board
from clipedge.jetson.command_line import format_table

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.training/1"

# name of the figure, the part it is from, the field with its seconds
_FIGURES = (
    ("plain loader", "plain", "loader_s"),
    ("plain step", "plain", "step_s"),
    ("plain both", "plain", "both_s"),
    ("our loader, first pass", "our loader", "first_s"),
    ("our loader, cached", "our loader", "epochs_s"),
    ("our step", "our step", "epochs_s"),
    ("our step, bf16", "our step, bf16", "epochs_s"),
    ("our both", "our both", "epochs_s"),
    ("our both, first epoch", "our both", "first_s"),
    ("our both, decoding", "our both, decoding", "epochs_s"),
)
# title, ours, plain
_ROWS = (
    ("loader alone, first pass", "our loader, first pass", "plain loader"),
    ("loader alone, cached", "our loader, cached", "plain loader"),
    ("step alone", "our step", "plain step"),
    ("step alone, bf16", "our step, bf16", "plain step"),
    ("both", "our both", "plain both"),
    ("both, nothing cached", "our both, decoding", "plain both"),
    ("both, first epoch", "our both, first epoch", "plain both"),
)
_STARTS = (("ours", "our both"), ("plain", "plain"))


def conditions(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the document before anything is measured."""
    return new_study(
        SCHEMA,
        settings,
        busy_share_at_start=board.busy_share(),
        clips_per_s={},
        ratios={},
        start_up_s={},
        turns=[],
    )


def summarise(turns: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Return medians and spreads over all turns.

    Returns:
        ``clips_per_s``: of each figure ``median``, ``least`` and ``most``; ``ratios``: of each row
        of the table that of the medians, and the least and most within one turn; ``start_up_s``:
        medians, from the start of the command to the first step.
    """
    rates = {name: [_rate(turn[part], field) for turn in turns] for name, part, field in _FIGURES}
    ratios = {}
    for title, ours, plain in _ROWS:
        within = [our / their for our, their in zip(rates[ours], rates[plain])]
        ratio = statistics.median(rates[ours]) / statistics.median(rates[plain])
        ratios[title] = {"ratio": ratio, "least": min(within), "most": max(within)}
    return {
        "clips_per_s": {name: _spread(values) for name, values in rates.items()},
        "ratios": ratios,
        "start_up_s": {
            whose: statistics.median(turn[part]["started_s"] for turn in turns)
            for whose, part in _STARTS
        },
    }


def _rate(part: Dict[str, Any], field: str) -> float:
    """Return clips per second of the median pass of one turn."""
    seconds = part[field] if isinstance(part[field], list) else [part[field]]
    return float(part["clips"] / statistics.median(seconds))


def _spread(values: Sequence[float]) -> Dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def table_text(document: Dict[str, Any]) -> str:
    """Return the conditions, the table and what its rows are, for a terminal."""
    header, rows = _table(document)
    return "\n".join([*_conditions(document), "", format_table(header, rows), *_notes(document)])


def _table(document: Dict[str, Any]) -> Tuple[List[str], List[List[str]]]:
    rates = document["clips_per_s"]
    rows = []
    for title, ours, plain in _ROWS:
        ratio = document["ratios"][title]
        rows.append(
            [
                title,
                f"{rates[ours]['median']:.1f}",
                f"{rates[plain]['median']:.1f}",
                f"{ratio['ratio']:.2f}",
                f"{ratio['least']:.2f} - {ratio['most']:.2f}",
            ]
        )
    return ["", "fit, clips/s", "plain, clips/s", "ratio", "in one turn"], rows


def _conditions(document: Dict[str, Any]) -> List[str]:
    machine, settings = document["machine"], document["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    load = document["load_average_at_start"]
    width = "" if settings["width"] is None else f" {settings['width']}x"
    fit = document["turns"][0]["our both"]
    plain = document["turns"][0]["plain"]
    return [
        f"{machine['cpu'] or machine['architecture']}, {machine['logical_cores']} cores, load "
        f"average {'unknown' if load is None else load} at the start; Python {machine['python']}, "
        f"{versions}",
        f"{settings['model']}{width}, {settings['frames']} frames of {settings['size']} pixels, "
        f"batch {settings['batch']}; {settings['clips']} {settings['data']} recordings, "
        f"{settings['epochs']} epochs in each of {len(document['turns'])} turns",
        f"fit: {fit['processes']} processes with {fit['threads']} threads; plain: 1 process with "
        f"{plain['threads']} threads",
    ]


def _notes(document: Dict[str, Any]) -> List[str]:
    start_s = document["start_up_s"]
    return [
        "Clips per second are medians; the ratio is theirs, beside its range within one turn.",
        "The first epoch of fit starts the workers, decodes all frames and fills the cache.",
        f"Start-up to the first step, in none of these: fit {start_s['ours']:.1f} s, plain "
        f"{start_s['plain']:.1f} s.",
    ]
