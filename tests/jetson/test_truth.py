import pytest

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.truth import TrueGesture, load_truth, score_events

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
    with pytest.raises(ClipedgeError, match="cannot be read"):
        load_truth(tmp_path / "none.jsonl")
