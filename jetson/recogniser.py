"""From scores to gesture events: smooth over time, name a gesture once, wait until it is over."""

from typing import NamedTuple, Optional, Sequence

import numpy as np

# Labels that are no gesture; Jester's two. Compared without case and underscores.
BACKGROUND_LABELS = ("no gesture", "doing other things")


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
        self,
        labels: Sequence[str],
        threshold: float = 0.5,
        smoothing_s: float = 0.3,
        rearm_s: float = 1.0,
        background: Sequence[str] = BACKGROUND_LABELS,
    ) -> None:
        """Prepare for a model's labels.

        Args:
            labels: class names in the order of the logits.
            threshold: smoothed score that makes an activation, 0 to 1.
            smoothing_s: time constant of the decay, seconds.
            rearm_s: least time between two activations, seconds.
            background: labels that are never named.
        """
        self._labels = list(labels)
        self._threshold = threshold
        self._smoothing_s = smoothing_s
        self._rearm_s = rearm_s
        quiet = {_plain(label) for label in background}
        self._is_gesture = np.array([_plain(label) not in quiet for label in labels])
        self._scores: Optional[np.ndarray] = None
        self._last_time_s = 0.0
        self._active: Optional[int] = None  # the class that activated and is not over yet
        self._activated_s = 0.0

    @property
    def presence(self) -> Optional[float]:
        """Smoothed score of all gestures together, 0 to 1, None before the first clip."""
        return None if self._scores is None else float(self._scores[self._is_gesture].sum())

    @property
    def scores(self) -> Optional[np.ndarray]:
        """(classes,) float32 smoothed scores, None before the first clip."""
        return self._scores

    def update(self, logits: np.ndarray, time_s: float) -> Optional[Activation]:
        """Take the logits (classes,) of the clip that ends at ``time_s``; name a gesture or not."""
        scores = softmax(logits)
        if self._scores is None:
            # Nothing is known yet. A clip counts for the time since the clip before, so the first
            # one only starts the clock.
            self._scores = np.full(len(scores), 1.0 / len(scores), np.float32)
            self._last_time_s = time_s
        elapsed_s = max(time_s - self._last_time_s, 0.0)
        keep = np.exp(-elapsed_s / self._smoothing_s) if self._smoothing_s > 0 else 0.0
        self._scores = (keep * self._scores + (1.0 - keep) * scores).astype(np.float32)
        self._last_time_s = time_s
        return self._activate(time_s)

    def reset(self) -> None:
        """Forget everything, for a source that starts again."""
        self._scores = None
        self._active = None

    def _activate(self, time_s: float) -> Optional[Activation]:
        assert self._scores is not None
        if self._active is not None:
            over = self._scores[self._active] < self._threshold / 2
            if not over or time_s - self._activated_s < self._rearm_s:
                return None
            self._active = None
        best = int(np.where(self._is_gesture, self._scores, -1.0).argmax())
        score = float(self._scores[best])
        if not self._is_gesture[best] or score < self._threshold:
            return None
        self._active, self._activated_s = best, time_s
        return Activation(self._labels[best], score)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return scores that sum to 1: (classes,) float32 from (classes,) logits."""
    powers = np.exp(logits - logits.max())
    scores: np.ndarray = (powers / powers.sum()).astype(np.float32)
    return scores


def _plain(label: str) -> str:
    return label.replace("_", " ").strip().lower()
