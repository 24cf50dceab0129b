"""The clip a model wants, out of the frames a camera gives: chosen by time, not by counting."""

import bisect
import logging
import math
from typing import List, Optional, Tuple

import numpy as np

from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec

log = logging.getLogger(__name__)

# A quarter of a 16-frame clip. Slower sources than that show no gesture.
LONGEST_GAP_SPACINGS = 4
# Of two frames as near as each other the earlier is taken, however their time stamps were rounded.
# A 15 Hz camera and a clip of 6 frames a second meet half-way every other time.
TIE_S = 1e-6
# Of three frames within this part of a spacing the middle one is not kept, which bounds the memory
# at any camera rate. At a spacing of 1/6 s, 200 frames a second are all kept; beyond, a clip's
# frames are up to 2.5 % of a spacing further from its moments than the nearest that came.
THINNED_PARTS = 20
# Frames further apart than a spacing leave moments of a clip with none within half a spacing.
# A little more is let pass: time stamps are rounded.
SPARSE_SPACINGS = 1.05
CALM_S = 30.0  # frames came well for so long: the next trouble is told anew


class ClipBuffer:
    """Keeps the last preprocessed frames and picks those nearest to t - k x spacing.

    A model trained on every second frame at 12 frames a second wants 16 frames 1/6 s apart,
    whether the camera gives 12 frames a second or 60.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._shape = (3, spec.size, spec.size)
        self._times_s: List[float] = []
        self._frames: List[np.ndarray] = []  # each (3, H, W) uint8, by time
        self._numbers: List[int] = []  # of the frames, counted since the beginning
        self._pushed = 0
        self._unused: List[np.ndarray] = []  # of frames that were let go; the next ones go there
        # Half a spacing more than the clip, so that its first frame is the nearest, not the oldest.
        self._keep_s = spec.span_s + spec.spacing_s / 2
        self._least_gap_s = spec.spacing_s / THINNED_PARTS
        self._longest_gap_s = LONGEST_GAP_SPACINGS * spec.spacing_s
        self._watch = _Watch(spec)

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
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ClipError(
                f"A frame must be {self._shape} uint8, RGB; got {frame.shape} {frame.dtype}."
            )
        anew = False
        if self._times_s:
            anew = self._note_interval(timestamp_s)
        if len(self._times_s) > 1 and timestamp_s - self._times_s[-2] < self._least_gap_s:
            self._times_s.pop()  # the newest frame is always kept: it is the clip's last
            self._numbers.pop()
            self._unused.append(self._frames.pop())
        stale = bisect.bisect_left(self._times_s, timestamp_s - self._keep_s)
        # Keep the last stale frame: it may be the nearest one when frames are sparse.
        self._forget(stale - 1)
        kept = self._unused.pop() if self._unused else np.empty(self._shape, np.uint8)
        np.copyto(kept, frame)
        self._frames.append(kept)
        self._times_s.append(timestamp_s)
        self._numbers.append(self._pushed)
        self._pushed += 1
        return anew

    @property
    def ready(self) -> bool:
        """Frames reach back to the clip's start."""
        if not self._times_s:
            return False
        covered_s = self._times_s[-1] - self._times_s[0]
        return covered_s >= self._spec.span_s - self._spec.spacing_s / 2

    @property
    def complaint(self) -> Optional[str]:
        """What is wrong with the times of the clip's frames, in a sentence; None: nothing is."""
        return self._watch.complaint(self._times_s[-1]) if self._times_s else None

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
        return self._assembled(self._chosen(), out)

    def looped_clip(self, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the clip of a recording that is over and shorter than one, played in a loop.

        Evaluation scores such recordings so (section 3.2 of the paper).

        Args:
            out: (1, 3, T, H, W) float32 to write into; a new array where None.

        Returns:
            (1, 3, T, H, W) float32, RGB, 0-255.

        Raises:
            ClipError: there is no frame.
        """
        if not self._times_s:
            raise ClipError("The clip needs a frame; push one before asking.")
        first_s, times_s = self._times_s[0], self._times_s
        interval_s = times_s[-1] - times_s[-2] if len(times_s) > 1 else 0.0
        moments = covered_moments(times_s[-1] - first_s, interval_s, self._spec)
        chosen = [
            self._nearest(first_s + (position % moments) * self._spec.spacing_s)
            for position in range(self._spec.frames)
        ]
        return self._assembled(chosen, out)

    def chosen(self) -> Tuple[List[np.ndarray], List[int]]:
        """Return the frames that ``clip`` would take, and the number of each, oldest first.

        Frames are (3, H, W) uint8 in the buffer's own memory, good until the next push. The same
        number is the same frame.
        """
        chosen = self._chosen()
        return [self._frames[one] for one in chosen], [self._numbers[one] for one in chosen]

    def chosen_times_s(self) -> List[float]:
        """Time stamps of the frames that ``clip`` would take, oldest first."""
        return [self._times_s[chosen] for chosen in self._chosen()]

    def clear(self) -> None:
        """Forget all frames, for a source that starts again."""
        self._forget(len(self._times_s))

    def __len__(self) -> int:
        return len(self._frames)

    def _note_interval(self, timestamp_s: float) -> bool:
        """Look at the time since the frame before; let that go, and return True, after a gap."""
        interval_s = timestamp_s - self._times_s[-1]
        if interval_s <= 0:
            raise ClipError(
                f"Time ran backwards: a frame of {timestamp_s:.4f} s after one of "
                f"{self._times_s[-1]:.4f} s. Clear the buffer when the source starts again."
            )
        gap = interval_s > self._longest_gap_s
        self._watch.note(timestamp_s, interval_s, gap)
        if gap:  # what lies before it is another scene: a clip across it would be half frozen
            self.clear()
        return gap

    def _forget(self, count: int) -> None:
        """Let the oldest frames go."""
        if count > 0:
            self._unused.extend(self._frames[:count])
            del self._times_s[:count], self._frames[:count], self._numbers[:count]

    def _assembled(self, chosen: List[int], out: Optional[np.ndarray]) -> np.ndarray:
        clip = np.empty((1, *self._spec.clip_shape), np.float32) if out is None else out
        for position, number in enumerate(chosen):
            clip[0, :, position] = self._frames[number]
        return clip

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


class _Watch:
    """Notes frames that come too seldom: for who asks, and in the log once, not at each frame."""

    def __init__(self, spec: ClipSpec) -> None:
        self._spacing_s = spec.spacing_s
        self._span_s = spec.span_s
        self._text = ""
        self._gap = False  # that is what the text tells of
        self._over_s = -math.inf  # when the clip no longer suffers from the last long interval
        self._calm_s: Optional[float] = None  # after it the log may speak again; None: it is silent

    def note(self, time_s: float, interval_s: float, gap: bool) -> None:
        """Take the time between a frame of ``time_s`` and the one before."""
        before_s = time_s - interval_s
        if self._calm_s is not None and before_s > self._calm_s:
            self._calm_s = None
            log.info("Frames come as often as the model needs them again.")
        if interval_s <= SPARSE_SPACINGS * self._spacing_s:
            return
        if gap:
            self._text = f"No frame came for {interval_s:.1f} s: the clip starts anew."
        else:
            self._text = (
                f"Frames come {interval_s:.2f} s apart, and the model wants one every "
                f"{self._spacing_s:.2f} s: the clip repeats frames."
            )
        another_gap = gap and not (self._gap and before_s < self._over_s)
        if self._calm_s is None or another_gap:
            log.warning(self._text)
        self._gap, self._over_s, self._calm_s = gap, time_s + self._span_s, time_s + CALM_S

    def complaint(self, time_s: float) -> Optional[str]:
        """What the clip that ends at ``time_s`` suffers from; None: nothing."""
        return self._text if time_s < self._over_s else None


def covered_moments(duration_s: float, interval_s: float, spec: ClipSpec) -> int:
    """Number of moments, a clip's spacing apart from the first frame on, that have a frame.

    Args:
        duration_s: from the recording's first frame to its last.
        interval_s: between its last two frames; the last one is shown for half of it.
        spec: spacing of the moments.
    """
    return max(1, math.ceil((duration_s + interval_s / 2) / spec.spacing_s - TIE_S))
