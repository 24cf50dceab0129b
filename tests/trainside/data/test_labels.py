"""Which label a mirror image has."""

import pytest

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.gestures import MIRRORED
from clipedge.trainside.data.labels import JESTER_LABELS, dataset_labels, mirrored_labels


def test_jesters_labels_are_swapped_as_the_generated_gestures_are():
    found = mirrored_labels(JESTER_LABELS, "swap")
    assert list(found) == list(JESTER_LABELS)
    assert {label: other for label, other in found.items() if label != other} == MIRRORED


def test_the_labels_of_ucf101_name_no_direction():
    labels = dataset_labels("ucf101")
    assert mirrored_labels(labels, "swap") == mirrored_labels(labels, "same")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("swipe left", "swipe right"),
        ("LEFT", "right"),
        ("SwipeLeft", "SwipeRight"),
        ("left_hand_2", "right_hand_2"),
        ("Left2", "Right2"),
        ("left to right", "right to left"),
        ("circle_cw", "circle_ccw"),
        ("turn clockwise", "turn counter-clockwise"),
        ("Turn Clockwise", "turn anticlockwise"),
        ("TurnClockwise", "TurnCounterClockwise"),
        ("clockwise from the left", "counterclockwise from the right"),
        ("leftwards", "rightward"),
        ("caf\u00e9 left", "caf\u00e9 right"),
    ],
)
def test_left_and_right_change_places_however_they_are_written(first, second):
    found = mirrored_labels((first, "stop", second), "swap")
    assert found == {first: second, "stop": "stop", second: first}


@pytest.mark.parametrize(
    "label",
    ["copyright", "leftover", "bright", "Wright", "upright", "cleft", "Brightly", "clockwork"],
)
def test_a_word_that_only_holds_a_direction_is_none(label):
    assert mirrored_labels((label, "stop"), "swap") == {label: label, "stop": "stop"}


def test_a_direction_without_its_partner_is_an_error_that_tells_the_way_out():
    with pytest.raises(UsageError, match=r"'swipe left' would be 'swipe right'.*--flip none"):
        mirrored_labels(("swipe left", "stop"), "swap")
    with pytest.raises(UsageError, match=r"could be that of 'swipe_right' or 'Swipe Right'"):
        mirrored_labels(("swipe left", "swipe_right", "Swipe Right"), "swap")


def test_the_other_ways_look_at_no_words():
    assert mirrored_labels(("swipe left", "stop"), "none") is None
    assert mirrored_labels(("left", "stop"), "same") == {"left": "left", "stop": "stop"}
    with pytest.raises(UsageError, match="'swop' is no way"):
        mirrored_labels(("left", "stop"), "swop")
