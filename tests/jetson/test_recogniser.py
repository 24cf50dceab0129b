"""What becomes an event, from score curves over time: each rule of the recogniser."""

import time

import numpy as np
import pytest

from clipedge.jetson.errors import SpecError
from clipedge.jetson.recogniser import Recogniser, RecogniserSettings, softmax

LABELS = ("Swiping Left", "Swiping Right", "No_gesture", "Doing other things")
LEFT, RIGHT, NOTHING = "Swiping Left", "Swiping Right", "No_gesture"
# Round numbers, so that the tests say what they mean whatever the defaults are tuned to.
SETTINGS = RecogniserSettings(
    threshold=0.5,
    early_lead=0.4,
    decide_s=1.0,
    smoothing_s=0.15,
    presence_on=0.6,
    presence_off=0.3,
    gesture_s=1.2,
    rearm_s=0.8,
    rearm_dip=0.5,
)


def sure(label, labels=LABELS, share=0.97):
    """Logits of a clip that is this label's."""
    scores = np.full(len(labels), (1.0 - share) / (len(labels) - 1))
    scores[labels.index(label)] = share
    return np.log(scores).astype(np.float32)


def torn(first, second, lead):
    """Logits of a clip that is one of two labels', the first by a small lead."""
    scores = np.full(len(LABELS), 1e-3)
    scores[LABELS.index(first)], scores[LABELS.index(second)] = 0.5 + lead / 2, 0.5 - lead / 2
    return np.log(scores).astype(np.float32)


def play(recogniser, script, rate_hz=12.0, presences=None):
    """Feed (logits or label, seconds) pairs; return (time, label, early) of each activation."""
    found, start_s = [], 0.0
    times = np.arange(int(sum(seconds for _, seconds in script) * rate_hz)) / rate_hz
    ends = np.cumsum([seconds for _, seconds in script])
    for time_s in times:
        part = script[int(np.searchsorted(ends, time_s, side="right"))][0]
        logits = sure(part) if isinstance(part, str) else part
        presence = None if presences is None else presences(time_s)
        activation = recogniser.update(logits, start_s + time_s, presence)
        if activation is not None:
            found.append((time_s, activation.label, activation.early))
    return found


def names(found):
    return [label for _, label, _ in found]


def test_one_gesture_gives_one_activation_however_long_it_stays_in_view():
    for seconds in (1.0, 2.0, 6.0):
        script = [(NOTHING, 2), (LEFT, seconds), (NOTHING, 2)]
        assert names(play(Recogniser(LABELS, SETTINGS), script)) == [LEFT]


def test_a_clear_gesture_is_named_early_while_it_is_made():
    found = play(Recogniser(LABELS, SETTINGS), [(NOTHING, 2), (LEFT, 2), (NOTHING, 2)])
    assert found[0][2]
    assert 2.2 < found[0][0] < 3.2


def test_a_gesture_that_leads_by_little_is_named_after_a_while():
    unsure = torn(LEFT, RIGHT, 0.2)
    settings = SETTINGS._replace(threshold=0.4)
    found = play(Recogniser(LABELS, settings), [(NOTHING, 2), (unsure, 3), (NOTHING, 2)])
    assert names(found) == [LEFT]
    assert not found[0][2]
    assert 2.95 < found[0][0] < 3.6  # decide_s after it began


def test_a_gesture_too_short_to_be_clear_is_named_when_it_is_over():
    found = play(Recogniser(LABELS, SETTINGS), [(NOTHING, 2), (LEFT, 0.5), (NOTHING, 2)])
    assert names(found) == [LEFT]
    assert not found[0][2]
    assert 2.5 < found[0][0] < 2.9


def test_a_gesture_under_way_is_named_when_the_recording_ends():
    recogniser = Recogniser(LABELS, SETTINGS)
    assert play(recogniser, [(NOTHING, 2), (LEFT, 0.5)]) == []
    last = recogniser.finish()
    assert (last.label, last.early) == (LEFT, False)
    assert recogniser.finish() is None


def test_a_recording_that_ends_after_its_gestures_adds_none():
    recogniser = Recogniser(LABELS, SETTINGS)
    assert recogniser.finish() is None
    assert names(play(recogniser, [(NOTHING, 1), (LEFT, 2)])) == [LEFT]
    assert recogniser.finish() is None


def test_the_same_gesture_made_twice_gives_two_activations():
    script = [(NOTHING, 1), (LEFT, 1.5), (NOTHING, 2), (LEFT, 1.5), (NOTHING, 1)]
    assert names(play(Recogniser(LABELS, SETTINGS), script)) == [LEFT, LEFT]


def test_a_pause_too_short_for_presence_to_end_still_separates_two_of_a_kind():
    valley = np.log(np.array([0.3, 0.3, 0.35, 0.05], np.float32))
    script = [(NOTHING, 1), (LEFT, 1.5), (valley, 0.6), (LEFT, 1.5), (NOTHING, 1)]
    recogniser = Recogniser(LABELS, SETTINGS)
    presences = []
    found = []
    for part in script:
        found += play(recogniser, [part])
        presences.append(recogniser.presence)
    recogniser.reset()
    assert presences[2] > SETTINGS.presence_off
    assert names(play(recogniser, script)) == [LEFT, LEFT]


def test_a_score_that_wavers_above_the_dip_is_one_gesture():
    wavering = sure(LEFT, share=0.7)
    script = [(NOTHING, 1), (LEFT, 1.0), (wavering, 0.5), (LEFT, 1.0), (NOTHING, 1)]
    assert names(play(Recogniser(LABELS, SETTINGS), script)) == [LEFT]


def test_another_gesture_right_after_needs_no_pause():
    script = [(NOTHING, 1), (LEFT, 1.5), (RIGHT, 1.5), (NOTHING, 1)]
    assert names(play(Recogniser(LABELS, SETTINGS), script)) == [LEFT, RIGHT]


def test_a_glimpse_of_another_gesture_while_one_is_in_view_is_not_named():
    script = [(NOTHING, 1), (LEFT, 1.5), (RIGHT, 0.25), (LEFT, 0.5), (NOTHING, 1)]
    assert names(play(Recogniser(LABELS, SETTINGS), script)) == [LEFT]


def test_two_activations_are_rearm_s_apart():
    script = [(NOTHING, 1), (LEFT, 1.2), (RIGHT, 1.2), (LEFT, 1.2), (RIGHT, 1.2), (NOTHING, 1)]
    for rearm_s in (0.2, 1.5):
        found = play(Recogniser(LABELS, SETTINGS._replace(rearm_s=rearm_s)), script)
        assert len(found) >= 2
        assert np.diff([time_s for time_s, _, _ in found]).min() >= rearm_s - 1e-5


def test_background_labels_are_never_named():
    script = [(NOTHING, 5), ("Doing other things", 5)]
    assert play(Recogniser(LABELS, SETTINGS), script) == []


def test_a_flash_is_not_named():
    script = [(NOTHING, 2), (LEFT, 0.1), (NOTHING, 2)]
    assert play(Recogniser(LABELS, SETTINGS), script) == []


def test_the_very_first_clip_names_nothing():
    assert play(Recogniser(LABELS, SETTINGS), [(LEFT, 0.09), (NOTHING, 3)]) == []


def test_a_higher_threshold_names_later_or_never():
    blurred = sure(LEFT, share=0.8)
    script = [(NOTHING, 1), (blurred, 2), (NOTHING, 1)]
    assert play(Recogniser(LABELS, SETTINGS), script)
    assert not play(Recogniser(LABELS, SETTINGS._replace(threshold=0.9)), script)


def test_a_label_may_have_a_threshold_of_its_own():
    blurred = sure(LEFT, share=0.8)
    script = [(NOTHING, 1), (blurred, 2), (NOTHING, 2), (RIGHT, 2), (NOTHING, 1)]
    settings = SETTINGS._replace(thresholds={"swiping_left": 0.9})
    assert names(play(Recogniser(LABELS, settings), script)) == [RIGHT]
    settings = SETTINGS._replace(threshold=0.9, thresholds={LEFT: 0.5})
    assert names(play(Recogniser(LABELS, settings), script)) == [LEFT, RIGHT]


@pytest.mark.parametrize("lists", [{"deny": ("swiping left",)}, {"allow": (RIGHT,)}])
def test_a_denied_label_is_not_told_and_nothing_is_told_in_its_place(lists):
    script = [(NOTHING, 1), (torn(LEFT, RIGHT, 0.4), 2), (NOTHING, 2), (RIGHT, 2), (NOTHING, 1)]
    found = play(Recogniser(LABELS, SETTINGS._replace(**lists)), script)
    assert names(found) == [RIGHT]
    assert found[0][0] > 5.0


def test_a_detector_says_when_there_is_a_gesture():
    script = [(LEFT, 6)]
    found = play(Recogniser(LABELS, SETTINGS), script, presences=lambda at: 0.95 * (2.0 < at < 4.0))
    assert names(found) == [LEFT]
    assert 2.0 < found[0][0] < 3.5
    assert play(Recogniser(LABELS, SETTINGS), script, presences=lambda at: 0.1) == []


def test_while_the_detector_sees_nothing_the_classifier_may_rest():
    recogniser = Recogniser(LABELS, SETTINGS)
    play(recogniser, [(LEFT, 2)], presences=lambda at: 0.9)
    for step in range(24):
        assert recogniser.update(None, 2.0 + step / 12.0, 0.02) is None
    assert recogniser.presence < 0.05
    assert recogniser.scores[LABELS.index(NOTHING)] == pytest.approx(0.5, abs=0.01)


def test_a_model_without_background_goes_by_how_sure_it_is():
    labels = ("circle", "horizontal", "vertical")
    even = np.zeros(3, np.float32)
    recogniser = Recogniser(labels, SETTINGS)
    script = [(even, 2), (sure("circle", labels), 2), (even, 2), (sure("circle", labels), 2)]
    assert names(play(recogniser, script + [(even, 1)])) == ["circle", "circle"]
    assert recogniser.presence < 0.05


@pytest.mark.parametrize("rate_hz", [12, 15, 25, 30, 60])
def test_the_same_scores_over_time_give_the_same_events_at_any_rate(rate_hz):
    valley = np.log(np.array([0.3, 0.3, 0.35, 0.05], np.float32))
    script = [
        (NOTHING, 2),
        (LEFT, 1.5),
        (valley, 0.6),
        (LEFT, 1.5),
        (NOTHING, 1.5),
        (torn(RIGHT, LEFT, 0.2), 1.8),
        (NOTHING, 2),
        (RIGHT, 0.6),
        (NOTHING, 1),
    ]
    found = play(Recogniser(LABELS, SETTINGS), script, rate_hz)
    often = play(Recogniser(LABELS, SETTINGS), script, 240)
    assert names(found) == names(often) == [LEFT, LEFT, RIGHT, RIGHT]
    for one, other in zip(found, often):
        assert one[0] == pytest.approx(other[0], abs=1.5 / rate_hz)


def test_a_new_start_forgets_the_old_scores():
    recogniser = Recogniser(LABELS, SETTINGS)
    play(recogniser, [(LEFT, 2)])
    recogniser.reset()
    assert recogniser.scores is None
    assert recogniser.presence is None
    assert names(play(recogniser, [(LEFT, 2)])) == [LEFT]


@pytest.mark.parametrize("smoothing_s", [0.0, 0.3])
def test_scores_stay_a_distribution(smoothing_s):
    recogniser = Recogniser(LABELS, SETTINGS._replace(smoothing_s=smoothing_s))
    play(recogniser, [(LEFT, 0.5), (NOTHING, 0.3)])
    assert recogniser.scores.sum() == pytest.approx(1.0, abs=1e-5)


def test_softmax_survives_large_logits():
    scores = softmax(np.array([1e4, 0.0, -1e4], np.float32))
    assert np.array_equal(scores, [1, 0, 0])


def test_settings_that_name_a_label_the_model_lacks_are_refused():
    with pytest.raises(SpecError, match=r"deny names 'Swiping Up'.*Swiping"):
        Recogniser(LABELS, SETTINGS._replace(deny=("Swiping Up",)))


def test_an_update_allocates_nothing_that_stays_and_costs_little():
    tracemalloc = pytest.importorskip("tracemalloc")
    labels = tuple(f"gesture {number}" for number in range(25)) + ("No gesture", "Other")
    recogniser = Recogniser(labels)
    rows = np.random.RandomState(1).randn(100, 27).astype(np.float32) * 4

    def run(first, count):
        for step in range(first, first + count):
            recogniser.update(rows[step % 100], step / 12.0)

    run(0, 200)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(200, 2000)
        assert tracemalloc.get_traced_memory()[0] - before < 10000
    finally:
        tracemalloc.stop()
    fastest_s = 1.0
    for turn in range(20):  # the best of many turns: other processes share the machine
        started_s = time.perf_counter()
        run(3000 + turn * 100, 100)
        fastest_s = min(fastest_s, (time.perf_counter() - started_s) / 100)
    assert fastest_s < 200e-6  # 20 us here; the board is several times slower
