"""OpenCV, imported when it is needed."""

import os
from typing import Any

from clipedge.jetson.errors import SourceError


def quiet_cv2() -> Any:
    """Import OpenCV without its own talk on stderr; our errors say what is wrong."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    try:
        import cv2
    except ImportError as error:
        raise SourceError(
            f"Reading frames needs OpenCV, which does not load ({error}): pip install "
            "opencv-python-headless (JetPack brings its own)."
        ) from None
    return cv2
