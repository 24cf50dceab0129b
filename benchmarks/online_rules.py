"""Ways from scores to events: the recogniser's, and the two that it is compared with."""

import collections
from typing import Any, Callable, Deque, List, NamedTuple, Optional, Sequence

import numpy as np

from clipedge.benchmarks.online_sessions import Scored
from clipedge.jetson.events import EARLY, FULL, GestureEvent
from clipedge.jetson.recogniser import Recogniser, softmax
from clipedge.jetson.recogniser_settings import RecogniserSettings, plain_label
from clipedge.jetson.truth import Measures, levenshtein, measure, score_events

# Of the live demo of 'TSM: Temporal Shift Module for Efficient Video Understanding' (Lin, Gan and
# Han 2019): the logits of so many clips are added up, and a label counts when it comes twice.
TSM_CLIPS = 12


class Rule(NamedTuple):
    """A way from scores to events.

    Attributes:
        name: for tables.
        events: takes labels and a scored recording.
        settings: what it was set to, plain JSON types.
    """

    name: str
    events: Callable[[Sequence[str], Scored], List[GestureEvent]]
    settings: Any


def ours(settings: RecogniserSettings, name: str = "recogniser") -> Rule:
    """The recogniser with these settings."""

    def events(labels: Sequence[str], recording: Scored) -> List[GestureEvent]:
        recogniser, found = Recogniser(labels, settings), []
        time_s = 0.0
        for time_s, logits in zip(recording.times_s, recording.logits):
            activation = recogniser.update(logits, time_s)
            if activation is not None:
                found.append(_event(time_s, activation.label, activation.score, activation.early))
        last = recogniser.finish()
        if last is not None:
            found.append(_event(time_s, last.label, last.score, last.early))
        return found

    return Rule(name, events, settings.to_dict())


def argmax_with_threshold(threshold: float, background: Sequence[str]) -> Rule:
    """Name the best label of each clip that reaches the threshold, whenever it is another one."""

    def events(labels: Sequence[str], recording: Scored) -> List[GestureEvent]:
        shown = _Shown(labels, background)
        for time_s, logits in zip(recording.times_s, recording.logits):
            scores = softmax(logits)
            best = int(scores.argmax())
            sure = float(scores[best]) >= threshold
            shown.show(time_s, best if sure else None, float(scores[best]))
        return shown.events

    return Rule("argmax with threshold", events, {"threshold": threshold})


def tsm_smoothing(background: Sequence[str]) -> Rule:
    """Add up the last 12 logits; take the best label when the one before was taken twice."""

    def events(labels: Sequence[str], recording: Scored) -> List[GestureEvent]:
        shown = _Shown(labels, background)
        window: Deque[np.ndarray] = collections.deque(maxlen=TSM_CLIPS)
        taken: Deque[Optional[int]] = collections.deque([None, None], maxlen=2)
        for time_s, logits in zip(recording.times_s, recording.logits):
            window.append(logits)
            mean = np.mean(window, axis=0)
            best: Optional[int] = shown.gesture(int(mean.argmax()))  # all background is one label
            if best != taken[-1] and taken[-1] != taken[-2]:
                best = taken[-1]
            taken.append(best)
            shown.show(time_s, best, 0.0 if best is None else float(softmax(mean)[best]))
        return shown.events

    return Rule("smoothing of the TSM demo", events, {"clips": TSM_CLIPS})


class _Shown:
    """What a rule shows, clip after clip; each change to a gesture is an event."""

    def __init__(self, labels: Sequence[str], background: Sequence[str]) -> None:
        quiet = {plain_label(label) for label in background}
        self._labels = labels
        self._is_gesture = [plain_label(label) not in quiet for label in labels]
        self._now: Optional[int] = None
        self.events: List[GestureEvent] = []

    def gesture(self, index: Optional[int]) -> Optional[int]:
        """Return ``index`` where that is a gesture, else None."""
        return index if index is not None and self._is_gesture[index] else None

    def show(self, time_s: float, index: Optional[int], score: float) -> None:
        """Show a label, or nothing."""
        gesture = self.gesture(index)
        if gesture is not None and gesture != self._now:
            self.events.append(_event(time_s, self._labels[gesture], score, False))
        self._now = gesture


def judge(rule: Rule, labels: Sequence[str], recordings: Sequence[Scored]) -> Measures:
    """Return how good a rule's events are."""
    return measure([score_events(one.truth, rule.events(labels, one)) for one in recordings])


def agreement(
    rule: Rule, labels: Sequence[str], some: Sequence[Scored], others: Sequence[Scored]
) -> float:
    """Return 1 where a rule names the same gestures in the same order in both, less where not."""
    distance = events = 0
    for one, other in zip(some, others):
        first = [event.label for event in rule.events(labels, one)]
        second = [event.label for event in rule.events(labels, other)]
        distance += levenshtein(first, second)
        events += len(second)
    return 1.0 - distance / events if events else 1.0


def best_threshold(
    labels: Sequence[str], recordings: Sequence[Scored], background: Sequence[str]
) -> float:
    """Return the threshold with which argmax does best: highest Levenshtein accuracy, then F1."""

    def merit(threshold: float) -> Any:
        found = judge(argmax_with_threshold(threshold, background), labels, recordings)
        return found.levenshtein_accuracy, found.f1

    return max((round(0.02 * step, 2) for step in range(50)), key=merit)


def _event(time_s: float, label: str, score: float, early: bool) -> GestureEvent:
    return GestureEvent(time_s, label, score, 0.0, EARLY if early else FULL)
