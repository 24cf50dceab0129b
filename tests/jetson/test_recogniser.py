import numpy as np
import pytest

from clipedge.jetson.recogniser import Recogniser, RecogniserSettings, softmax

LABELS = ("Swiping Left", "Swiping Right", "No_gesture", "Doing other things")


def play(recogniser, script, step_s=0.1):
    """Feed (label, seconds) pairs as confident logits; return the activations with their times."""
    activations, time_s = [], 0.0
    for label, seconds in script:
        logits = np.zeros(len(LABELS), np.float32)
        logits[LABELS.index(label)] = 8.0
        for _ in range(round(seconds / step_s)):
            activation = recogniser.update(logits, time_s)
            if activation is not None:
                activations.append((round(time_s, 2), activation.label))
            time_s += step_s
    return activations


def names(activations):
    return [label for _, label in activations]


def test_one_gesture_gives_one_activation():
    script = [("No_gesture", 2), ("Swiping Left", 2), ("No_gesture", 2)]
    assert names(play(Recogniser(LABELS), script)) == ["Swiping Left"]


def test_the_same_gesture_made_twice_gives_two_activations():
    script = [("No_gesture", 1), ("Swiping Left", 1.5), ("No_gesture", 2), ("Swiping Left", 1.5)]
    assert names(play(Recogniser(LABELS), script)) == ["Swiping Left", "Swiping Left"]


def test_background_labels_are_never_named():
    script = [("No_gesture", 5), ("Doing other things", 5)]
    assert play(Recogniser(LABELS), script) == []


def test_a_flash_shorter_than_the_smoothing_is_not_named():
    script = [("No_gesture", 2), ("Swiping Left", 0.1), ("No_gesture", 2)]
    assert play(Recogniser(LABELS), script) == []


def test_the_very_first_clip_names_nothing():
    assert play(Recogniser(LABELS), [("Swiping Left", 0.1), ("No_gesture", 3)]) == []


def test_a_higher_threshold_names_later_or_never():
    script = [("No_gesture", 1), ("Swiping Left", 0.4), ("No_gesture", 1)]
    assert play(Recogniser(LABELS, RecogniserSettings(threshold=0.5)), script)
    assert not play(Recogniser(LABELS, RecogniserSettings(threshold=0.95)), script)


def test_the_moment_does_not_depend_on_how_often_clips_are_scored():
    script = [("No_gesture", 2), ("Swiping Right", 2)]
    seldom = play(Recogniser(LABELS), script, step_s=0.1)[0][0]
    often = play(Recogniser(LABELS), script, step_s=0.02)[0][0]
    assert abs(seldom - often) <= 0.1


def test_a_new_start_forgets_the_old_scores():
    recogniser = Recogniser(LABELS)
    play(recogniser, [("Swiping Left", 2)])
    recogniser.reset()
    assert recogniser.scores is None
    assert names(play(recogniser, [("Swiping Left", 2)])) == ["Swiping Left"]


def test_softmax_survives_large_logits():
    scores = softmax(np.array([1e4, 0.0, -1e4], np.float32))
    assert np.array_equal(scores, [1, 0, 0])


@pytest.mark.parametrize("smoothing_s", [0.0, 0.3])
def test_scores_stay_a_distribution(smoothing_s):
    recogniser = Recogniser(LABELS, RecogniserSettings(smoothing_s=smoothing_s))
    play(recogniser, [("Swiping Left", 0.5), ("No_gesture", 0.3)])
    assert recogniser.scores.sum() == pytest.approx(1.0, abs=1e-5)
