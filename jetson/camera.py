"""Where frames come from: a video file, a folder of frames, or a camera."""

import abc
import logging
import os
import pathlib
import re
import string
import time
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import SourceError, UsageError
from clipedge.jetson.files import plain_path, readable_os_error

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
FALLBACK_RATE_HZ = 25.0  # of a video whose file does not say
WHOLE_PART = 0.9  # of its duration: a video that ends before is called damaged


class Frame(NamedTuple):
    """One picture and when it was taken."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    timestamp_s: float  # of a file: from its start; of a camera: monotonic clock
    number: int  # from 0


class Source(Closing, abc.ABC):
    """An iterator of frames in the order of time; a context manager that lets go of the device."""

    name = ""

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the end of the file, or for ever from a camera."""

    @property
    def endless(self) -> bool:
        """It ends when the user says so, as a camera does."""
        return False

    def close(self) -> None:
        """Let go of file or device; a second call does nothing."""


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


class FrameFolder(Source):
    """A folder of numbered pictures, as Jester comes (00001.jpg ...), at a given rate."""

    def __init__(self, folder: pathlib.Path, rate_hz: float) -> None:
        self.name = str(folder)
        self._rate_hz = rate_hz
        self._paths = list_pictures(folder)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            yield Frame(read_picture(path), index / self._rate_hz, index)


def list_pictures(folder: pathlib.Path) -> List[pathlib.Path]:
    """Return the pictures in ``folder`` in the order of their numbers.

    Raises:
        SourceError: there are none.
    """
    paths = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES),
        key=_frame_number,
    )
    if not paths:
        raise SourceError(
            "{}: no frames in this folder; expected pictures ({}).".format(
                folder, ", ".join(IMAGE_SUFFIXES)
            )
        )
    return paths


def read_picture(path: pathlib.Path) -> np.ndarray:
    """Return a picture file as (H, W, 3) uint8, RGB.

    Raises:
        SourceError: it cannot be decoded, or only a part of it is there.
    """
    cv2 = quiet_cv2()
    picture = None
    try:
        coded = path.read_bytes()
        if coded and not _is_cut_jpeg(coded):
            picture = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise SourceError(str(readable_os_error(error, path))) from None
    except cv2.error:  # it has more pixels than OpenCV takes
        picture = None
    if picture is None:
        raise SourceError(
            f"{path}: this picture cannot be decoded. Is the file whole? Copy or unpack it again."
        )
    rgb: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return rgb


def _is_cut_jpeg(coded: bytes) -> bool:
    """Tell whether a JPEG ends before its picture does: decoders give grey for what is missing."""
    starts_scan, ends_picture = b"\xff\xda", b"\xff\xd9"
    return coded.startswith(b"\xff\xd8") and coded.rfind(ends_picture) < coded.rfind(starts_scan)


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


def _frame_number(path: pathlib.Path) -> Tuple[int, str]:
    """Sort key: 2.jpg before 10.jpg, whatever the zero padding."""
    digits = "".join(letter for letter in path.stem if letter in string.digits)
    return (int(digits) if digits else 0, path.name)
