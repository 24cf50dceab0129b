"""The clip a model wants, out of the frames a camera gives: chosen by time, not by counting."""

import bisect
import logging
from typing import List, Optional

import numpy as np

from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec

log = logging.getLogger(__name__)

# A quarter of a 16-frame clip. Slower sources than that show no gesture.
LONGEST_GAP_SPACINGS = 4
# Of two frames as near as each other the earlier is taken, however their time stamps were rounded.
# A 15 Hz camera and a clip of 6 frames a second meet half-way every other time.
TIE_S = 1e-6


class ClipBuffer:
    """Keeps the last preprocessed frames and picks those nearest to t - k x spacing.

    A model trained on every second frame at 12 frames a second wants 16 frames 1/6 s apart,
    whether the camera gives 12 frames a second or 60.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._frames: List[np.ndarray] = []  # each (3, H, W) uint8
        self._times_s: List[float] = []
        # Half a spacing more than the clip, so that its first frame is the nearest, not the oldest.
        self._keep_s = spec.span_s + spec.spacing_s / 2
        # Frames closer than this cannot both be chosen; the later of them is not kept. A tenth of
        # a spacing bounds the memory at any camera rate and moves no frame by more than 5 %.
        self._least_gap_s = spec.spacing_s / 10
        self._longest_gap_s = LONGEST_GAP_SPACINGS * spec.spacing_s

    def push(self, frame: np.ndarray, timestamp_s: float) -> bool:
        """Add one preprocessed frame.

        Args:
            frame: (3, H, W) uint8, RGB; copied.
            timestamp_s: when it was taken, seconds, on any clock that runs forward.

        Returns:
            True where it came after a gap, so that the clip starts anew with it.

        Raises:
            ClipError: the shape or dtype is not the spec's, or time ran backwards.
        """
        expected = (3, self._spec.size, self._spec.size)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise ClipError(
                f"A frame must be {expected} uint8, RGB; got {frame.shape} {frame.dtype}."
            )
        if self._times_s and timestamp_s <= self._times_s[-1]:
            raise ClipError(
                f"Time ran backwards: a frame of {timestamp_s:.4f} s after one of "
                f"{self._times_s[-1]:.4f} s. Clear the buffer when the source starts again."
            )
        anew = bool(self._times_s) and timestamp_s - self._times_s[-1] > self._longest_gap_s
        if anew:
            # What lies before the gap is another scene: a clip across it would be half frozen.
            log.warning(
                "No frame for %.1f s; the clip starts anew.", timestamp_s - self._times_s[-1]
            )
            self.clear()
        if len(self._times_s) > 1 and timestamp_s - self._times_s[-2] < self._least_gap_s:
            self._times_s.pop()  # the newest frame is always kept: it is the clip's last
            self._frames.pop()
        self._times_s.append(timestamp_s)
        self._frames.append(frame.copy())
        stale = bisect.bisect_left(self._times_s, timestamp_s - self._keep_s)
        # Keep the last stale frame: it may be the nearest one when frames are sparse.
        del self._times_s[: max(stale - 1, 0)], self._frames[: max(stale - 1, 0)]
        return anew

    @property
    def complaint(self) -> Optional[str]:
        """What is wrong with the times of the frames, for a person; None where nothing is."""
        return None

    @property
    def ready(self) -> bool:
        """Frames reach back to the clip's start."""
        if not self._times_s:
            return False
        covered_s = self._times_s[-1] - self._times_s[0]
        return covered_s >= self._spec.span_s - self._spec.spacing_s / 2

    def clip(self, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the clip that ends with the newest frame.

        Args:
            out: (1, 3, T, H, W) float32 to write into; a new array where None.

        Returns:
            (1, 3, T, H, W) float32, RGB, 0-255, oldest frame first.

        Raises:
            ClipError: too few frames yet; see ``ready``.
        """
        if not self.ready:
            raise ClipError(
                f"The clip needs {self._spec.span_s:.2f} s of frames; push more before asking."
            )
        clip = np.empty((1, *self._spec.clip_shape), np.float32) if out is None else out
        for position, chosen in enumerate(self._chosen()):
            clip[0, :, position] = self._frames[chosen]
        return clip

    def chosen_times_s(self) -> List[float]:
        """Time stamps of the frames that ``clip`` would take, oldest first."""
        return [self._times_s[chosen] for chosen in self._chosen()]

    def clear(self) -> None:
        """Forget all frames, for a source that starts again."""
        self._frames.clear()
        self._times_s.clear()

    def __len__(self) -> int:
        return len(self._frames)

    def _chosen(self) -> List[int]:
        """Index of the frame nearest to each of the clip's moments, oldest first."""
        newest_s, count = self._times_s[-1], self._spec.frames
        moments_s = [newest_s - (count - 1 - k) * self._spec.spacing_s for k in range(count)]
        return [self._nearest(moment_s) for moment_s in moments_s]

    def _nearest(self, moment_s: float) -> int:
        after = bisect.bisect_left(self._times_s, moment_s)
        if after == 0:
            return 0
        if after == len(self._times_s):
            return after - 1
        before = after - 1
        earlier_by_s = moment_s - self._times_s[before]
        later_by_s = self._times_s[after] - moment_s
        return before if earlier_by_s <= later_by_s + TIE_S else after
