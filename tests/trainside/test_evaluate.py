"""train-clips evaluate, and the accuracies it reports."""

import json

import numpy as np
import pytest

from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.accuracy import measure
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.cli import main
from clipedge.trainside.data.gestures import LABELS
from clipedge.trainside.data.windows import Windows
from clipedge.trainside.models import create_model


def make_windows(targets, videos, labels) -> Windows:
    count = len(targets)
    frames = np.zeros((count, 3, 1, 1, 1), np.uint8)
    hints = np.zeros((count, 0), np.float32)
    return Windows(frames, np.array(targets), np.array(videos), hints, labels, [])


def save(path, labels, **extra):
    spec = ClipSpec("shufflenetv2", tuple(labels), width=0.25, size=32, dataset="test")
    save_checkpoint(path, create_model("shufflenetv2", 0.25, len(labels)), spec, **extra)
    return path


def test_a_video_is_judged_by_the_mean_of_its_clips():
    scores = np.array([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.9, 0.1]])
    accuracy = measure(scores, make_windows([1, 1, 1, 0], [7, 7, 7, 9], ("a", "b")))
    assert (accuracy.clips, accuracy.videos) == (4, 2)
    assert accuracy.clip_top1 == pytest.approx(0.5)
    assert accuracy.video_top1 == pytest.approx(1.0)
    assert accuracy.classes == [("a", 1, 1.0, ""), ("b", 3, pytest.approx(1 / 3), "a")]


def test_top5_counts_the_five_best():
    scores = np.tile(np.arange(7.0)[::-1], (7, 1))
    accuracy = measure(scores, make_windows(range(7), range(7), tuple("abcdefg")))
    assert accuracy.clip_top5 == pytest.approx(5 / 7)
    assert accuracy.clip_top1 == pytest.approx(1 / 7)


def test_evaluate_prints_json_for_generated_clips(tmp_path, capsys):
    checkpoint = save(tmp_path / "x.pt", LABELS)
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--clips", "54", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["clips"] == result["videos"] == 54
    assert 0.0 <= result["clip_top1"] <= result["clip_top5"] <= 1.0
    assert [one["label"] for one in result["classes"]] == list(LABELS)


def test_evaluate_measures_a_folder_in_the_models_order_of_classes(classes, tmp_path, capsys):
    checkpoint = save(tmp_path / "x.pt", ("other", "dark", "bright"))
    call = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(classes)]
    assert main([*call, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["videos"] == 10
    assert [one["label"] for one in result["classes"]] == ["dark", "bright"]
    assert main([*call, "--part", "validation"]) == 0
    assert "(2 videos)" in capsys.readouterr().out


def test_videos_the_model_was_trained_on_are_left_out(classes, tmp_path, capsys):
    extra = {"data": str(classes.resolve())}
    checkpoint = save(tmp_path / "x.pt", ("dark", "bright"), **extra)
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--data", str(classes)]) == 0
    assert "(validation videos)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "data", "status", "message"),
    [
        (("x", "y"), "synthetic", 2, "other classes"),
        (("x", "y"), "{classes}", 2, "no class 'bright'"),
        (("x", "y"), "{tmp}/none", 2, "no such folder"),
    ],
)
def test_data_of_other_classes_is_refused(classes, tmp_path, capsys, labels, data, status, message):
    checkpoint = save(tmp_path / "x.pt", labels)
    data = data.replace("{classes}", str(classes)).replace("{tmp}", str(tmp_path))
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--data", data]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_checkpoint_that_is_none_is_refused(tmp_path, capsys):
    (tmp_path / "x.pt").write_bytes(b"nonsense")
    assert main(["evaluate", "--checkpoint", str(tmp_path / "x.pt")]) == 1
    assert main(["evaluate", "--checkpoint", str(tmp_path / "none.pt")]) == 2
    assert "Traceback" not in capsys.readouterr().err
