"""The training itself: it learns, repeats, ends when it should, and leaves an ordinary model."""

import errno
import os
import pathlib
import time

import numpy as np
import pytest
import torch

from clipedge.jetson import files
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.callbacks import KeepBest
from clipedge.trainside.data.samples import Sample, VideoClips
from clipedge.trainside.learner import ClipLearner, one_cycle, rank
from clipedge.trainside.models import create_model
from clipedge.trainside.recipes import recipe_with
from clipedge.trainside.run_folder import RunFolder
from clipedge.trainside.scoring import ModelScorer, score_videos
from clipedge.trainside.training import Machine, train

LABELS = ("left", "still", "right")
SPEC = ClipSpec("shufflenetv2", LABELS, width=0.25, size=32, frames=8)
ALONE = Machine(devices=1, workers=0)
COUNT = 24


class Bars(torch.utils.data.Dataset):
    """Clips of a bright bar that goes left, stays or goes right, with hints that tell its place."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.targets = np.arange(COUNT) % 3
        self.frames = rng.integers(0, 60, (COUNT, *SPEC.clip_shape)).astype(np.uint8)
        places = 16 + np.outer(self.targets - 1, np.arange(SPEC.frames) - 3.5) * 3
        for clip, frame in np.ndindex(places.shape):
            left = int(places[clip, frame])
            self.frames[clip, :, frame, :, left - 3 : left + 3] += 150
        self.hints = np.repeat((places - 16) / 16, 10, axis=1).astype(np.float32)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        rng = np.random.default_rng((epoch, index))
        gain, offset = rng.uniform(0.9, 1.1, 3), rng.uniform(-5, 5, 3)
        target = int(self.targets[index])
        return Sample(
            self.frames[index],
            gain.astype(np.float32),
            offset.astype(np.float32),
            target,
            self.hints[index],
            ("one is damaged",) if index == 7 else (),
        )


class BarVideos(torch.utils.data.Dataset):
    """The same as videos of one clip; with a ``shift`` all labels are wrong."""

    def __init__(self, shift: int = 0, damaged: int = 0) -> None:
        self._bars = Bars()
        self._shift = shift
        self._damaged = damaged  # of the first ones

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> VideoClips:
        target = (int(self._bars.targets[index]) + self._shift) % 3
        frames = self._bars.frames[index][None]
        if index < self._damaged:
            return VideoClips(frames[:0], target, index, f"{index} is damaged")
        return VideoClips(frames, target, index)


def fresh_model(dropout=0.0):
    torch.manual_seed(0)
    return create_model("shufflenetv2", 0.25, len(LABELS), dropout=dropout)


def recipe(**changes):
    values = {"epochs": 2, "batch": 8, "learning_rate": 0.005, "epoch_clips": 0, **changes}
    return recipe_with("quick", values)


def run(model, folder, recipe, validation=None, seed=0, machine=ALONE, minutes=None):
    learner = ClipLearner(model, SPEC, recipe, seed, hints=80, minutes=minutes)
    return train(learner, Bars(), validation, recipe, machine, RunFolder(folder), seed)


def test_training_learns_what_it_is_shown(tmp_path):
    model = fresh_model()
    done = run(model, tmp_path, recipe(epochs=16), BarVideos())
    assert done.steps == 16 * 3
    assert done.clips == 16 * COUNT
    scores = score_videos(ModelScorer(model, SPEC, 32), BarVideos(), 0)
    assert (scores.scores.argmax(1) == scores.targets).mean() > 0.9
    rows = RunFolder(tmp_path).read_metrics()
    assert [int(row["epoch"]) for row in rows] == list(range(1, 17))
    assert float(rows[-1]["training_loss"]) < 0.6 * float(rows[0]["training_loss"])
    assert float(rows[-1]["validation_top1"]) > 0.9


def test_the_same_seed_gives_the_same_weights(tmp_path):
    models = []
    for number, seed in enumerate((1, 1, 2)):
        models.append(fresh_model(dropout=0.5))
        run(models[-1], tmp_path / str(number), recipe(epochs=1), seed=seed)
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_an_ordinary_model(tmp_path):
    model = fresh_model()
    names = list(model.state_dict())
    run(model, tmp_path, recipe(epochs=1))
    assert list(model.state_dict()) == names
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert all(weight.is_contiguous() for weight in model.parameters())


def test_recordings_that_cannot_be_read_are_listed_once(tmp_path):
    done = run(fresh_model(), tmp_path, recipe())
    assert done.problems == ("one is damaged",)
    assert RunFolder(tmp_path).damaged.read_text() == "one is damaged\n"


def test_training_ends_when_its_minutes_are_over(tmp_path):
    started_s = time.monotonic()
    done = run(fresh_model(), tmp_path, recipe(epochs=100000), minutes=0.03)
    assert time.monotonic() - started_s < 15.0
    assert done.steps > 1
    (*_, last) = RunFolder(tmp_path).read_metrics()
    assert float(last["learning_rate"]) < 0.0005  # a tenth of the highest


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    model = fresh_model()
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    with pytest.raises(ClipedgeError, match="learning-rate"):
        run(model, tmp_path, recipe())


def test_weights_that_are_not_finite_are_not_saved(tmp_path, monkeypatch):
    """They become so after the last look at the loss."""

    def spoil(learner: ClipLearner, *_: object) -> None:
        next(learner.model.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(ClipLearner, "on_train_batch_end", spoil)
    with pytest.raises(ClipedgeError, match="weights are no longer finite"):
        run(fresh_model(), tmp_path, recipe(epochs=1, batch=24))
    assert not RunFolder(tmp_path).last.exists()


def test_videos_that_cannot_be_read_leave_the_figures_of_the_others(tmp_path):
    """The first step of validation has none that can."""
    model, videos = fresh_model(), BarVideos(damaged=9)
    done = run(model, tmp_path, recipe(epochs=1, validation_clips=1), videos)
    (row,) = RunFolder(tmp_path).read_metrics()
    scores = score_videos(ModelScorer(model, SPEC, 32), videos, 0)
    assert len(scores.targets) == COUNT - 9
    right = (scores.scores.argmax(1) == scores.targets).mean()
    assert float(row["validation_top1"]) == pytest.approx(right, abs=1e-4)
    loss = -np.log(scores.scores[np.arange(COUNT - 9), scores.targets]).mean()
    assert float(row["validation_loss"]) == pytest.approx(loss, abs=2e-4)
    assert {f"{number} is damaged" for number in range(9)} <= set(done.problems)


def test_weights_rank_by_what_they_get_right_and_then_by_loss():
    order = [rank(9, 0.01), rank(10, 70.0), rank(10, 0.6), rank(10, 0.5)]
    assert order == sorted(order)
    assert rank(10, float("nan")) == rank(10, float("inf")) < rank(0, 1e9)


def test_the_best_so_far_is_known_where_the_folder_was_moved(tmp_path):
    old = KeepBest(tmp_path / "old" / "best.ckpt")
    state = old.state_dict()
    path = str(tmp_path / "old" / "best.ckpt")
    score = torch.tensor(7.0)
    state.update(
        best_model_path=path,
        kth_best_model_path=path,
        best_k_models={path: score},
        kth_value=score,
        best_model_score=score,
    )
    moved = KeepBest(tmp_path / "new" / "best.ckpt")
    moved.load_state_dict(state)
    here = str(tmp_path / "new" / "best.ckpt")
    assert moved.best_model_score == 7.0
    assert moved.best_k_models == {here: score}
    assert moved.kth_best_model_path == moved.best_model_path == here


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    """Where the labels of validation are wrong, the more is learned the worse it gets."""
    model, wrong = fresh_model(), BarVideos(shift=1)
    run(model, tmp_path, recipe(epochs=14), wrong)
    rows = RunFolder(tmp_path).read_metrics()
    best = max(float(row["validation_top1"]) for row in rows)
    assert best > float(rows[-1]["validation_top1"])
    scores = score_videos(ModelScorer(model, SPEC, 32), wrong, 0)
    assert (scores.scores.argmax(1) == scores.targets).mean() == pytest.approx(best, abs=1e-4)


def test_a_plateau_divides_the_learning_rate_three_times_and_then_training_stops(tmp_path):
    """Where the labels of validation are wrong, its loss only rises."""
    rising = recipe(
        optimizer="sgd",
        schedule="plateau",
        learning_rate=0.05,
        patience=1,
        stop_after=9,
        epochs=40,
    )
    run(fresh_model(), tmp_path, rising, BarVideos(shift=1))
    rates = [float(row["learning_rate"]) for row in RunFolder(tmp_path).read_metrics()]
    assert sorted(set(rates), reverse=True) == pytest.approx([0.05, 0.005, 0.0005, 0.00005])
    assert len(rates) < 40
    losses = [float(row["validation_loss"]) for row in RunFolder(tmp_path).read_metrics()]
    falls = [epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]]
    assert len(falls) == 3
    for epoch in falls:  # it is written beside the epoch it was used in
        assert min(losses[epoch - 2 : epoch]) > min(losses[: epoch - 2])


def test_steps_divide_the_learning_rate_after_each_milestone(tmp_path):
    stepped = recipe(schedule="steps", milestones=(1, 3), epochs=4)
    run(fresh_model(), tmp_path, stepped)
    rates = [float(row["learning_rate"]) for row in RunFolder(tmp_path).read_metrics()]
    assert rates == pytest.approx([0.005, 0.0005, 0.0005, 0.00005])


def test_a_frozen_backbone_stays_as_it_was(tmp_path):
    model = fresh_model(dropout=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(model, tmp_path, recipe(freeze="backbone"), BarVideos())
    changed = {
        name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])
    }
    assert changed == {"classifier.1.weight", "classifier.1.bias"}


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    run(fresh_model(), tmp_path, recipe(epochs=1))
    before = folder.last.read_bytes()

    def full(path: pathlib.Path) -> None:
        if "last" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "_flush_to_disk", full)
    with pytest.raises(ClipedgeError, match=r"last\.ckpt: the disk is full"):
        run(fresh_model(), tmp_path, recipe(epochs=1))
    assert folder.last.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_learning_rate_rises_once_and_falls_to_nothing():
    rates = np.array([one_cycle(part) for part in np.linspace(0, 1, 101)])
    top = rates.argmax()
    assert rates[top] == pytest.approx(1.0)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
