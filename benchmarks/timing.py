"""Times batches: warm-up, then batch after batch for a set time, keeping every latency."""

import logging
import time
from typing import Callable, List, NamedTuple, Optional

import numpy as np

from clipedge.jetson import board
from clipedge.jetson.spec import ClipSpec

_log = logging.getLogger(__name__)

# Above this share of the cores' time, other work slows the measurement.
BUSY_SHARE = 0.25
_CLIP_SEED = 0
_CLIPS_IN_MEMORY = 4  # the clips, and what a network makes of them, by size

Clock = Callable[[], float]
Infer = Callable[[np.ndarray], np.ndarray]
# Called after each batch with the seconds gone and the seconds planned, warm-up included.
OnBatch = Callable[[float, float], None]


class Timings(NamedTuple):
    """What was measured of one model."""

    batch: int  # clips in each batch
    warmup_batches: int  # run before, not counted
    elapsed_s: float  # from the start of the first batch counted to the end of the last
    latencies_ms: List[float]  # of each batch, in order

    @property
    def batches(self) -> int:
        """Number of batches counted."""
        return len(self.latencies_ms)

    @property
    def clips_per_s(self) -> float:
        """Clips over elapsed time: what happens between batches counts too."""
        return self.batches * self.batch / self.elapsed_s

    def latency_ms(self, percentile: float) -> float:
        """Return a percentile (0-100) of the latency of a batch, interpolated linearly."""
        return float(np.percentile(self.latencies_ms, percentile))


def measure(
    infer: Infer,
    clips: np.ndarray,
    duration_s: float,
    warmup_s: float,
    on_batch: Optional[OnBatch] = None,
    clock: Clock = time.perf_counter,
    on_warm: Optional[Callable[[], None]] = None,
) -> Timings:
    """Run the same batch again and again and time it.

    Args:
        infer: what runs a batch and returns once its logits are there.
        clips: (N, 3, T, H, W) float32, RGB, 0-255.
        duration_s: how long to measure; the batch that runs when it is over still counts, so
            there is at least one.
        warmup_s: how long to run before; at least one batch, in which backends lay out memory.
        on_batch: told how far it is, after each batch.
        clock: seconds from any origin, monotonic.
        on_warm: called between the warm-up and the first batch that counts.
    """
    planned_s = warmup_s + duration_s
    warmup_start_s = clock()
    warmup_batches = 0
    while True:
        infer(clips)
        warmup_batches += 1
        now_s = clock()
        if on_batch is not None:
            on_batch(now_s - warmup_start_s, planned_s)
        if now_s - warmup_start_s >= warmup_s:
            break
    if on_warm is not None:
        on_warm()
    latencies_ms: List[float] = []
    start_s = clock()
    while True:
        batch_start_s = clock()
        infer(clips)
        batch_end_s = clock()
        latencies_ms.append((batch_end_s - batch_start_s) * 1e3)
        if batch_end_s - start_s >= duration_s:
            break
        if on_batch is not None:
            on_batch(batch_end_s - warmup_start_s, planned_s)
    return Timings(len(clips), warmup_batches, batch_end_s - start_s, latencies_ms)


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
