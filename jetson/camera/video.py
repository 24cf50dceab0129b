"""Frames of a video file."""

import logging
import pathlib
from typing import Iterator, Optional

import numpy as np

from clipedge.jetson.camera.opencv import OpenCvReader, quiet_cv2
from clipedge.jetson.camera.source import Frame, Source, SourceStatus
from clipedge.jetson.errors import SourceError

log = logging.getLogger(__name__)

FALLBACK_RATE_HZ = 25.0  # of a video whose file does not say
MOST_UNDECODABLE = 1000  # frames one after the other; then it is the end
WHOLE_PART = 0.9  # of its duration: a video that ends before is called damaged


class VideoFile(Source):
    """A video file; frames carry the file's own time stamps, so variable rates are right too.

    Frames that cannot be decoded are skipped; how many is said at the end.
    """

    def __init__(self, path: pathlib.Path, tell: bool = True) -> None:
        """Open a file.

        Args:
            path: of the file.
            tell: say at its end what is damaged; once is enough where it is played again.

        Raises:
            SourceError: OpenCV cannot decode it.
        """
        self.name = str(path)
        self._tell = tell
        self._cv2 = quiet_cv2()
        self._capture = self._cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            self.close()
            raise SourceError(
                f"{path}: not a video that OpenCV can decode. Is the file whole? "
                f"Try to convert it: ffmpeg -i {path.name} converted.mp4"
            )
        self._reader = OpenCvReader(self._cv2, self._capture)
        rate_hz = float(self._capture.get(self._cv2.CAP_PROP_FPS))
        self._rate_hz = rate_hz if 0 < rate_hz < 1000 else FALLBACK_RATE_HZ
        # Of a variable rate OpenCV makes the count up, from the duration: only that is known.
        self._count = float(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT))
        self._frames = self._undecodable = 0

    def __iter__(self) -> Iterator[Frame]:
        index, last_s = 0, -1.0
        while True:
            image = self._next_image(last_s)
            if image is None:
                break
            stamp_s = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000.0
            if stamp_s <= last_s:  # some containers carry no time stamps
                stamp_s = last_s + 1.0 / self._rate_hz if index else 0.0
            self._frames = index + 1
            yield Frame(image, stamp_s, index)
            index, last_s = index + 1, stamp_s
        if index == 0:
            raise SourceError(f"{self.name}: no frame of this video can be decoded.")
        if self._tell:
            self._tell_damage(last_s)

    @property
    def status(self) -> SourceStatus:
        """How it is now."""
        return SourceStatus(frames=self._frames)

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()

    def _next_image(self, last_s: float) -> Optional[np.ndarray]:
        """Return the next picture that can be decoded, or None at the end.

        OpenCV says that none is left where one cannot be decoded too; so before the file's
        duration is over it is asked again, as often as pictures are missing.
        """
        missing = self._count - (last_s * self._rate_hz + 1.0)
        failed = 0
        while True:
            grabbed = self._reader.grab()
            image = self._reader.retrieve() if grabbed else None
            if image is not None:
                self._undecodable += failed
                return image
            failed += 1
            if failed > min(missing, MOST_UNDECODABLE):
                return None

    def _tell_damage(self, last_s: float) -> None:
        duration_s = self._count / self._rate_hz
        if self._undecodable:
            log.warning(
                "%s: %d frames could not be decoded and were left out; the file is damaged.",
                self.name,
                self._undecodable,
            )
        if last_s + 1.0 / self._rate_hz < WHOLE_PART * duration_s:
            log.warning(
                "%s: only %.1f of %.1f s could be decoded; the file is damaged.",
                self.name,
                last_s,
                duration_s,
            )
