"""From scores to gesture events: smooth over time, name a gesture once, wait until it is over."""

from typing import NamedTuple, Optional, Sequence

import numpy as np

from clipedge.jetson.recogniser_settings import (
    BACKGROUND_LABELS,
    RecogniserSettings,
    plain_label,
)

__all__ = ["BACKGROUND_LABELS", "Activation", "Recogniser", "RecogniserSettings", "softmax"]


class Activation(NamedTuple):
    """The moment a gesture is named."""

    label: str
    score: float
    early: bool = False  # before the gesture was over


class Recogniser:
    """Smooths the scores of overlapping clips and turns them into one activation a gesture.

    The scores decay with time rather than with the number of clips, so that the same recording
    gives the same activations on a fast and on a slow machine. A gesture activates when its
    smoothed score passes the threshold; the next one may do so once the score of the first has
    fallen below half the threshold and ``rearm_s`` has passed.
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
        quiet = {plain_label(label) for label in self.settings.background}
        self._is_gesture = np.array([plain_label(label) not in quiet for label in labels])
        self._scores: Optional[np.ndarray] = None
        self._presence: Optional[float] = None
        self._last_time_s = 0.0
        self._active: Optional[int] = None  # the class that activated and is not over yet
        self._activated_s = 0.0

    @property
    def presence(self) -> Optional[float]:
        """Smoothed score of all gestures together, 0 to 1, None before the first clip."""
        return self._presence

    @property
    def scores(self) -> Optional[np.ndarray]:
        """(classes,) float32 smoothed scores, None before the first clip."""
        return self._scores

    def update(
        self, logits: Optional[np.ndarray], time_s: float, presence: Optional[float] = None
    ) -> Optional[Activation]:
        """Take the scores of the clip that ends at ``time_s``; name a gesture or not.

        Args:
            logits: (classes,) float32; None where the classifier was not run, as the detector saw
                nothing.
            time_s: of the clip's newest frame, on a clock that runs forward.
            presence: a detector's score that there is any gesture, 0 to 1; None without a detector:
                then the classifier's background labels tell.
        """
        if logits is None:
            self._presence = presence
            return None
        scores = softmax(logits)
        if self._scores is None:
            # Nothing is known yet. A clip counts for the time since the clip before, so the first
            # one only starts the clock.
            self._scores = np.full(len(scores), 1.0 / len(scores), np.float32)
            self._last_time_s = time_s
        elapsed_s = max(time_s - self._last_time_s, 0.0)
        smoothing_s = self.settings.smoothing_s
        keep = np.exp(-elapsed_s / smoothing_s) if smoothing_s > 0 else 0.0
        self._scores = (keep * self._scores + (1.0 - keep) * scores).astype(np.float32)
        self._presence = float(self._scores[self._is_gesture].sum())
        self._last_time_s = time_s
        return self._activate(time_s)

    def finish(self) -> Optional[Activation]:
        """Name the gesture that is under way, as the source has ended; None where none is."""
        return None

    def reset(self) -> None:
        """Forget everything, for a source that starts again or has a gap."""
        self._scores = None
        self._presence = None
        self._active = None

    def _activate(self, time_s: float) -> Optional[Activation]:
        assert self._scores is not None
        threshold = self.settings.threshold
        if self._active is not None:
            over = self._scores[self._active] < threshold / 2
            if not over or time_s - self._activated_s < self.settings.rearm_s:
                return None
            self._active = None
        best = int(np.where(self._is_gesture, self._scores, -1.0).argmax())
        score = float(self._scores[best])
        if not self._is_gesture[best] or score < threshold:
            return None
        self._active, self._activated_s = best, time_s
        return Activation(self._labels[best], score)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return scores that sum to 1: (classes,) float32 from (classes,) logits."""
    powers = np.exp(logits - logits.max())
    scores: np.ndarray = (powers / powers.sum()).astype(np.float32)
    return scores
