"""OpenCV, imported when it is needed, and its captures as readers."""

import os
from typing import Any, Optional

import numpy as np

from clipedge.jetson.camera.buffers import Buffers
from clipedge.jetson.camera.capture import Reader
from clipedge.jetson.errors import SourceError

# Seconds after which OpenCV gives a silent USB camera up (its own 10 s leave it stuck as long).
V4L_LIMIT_S = "2"


def quiet_cv2() -> Any:
    """Import OpenCV without its own talk on stderr; our errors say what is wrong."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", V4L_LIMIT_S)
    try:
        import cv2
    except ImportError as error:
        raise SourceError(
            f"Reading frames needs OpenCV, which does not load ({error}): pip install "
            "opencv-python-headless (JetPack brings its own)."
        ) from None
    return cv2


class OpenCvReader(Reader):
    """An opened ``cv2.VideoCapture``."""

    def __init__(self, cv2: Any, capture: Any) -> None:
        self._cv2 = cv2
        self._capture = capture
        self._buffers = Buffers()
        self._coded: Any = None  # as OpenCV gives it, BGR; its memory is used again

    def grab(self) -> bool:
        """Wait for the next picture; False where none comes any more."""
        return bool(self._capture.grab())

    def retrieve(self) -> Optional[np.ndarray]:
        """Return the grabbed picture, (H, W, 3) uint8, RGB, or None if it cannot be decoded."""
        decoded, picture = self._capture.retrieve(self._coded)
        if not decoded or picture is None or not picture.size:
            return None
        self._coded = picture
        return to_rgb(self._cv2, picture, self._buffers)

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()


def to_rgb(cv2: Any, picture: np.ndarray, buffers: Buffers) -> np.ndarray:
    """Return a picture of OpenCV, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), as (H, W, 3) RGB."""
    channels = picture.shape[2] if picture.ndim == 3 else 1
    code = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels]
    rgb: np.ndarray = cv2.cvtColor(picture, code, buffers.take((*picture.shape[:2], 3)))
    return rgb
