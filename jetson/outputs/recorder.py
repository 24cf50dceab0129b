"""The annotated video of a run: ``--record FILE.mp4``."""

import contextlib
import pathlib
from typing import Any, Callable, Sequence, Tuple

from clipedge.jetson.camera import SourceStatus, quiet_cv2
from clipedge.jetson.display.drawing import Annotator
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, plain_path, whole_file
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

RATE_HZ = 24.0  # whatever the source's: frames are repeated or left out


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
        self._annotator = Annotator(labels)
        self._size: Tuple[int, int] = (0, 0)
        self._writer: Any = None
        self._first_s = 0.0
        self._written = 0
        self._stack = contextlib.ExitStack()
        self._temporary = self._stack.enter_context(whole_file(self._path))

    def add(self, step: Step) -> None:
        """Write the picture as often as its time asks for at a constant rate."""
        if step.frame is None:
            return
        picture = self._cv2.cvtColor(self._annotator.draw(step), self._cv2.COLOR_RGB2BGR)
        if self._writer is None:
            self._first_s = step.frame.timestamp_s
            self._size = (picture.shape[1], picture.shape[0])
            self._writer = self._open()
        if (picture.shape[1], picture.shape[0]) != self._size:  # a folder of mixed pictures
            picture = self._cv2.resize(picture, self._size)
        wanted = round((step.frame.timestamp_s - self._first_s) * RATE_HZ) + 1
        while self._written < wanted:
            self._writer.write(picture)
            self._written += 1

    def _open(self) -> Any:
        codec = self._cv2.VideoWriter_fourcc(*"mp4v")
        writer = self._cv2.VideoWriter(str(self._temporary), codec, RATE_HZ, self._size)
        if not writer.isOpened():
            raise ClipedgeError(
                "{}: OpenCV cannot write an mp4 file of {} x {} pixels.".format(
                    self._path, *self._size
                )
            )
        return writer

    def close(self) -> None:
        """Finish the file and give it its name; nothing is left of one that is not whole.

        Raises:
            ClipedgeError: it could not be written whole.
        """
        stack = self._stack.pop_all()
        writer, self._writer = self._writer, None
        with contextlib.suppress(_DiscardedError), stack:
            if writer is None:  # no picture came
                raise _DiscardedError
            writer.release()
            self._check()

    def _check(self) -> None:
        """The writer never tells of a failure: count the frames that are in the file."""
        capture = self._cv2.VideoCapture(str(self._temporary))
        held = int(capture.get(self._cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if held < self._written:
            raise ClipedgeError(
                f"{self._path}: the recording could not be written whole "
                f"({held} of {self._written} frames). Is the disk full?"
            )


class _DiscardedError(Exception):
    """Leaves the block of the temporary file without keeping it."""
