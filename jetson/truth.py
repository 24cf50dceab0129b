"""Recognised against true: a recording whose gestures and times are known."""

import json
import pathlib
from typing import List, NamedTuple, Optional, Sequence

from clipedge.jetson.command_line import format_table
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.files import PathLike

# A clip must hold the gesture before it can be named, and the scores are smoothed.
GRACE_S = 1.0


class TrueGesture(NamedTuple):
    """A gesture that is known to be in the recording."""

    start_s: float
    end_s: float
    label: str


class Match(NamedTuple):
    """A true gesture and the event that names it; None where nothing did."""

    truth: TrueGesture
    event: Optional[GestureEvent]

    @property
    def right(self) -> bool:
        """The event names the gesture that was made."""
        return self.event is not None and self.event.label == self.truth.label


class Score(NamedTuple):
    """All true gestures with their events, and the events that belong to none."""

    matches: List[Match]
    extra: List[GestureEvent]

    @property
    def right(self) -> int:
        """Number of gestures that were named rightly."""
        return sum(match.right for match in self.matches)


def load_truth(path: PathLike) -> List[TrueGesture]:
    """Read JSON lines with start_s, end_s and label; ClipedgeError where one is damaged."""
    gestures = []
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ClipedgeError(f"{path}: cannot be read: {error}.") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            gesture = TrueGesture(
                float(fields["start_s"]), float(fields["end_s"]), str(fields["label"])
            )
        except (ValueError, KeyError, TypeError):
            raise ClipedgeError(
                f"{path}, line {number}: expected a JSON object with start_s, end_s and label."
            ) from None
        gestures.append(gesture)
    return sorted(gestures)


def score_events(truth: Sequence[TrueGesture], events: Sequence[GestureEvent]) -> Score:
    """Give each true gesture the first event between its start and a little after its end.

    The time of grace ends where the next gesture starts. An event belongs to one gesture at most;
    a second one for the same gesture counts as extra.
    """
    left = sorted(events)
    matches = []
    for index, gesture in enumerate(truth):
        until_s = gesture.end_s + GRACE_S
        if index + 1 < len(truth):
            until_s = min(until_s, truth[index + 1].start_s)
        inside = [one for one in left if gesture.start_s <= one.time_s <= until_s]
        event = inside[0] if inside else None
        if event is not None:
            left.remove(event)
        matches.append(Match(gesture, event))
    return Score(matches, left)


def truth_table(score: Score) -> str:
    """Return all true gestures and surplus events in a table, with the counts below."""
    rows = [
        [
            match.truth.label,
            f"{match.truth.start_s:.1f}-{match.truth.end_s:.1f}",
            match.event.label if match.event else "-",
            f"{match.event.time_s:.1f}" if match.event else "-",
            "yes" if match.right else "NO",
        ]
        for match in score.matches
    ]
    rows += [["-", "-", event.label, f"{event.time_s:.1f}", "extra"] for event in score.extra]
    table = format_table(["true gesture", "from-to s", "recognised", "at s", "right"], rows)
    return (
        f"{table}\n{score.right} of {len(score.matches)} gestures recognised, "
        f"{len(score.extra)} events that belong to none"
    )
