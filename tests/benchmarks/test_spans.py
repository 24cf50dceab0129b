"""What several measurements ran under, as one: times and energies add up, and no gap is hidden."""

import pytest

from clipedge.benchmarks.speed.rows import warnings_of
from clipedge.benchmarks.speed.spans import joined_span, mean_clocks_mhz


def span(**changes):
    """A summary as `Recording.summary` gives it."""
    fields = {
        "span_s": 2.0,
        "readings": 5,
        "power_w": {"min": 5.0, "mean": 6.0, "max": 8.0},
        "power_from": "VDD_IN",
        "rails_w": {"VDD_IN": 6.0},
        "energy_j": 12.0,
        "energy_per_clip_j": 0.5,
        "clips_per_j": 2.0,
        "temperature_c": {"min": 40.0, "mean": 41.0, "max": 42.0},
        "temperature_from": "GPU-therm",
        "gpu_mhz": {"min": 1300.5, "mean": 1300.5, "max": 1300.5},
        "cpu_mhz": None,
        "emc_mhz": None,
        "throttled": {"before": False, "during": False, "after": False},
        "throttle_events": [],
        "clock_changes": [],
        "events_dropped": 0,
        "missing": {"cpu_mhz": "no cpufreq", "emc_mhz": "no debugfs"},
    }
    fields.update(changes)
    return fields


def test_one_span_stays_what_it_is():
    one = span()
    joined = joined_span([(0.0, one)], clips=24)
    assert joined == one


def test_energies_and_times_add_up_and_are_of_all_clips():
    spans = [(0.0, span()), (9.0, span(span_s=4.0, energy_j=48.0, readings=9))]
    joined = joined_span(spans, clips=120)
    assert (joined["span_s"], joined["readings"], joined["energy_j"]) == (6.0, 14, 60.0)
    assert joined["energy_per_clip_j"] == pytest.approx(0.5)
    assert joined["clips_per_j"] == pytest.approx(2.0)


def test_means_weigh_by_time():
    hot = span(span_s=6.0, temperature_c={"min": 39.0, "mean": 61.0, "max": 70.0})
    joined = joined_span([(0.0, span()), (3.0, hot)], clips=1)
    assert joined["temperature_c"] == {"min": 39.0, "mean": 56.0, "max": 70.0}


def test_energy_that_is_known_of_one_part_only_is_not_known():
    reason = "power was not read for 5.0 s"
    keys = ("energy_j", "energy_per_clip_j", "clips_per_j")
    gap = span(missing=dict.fromkeys(keys, reason), **dict.fromkeys(keys))
    for spans in ([(0.0, span()), (3.0, gap)], [(0.0, gap), (3.0, span())]):
        joined = joined_span(spans, clips=24)
        assert [joined[key] for key in keys] == [None] * 3
        assert [joined["missing"][key] for key in keys] == [reason] * 3


def test_what_is_known_in_the_end_has_no_reason_and_what_is_not_has_one():
    first = span(gpu_mhz=None, missing={"gpu_mhz": "it was switched off"})
    joined = joined_span([(0.0, first), (3.0, span())], clips=1)
    assert joined["gpu_mhz"]["max"] == 1300.5
    assert set(joined["missing"]) == {"cpu_mhz", "emc_mhz"}


def test_events_keep_their_time_since_the_first_span():
    change = {"t_s": 0.5, "clock": "GPU", "from_mhz": 1300.5, "to_mhz": 828.75}
    event = {"t_s": 0.25, "until_s": 1.0, "by": "gpu-throttle-alert"}
    going_on = dict(event, until_s=None)
    second = span(clock_changes=[change], throttle_events=[event, going_on], events_dropped=3)
    joined = joined_span([(0.0, span()), (10.0, second)], clips=1)
    assert joined["clock_changes"] == [dict(change, t_s=10.5)]
    assert [one["t_s"] for one in joined["throttle_events"]] == [10.25, 10.25]
    assert [one["until_s"] for one in joined["throttle_events"]] == [11.0, None]
    assert joined["events_dropped"] == 3


def test_throttling_is_of_any_part_and_unknown_is_not_none():
    unknown = {"before": None, "during": None, "after": None}
    during = {"before": True, "during": True, "after": False}
    reasons = {"throttled.during": "nothing tells", "throttled.after": "nothing tells"}
    hidden = span(throttled=unknown, missing=reasons)
    joined = joined_span([(0.0, span()), (3.0, span(throttled=during))], clips=1)
    assert joined["throttled"] == {"before": False, "during": True, "after": False}
    joined = joined_span([(0.0, hidden), (3.0, hidden)], clips=1)
    assert joined["throttled"]["during"] is None
    assert joined["missing"]["throttled.during"] == "nothing tells"


def warned_of(warmup=None, clocks_mhz=({}, {}), changes=()):
    """The warnings of a row in which nothing else is odd."""
    quiet = {"batches": 40, "elapsed_s": 2.0, "steady": True, "asked_s": None}
    repeats = [{"others_share": None, "clocks_mhz": clocks} for clocks in clocks_mhz]
    row = {"span": span(clock_changes=list(changes)), "spread": 0.01, "repeats": repeats}
    return warnings_of(dict(row, warmup=dict(quiet, **(warmup or {}))))


def test_a_warm_up_with_too_few_batches_to_tell_is_a_warning_unless_it_was_asked_for():
    few = {"batches": 3, "elapsed_s": 37.0, "steady": None}
    (warning,) = warned_of(few)
    assert "3 batches in 37 s of warm-up are too few" in warning
    assert "--warmup" in warning
    assert warned_of(dict(few, asked_s=3.0)) == []
    assert warned_of() == []
    (warning,) = warned_of(dict(few, steady=False))
    assert "still drifted" in warning


def test_a_clock_that_changed_between_two_repeats_is_a_warning():
    assert mean_clocks_mhz(span()) == {"gpu": 1300.5}
    same = ({"gpu": 1300.5, "cpu": 2000.0}, {"gpu": 1295.0, "cpu": 2050.0}, {"gpu": 1300.5})
    assert warned_of(clocks_mhz=same) == []
    apart = ({"gpu": 1300.5, "cpu": 2000.0}, {"gpu": 828.75, "cpu": 2000.0})
    (warning,) = warned_of(clocks_mhz=apart)
    assert warning == "the clock of GPU was 829 MHz in one repeat and 1300 MHz in another"
    change = {"t_s": 0.5, "clock": "GPU", "from_mhz": 1300.5, "to_mhz": 828.75}
    assert len(warned_of(clocks_mhz=apart, changes=[change])) == 1  # told once
