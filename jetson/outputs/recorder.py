"""The annotated video of a run: ``--record FILE.mp4``."""

import contextlib
import logging
import pathlib
import queue
import shutil
import threading
import time
from typing import Any, Callable, Optional, Sequence, Tuple

import numpy as np

from clipedge.jetson.camera import SourceStatus, quiet_cv2
from clipedge.jetson.closing import Closing
from clipedge.jetson.display.drawing import Painter
from clipedge.jetson.display.scoreboard import Scoreboard
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, plain_path, whole_file
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

log = logging.getLogger(__name__)

RATE_HZ = 24.0  # whatever the source's: frames are repeated or left out
# The end of an mp4 file lists its frames. Room is left for it, as a file without is worth nothing.
LEAST_FREE_BYTES = 16 << 20
LISTED_BYTES = 32  # a frame, with room to spare
DISK_EVERY = 24  # frames between two looks at the disk
# While a camera is away, time goes on by 0.1 s; more at once is a clock that leapt.
MOST_LEAP_S = 30.0
WAITING = 6  # pictures that may wait to be encoded


def check_name(path: PathLike) -> None:
    """Raise UsageError where a recording cannot have this name."""
    if pathlib.Path(str(path)).suffix.lower() != ".mp4":
        raise UsageError(f"--record {path}: give a file name that ends in .mp4.")
    plain_path(path)


class Recorder(Output):
    """Writes annotated frames at the run's pace; the file appears when it is whole."""

    def __init__(
        self,
        path: PathLike,
        labels: Sequence[str],
        status: Callable[[], SourceStatus] = SourceStatus,
    ) -> None:
        """Check the name and make room for the file.

        Args:
            path: file to write, ends in ``.mp4``.
            labels: of the scores.
            status: asks the source how it is.

        Raises:
            UsageError: another ending, or a name that OpenCV cannot take.
            ClipedgeError: the folder cannot be written.
        """
        self.name = f"--record {path}"
        check_name(path)
        self._path = plain_path(path)
        self._cv2 = quiet_cv2()
        self._painter = Painter(fixed_size=True)
        # On the source's clock: a file may pass faster than it was filmed.
        self._board = Scoreboard(labels, status, clock=lambda: self._now_s)
        self._film: Optional[_Film] = None
        self._written = 0
        self._first_s = 0.0  # of the source's clock, as the next two
        self._now_s = 0.0
        self._frame_s = 0.0
        self._came_s = 0.0  # when that frame came, on this machine's clock
        self._closed = False
        self._stack = contextlib.ExitStack()
        self._temporary = self._stack.enter_context(whole_file(self._path))

    def add(self, step: Step) -> None:
        """Write the picture as often as its time asks for; also while the source gives none.

        Raises:
            ClipedgeError: the disk is full; what was written is kept.
        """
        if step.frame is not None:
            self._frame_s = self._now_s = step.frame.timestamp_s
            self._came_s = time.monotonic()
        elif self._film is None:
            return  # the first picture says how large the video is
        else:
            self._now_s = self._frame_s + time.monotonic() - self._came_s
        self._board.add(step)
        if self._film is None:
            self._first_s = self._now_s
        wanted = self._wanted()
        if wanted > self._written:
            image = None if step.frame is None else step.frame.image
            self._write(self._painter.paint(image, self._board.snapshot()), wanted)

    def _wanted(self) -> int:
        """Return how many frames the video has at this time, after what a leap is cut to."""
        leap_s = self._now_s - self._first_s - self._written / RATE_HZ - MOST_LEAP_S
        self._first_s += max(leap_s, 0.0)
        return round((self._now_s - self._first_s) * RATE_HZ) + 1

    def _write(self, picture: np.ndarray, wanted: int) -> None:
        if self._film is None:
            self._film = _Film(self._open(picture.shape[1], picture.shape[0]), picture.shape)
        # A pause of the source may ask for many at once.
        while self._written < wanted:
            if self._written % DISK_EVERY == 0:
                self._check_disk()
            times = min(wanted - self._written, DISK_EVERY - self._written % DISK_EVERY)
            self._film.write(picture, times)
            self._written += times

    def _open(self, width: int, height: int) -> Any:
        codec = self._cv2.VideoWriter_fourcc(*"mp4v")
        writer = self._cv2.VideoWriter(str(self._temporary), codec, RATE_HZ, (width, height))
        if not writer.isOpened():
            raise ClipedgeError(
                f"{self._path}: OpenCV cannot write an mp4 file of {width} x {height} pixels."
            )
        return writer

    def _check_disk(self) -> None:
        free = shutil.disk_usage(str(self._temporary.parent)).free
        if free < LEAST_FREE_BYTES + LISTED_BYTES * self._written:
            raise ClipedgeError(
                f"{self._path}: the disk is full ({free / 1e6:.0f} MB free); the recording stops "
                f"after {self._written / RATE_HZ:.1f} s. Free some space or choose another place."
            )

    def close(self) -> None:
        """Finish the file and give it its name; nothing is left of one that is not whole.

        Raises:
            ClipedgeError: it could not be written whole.
        """
        stack = self._stack.pop_all()
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(_NothingError), stack:
            if self._film is not None:
                self._film.close()
            if not self._came_s:
                log.warning("%s: no picture came, so there is no video.", self.name)
            if not self._written:
                raise _NothingError
            self._check_file()

    def _check_file(self) -> None:
        """Count the frames in the file: the writer never tells of a failure."""
        capture = self._cv2.VideoCapture(str(self._temporary))
        held = int(capture.get(self._cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if held < self._written:
            raise ClipedgeError(
                f"{self._path}: the recording could not be written whole "
                f"({held} of {self._written} frames). Is the disk full?"
            )


class _Film(Closing):
    """Encodes pictures in a thread of its own: that takes longer than all else but the model."""

    def __init__(self, writer: Any, shape: Tuple[int, ...]) -> None:
        """Take over a ``cv2.VideoWriter`` for pictures of this shape."""
        self._writer = writer
        self._empty: Any = queue.Queue()  # pictures to fill
        for _ in range(WAITING):
            self._empty.put(np.empty(shape, np.uint8))
        self._full: Any = queue.Queue()  # pictures and how often to write each; None ends it
        self._thread = threading.Thread(target=self._encode, name="recorder", daemon=True)
        self._thread.start()

    def write(self, picture: np.ndarray, times: int) -> None:
        """Add a picture so many times; it waits where encoding falls behind."""
        copy = self._empty.get()
        np.copyto(copy, picture)
        self._full.put((copy, times))

    def close(self) -> None:
        """Wait until all is encoded and finish the file; a second call does nothing."""
        if self._thread.is_alive():
            self._full.put(None)
            self._thread.join()
            self._writer.release()

    def _encode(self) -> None:
        while True:
            item = self._full.get()
            if item is None:
                return
            picture, times = item
            # Failures are hardly ever told; the frames in the file are counted at the end.
            with contextlib.suppress(Exception):
                for _ in range(times):
                    self._writer.write(picture)
            self._empty.put(picture)


class _NothingError(Exception):
    """Leaves the block of the temporary file without keeping it."""
