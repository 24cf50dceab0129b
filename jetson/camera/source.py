"""What every source of frames is: an iterator of pictures with the times they were taken."""

import abc
from typing import Iterator, NamedTuple, Optional

import numpy as np

from clipedge.jetson.closing import Closing

# How long a source that waits for a picture is silent at most: it then yields None, so that
# windows, keys and signals are looked after.
TICK_S = 0.1

OPENING, LIVE, LOST, ENDED = "opening", "live", "lost", "ended"


class Frame(NamedTuple):
    """One picture and when it was taken; it may be kept, its memory is not written again."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    timestamp_s: float  # of a file: from its start; of a camera: monotonic clock
    number: int  # from 0; of a camera it counts the dropped ones too


class SourceStatus(NamedTuple):
    """How a source is; threads other than the reader's may ask for it."""

    state: str = LIVE  # OPENING, LIVE, LOST (it is tried again), ENDED
    detail: str = ""  # of a source that is not live: what is wrong, and what to do
    frames: int = 0  # that came
    dropped: int = 0  # of those, never handed out: a newer one came before
    losses: int = 0  # times it was lost
    rate_hz: Optional[float] = None  # frames a second that come, None while unknown


class Source(Closing, abc.ABC):
    """An iterator of frames in the order of time; a context manager that lets go of the device."""

    name = ""

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Optional[Frame]]:
        """Yield frames until the end of the file, or for ever from a camera.

        Yields:
            A frame, or None where nothing new came for ``TICK_S``; see ``status`` for the reason.
        """

    @property
    def endless(self) -> bool:
        """It ends when the user says so, as a camera does."""
        return False

    @property
    def paced(self) -> bool:
        """Frames come at the pace at which they were taken, not as fast as they are asked for."""
        return self.endless

    @property
    def status(self) -> SourceStatus:
        """How it is now."""
        return SourceStatus()

    def pictures(self) -> Iterator[Frame]:
        """Yield frames alone, for who has nothing to do while none comes."""
        return (frame for frame in self if frame is not None)

    def close(self) -> None:
        """Let go of file or device; a second call does nothing."""
