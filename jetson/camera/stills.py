"""Frames that lie in a folder as pictures."""

import pathlib
import string
from typing import Iterator, List, Tuple

import numpy as np

from clipedge.jetson.camera.opencv import quiet_cv2
from clipedge.jetson.camera.source import Frame, Source
from clipedge.jetson.errors import SourceError
from clipedge.jetson.files import readable_os_error

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


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


def _frame_number(path: pathlib.Path) -> Tuple[int, str]:
    """Sort key: 2.jpg before 10.jpg, whatever the zero padding."""
    digits = "".join(letter for letter in path.stem if letter in string.digits)
    return (int(digits) if digits else 0, path.name)
