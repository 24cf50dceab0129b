"""Warm-up ends where latencies are steady, rates are clips over elapsed time; the clock is turned.

How often noise is taken for drift, and drift for noise, is counted over many seeds.
"""

import numpy as np
import pytest

from clipedge.benchmarks import timing
from clipedge.benchmarks.timing import Timings, drift_of, measure, random_clips, warm_up
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
    assert Timings(2, 1.0, 5.0, [1.0, 3.0]).clips_per_s == 1.0


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


class Drifting:
    """Stands in for time and a model whose latency follows `trend(seconds)`, with noise."""

    def __init__(self, trend, noise=0.0, hiccups=0.0, batch_s=0.05, seed=0):
        self.now_s = 0.0
        self.trend = trend
        self.noise = noise
        self.hiccups = hiccups
        self.batch_s = batch_s
        self.random = np.random.RandomState(seed)

    def __call__(self):
        return self.now_s

    def infer(self, clips):
        factor = 1.0 + self.noise * self.random.randn()
        if self.random.rand() < self.hiccups:
            factor *= 3.0
        self.now_s += self.batch_s * self.trend(self.now_s) * max(0.3, factor)
        return clips

    def warm_up(self, **asked):
        return warm_up(self.infer, CLIPS, clock=self, **asked)

    def excess(self):
        """How far the latency now is from where it ends, as a share."""
        return self.trend(self.now_s) / self.trend(1e6) - 1.0


def level(t_s):
    return 1.0


def falling(t_s):
    return 1.0 + 0.3 * np.exp(-t_s / 2.0)


def rising(t_s):
    return 1.3 - 0.3 * np.exp(-t_s / 2.0)


def test_a_steady_model_is_warm_after_little_more_than_a_second():
    found = Drifting(level, noise=0.01).warm_up()
    assert found.steady is True
    assert 1.0 <= found.elapsed_s < 2.0
    assert found.batches == pytest.approx(found.elapsed_s / 0.05, rel=0.05)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("trend", [falling, rising])
def test_latencies_that_fall_or_rise_keep_the_warm_up_going(trend, noise):
    left = []
    for seed in range(20):
        model = Drifting(trend, noise, seed=seed)
        model.warm_up()
        left.append(abs(model.excess()))
    assert sorted(left)[17] < 0.02  # nine of ten; one second would leave 18 %


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05, 0.2])
def test_noise_is_no_drift(noise):
    found = [Drifting(level, noise, seed=seed).warm_up() for seed in range(20)]
    assert sum(one.steady is not True for one in found) <= 1
    assert sorted(one.elapsed_s for one in found)[17] < 15.0


def test_a_hiccup_is_no_drift():
    found = [Drifting(level, 0.01, hiccups=0.02, seed=seed).warm_up() for seed in range(20)]
    assert all(one.steady for one in found)
    assert sorted(one.elapsed_s for one in found)[10] < 3.0
    one_hiccup = [10.0, 10.1, 9.9] * 10 + [40.0]
    assert abs(drift_of(one_hiccup).share) < 0.02


def test_a_drift_is_a_share_of_the_median_with_its_error():
    drift = drift_of([100.0 + place / 10 for place in range(100)])
    assert drift.share == pytest.approx(10.0 / 104.95, rel=0.02)
    assert drift.error < 0.001
    noisy = np.random.RandomState(0).normal(100.0, 10.0, 400)
    assert 0.01 < drift_of(noisy).error < 0.03  # 10 % * sqrt(12 / 400)


def test_a_model_that_never_becomes_steady_is_given_up_and_told():
    found = Drifting(lambda t_s: 1.0 + t_s).warm_up()
    assert found.steady is False
    assert timing.MOST_WARMUP_S <= found.elapsed_s < timing.MOST_WARMUP_S + 2.0


def test_too_few_batches_tell_nothing():
    found = Drifting(level, batch_s=12.0).warm_up()
    assert (found.batches, found.steady) == (3, None)


def test_the_first_batch_in_which_backends_compile_is_not_taken_from_the_warm_ups_time():
    clock = TurnedClock([60.0, 0.05])
    found = warm_up(clock.infer, CLIPS, clock=clock)
    assert found.steady is True
    assert found.batches > timing.LEAST_WARMUP_BATCHES
    assert 61.0 <= found.elapsed_s < 65.0


@pytest.mark.parametrize(("fixed_s", "batches"), [(0.0, 1), (0.5, 11)])
def test_a_fixed_warm_up_is_kept_and_runs_one_batch_at_least(fixed_s, batches):
    found = Drifting(falling, batch_s=0.05 / falling(0.0)).warm_up(fixed_s=fixed_s)
    assert found.steady is None
    assert found.batches in (batches, batches + 1)


def test_of_many_batches_a_drift_is_looked_for_now_and_then(monkeypatch):
    looks = []
    real = timing.drift_of
    monkeypatch.setattr(timing, "drift_of", lambda some: looks.append(len(some)) or real(some))
    clock = TurnedClock(1e-3 * (1.0 + 1e-4 * place) for place in range(20000))
    found = warm_up(clock.infer, CLIPS, clock=clock)
    assert (found.batches > 10000, found.steady) == (True, False)
    assert sum(looks) < 5 * found.batches


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
