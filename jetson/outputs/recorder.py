"""The annotated video of a run: ``--record FILE.mp4``."""

import contextlib
import logging
import pathlib
import shutil
import time
from typing import Any, Callable, Sequence

import numpy as np

from clipedge.jetson.camera import SourceStatus, quiet_cv2
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
        if pathlib.Path(str(path)).suffix.lower() != ".mp4":
            raise UsageError(f"{self.name}: give a file name that ends in .mp4.")
        self._path = plain_path(path)
        self._cv2 = quiet_cv2()
        self._painter = Painter(fixed_size=True)
        # On the source's clock: a file may pass faster than it was filmed.
        self._board = Scoreboard(labels, status, clock=lambda: self._now_s)
        self._writer: Any = None
        self._written = 0
        self._first_s = 0.0  # of the source's clock, as the next two
        self._now_s = 0.0
        self._frame_s = 0.0
        self._came_s = 0.0  # when that frame came, on this machine's clock
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
        elif self._writer is None:
            return  # the first picture says how large the video is
        else:
            self._now_s = self._frame_s + time.monotonic() - self._came_s
        self._board.add(step)
        if self._writer is None:
            self._first_s = self._now_s
        wanted = round((self._now_s - self._first_s) * RATE_HZ) + 1
        if wanted > self._written:
            image = None if step.frame is None else step.frame.image
            self._write(self._painter.paint(image, self._board.snapshot()), wanted)

    def _write(self, picture: np.ndarray, wanted: int) -> None:
        if self._writer is None:
            self._writer = self._open(picture.shape[1], picture.shape[0])
        while self._written < wanted:
            if self._written % DISK_EVERY == 0:
                self._check_disk()
            self._writer.write(picture)
            self._written += 1

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
        writer, self._writer = self._writer, None
        with contextlib.suppress(_NothingError), stack:
            if writer is not None:
                writer.release()
            if not self._written:
                raise _NothingError
            if writer is not None:
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


class _NothingError(Exception):
    """Leaves the block of the temporary file without keeping it."""
