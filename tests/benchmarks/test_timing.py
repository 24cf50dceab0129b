"""Warm-up ends where latencies are steady, rates are clips over elapsed time; the clock is turned.

How often noise is taken for drift, and drift for noise, is counted over many seeds.
"""

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
    timings = measure(clock.infer, CLIPS, duration_s=2.0, clock=clock)
    assert timings.batches == 8
    assert timings.elapsed_s == pytest.approx(2.0)
    assert timings.clips_per_s == pytest.approx(8 * 8 / 2.0)
    assert timings.latencies_ms == pytest.approx([250.0] * 8)


def test_time_between_batches_lowers_the_rate_and_not_the_latency():
    clock = TurnedClock([0.25], between_s=0.25)
    timings = measure(clock.infer, CLIPS, 2.0, on_batch=clock.on_batch, clock=clock)
    assert timings.latencies_ms == pytest.approx([250.0] * timings.batches)
    assert timings.clips_per_s == pytest.approx(timings.batches * 8 / timings.elapsed_s)
    assert timings.clips_per_s < 0.6 * 8 / 0.25


def test_a_slow_model_is_measured_once_at_least():
    clock = TurnedClock([30.0])
    timings = measure(clock.infer, CLIPS, duration_s=0.3, clock=clock)
    assert timings.batches == 1
    assert timings.clips_per_s == pytest.approx(8 / 30)


def test_a_number_of_batches_is_kept_however_long_they_take():
    clock = TurnedClock([0.1, 40.0, 0.1])
    timings = measure(clock.infer, CLIPS, duration_s=1.0, batches=3, clock=clock)
    assert timings.latencies_ms == pytest.approx([100.0, 40000.0, 100.0])
    assert Timings(2, 4.0, [1.0, 3.0]).clips_per_s == 1.0


@pytest.mark.parametrize("batches", [None, 4])
def test_progress_ends_before_the_plan_does(batches):
    clock, seen = TurnedClock([0.5]), []
    measure(
        clock.infer,
        CLIPS,
        duration_s=2.0,
        batches=batches,
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
