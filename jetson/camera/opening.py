"""A source as the user names it."""

import pathlib
import re

from clipedge.jetson.camera.source import Source
from clipedge.jetson.camera.stills import FrameFolder
from clipedge.jetson.camera.video import Camera, VideoFile
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import plain_path


def open_source(text: str, folder_rate_hz: float) -> Source:
    """Open a source as a user names it.

    Args:
        text: a camera number (``0``), ``/dev/video0``, a video file, or a folder of frames.
        folder_rate_hz: frames a second of a folder of frames, which does not say.

    Raises:
        UsageError: there is no such file.
        SourceError: it is there but gives no frames.
    """
    device = text[len("/dev/video") :] if text.startswith("/dev/video") else text
    if re.fullmatch("[0-9]+", device):
        return Camera(int(device))
    path = pathlib.Path(plain_path(text))
    if text and path.is_dir():
        return FrameFolder(path, folder_rate_hz)
    if not text or not path.exists():
        raise UsageError(
            f"'{text}': no such source. Give a camera number, a video file or a folder of frames."
        )
    return VideoFile(path)
