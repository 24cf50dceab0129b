"""The newest picture on its way from the recogniser's thread to the page's."""

import threading
from typing import Optional

import numpy as np

from clipedge.jetson.camera.opencv import quiet_cv2

LONGEST = 640  # pixels of the longer side, sent
JPEG_QUALITY = 75  # about 30 to 60 kB a picture


class PictureBox:
    """Holds one picture: ``ask`` for it, it is copied at the next frame, and made a JPEG.

    A source may reuse a frame's memory, so the frame is copied; only when it was asked for, and of
    a large one only every second, third ... row: a copy of rows takes less than 0.1 ms.
    """

    def __init__(self) -> None:
        self._cv2 = quiet_cv2()
        self._lock = threading.Lock()
        self.asked = False  # and not taken yet
        self._rows: Optional[np.ndarray] = None
        self._size = (0, 0)  # to be sent: width and height

    def ask(self) -> None:
        """Want the next frame. Any thread."""
        self.asked = True

    def offer(self, image: np.ndarray) -> None:
        """Take a copy where one is wanted; the recogniser's thread.

        Args:
            image: (H, W, 3) uint8, RGB.
        """
        if not self.asked:
            return
        height, width = image.shape[:2]
        longest = max(height, width)
        kept = image[:: max(longest // LONGEST, 1)]
        with self._lock:
            if self._rows is None or self._rows.shape != kept.shape:
                self._rows = np.empty(kept.shape, np.uint8)
            np.copyto(self._rows, kept)
            scale = min(LONGEST / longest, 1.0)
            self._size = (max(round(width * scale), 1), max(round(height * scale), 1))
            self.asked = False

    def jpeg(self) -> bytes:
        """Return the picture taken last as a JPEG; any thread but the recogniser's."""
        with self._lock:
            assert self._rows is not None  # offered before
            picture, size = self._rows, self._size
            if (picture.shape[1], picture.shape[0]) != size:
                picture = self._cv2.resize(picture, size, interpolation=self._cv2.INTER_AREA)
            picture = self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2BGR)
        _, coded = self._cv2.imencode(
            ".jpg", picture, [self._cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        data: bytes = coded.tobytes()
        return data
