"""Which frames of a video a clip takes: chosen by time, whatever the video's rate."""

from collections.abc import Sequence

import numpy as np

from clipedge.jetson.clip_buffer import THINNED_PARTS, TIE_S, covered_moments
from clipedge.jetson.spec import ClipSpec

# Training takes the frames nearest to this part of a spacing: more would only fill the cache.
GRID_PARTS = 4
# A video with not many more frames than that is taken as it is.
WORTH_THINNING = 1.2


def nearest(times_s: np.ndarray, moments_s: np.ndarray) -> np.ndarray:
    """Return the number of the frame nearest to each moment; of two, the earlier.

    Args:
        times_s: (K,) float64, times of the frames, rising.
        moments_s: (N,) float64.

    Returns:
        (N,) int64.
    """
    after = np.clip(np.searchsorted(times_s, moments_s), 1, max(len(times_s) - 1, 1))
    before = after - 1
    if len(times_s) == 1:
        return before
    earlier = moments_s - times_s[before] <= times_s[after] - moments_s + TIE_S
    result: np.ndarray = np.where(earlier, before, after)
    return result


def thinned(times_s: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """Return the numbers of the frames that training takes its clips from: (J,) int64, rising.

    Those of a video with far more frames a second than the model sees are thinned to a quarter of
    its spacing, which moves no frame of a clip by more than an eighth.
    """
    grid_s = np.arange(0.0, times_s[-1] + TIE_S, spec.spacing_s / GRID_PARTS)
    if len(times_s) <= WORTH_THINNING * len(grid_s):
        return np.arange(len(times_s))
    return np.unique(nearest(times_s, grid_s))


def training_clip(times_s: np.ndarray, spec: ClipSpec, part: float) -> np.ndarray:
    """Choose the frames of a clip that starts anywhere.

    Where the video is shorter than a clip, it is played in a loop from its start (section 3.2 of
    the paper).

    Args:
        times_s: (K,) float64, times of the video's frames, rising from 0.
        spec: number and spacing of the clip's frames.
        part: 0-1, how far through what is possible it starts.

    Returns:
        (T,) int64, numbers of frames.
    """
    start_s = part * max(0.0, float(times_s[-1]) - spec.span_s)
    steps = np.arange(spec.frames) % _steps(times_s, start_s, spec)
    return nearest(times_s, start_s + steps * spec.spacing_s)


def evaluation_clips(
    times_s: np.ndarray, spec: ClipSpec, count: int | None = None
) -> list[np.ndarray]:
    """Choose the frames of the clips by which a video is scored.

    Clips follow one another from the start. What remains at the end is a further clip, played in a
    loop, where it is at least half a clip; less is left out. A video shorter than a clip is one
    clip, played in a loop. Each clip has the very frames that the board's ``ClipBuffer`` holds
    once the clip's last frame has come.

    Args:
        times_s: (K,) float64, times of the video's frames, rising from 0.
        spec: number and spacing of a clip's frames.
        count: take this many clips instead, evenly spread over the video; 1 is the middle one.

    Returns:
        numbers of frames, (T,) int64 for each clip.
    """
    steps = _steps(times_s, 0.0, spec)
    if steps < spec.frames:
        return [_looped(times_s, spec, 0, steps)]
    live = _seen_live(times_s, spec)
    if count is not None:
        room = steps - spec.frames
        starts: Sequence[float] = [room * (number + 0.5) / count for number in range(count)]
        return [_live(times_s, live, spec, start) for start in starts]
    whole, rest = divmod(steps, spec.frames)
    clips = [_live(times_s, live, spec, number * spec.frames) for number in range(whole)]
    if 2 * rest >= spec.frames:
        clips.append(_looped(times_s, spec, whole * spec.frames, rest))
    return clips


def _steps(times_s: np.ndarray, start_s: float, spec: ClipSpec) -> int:
    """Number of moments from ``start_s`` on, a spacing apart, for which the video has a frame."""
    gap_s = float(times_s[-1] - times_s[-2]) if len(times_s) > 1 else 0.0
    return covered_moments(float(times_s[-1]) - start_s, gap_s, spec)


def _looped(times_s: np.ndarray, spec: ClipSpec, first: int, steps: int) -> np.ndarray:
    moments = first + np.arange(spec.frames) % steps
    return nearest(times_s, moments * spec.spacing_s)


def _live(times_s: np.ndarray, live: np.ndarray, spec: ClipSpec, start: float) -> np.ndarray:
    """The clip that ends with the frame nearest to its last moment, as a live one does."""
    end_s = (start + spec.frames - 1) * spec.spacing_s
    last = int(nearest(times_s, np.array([end_s]))[0])
    moments_s = times_s[last] - np.arange(spec.frames - 1, -1, -1) * spec.spacing_s
    picks: np.ndarray = live[nearest(times_s[live], moments_s)]
    picks[-1] = last  # the newest frame is always there
    return picks


def _seen_live(times_s: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """Numbers of the frames that ``ClipBuffer`` keeps when frames come faster than it needs."""
    least_gap_s = spec.spacing_s / THINNED_PARTS
    if len(times_s) < 3 or float(np.min(times_s[2:] - times_s[:-2])) >= least_gap_s:
        return np.arange(len(times_s))
    kept: list[int] = []
    for number, time_s in enumerate(times_s.tolist()):
        if len(kept) > 1 and time_s - times_s[kept[-2]] < least_gap_s:
            kept.pop()
        kept.append(number)
    return np.array(kept)
