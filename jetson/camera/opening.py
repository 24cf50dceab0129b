"""A source as the user names it."""

import pathlib
import re
from typing import Optional

from clipedge.jetson.camera.capture import Capture, Device
from clipedge.jetson.camera.naming import without_passwords
from clipedge.jetson.camera.playback import Loop, RealTime
from clipedge.jetson.camera.source import Source
from clipedge.jetson.camera.stills import FrameFolder
from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import plain_path
from clipedge.jetson.source_options import SourceOptions

STANDARD_INPUT = "-"
CAMERA_NUMBER = "[0-9]{1,4}"


def open_source(text: str, options: Optional[SourceOptions] = None) -> Source:
    """Open a source as a user names it.

    Args:
        text: a camera number (``0``), ``/dev/video0``, ``csi://0``, an address (``rtsp://``,
            ``http://``, ``https://``), a video file, a folder of frames, ``-`` for raw frames on
            standard input, or a GStreamer pipeline (it holds a ``!``).
        options: how to open it; defaults where not given.

    Raises:
        UsageError: there is no such file.
        SourceError: it is there but gives no frames.
    """
    options = options or SourceOptions()
    if text == STANDARD_INPUT:
        from clipedge.jetson.camera.raw import open_raw

        return open_raw(options)
    path = pathlib.Path(plain_path(text))
    device = None if _is_recorded(text, path) else _device(text, options)
    if device is not None:
        if options.loop or options.realtime:
            raise UsageError(
                f"--{'loop' if options.loop else 'realtime'} is for files; {device.name} is live."
            )
        return Capture(device, wait=options.wait)
    if not text or not path.exists():
        raise UsageError(
            f"'{without_passwords(text)}': no such source. Give a camera number, a video file, a "
            "folder of frames, or an address such as rtsp://HOST/PATH."
        )
    return _recorded(path, options)


def _is_recorded(text: str, path: pathlib.Path) -> bool:
    if not text or re.fullmatch(CAMERA_NUMBER, text):
        return False
    try:
        return path.is_file() or path.is_dir()
    except OSError:  # a pipeline is longer than a file name may be
        return False


def _device(text: str, options: SourceOptions) -> Optional[Device]:
    """Return the camera that ``text`` names, or None if it names a file.

    Raises:
        UsageError: it cannot do what the options ask for.
    """
    if options.flip and not text.startswith("csi:"):
        raise UsageError("--camera-flip is for CSI cameras (csi://0).")
    if re.fullmatch(CAMERA_NUMBER, text) or text.startswith("/dev/"):
        from clipedge.jetson.camera.usb import DEFAULT_SIZE, UsbCamera

        return UsbCamera(text, options.size or DEFAULT_SIZE, options.rate_hz)
    if text.startswith("csi:"):
        from clipedge.jetson.camera.pipelines import csi_camera

        return csi_camera(text, options.size, options.rate_hz, options.flip)
    if options.size and ("!" in text or "://" in text):
        raise UsageError("--camera-size is for USB and CSI cameras; others say their own size.")
    if "!" in text:
        from clipedge.jetson.camera.pipelines import Pipeline

        return Pipeline(text)
    if re.match("(rtsp|https?)://", text, re.IGNORECASE):
        from clipedge.jetson.camera.network import NetworkCamera

        return NetworkCamera(text)
    return None


def _recorded(path: pathlib.Path, options: SourceOptions) -> Source:
    def begin(tell: bool = True) -> Source:
        if path.is_dir():
            return FrameFolder(path, options.frame_rate_hz or options.folder_rate_hz)
        return VideoFile(path, tell)

    source = begin()
    if options.loop:
        source = Loop(source, lambda: begin(tell=False))
    return RealTime(source) if options.realtime or options.watched else source
