"""From scores to gesture events: one event for one gesture, as soon as it is clear which it is.

After Kopuklu, Gunduz, Kose and Rigoll, 'Real-time Hand Gesture Detection and Classification Using
Convolutional Neural Networks' (FG 2019): a detector says when there is a gesture, the classifier's
scores are weighted over that time with later ones counting more, and a gesture is named early where
the best leads by far, else when it is over, and once only. The paper counts clips; here all goes by
time, so that a recording gives the same events however often clips of it are scored.
"""

import math
from typing import NamedTuple, Optional, Sequence

import numpy as np

from clipedge.jetson.recogniser_settings import (
    BACKGROUND_LABELS,
    RecogniserSettings,
    plain_label,
)

__all__ = ["BACKGROUND_LABELS", "Activation", "Recogniser", "RecogniserSettings", "softmax"]

# Of the weight over time: the paper's 0.2 for each of EgoGesture's 30 frames a second.
STEEPNESS_PER_S = 6.0
# Its middle lies at a quarter of a gesture, as in the paper.
MIDDLE_PART = 0.25
# Times are as good as equal: how a clock's numbers were rounded changes no event.
TIE_S = 1e-6


class Activation(NamedTuple):
    """The moment a gesture is named."""

    label: str
    score: float  # 0 to 1, the weighted mean over the gesture so far
    early: bool = False  # by its lead, before the gesture was over


class Recogniser:
    """Turns the scores of overlapping clips into one activation a gesture.

    A period of activity begins when the smoothed score of all gestures together reaches
    ``presence_on`` and ends when it falls below ``presence_off``. Within it, evidence is the
    integral of the smoothed scores over time, times the weight. The best gesture is named

    - early: when its evidence leads the second's by ``early_lead`` a second of the period;
    - else after ``decide_s``, or when the period ends before that;

    each time only if its mean score reaches its threshold. The next one, of the same label or
    another, may be named once the score of the first has fallen to ``rearm_dip`` of its peak, which
    it does when a new gesture begins, or the period has ended, and ``rearm_s`` has passed.

    A label that is denied is recognised like any other and not told.
    """

    def __init__(
        self, labels: Sequence[str], settings: Optional[RecogniserSettings] = None
    ) -> None:
        """Prepare for a model's labels.

        Args:
            labels: class names in the order of the logits.
            settings: the defaults where None.

        Raises:
            SpecError: the settings make no sense, or name a label that is not among ``labels``.
        """
        self.settings = (settings or RecogniserSettings()).validate(labels)
        self._labels = list(labels)
        plain = [plain_label(label) for label in labels]
        quiet = {plain_label(label) for label in self.settings.background}
        self._is_gesture = np.array([label not in quiet for label in plain])
        self._has_background = not self._is_gesture.all()
        own = {plain_label(label): value for label, value in self.settings.thresholds.items()}
        self._thresholds = [own.get(label, self.settings.threshold) for label in plain]
        self._told = _told(plain, self.settings)
        self._rearm_s = self.settings.rearm_s - TIE_S
        # What the scores are where there is nothing.
        nothing = ~self._is_gesture if self._has_background else np.ones(len(plain), bool)
        self._nothing = (nothing / float(nothing.sum())).astype(np.float32)
        self._gestures = self._is_gesture.astype(np.float32)
        self._newest = np.empty(len(plain), np.float32)
        self._smoothed = np.empty(len(plain), np.float32)
        self._evidence = np.empty(len(plain), np.float32)  # of gestures, in seconds
        self._rivals = np.empty(len(plain), np.float32)
        self._last_time_s: Optional[float] = None
        self._active = False  # a period of activity is under way
        self._named = False  # something was named in it
        self._spent: Optional[int] = None  # what was named last in it
        self.reset()

    @property
    def presence(self) -> Optional[float]:
        """Smoothed score that there is any gesture, 0 to 1, None before the first clip."""
        return None if self._last_time_s is None else self._presence

    @property
    def scores(self) -> Optional[np.ndarray]:
        """(classes,) float32 smoothed scores, good until the next update; None before the first."""
        return None if self._last_time_s is None else self._smoothed

    def update(
        self, logits: Optional[np.ndarray], time_s: float, presence: Optional[float] = None
    ) -> Optional[Activation]:
        """Take the scores of the clip that ends at ``time_s``; name a gesture or not.

        Args:
            logits: (classes,) float32; None where the classifier was not run, as the detector saw
                nothing.
            time_s: of the clip's newest frame, on a clock that runs forward.
            presence: a detector's score that there is any gesture, 0 to 1; None without a detector:
                then the classifier's background labels tell, or how sure it is where it has none.
        """
        # A clip counts for the time since the clip before, so the first one only starts the clock.
        elapsed_s = 0.0
        if self._last_time_s is not None:
            elapsed_s = max(time_s - self._last_time_s, 0.0)
        self._last_time_s = time_s
        self._smooth(logits, elapsed_s, presence)
        if not self._active:
            if self._presence < self.settings.presence_on:
                return None
            self._active, self._named, self._spent = True, False, None
            self._start_evidence()
        elif self._presence < self.settings.presence_off:
            self._active = False
            return None if self._named else self._name(time_s, early=False)
        return self._weigh(elapsed_s, time_s)

    def finish(self) -> Optional[Activation]:
        """Name the gesture that is under way, as the source has ended; None where none is."""
        if self._last_time_s is None or not self._active or self._named:
            return None
        self._active = False
        return self._name(self._last_time_s, early=False)

    def reset(self) -> None:
        """Forget everything, for a source that starts again or has a gap."""
        self._smoothed[:] = self._nothing
        self._presence = 0.0
        self._last_time_s = None
        self._active = False
        self._named = False
        self._spent = None
        self._peak = 0.0  # highest smoothed score of what is spent, since then
        self._named_s = -math.inf
        self._start_evidence()

    def _smooth(
        self, logits: Optional[np.ndarray], elapsed_s: float, presence: Optional[float]
    ) -> None:
        if logits is None:
            self._newest[:] = self._nothing
        else:
            softmax(logits, out=self._newest)
        smoothing_s = self.settings.smoothing_s
        part = 1.0 - math.exp(-elapsed_s / smoothing_s) if smoothing_s > 0.0 else 1.0
        self._newest -= self._smoothed
        self._newest *= part
        self._smoothed += self._newest
        if presence is not None:
            self._presence += part * (presence - self._presence)
        elif self._has_background:
            self._presence = float(self._smoothed.dot(self._gestures))
        else:
            chance = 1.0 / len(self._smoothed)
            sure = (float(self._smoothed.max()) - chance) / max(1.0 - chance, chance)
            self._presence = max(sure, 0.0)

    def _weigh(self, elapsed_s: float, time_s: float) -> Optional[Activation]:
        """Gather evidence, and name the best gesture where it is enough."""
        if self._spent is not None and self._holds_back(self._spent):
            return None
        settings = self.settings
        late_s = self._evidence_s - MIDDLE_PART * settings.gesture_s
        weight_s = elapsed_s / (1.0 + math.exp(-STEEPNESS_PER_S * late_s))
        np.multiply(self._smoothed, self._gestures, out=self._rivals)
        self._rivals *= weight_s
        self._evidence += self._rivals
        self._weights_s += weight_s
        self._evidence_s += elapsed_s
        if self._evidence_s <= 0.0:
            return None
        if self._lead() >= settings.early_lead:
            return self._name(time_s, early=True)
        if not self._named and self._evidence_s >= settings.decide_s - TIE_S:
            return self._name(time_s, early=False)
        return None

    def _holds_back(self, spent: int) -> bool:
        """Tell whether what was named last is still to be seen."""
        score = float(self._smoothed[spent])
        self._peak = max(self._peak, score)
        if score > self.settings.rearm_dip * self._peak:
            return True
        self._spent = None
        return False

    def _lead(self) -> float:
        """Evidence of the best over that of the second, for each second."""
        best = int(self._evidence.argmax())
        np.copyto(self._rivals, self._evidence)
        self._rivals[best] = 0.0
        return float(self._evidence[best] - self._rivals.max()) / self._evidence_s

    def _name(self, time_s: float, early: bool) -> Optional[Activation]:
        best = int(self._evidence.argmax())
        if self._weights_s <= 0.0:
            return None
        score = min(float(self._evidence[best]) / self._weights_s, 1.0)
        if score < self._thresholds[best] or time_s - self._named_s < self._rearm_s:
            return None
        self._named, self._named_s = True, time_s
        self._spent, self._peak = best, float(self._smoothed[best])
        self._start_evidence()
        return Activation(self._labels[best], score, early) if self._told[best] else None

    def _start_evidence(self) -> None:
        self._evidence[:] = 0.0
        self._weights_s = 0.0
        self._evidence_s = 0.0  # how long it has been gathered


def softmax(logits: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
    """Return scores that sum to 1: (classes,) float32 from (classes,) logits.

    Args:
        logits: (classes,) numbers.
        out: where to put them; a new array where None.
    """
    scores: np.ndarray = np.empty(len(logits), np.float32) if out is None else out
    np.subtract(logits, logits.max(), out=scores, casting="same_kind")
    np.exp(scores, out=scores)
    scores /= scores.sum()
    return scores


def _told(plain: Sequence[str], settings: RecogniserSettings) -> Sequence[bool]:
    """Tell for each label whether it is allowed and not denied."""
    denied = {plain_label(label) for label in settings.deny}
    if settings.allow is None:
        return [label not in denied for label in plain]
    allowed = {plain_label(label) for label in settings.allow} - denied
    return [label in allowed for label in plain]
