"""Recognised against true: a recording whose gestures and times are known."""

import json
import pathlib
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from clipedge.jetson.command_line import format_table
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.files import PathLike, readable_os_error

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
    distance: int  # Levenshtein's, from the labels of all events to the true ones, in order

    @property
    def right(self) -> int:
        """Number of gestures that were named rightly."""
        return sum(match.right for match in self.matches)

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(match.event is not None for match in self.matches) + len(self.extra)


class Measures(NamedTuple):
    """How good the events of some recordings are.

    The Levenshtein accuracy is that of Kopuklu et al., 'Real-time Hand Gesture Detection and
    Classification Using Convolutional Neural Networks' (FG 2019): wrong, missed and repeated
    gestures all count, and 1 is the best. It falls below 0 where there are many more events than
    gestures.

    Delays are those of rightly named gestures, in seconds; None where there are none. Start and
    end of a gesture are those of the truth: here the hand's coming and its going.
    """

    gestures: int
    events: int
    right: int
    distance: int
    levenshtein_accuracy: float
    precision: float  # right events of all events
    recall: float  # right events of all gestures
    f1: float
    early_share: float  # of the right events: those before the gesture's end
    early_lead_s: Optional[float]  # median time from such an event to the end
    after_start_s: Optional[float]  # median
    after_start_p95_s: Optional[float]
    after_end_s: Optional[float]  # median; below 0 for most events being early
    after_end_p95_s: Optional[float]


def load_truth(path: PathLike) -> List[TrueGesture]:
    """Read JSON lines with start_s, end_s and label.

    Raises:
        UsageError: there is no such file.
        ClipedgeError: it is damaged.
    """
    gestures = []
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError:
        raise ClipedgeError(f"{path}: it is no text; expected JSON lines.") from None
    except OSError as error:
        raise readable_os_error(error, path) from None
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

    The first one decides: whoever acts on events has acted by the second, which counts as extra.
    The time of grace ends where the next gesture starts.
    """
    left = sorted(events)
    named = [event.label for event in left]
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
    return Score(matches, left, levenshtein(named, [gesture.label for gesture in truth]))


def levenshtein(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many labels must be inserted, left out or changed to make one from the other."""
    previous = list(range(len(second) + 1))
    for row, one in enumerate(first, start=1):
        current = [row]
        for column, other in enumerate(second, start=1):
            changed = previous[column - 1] + (one != other)
            current.append(min(changed, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1]


def measure(scores: Sequence[Score]) -> Measures:
    """Return the measures over one or more recordings."""
    matches = [match for score in scores for match in score.matches]
    gestures, events = len(matches), sum(score.events for score in scores)
    right = sum(score.right for score in scores)
    distance = sum(score.distance for score in scores)
    after_start = [
        one.event.time_s - one.truth.start_s for one in matches if one.event and one.right
    ]
    after_end = [one.event.time_s - one.truth.end_s for one in matches if one.event and one.right]
    leads = [-delay for delay in after_end if delay < 0.0]
    return Measures(
        gestures=gestures,
        events=events,
        right=right,
        distance=distance,
        levenshtein_accuracy=1.0 - _share(distance, gestures),
        precision=_share(right, events),
        recall=_share(right, gestures),
        f1=_share(2 * right, events + gestures),
        early_share=_share(len(leads), right),
        early_lead_s=_percentile(leads, 50),
        after_start_s=_percentile(after_start, 50),
        after_start_p95_s=_percentile(after_start, 95),
        after_end_s=_percentile(after_end, 50),
        after_end_p95_s=_percentile(after_end, 95),
    )


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
    single = len(score.extra) == 1
    extra = "1 event" if single else f"{len(score.extra)} events"
    belong = "belongs" if single else "belong"
    return (
        f"{table}\n{score.right} of {len(score.matches)} gestures recognised, "
        f"{extra} that {belong} to none; "
        f"Levenshtein accuracy {measure([score]).levenshtein_accuracy:.2f}"
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _percentile(values: Sequence[float], percent: int) -> Optional[float]:
    return round(float(np.percentile(values, percent)), 3) if values else None
