"""How the study of fine-tuning is written down: every run as JSON, medians as a table."""

import statistics
from typing import Any, Dict, List, Sequence

from clipedge.benchmarks.study import new_study
from clipedge.jetson.command_line import format_table

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.fine-tuning/1"


def conditions(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the study's document before anything is trained."""
    return new_study(SCHEMA, settings, runs=[])


def table_text(study: Dict[str, Any]) -> str:
    """Return the table for a terminal: each way's median over the seeds, and its range."""
    header = ["way", "runs", "clips right", "videos right", "s to train"]
    ways: Dict[str, List[Dict[str, Any]]] = {}
    for run in study["runs"]:
        ways.setdefault(run["way"], []).append(run)
    rows = [
        [
            way,
            str(len(runs)),
            _percent([run["clip_top1"] for run in runs]),
            _percent([run["video_top1"] for run in runs]),
            "{:.0f}".format(statistics.median(run["fit_seconds"] for run in runs)),
        ]
        for way, runs in ways.items()
    ]
    first = study["runs"][0]
    classes = len(first["confusion"]["labels"])
    return (
        format_table(header, rows)
        + "\n\nMedian over the runs, in brackets the lowest and the highest. Tested on "
        + f"{first['clips']} clips of {first['videos']} videos; chance is "
        + f"{100.0 / classes:.0f} %.\n"
    )


def _percent(parts: Sequence[float]) -> str:
    low, median, high = (100.0 * one for one in (min(parts), statistics.median(parts), max(parts)))
    return f"{median:.0f} % ({low:.0f}-{high:.0f})"
