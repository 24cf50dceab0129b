"""Rates are clips over elapsed time after warm-up; shown on a clock that the test turns."""

import numpy as np
import pytest

from clipedge.benchmarks.timing import Timings, measure, random_clips
from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec


class TurnedClock:
    """Stands in for time and a model: each inference takes the next of `costs_s`."""

    def __init__(self, costs_s, between_s=0.0):
        self.now_s = 100.0
        self.costs_s = list(costs_s)
        self.between_s = between_s
        self.calls = 0

    def __call__(self):
        return self.now_s

    def infer(self, clips):
        self.now_s += self.costs_s[min(self.calls, len(self.costs_s) - 1)]
        self.calls += 1
        return clips

    def on_batch(self, gone_s, planned_s):
        self.now_s += self.between_s


CLIPS = np.zeros((8, 3, 1, 2, 2), np.float32)


def test_rate_is_clips_over_elapsed_time():
    clock = TurnedClock([0.25])
    timings = measure(clock.infer, CLIPS, duration_s=2.0, warmup_s=0.5, clock=clock)
    assert (timings.batches, timings.warmup_batches) == (8, 2)
    assert timings.elapsed_s == pytest.approx(2.0)
    assert timings.clips_per_s == pytest.approx(8 * 8 / 2.0)
    assert timings.latencies_ms == pytest.approx([250.0] * 8)


def test_warm_up_is_not_counted():
    clock = TurnedClock([5.0, 0.5])  # the first inference lays out memory
    timings = measure(clock.infer, CLIPS, duration_s=1.0, warmup_s=0.001, clock=clock)
    assert timings.warmup_batches == 1
    assert timings.latencies_ms == pytest.approx([500.0, 500.0])
    assert timings.clips_per_s == pytest.approx(16.0)


def test_time_between_batches_lowers_the_rate_and_not_the_latency():
    clock = TurnedClock([0.25], between_s=0.25)
    timings = measure(clock.infer, CLIPS, 2.0, 0.1, on_batch=clock.on_batch, clock=clock)
    assert timings.latency_ms(50) == pytest.approx(250.0)
    assert timings.clips_per_s == pytest.approx(timings.batches * 8 / timings.elapsed_s)
    assert timings.clips_per_s < 8 / 0.25


def test_a_slow_model_is_measured_once_at_least():
    clock = TurnedClock([30.0])
    timings = measure(clock.infer, CLIPS, duration_s=0.3, warmup_s=0.1, clock=clock)
    assert (timings.batches, timings.warmup_batches) == (1, 1)
    assert timings.clips_per_s == pytest.approx(8 / 30)


def test_percentiles():
    timings = Timings(8, 1, 1.0, [float(value) for value in range(1, 102)])
    assert timings.latency_ms(50) == pytest.approx(51.0)
    assert timings.latency_ms(95) == pytest.approx(96.0)
    assert timings.latency_ms(99) == pytest.approx(100.0)
    assert Timings(8, 1, 1.0, [7.0]).latency_ms(99) == 7.0


def test_progress_counts_warm_up_and_ends_before_the_plan_does():
    clock, seen = TurnedClock([0.5]), []
    measure(
        clock.infer,
        CLIPS,
        duration_s=1.0,
        warmup_s=1.0,
        on_batch=lambda gone_s, planned_s: seen.append((gone_s, planned_s)),
        clock=clock,
    )
    assert seen == [(0.5, 2.0), (1.0, 2.0), (1.5, 2.0)]


def test_clips_are_raw_pixels_and_the_same_each_time():
    spec = ClipSpec("tiny", ("a", "b"), frames=4, size=16)
    clips = random_clips(spec, 3)
    assert clips.shape == (3, 3, 4, 16, 16)
    assert clips.dtype == np.float32
    assert (clips.min(), clips.max()) == (0, 255)
    assert np.array_equal(clips, np.round(clips))
    assert np.array_equal(clips, random_clips(spec, 3))


def test_a_batch_that_does_not_fit_into_memory_is_refused():
    with pytest.raises(UsageError, match="MiB of memory"):
        random_clips(ClipSpec("tiny", ("a", "b")), 10**8)
