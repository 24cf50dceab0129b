"""A small network that tells whether there is any gesture, so that the classifier may rest."""

from typing import Sequence

import numpy as np

from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.errors import UsageError
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.recogniser import softmax
from clipedge.jetson.recogniser_settings import plain_label
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec

GESTURE_LABEL = "gesture"


class Detector:
    """Runs a model of its own clips and adds its scores up to one: is there a gesture?

    It looks at the classifier's view of a frame, scaled down where its own is smaller. So whoever
    keeps that view keeps all that either saw.
    """

    def __init__(self, runner: Runner, classifier: ClipSpec, background: Sequence[str]) -> None:
        """Prepare for the detector's model.

        Args:
            runner: of the detector; who opened it closes it.
            classifier: ClipSpec of the model whose views it is shown.
            background: labels that are no gesture.

        Raises:
            ClipError: the model file does not take single clips.
            UsageError: its labels do not tell what a gesture is, or its pictures are larger than
                the classifier's.
        """
        runner.check_batch(1)
        spec = runner.spec
        if spec.size > classifier.size:
            raise UsageError(
                f"The detector {spec.file_stem} takes pictures of {spec.size} pixels and the model "
                f"{classifier.file_stem} of {classifier.size}; train a detector of that size or "
                "less: train-clips fit --size."
            )
        self._gesture = _gesture_columns(spec, background)
        self._runner = runner
        self._preprocess = Preprocessor(spec)
        self._buffer = ClipBuffer(spec)
        self._view = np.empty((3, spec.size, spec.size), np.uint8)
        self._clip = np.empty((1, *spec.clip_shape), np.float32)

    def push(self, view: np.ndarray, timestamp_s: float) -> bool:
        """Add one frame.

        Args:
            view: (size, size, 3) uint8, RGB, as the classifier sees it.
            timestamp_s: when it was taken.

        Returns:
            True where it came after a gap.
        """
        return self._buffer.push(self._preprocess(view, out=self._view), timestamp_s)

    @property
    def ready(self) -> bool:
        """There are frames for a clip."""
        return self._buffer.ready

    def presence(self) -> float:
        """Return the score, 0 to 1, that the clip that ends with the newest frame has a gesture."""
        logits = self._runner.infer(self._buffer.clip(out=self._clip))[0]
        return float(softmax(logits)[self._gesture].sum())


def _gesture_columns(spec: ClipSpec, background: Sequence[str]) -> np.ndarray:
    """Return (classes,) bool, true for the labels that are gestures."""
    labels = [plain_label(label) for label in spec.labels]
    if GESTURE_LABEL in labels:
        return np.array([label == GESTURE_LABEL for label in labels])
    quiet = {plain_label(label) for label in background}
    is_gesture = np.array([label not in quiet for label in labels])
    if is_gesture.all() or not is_gesture.any():
        raise UsageError(
            "The labels of the detector {}, '{}', do not tell what is a gesture; expected "
            "'{}' or, for what is none, '{}' among them.".format(
                spec.file_stem, "', '".join(spec.labels[:4]), GESTURE_LABEL, "', '".join(background)
            )
        )
    return is_gesture
