"""One recorded clip before it is a file: its pictures as JPEG, each with the time it was taken."""

import logging
from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.camera import Frame, quiet_cv2
from clipedge.jetson.errors import ClipedgeError, SourceError
from clipedge.jetson.files import PathLike, write_whole
from clipedge.jetson.motion_jpeg import write_avi

log = logging.getLogger(__name__)

JPEG_QUALITY = 95  # of 100
# Longer than the 1/6 s between two frames of a clip: a model would see a picture twice.
GAP_S = 0.25
TOLERANCE_S = 0.005  # time stamps of video files are rounded to milliseconds
SHEET_PICTURES, SHEET_COLUMNS, SHEET_WIDTH = 16, 4, 240  # of a contact sheet; pixels


class Shot(NamedTuple):
    """One picture of a take."""

    jpeg: bytes
    timestamp_s: float


class Take(NamedTuple):
    """One recorded clip.

    Attributes:
        shots: at least two, in the order of time.
        size: width and height of every picture, pixels.
    """

    shots: Tuple[Shot, ...]
    size: Tuple[int, int]

    @property
    def rate_hz(self) -> float:
        """Pictures a second, measured; gaps do not count where there is anything else."""
        intervals_s = self._intervals_s()
        steady_s = intervals_s[intervals_s <= GAP_S]
        counted_s = steady_s if len(steady_s) else intervals_s
        return float(len(counted_s) / counted_s.sum())

    @property
    def longest_gap_s(self) -> float:
        """The longest time without a picture, seconds; 0 where none is longer than GAP_S."""
        longest_s = float(self._intervals_s().max())
        return longest_s if longest_s > GAP_S else 0.0

    def on_grid(self) -> List[bytes]:
        """Return the pictures nearest to the times 0, 1/rate, 2/rate ... of the take.

        A picture stands for those that a gap swallowed, so that what follows keeps its time.
        """
        stamps_s = self._stamps_s()
        rate_hz = self.rate_hz
        times_s = np.arange(round((stamps_s[-1] - stamps_s[0]) * rate_hz) + 1) / rate_hz
        middles_s = (stamps_s[1:] + stamps_s[:-1]) / 2 - stamps_s[0]
        return [self.shots[index].jpeg for index in np.searchsorted(middles_s, times_s)]

    def save(self, path: PathLike) -> None:
        """Write an AVI file whose own time stamps are those of the take, to half a frame."""
        write_avi(path, self.on_grid(), self.rate_hz, self.size)

    def pictures(self) -> Iterator[np.ndarray]:
        """Decode the pictures at the take's rate: (H, W, 3) uint8, RGB."""
        return (decode(jpeg) for jpeg in self.on_grid())

    def save_sheet(self, path: PathLike) -> None:
        """Write a PNG of pictures spread over the take, from left to right, line by line."""
        cv2 = quiet_cv2()
        jpegs = self.on_grid()
        height = max(1, round(self.size[1] * SHEET_WIDTH / self.size[0]))
        sheet = np.zeros(
            (SHEET_PICTURES // SHEET_COLUMNS * height, SHEET_COLUMNS * SHEET_WIDTH, 3), np.uint8
        )
        chosen = np.linspace(0, len(jpegs) - 1, SHEET_PICTURES).round().astype(int)
        for place, index in enumerate(chosen):
            row, column = divmod(place, SHEET_COLUMNS)
            small = cv2.resize(
                decode(jpegs[index]), (SHEET_WIDTH, height), interpolation=cv2.INTER_AREA
            )
            sheet[row * height :, column * SHEET_WIDTH :][:height, :SHEET_WIDTH] = small
        done, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        if not done:
            raise ClipedgeError(f"{path}: OpenCV cannot make a PNG file.")
        write_whole(path, png.tobytes())

    def _stamps_s(self) -> np.ndarray:
        return np.array([shot.timestamp_s for shot in self.shots])

    def _intervals_s(self) -> np.ndarray:
        return np.diff(self._stamps_s())


class Encoder:
    """Frames to shots; all of them get the size of the first."""

    def __init__(self) -> None:
        self._cv2 = quiet_cv2()
        self.size: Optional[Tuple[int, int]] = None  # width and height, pixels

    def __call__(self, frame: Frame) -> Shot:
        """Compress one frame."""
        image = frame.image
        if self.size is None:
            self.size = (image.shape[1], image.shape[0])
        if (image.shape[1], image.shape[0]) != self.size:  # a folder of mixed pictures
            image = self._cv2.resize(image, self.size, interpolation=self._cv2.INTER_AREA)
        options = [int(self._cv2.IMWRITE_JPEG_QUALITY), JPEG_QUALITY]
        done, jpeg = self._cv2.imencode(
            ".jpg", self._cv2.cvtColor(image, self._cv2.COLOR_RGB2BGR), options
        )
        if not done:
            raise ClipedgeError("OpenCV cannot make a JPEG of {} x {} pixels.".format(*self.size))
        return Shot(jpeg.tobytes(), frame.timestamp_s)

    def take(self, shots: Iterable[Shot]) -> Take:
        """Make a take of shots of this encoder.

        Raises:
            SourceError: they are too few, or all of one moment.
        """
        kept = tuple(shots)
        if self.size is None or len(kept) < 2 or kept[-1].timestamp_s <= kept[0].timestamp_s:
            raise SourceError(
                f"A clip needs two pictures or more; the source gave {len(kept)}. "
                "Give a source with more pictures a second, or larger --seconds."
            )
        return Take(kept, self.size)


def decode(jpeg: bytes) -> np.ndarray:
    """Return (H, W, 3) uint8, RGB."""
    cv2 = quiet_cv2()
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    rgb: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return rgb


def cut_takes(
    frames: Iterable[Frame], encoder: Encoder, seconds: float, every_s: float
) -> Iterator[Take]:
    """Yield the takes that begin at 0, ``every_s``, 2 ``every_s`` ... of a video.

    What is left at its end is too short for a take and is left out; but a video that is shorter
    than one take is a take as it is.

    Args:
        frames: of a source that ends.
        encoder: of its own for each source.
        seconds: length of a take.
        every_s: from the start of a take to the start of the next; takes may overlap.
    """
    held: List[Shot] = []
    first_s: Optional[float] = None
    number = 0
    start_s = 0.0
    for frame in frames:
        if first_s is None:
            first_s = start_s = frame.timestamp_s
        while frame.timestamp_s >= start_s + seconds - TOLERANCE_S:
            if len(held) > 1:
                yield encoder.take(held)
            else:
                log.warning("No clip from %.1f s on: the video has a gap there.", start_s)
            number += 1
            start_s = first_s + number * every_s
            held = [shot for shot in held if shot.timestamp_s >= start_s - TOLERANCE_S]
        if frame.timestamp_s >= start_s - TOLERANCE_S:
            held.append(encoder(frame))
    if not held or (number and len(held) < 2):
        return
    rest = encoder.take(held)
    end_s = held[-1].timestamp_s + 1.0 / rest.rate_hz
    if number == 0 or end_s >= start_s + seconds - TOLERANCE_S:
        yield rest
