"""Draws what the recogniser sees onto the picture: the best scores and the last gesture."""

from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from clipedge.jetson.camera import quiet_cv2
from clipedge.jetson.live import Step

SHOW_EVENT_S = 1.5
LEAST_HEIGHT = 240  # pixels; smaller pictures are enlarged so that the text stays legible

Colour = Tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
BAR: Colour = (90, 200, 250)
HIT: Colour = (120, 230, 120)


class Annotator:
    """Remembers the last event, so that its name stays on the picture for a while."""

    def __init__(self, labels: Sequence[str], top: int = 3) -> None:
        self._labels = list(labels)
        self._top = top
        self._cv2: Any = quiet_cv2()
        self._shown: Optional[Tuple[float, str]] = None

    def draw(self, step: Step) -> np.ndarray:
        """Return a copy of the step's picture, (H, W, 3) uint8 RGB, with scores and event on it."""
        assert step.frame is not None
        picture = self._enlarged(step.frame.image)
        if step.event is not None:
            self._shown = (step.event.time_s, step.event.label)
        if step.scores is not None:
            self._draw_scores(picture, step.scores)
        if self._shown is not None and step.frame.timestamp_s - self._shown[0] < SHOW_EVENT_S:
            self._draw_event(picture, self._shown[1])
        return picture

    def _enlarged(self, image: np.ndarray) -> np.ndarray:
        times = -(-LEAST_HEIGHT // image.shape[0])
        if times == 1:
            return image.copy()
        enlarged: np.ndarray = self._cv2.resize(image, None, fx=times, fy=times)
        return enlarged

    def _draw_scores(self, picture: np.ndarray, scores: np.ndarray) -> None:
        height, width = picture.shape[:2]
        line = max(height // 18, 12)
        best: List[int] = [int(index) for index in np.argsort(scores)[::-1][: self._top]]
        panel = picture[height - line * self._top - 6 :]
        panel[:] = panel // 3  # darken, so that the text is legible on any picture
        for row, index in enumerate(best):
            top = height - line * (self._top - row) - 3
            right = int(width * 0.25 * float(scores[index]))
            self._cv2.rectangle(picture, (4, top + 2), (4 + right, top + line - 2), BAR, -1)
            text = f"{float(scores[index]):.2f}  {self._labels[index]}"
            self._text(picture, text, (int(width * 0.28), top + line - 4), line / 30.0, WHITE)

    def _draw_event(self, picture: np.ndarray, label: str) -> None:
        line = max(picture.shape[0] // 10, 20)
        picture[:line] = picture[:line] // 3
        self._text(picture, label, (8, int(line * 0.72)), line / 36.0, HIT)

    def _text(
        self, picture: np.ndarray, text: str, at: Tuple[int, int], scale: float, colour: Colour
    ) -> None:
        font = self._cv2.FONT_HERSHEY_SIMPLEX
        self._cv2.putText(picture, text, at, font, scale, colour, 1, self._cv2.LINE_AA)
