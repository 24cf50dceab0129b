"""A source as the user names it."""

import logging
import pathlib
import re
from typing import Optional, Sequence

from clipedge.jetson.camera.capture import Capture, Device
from clipedge.jetson.camera.naming import without_passwords
from clipedge.jetson.camera.playback import Loop, RealTime
from clipedge.jetson.camera.source import Source
from clipedge.jetson.camera.stills import FrameFolder
from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import plain_path
from clipedge.jetson.source_options import CAMERA_RATE_HZ, SourceOptions

log = logging.getLogger(__name__)

STANDARD_INPUT = "-"
CAMERA_NUMBER = "[0-9]{1,4}"

_FILES, _CAMERAS = "files", "cameras"
_FOLDERS = "folders of frames and for raw frames (--source -)"
_RAW = "raw frames (--source -)"
# What each option is for, where it is for some kinds of sources alone.
_CONCERNS = {
    "size": _CAMERAS,
    "rate_hz": _CAMERAS,
    "flip": "CSI cameras (csi://0)",
    "wait": _CAMERAS,
    "realtime": _FILES,
    "loop": _FILES,
    "frame_rate_hz": _FOLDERS,
    "raw_size": _RAW,
    "raw_format": _RAW,
}


def open_source(text: str, options: Optional[SourceOptions] = None) -> Source:
    """Open a source as a user names it.

    Args:
        text: a camera number (``0``), ``/dev/video0``, ``csi://0``, an address (``rtsp://``,
            ``http://``, ``https://``), a video file, a folder of frames, ``-`` for raw frames on
            standard input, or a GStreamer pipeline (it holds a ``!``).
        options: how to open it; defaults where not given.

    Raises:
        UsageError: there is no such file, or it cannot do what the options ask for.
        SourceError: it is there but gives no frames.
    """
    options = options or SourceOptions()
    device = check_source(text, options)
    if device is not None:
        return Capture(device, wait=options.wait)
    if text == STANDARD_INPUT:
        from clipedge.jetson.camera.raw import open_raw

        return open_raw(options)
    return _recorded(pathlib.Path(plain_path(text)), options)


def check_source(text: str, options: SourceOptions) -> Optional[Device]:
    """Look whether a source can be meant, without opening it.

    Args:
        text: as for ``open_source``.
        options: as for ``open_source``.

    Returns:
        The camera that ``text`` names; None for files, folders and standard input.

    Raises:
        UsageError: there is no such file, or it cannot do what the options ask for.
    """
    if text == STANDARD_INPUT:
        from clipedge.jetson.camera.raw import check_raw

        check_raw(options)
        _refuse(options, "standard input is none", (_FOLDERS, _RAW, _FILES))
        return None
    path = pathlib.Path(plain_path(text))
    device = None if _is_recorded(text, path) else _device(text, options)
    if device is not None:
        _refuse(options, f"{device.name} is live", (_CAMERAS, _CONCERNS["flip"]))
        return device
    if not text or not path.exists():
        raise UsageError(
            f"'{without_passwords(text)}': no such source. Give a camera number, a video file, a "
            "folder of frames, or an address such as rtsp://HOST/PATH."
        )
    if path.is_dir():
        _refuse(options, f"{text} is a folder", (_FILES, _FOLDERS))
    else:
        _refuse(options, f"{text} is a file", (_FILES,))
    return None


def _refuse(options: SourceOptions, because: str, fitting: Sequence[str]) -> None:
    """Raise UsageError for an option that is given and is not for one of ``fitting``."""
    for name, flag in options.given().items():
        if _CONCERNS[name] not in fitting:
            raise UsageError(f"{flag} is for {_CONCERNS[name]}; {because}.")


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
    rate_hz = options.rate_hz or CAMERA_RATE_HZ
    if re.fullmatch(CAMERA_NUMBER, text) or text.startswith("/dev/"):
        from clipedge.jetson.camera.usb import DEFAULT_SIZE, UsbCamera

        return UsbCamera(text, options.size or DEFAULT_SIZE, rate_hz)
    if text.startswith("csi:"):
        from clipedge.jetson.camera.pipelines import csi_camera

        return csi_camera(text, options.size, rate_hz, options.flip)
    if "!" in text or "://" in text:
        for flag, asked in (("size", options.size), ("rate", options.rate_hz)):
            if asked:
                raise UsageError(
                    f"--camera-{flag} is for USB and CSI cameras; others say their own {flag}."
                )
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
    if path.is_dir() and options.frame_rate_hz is None:
        log.info(
            "%s: its frames are taken to be %g a second; --frame-rate says otherwise.",
            path, options.folder_rate_hz,
        )  # fmt: skip
    if options.loop:
        source = Loop(source, lambda: begin(tell=False))
    return RealTime(source) if options.realtime or options.watched else source
