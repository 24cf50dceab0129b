"""Frames that OpenCV reads from a video file or a camera."""

import logging
import pathlib
import time
from typing import Any, Iterator, Optional

import numpy as np

from clipedge.jetson.camera.opencv import quiet_cv2
from clipedge.jetson.camera.source import Frame, Source
from clipedge.jetson.errors import SourceError

log = logging.getLogger(__name__)

FALLBACK_RATE_HZ = 25.0  # of a video whose file does not say
WHOLE_PART = 0.9  # of its duration: a video that ends before is called damaged


class _Capture(Source):
    """What video files and cameras share: OpenCV's VideoCapture."""

    def __init__(self, name: str, target: Any) -> None:
        self.name = name
        self._cv2 = quiet_cv2()
        self._capture = self._cv2.VideoCapture(target)

    def _read(self) -> Optional[np.ndarray]:
        """Return the next picture (H, W, 3) uint8, RGB, or None at the end."""
        grabbed, picture = self._capture.read()
        if not grabbed or picture is None:
            return None
        rgb: np.ndarray = self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB)
        return rgb

    def close(self) -> None:
        self._capture.release()


class VideoFile(_Capture):
    """A video file; frames carry the file's own time stamps, so variable rates are right too."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(str(path), str(path))
        if not self._capture.isOpened():
            self.close()
            raise SourceError(
                f"{path}: not a video that OpenCV can decode. Is the file whole? "
                f"Try to convert it: ffmpeg -i {path.name} converted.mp4"
            )
        rate_hz = float(self._capture.get(self._cv2.CAP_PROP_FPS))
        self._rate_hz = rate_hz if 0 < rate_hz < 1000 else FALLBACK_RATE_HZ

    def __iter__(self) -> Iterator[Frame]:
        # Of a variable rate OpenCV makes the count up, from the duration: only that is known.
        duration_s = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT) / self._rate_hz
        index, last_s = 0, -1.0
        while True:
            image = self._read()
            if image is None:
                break
            stamp_s = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000.0
            if stamp_s <= last_s:  # some containers carry no time stamps
                stamp_s = last_s + 1.0 / self._rate_hz if index else 0.0
            yield Frame(image, stamp_s, index)
            index, last_s = index + 1, stamp_s
        if index == 0:
            raise SourceError(f"{self.name}: no frame of this video can be decoded.")
        if last_s + 1.0 / self._rate_hz < WHOLE_PART * duration_s:
            log.warning(
                "%s: only %.1f of %.1f s could be decoded; the file is damaged.",
                self.name,
                last_s,
                duration_s,
            )


class Camera(_Capture):
    """A USB camera by number or device path; frames are stamped as they arrive."""

    def __init__(self, number: int) -> None:
        super().__init__(f"camera {number}", number)
        if not self._capture.isOpened():
            self.close()
            raise SourceError(
                f"Camera {number} does not open. Is it plugged in, and no other program using it? "
                "Cameras show as /dev/video0, /dev/video1 ..."
            )

    @property
    def endless(self) -> bool:
        """It is."""
        return True

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            image = self._read()
            if image is None:
                raise SourceError(f"{self.name} gives no more frames. Was it unplugged?")
            yield Frame(image, time.monotonic(), index)
            index += 1
