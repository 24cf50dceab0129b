"""train-clips fit: it learns, saves whole checkpoints, and says what is wrong before it starts."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
import torch

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import load_checkpoint
from clipedge.trainside.cli import main
from clipedge.trainside.data.windows import Windows
from clipedge.trainside.models import create_model
from clipedge.trainside.training import Recipe, one_cycle, score_windows, train

LABELS = ("left", "still", "right")
SPEC = ClipSpec("shufflenetv2", LABELS, width=0.25, size=32, frames=8)
TINY = ["--model", "shufflenetv2", "--width", "0.25", "--size", "32", "--threads", "2"]


@pytest.fixture(scope="module")
def windows() -> Windows:
    """Clips of a bright bar that goes left, stays or goes right, with hints that tell its place."""
    rng = np.random.default_rng(0)
    targets = np.arange(48) % 3
    frames = rng.integers(0, 60, (48, *SPEC.clip_shape)).astype(np.uint8)
    places = 16 + np.outer(targets - 1, np.arange(SPEC.frames) - 3.5) * 3
    for clip, frame in np.ndindex(places.shape):
        left = int(places[clip, frame])
        frames[clip, :, frame, :, left - 3 : left + 3] += 150
    hints = np.repeat(((places - 16) / 16)[..., None], 10, axis=2).reshape(48, -1)
    return Windows(frames, targets, np.arange(48), hints.astype(np.float32), LABELS, [])


def fresh_model():
    torch.manual_seed(0)
    return create_model("shufflenetv2", 0.25, len(LABELS), dropout=0.0)


def recipe(**changes) -> Recipe:
    values = {"epochs": 8, "batch": 16, "learning_rate": 0.005, "seed": 0, "threads": 2}
    return Recipe(**{**values, "mirrored": {"left": "right", "right": "left"}, **changes})


def test_training_learns_what_it_is_shown(windows):
    model = fresh_model()
    first = train(model, windows, SPEC, recipe(epochs=1))
    later = train(model, windows, SPEC, recipe(epochs=20))
    assert later.loss < 0.6 * first.loss
    scores = score_windows(model, windows, SPEC, batch=32)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-4)
    assert (scores.argmax(1) == windows.targets).mean() > 0.9


def test_more_cores_than_a_batch_can_feed_do_no_harm(windows):
    """Batch normalisation must not average over crumbs, nor over replicas that never ran."""
    models = [fresh_model() for _ in range(2)]
    for model, threads in zip(models, (2, 16), strict=True):
        train(model, windows, SPEC, recipe(epochs=2, threads=threads))
    few, many = (model.state_dict() for model in models)
    assert all(torch.equal(few[name], many[name]) for name in few)


def test_a_folder_called_synthetic_is_not_taken_for_generated(tmp_path, write_video, grey_ramp):
    for name in ("wave", "left"):
        for number in range(3):
            write_video(tmp_path / "synthetic" / name / f"{number}.avi", grey_ramp(60), 12.0)
    output = tmp_path / "m.pt"
    arguments = ["--data", str(tmp_path / "synthetic"), "--epochs", "1", "--batch", "2"]
    assert main(["fit", *TINY, "--frames", "8", *arguments, "--output", str(output)]) == 0
    spec = load_checkpoint(output).spec
    assert spec.labels == ("left", "wave")
    assert spec.dataset == "synthetic_folder"


def test_the_same_seed_gives_the_same_weights(windows):
    models = [fresh_model() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, windows, SPEC, recipe(epochs=1, seed=seed))
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_an_ordinary_model(windows):
    model = fresh_model()
    names = list(model.state_dict())
    train(model, windows, SPEC, recipe(epochs=1))
    assert list(model.state_dict()) == names
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_training_ends_when_its_minutes_are_over(windows):
    started_s = time.monotonic()
    done = train(fresh_model(), windows, SPEC, recipe(epochs=100000, minutes=0.03))
    assert time.monotonic() - started_s < 10.0
    assert done.steps > 1


def test_a_loss_that_is_not_finite_ends_the_training(windows):
    model = fresh_model()
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    with pytest.raises(ClipedgeError, match="learning-rate"):
        train(model, windows, SPEC, recipe())


def test_the_learning_rate_rises_once_and_falls_to_nothing():
    rates = np.array([one_cycle(part) for part in np.linspace(0, 1, 101)])
    top = rates.argmax()
    assert rates[top] == pytest.approx(1.0)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_fit_on_a_folder_saves_a_checkpoint_that_evaluate_reads(classes, tmp_path, capsys):
    output = tmp_path / "out" / "two.pt"
    arguments = ["--data", str(classes), "--output", str(output), "--batch", "4", "--epochs", "6"]
    assert main(["fit", *TINY, *arguments]) == 0
    out = capsys.readouterr().out
    assert "validation: clip top-1" in out
    assert [path.name for path in output.parent.iterdir()] == ["two.pt"]
    checkpoint = load_checkpoint(output)
    assert checkpoint.spec.labels == ("bright", "dark")
    assert checkpoint.spec.dataset == "clips"
    assert checkpoint.spec.size == 32
    assert checkpoint.extra["data"] == str(classes.resolve())
    assert checkpoint.extra["validation_top1"] >= 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "shufflenetv9"], 2, "did you mean"),
        (["--model", "shufflenetv1", "--width", "0.7"], 2, "0.5"),
        ([*TINY, "--data", "{tmp}/none"], 2, "no such folder"),
        ([*TINY, "--data", "{tmp}/empty"], 2, "at least two classes"),
        ([*TINY, "--output", "{tmp}/file/x.pt"], 1, "folder is needed"),
        ([*TINY, "--output", "{tmp}/empty"], 2, "is a folder"),
        ([*TINY, "--batch", "1"], 2, "2 or more"),
        ([*TINY, "--seed", "-3"], 2, "0 or more"),
    ],
)
def test_a_wrong_call_is_told_in_a_line_or_two(tmp_path, capsys, arguments, status, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert main(["fit", "--clips", "8", *arguments]) == status
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_a_folder_of_damaged_videos_alone_is_told(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "clips" / name / f"{number}.mp4").write_bytes(b"nothing")
    output = tmp_path / "x.pt"
    assert main(["fit", *TINY, "--data", str(tmp_path / "clips"), "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert "0.mp4" in error
    assert not output.exists()


def test_interrupting_leaves_no_file_and_no_process(tmp_path, command):
    output = tmp_path / "x.pt"
    call = [command("train-clips"), "fit", *TINY, "--output", str(output), "--clips", "20000"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stderr is not None
    seen = b""
    while b"training clips" not in seen:
        seen += process.stderr.read(1)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes at once
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in rest
    assert b"interrupted" in rest
    assert list(tmp_path.iterdir()) == []
    assert _ends(process.pid)


def _ends(group: int) -> bool:
    """Whether all processes of a group are gone within a few seconds."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
