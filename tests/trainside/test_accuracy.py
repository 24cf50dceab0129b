"""Accuracy from scores, and the picture of what is taken for what."""

import json
import warnings

import numpy as np
import pytest

from clipedge.jetson.errors import ClipedgeError
from clipedge.trainside.accuracy import measure, wilson_interval
from clipedge.trainside.confusion import draw_confusion
from clipedge.trainside.data.gestures import LABELS
from clipedge.trainside.scoring import Scores


def make_scores(scores, targets, videos) -> Scores:
    return Scores(np.array(scores, np.float32), np.array(targets), np.array(videos), [])


def read_png(path):
    import cv2

    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def blue_cells(picture) -> int:
    """Number of pixels in the darkest blue: cells that hold all clips of a class."""
    return int((np.abs(picture.astype(int) - (107, 48, 8)).max(axis=2) < 8).sum())


def test_a_video_is_judged_by_the_mean_of_its_clips():
    scores = [[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.9, 0.1]]
    accuracy = measure(make_scores(scores, [1, 1, 1, 0], [7, 7, 7, 9]), ("a", "b"))
    assert (accuracy.clips, accuracy.videos) == (4, 2)
    assert accuracy.clip_top1 == pytest.approx(0.5)
    assert accuracy.video_top1 == pytest.approx(1.0)
    assert accuracy.classes == [("a", 1, 1.0, ""), ("b", 3, pytest.approx(1 / 3), "a")]
    assert accuracy.confusion.tolist() == [[1, 0], [2, 1]]


def test_top5_counts_the_five_best():
    scores = np.tile(np.arange(7.0)[::-1], (7, 1))
    accuracy = measure(make_scores(scores, range(7), range(7)), tuple("abcdefg"))
    assert accuracy.clip_top5 == accuracy.video_top5 == pytest.approx(5 / 7)
    assert accuracy.clip_top1 == pytest.approx(1 / 7)
    assert "top-5 71.4%" in accuracy.summary()


def test_top5_of_five_classes_says_nothing_instead_of_100_percent():
    accuracy = measure(make_scores(np.eye(5), range(5), range(5)), tuple("abcde"))
    assert accuracy.clip_top5 is None and accuracy.video_top5 is None
    assert "top-5" not in accuracy.summary()
    assert "top-5 says nothing with 5 classes" in accuracy.caveat()


def test_three_of_four_right_is_not_75_percent():
    low, high = wilson_interval(0.75, 4)  # Wilson 1927, as statsmodels' proportion_confint gives
    assert (low, high) == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
    assert wilson_interval(1.0, 10) == (pytest.approx(0.7225, abs=1e-4), pytest.approx(1.0))
    assert wilson_interval(0.0, 10)[0] == 0.0


def test_many_clips_of_one_video_are_not_taken_for_many_trials():
    scores = np.tile([0.9, 0.1], (400, 1))
    accuracy = measure(make_scores(scores, [0] * 400, [1, 2, 3, 4] * 100), ("a", "b"))
    assert accuracy.clip_interval == accuracy.video_interval == wilson_interval(1.0, 4)


@pytest.mark.parametrize("count", [2, 27, 101])
def test_a_confusion_matrix_grows_with_its_classes(tmp_path, count):
    labels = LABELS if count == 27 else [f"class of the number {one}" for one in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(3 * np.eye(count, dtype=int), labels, tmp_path / "a.png")
    height, width = read_png(tmp_path / "a.png").shape[:2]
    assert min(height, width) > 11 * count
    assert max(height, width) < 3000


def test_the_cells_of_right_clips_are_dark(tmp_path):
    right, wrong = np.array([[5, 0], [0, 7]]), np.array([[3, 2], [3, 4]])
    draw_confusion(right, ["a", "b"], tmp_path / "right.png")
    draw_confusion(wrong, ["a", "b"], tmp_path / "wrong.png")
    assert blue_cells(read_png(tmp_path / "right.png")) > 10_000
    assert blue_cells(read_png(tmp_path / "wrong.png")) < 2_000  # the colour bar's end


@pytest.mark.parametrize(
    "label", ["手を振る", "Жест", "لوحة", "a $\\frac$ gesture", "two\nlines", "👋", "x" * 300, " "]
)
def test_any_label_can_be_drawn_without_a_warning(tmp_path, label, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(np.eye(2, dtype=int), [label, "other"], tmp_path / "a.png")
    assert read_png(tmp_path / "a.png").shape[1] < 1000
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == []


def test_classes_without_clips_take_no_room(tmp_path):
    counts = np.zeros((300, 300), int)
    counts[7, 9], counts[9, 9] = 1, 1
    draw_confusion(counts, [f"class {one}" for one in range(300)], tmp_path / "a.png")
    assert max(read_png(tmp_path / "a.png").shape) < 1000


def test_no_clips_at_all_still_give_a_picture(tmp_path):
    draw_confusion(np.zeros((3, 3), int), ["a", "b", "c"], tmp_path / "a.png")
    assert blue_cells(read_png(tmp_path / "a.png")) < 2_000


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ClipedgeError, match="folder"):
        draw_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_figures_are_plain_numbers():
    accuracy = measure(make_scores(np.eye(7), range(7), range(7)), tuple("abcdefg"))
    json.dumps([accuracy.clip_top1, accuracy.clip_top5, accuracy.clip_interval, accuracy.classes])
