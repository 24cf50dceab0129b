"""Times batches: warm-up until the latency no longer drifts, then every latency is kept."""

import logging
import time
from typing import Callable, List, NamedTuple, Optional, Sequence

import numpy as np

from clipedge.jetson import board
from clipedge.jetson.spec import ClipSpec

_log = logging.getLogger(__name__)

# Above this share of the cores' time, other work slows the measurement.
BUSY_SHARE = 0.25
_CLIP_SEED = 0
_CLIPS_IN_MEMORY = 4  # the clips, and what a network makes of them, by size

# The warm-up is over where a straight line through the newer half of the latencies is known to rise
# or fall by less than this share of their median. Where noise hides so small a drift, it is over
# after PATIENCE_S if the line is level within its own uncertainty.
STEADY_DRIFT = 0.02
SURE_STANDARD_ERRORS = 2.0
LEAST_WARMUP_BATCHES = 10
LEAST_WARMUP_S = 1.0
PATIENCE_S = 6.0
MOST_WARMUP_S = 20.0
_MOST_POINTS = 16  # of the line: means of neighbours, so that noise which lasts is seen as noise
_LOOK_AGAIN = 1.2  # times as many batches as at the last look, which so costs little
_LOOKS = 2  # in a row that must find it steady: one may be chance

Clock = Callable[[], float]
Infer = Callable[[np.ndarray], np.ndarray]
# Called after each batch with the seconds gone and the seconds planned.
OnBatch = Callable[[float, float], None]


class Warmup(NamedTuple):
    """What was run before anything counted."""

    batches: int
    elapsed_s: float  # with the first batch
    steady: Optional[bool]  # None where a fixed time was asked for, or too few batches fit into it


class Drift(NamedTuple):
    """How a series of latencies rises (above 0) or falls from its start to its end."""

    share: float  # of the median
    error: float  # one standard error of the share


class Timings(NamedTuple):
    """What was measured of one model."""

    batch: int  # clips in each batch
    start_s: float  # of the first batch, by the clock that measured
    end_s: float  # of the last batch
    latencies_ms: List[float]  # of each batch, in order

    @property
    def batches(self) -> int:
        """Number of batches counted."""
        return len(self.latencies_ms)

    @property
    def elapsed_s(self) -> float:
        """From the start of the first batch to the end of the last."""
        return self.end_s - self.start_s

    @property
    def clips_per_s(self) -> float:
        """Clips over elapsed time: what happens between batches counts too."""
        return self.batches * self.batch / self.elapsed_s


def warm_up(
    infer: Infer,
    clips: np.ndarray,
    fixed_s: Optional[float] = None,
    on_batch: Optional[OnBatch] = None,
    clock: Clock = time.perf_counter,
) -> Warmup:
    """Run batches until their latency is steady, at most MOST_WARMUP_S behind the first one.

    The first batch, in which backends compile and lay out memory, does not count for either.

    Args:
        infer: what runs a batch and returns once its logits are there.
        clips: (N, 3, T, H, W) float32, RGB, 0-255.
        fixed_s: run this long behind the first batch instead; 0 is that batch alone.
        on_batch: told how far it is, after each batch.
        clock: seconds from any origin, monotonic.
    """
    planned_s = MOST_WARMUP_S if fixed_s is None else fixed_s
    latencies_ms: List[float] = []
    level: List[bool] = []
    look_at = float(LEAST_WARMUP_BATCHES)
    first_s = clock()
    infer(clips)
    start_s = clock()
    if fixed_s is not None and fixed_s <= 0.0:
        return Warmup(1, start_s - first_s, None)
    while True:
        batch_start_s = clock()
        infer(clips)
        now_s = clock()
        latencies_ms.append((now_s - batch_start_s) * 1e3)
        gone_s, count = now_s - start_s, len(latencies_ms)
        if on_batch is not None:
            on_batch(gone_s, planned_s)
        if fixed_s is None and gone_s >= LEAST_WARMUP_S and count >= look_at:
            look_at = count * _LOOK_AGAIN
            drift = drift_of(latencies_ms[count // 2 :])
            level.append(is_steady(drift, gone_s >= PATIENCE_S))
        if all([*level[-_LOOKS:], len(level) >= _LOOKS]):
            return Warmup(1 + count, now_s - first_s, True)
        if gone_s >= planned_s:
            # Whether it drifts now: what it did in all the half would be told too late.
            known = fixed_s is None and count >= LEAST_WARMUP_BATCHES
            newest = latencies_ms[-max(LEAST_WARMUP_BATCHES // 2, count // 4) :]
            steady = is_steady(drift_of(newest), True) if known else None
            return Warmup(1 + count, now_s - first_s, steady)


def is_steady(drift: Drift, patience_is_over: bool) -> bool:
    """Return whether a drift is small, or, once ``patience_is_over``, not told from noise."""
    if drift.error <= STEADY_DRIFT and abs(drift.share) <= STEADY_DRIFT:
        return True
    return patience_is_over and abs(drift.share) <= SURE_STANDARD_ERRORS * drift.error


def drift_of(latencies_ms: Sequence[float]) -> Drift:
    """Return the drift of five latencies or more, from a least-squares line through them.

    Those beyond three times the spread of the middle half are brought to that border first, so
    that a single hiccup is no drift.
    """
    values = np.asarray(latencies_ms, float)
    low, median, high = np.percentile(values, (25, 50, 75))
    values = np.clip(values, median - 3 * (high - low), median + 3 * (high - low))
    values = np.array(
        [part.mean() for part in np.array_split(values, min(len(values), _MOST_POINTS))]
    )
    place = (np.arange(len(values)) + 0.5) / len(values) - 0.5
    drift = np.dot(place, values) / np.dot(place, place)
    left = values - values.mean() - drift * place
    error = np.sqrt(np.dot(left, left) / (len(values) - 2) / np.dot(place, place))
    return Drift(float(drift / median), float(error / median))


def measure(
    infer: Infer,
    clips: np.ndarray,
    duration_s: float,
    batches: Optional[int] = None,
    on_batch: Optional[OnBatch] = None,
    clock: Clock = time.perf_counter,
) -> Timings:
    """Run the same batch again and again and time it.

    Args:
        infer: what runs a batch and returns once its logits are there.
        clips: (N, 3, T, H, W) float32, RGB, 0-255.
        duration_s: how long to measure; the batch that runs when it is over still counts, so
            there is at least one.
        batches: measure exactly so many instead.
        on_batch: told how far it is, after each batch.
        clock: seconds from any origin, monotonic.
    """
    latencies_ms: List[float] = []
    start_s = clock()
    while True:
        batch_start_s = clock()
        infer(clips)
        now_s = clock()
        latencies_ms.append((now_s - batch_start_s) * 1e3)
        gone_s = now_s - start_s
        planned_s = duration_s if batches is None else gone_s / len(latencies_ms) * batches
        if (gone_s >= duration_s) if batches is None else (len(latencies_ms) >= batches):
            return Timings(len(clips), start_s, now_s, latencies_ms)
        if on_batch is not None:
            on_batch(gone_s, planned_s)


def warn_where_busy(effect: str) -> Optional[float]:
    """Return the share of the cores' time that is taken, 0 to 1, None where it is not known.

    Args:
        effect: what a warning says that it does, where the share is large.
    """
    busy = board.busy_share()
    if busy is not None and busy > BUSY_SHARE:
        _log.warning(
            "This machine is busy: %.0f %% of its cores' time is taken. %s", 100 * busy, effect
        )
    return busy


def random_clips(spec: ClipSpec, batch: int) -> np.ndarray:
    """Return clips of random pixels, the same on every call.

    Returns:
        (batch, 3, T, H, W) float32, RGB, whole numbers 0-255 as a camera gives them.

    Raises:
        UsageError: the batch does not fit into memory.
    """
    clip_mb = np.prod(spec.clip_shape, dtype=float) * np.float32().nbytes / 2**20
    board.require_memory(_CLIPS_IN_MEMORY * batch * clip_mb, f"A batch of {batch} clips")
    pixels = np.random.RandomState(_CLIP_SEED).randint(
        0, 256, size=(batch, *spec.clip_shape), dtype=np.uint8
    )
    return pixels.astype(np.float32)
