import pytest

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.truth import (
    TrueGesture,
    levenshtein,
    load_truth,
    measure,
    score_events,
    truth_table,
)

TRUTH = [TrueGesture(1.0, 3.0, "Left"), TrueGesture(5.0, 7.0, "Right")]


def event(time_s, label):
    return GestureEvent(time_s, label, 0.9, 5.0)


def test_right_events_count_once_each():
    score = score_events(TRUTH, [event(2.5, "Left"), event(7.5, "Right")])
    assert (score.right, len(score.extra)) == (2, 0)


def test_a_wrong_name_is_not_right():
    score = score_events(TRUTH, [event(2.5, "Right")])
    assert score.right == 0
    assert [match.event is None for match in score.matches] == [False, True]


def test_events_outside_every_gesture_are_extra():
    score = score_events(TRUTH, [event(0.5, "Left"), event(4.5, "Left"), event(9.0, "Right")])
    assert (score.right, len(score.extra)) == (0, 3)


def test_a_second_event_for_one_gesture_is_extra():
    score = score_events(TRUTH, [event(2.0, "Left"), event(2.8, "Left")])
    assert (score.right, len(score.extra)) == (1, 1)


def test_grace_does_not_reach_into_the_next_gesture():
    close = [TrueGesture(1.0, 3.0, "Left"), TrueGesture(3.2, 5.0, "Right")]
    score = score_events(close, [event(3.5, "Right")])
    assert [match.right for match in score.matches] == [False, True]


def test_the_first_event_of_a_gesture_decides_and_a_better_second_one_does_not_help():
    score = score_events(TRUTH, [event(2.0, "Right"), event(2.4, "Left")])
    assert (score.right, len(score.extra)) == (0, 1)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "", 3),
        ("", "ab", 2),
        ("abc", "axc", 1),
        ("abbc", "abc", 1),
        ("ac", "abc", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_the_distance_counts_what_must_be_put_in_left_out_or_changed(first, second, distance):
    assert levenshtein(list(first), list(second)) == distance


def test_measures_count_over_all_recordings():
    good = score_events(TRUTH, [event(2.5, "Left"), event(7.4, "Right")])
    bad = score_events(TRUTH, [event(2.5, "Right"), event(2.9, "Left"), event(9.5, "Left")])
    found = measure([good, bad])
    assert (found.gestures, found.events, found.right) == (4, 5, 2)
    # The second recording: Right, Left, Left for Left, Right.
    assert found.distance == 2
    assert found.levenshtein_accuracy == pytest.approx(1 - 2 / 4)
    assert found.precision == pytest.approx(2 / 5)
    assert found.recall == pytest.approx(2 / 4)
    assert found.f1 == pytest.approx(2 * (2 / 5) * (1 / 2) / (2 / 5 + 1 / 2))


def test_delays_are_those_of_right_events_from_start_and_end():
    found = measure([score_events(TRUTH, [event(2.5, "Left"), event(7.4, "Right")])])
    assert found.early_share == 0.5
    assert found.early_lead_s == pytest.approx(0.5)
    assert found.after_start_s == pytest.approx((1.5 + 2.4) / 2)
    assert found.after_end_s == pytest.approx((-0.5 + 0.4) / 2)
    assert found.after_end_p95_s == pytest.approx(0.355)


def test_where_nothing_is_right_there_are_no_delays():
    found = measure([score_events(TRUTH, [])])
    assert (found.levenshtein_accuracy, found.precision, found.f1) == (0.0, 0.0, 0.0)
    assert found.after_end_s is None
    assert measure([]).gestures == 0


def test_repeating_a_gesture_costs_as_much_as_missing_one():
    once = measure([score_events(TRUTH, [event(2.5, "Left")])])
    thrice = [event(2.5, "Left"), event(2.7, "Left"), event(7.0, "Right")]
    assert measure([score_events(TRUTH, thrice)]).distance == once.distance == 1


def test_the_table_names_every_gesture_every_extra_event_and_the_accuracy():
    text = truth_table(score_events(TRUTH, [event(2.5, "Left"), event(9.0, "Right")]))
    assert "1 of 2 gestures recognised, 1 event that belongs to none" in text
    assert "Levenshtein accuracy 1.00" in text
    assert "extra" in text
    assert "NO" in text


def test_a_truth_file_is_read_in_order_of_time(tmp_path):
    path = tmp_path / "truth.jsonl"
    path.write_text(
        '{"start_s": 5, "end_s": 7, "label": "Right"}\n\n{"start_s":1,"end_s":3,"label":"Left"}\n'
    )
    assert load_truth(path) == TRUTH


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"start_s": 1}', '{"start_s": "x"}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "truth.jsonl"
    path.write_text('{"start_s":1,"end_s":3,"label":"Left"}\n' + line)
    with pytest.raises(ClipedgeError, match="line 2"):
        load_truth(path)


def test_a_missing_truth_file_is_named(tmp_path):
    with pytest.raises(ClipedgeError, match="there is no such file"):
        load_truth(tmp_path / "none.jsonl")
