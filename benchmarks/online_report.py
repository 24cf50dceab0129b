"""How the study of live recognition is written down: measures as JSON and as tables."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from clipedge.benchmarks.study import new_study
from clipedge.jetson.command_line import format_table
from clipedge.jetson.truth import Measures

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.online/1"

# Title, field, and whether it is a share.
COLUMNS: Sequence[Tuple[str, str, bool]] = (
    ("Levenshtein", "levenshtein_accuracy", True),
    ("precision", "precision", True),
    ("recall", "recall", True),
    ("F1", "f1", True),
    ("events", "events", False),
    ("early", "early_share", True),
    ("lead s", "early_lead_s", False),
    ("start s", "after_start_s", False),
    ("p95", "after_start_p95_s", False),
    ("end s", "after_end_s", False),
    ("p95", "after_end_p95_s", False),
)

NOTE = """\
Levenshtein: 1 - distance between the events' labels and the true ones / number of true ones.
precision, recall, F1: the first event from a gesture's start to a second after its end decides.
early: share of right events before the hand was gone, and their median lead. start, end: delay of
right events from the hand's coming and going, median and 95th percentile. alike: same events in the
same order as at the rate on which rules are compared, 1 - distance / events."""


def new_document(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the study's document before anything is measured."""
    return new_study(SCHEMA, settings, recordings={}, rules=[], camera_rates=[], videos=[])


def row(name: str, measures: Measures, **more: Any) -> Dict[str, Any]:
    """Return one line of the study: a rule, a camera rate or a video, and its measures."""
    return dict(more, name=name, **measures._asdict())


def tables(study: Dict[str, Any]) -> str:
    """Return all tables for a terminal."""
    parts = [
        _table(title, study[field])
        for field, title in (("rules", "rule"), ("camera_rates", "camera"), ("videos", "video"))
        if study[field]
    ]
    told = [
        "{}: {gestures} gestures in {recordings} sessions of {seconds:.0f} s in all".format(
            part, **study["recordings"][part]
        )
        for part in sorted(study["recordings"])
    ]
    return "\n\n".join([*parts, "\n".join([*told, NOTE])]) + "\n"


def _table(title: str, rows: Sequence[Dict[str, Any]]) -> str:
    header = [title] + [column for column, _, _ in COLUMNS]
    lines = [_cells(one) for one in rows]
    if "alike" in rows[0]:
        header.append("alike")
        lines = [line + [_cell(one["alike"], True)] for line, one in zip(lines, rows)]
    return format_table(header, lines)


def _cells(one: Dict[str, Any]) -> List[str]:
    return [one["name"]] + [_cell(one[field], share) for _, field, share in COLUMNS]


def _cell(value: Optional[float], share: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if share else f"{value:.2f}"
