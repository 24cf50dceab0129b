"""Clips of videos through a model: streamed, batched, in any number of processes."""

import os
import signal
import threading
import weakref

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside import scoring
from clipedge.trainside.data.clips import EvaluationClips
from clipedge.trainside.data.gestures import LABELS
from clipedge.trainside.data.samples import VideoClips
from clipedge.trainside.data.synthetic import SyntheticClips
from clipedge.trainside.data.workers import starting_workers
from clipedge.trainside.models import create_model
from clipedge.trainside.scoring import (
    ModelScorer,
    RunnerScorer,
    require_clips,
    score_videos,
    warn_of_problems,
)

SPEC = ClipSpec("shufflenetv2", ("a", "b", "c"), width=0.25, frames=8, size=32)
COUNTS = [1, 4, 0, 9, 2, 2, 0, 5]  # clips of each video; 0: it is damaged


class Videos(Dataset):
    """Clips of noise; 0 clips are a damaged video."""

    def __init__(self, counts=COUNTS):
        self.counts = counts

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, number):
        count = self.counts[number]
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 256, (count, *SPEC.clip_shape)).astype(np.uint8)
        return VideoClips(frames, number % 3, number, "" if count else f"{number}: damaged")


class Means:
    """A scorer that remembers what it was asked."""

    spec = SPEC

    def __init__(self, batch):
        self.batch = batch
        self.asked = []

    def score(self, clips):
        self.asked.append(len(clips))
        assert clips.dtype == np.uint8
        return clips.mean(axis=(2, 3, 4), dtype=np.float64).astype(np.float32)


class LinearRunner(Runner):
    """A runner whose logits are the mean colours, a hundredth of them."""

    backend = "linear"

    def __init__(self, batch_sizes=None):
        super().__init__(SPEC, batch_sizes)
        self.asked = []

    def _infer(self, clips):
        self.asked.append(len(clips))
        return clips.mean(axis=(2, 3, 4)) / 100

    def describe(self):
        return {"backend": self.backend}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("shufflenetv2", 0.25, 3).eval()


@pytest.mark.parametrize(("batch", "asked"), [(1, [1] * 23), (4, [4, 4, 4, 4, 4, 3]), (100, [23])])
def test_clips_of_several_videos_share_a_batch(batch, asked):
    scorer = Means(batch)
    scores = score_videos(scorer, Videos(), workers=0)
    assert scorer.asked == asked
    expected = [number for number, count in enumerate(COUNTS) for _ in range(count)]
    assert scores.videos.tolist() == expected
    assert scores.targets.tolist() == [number % 3 for number in expected]
    whole = np.concatenate([Videos()[number].frames for number in range(len(COUNTS))])
    np.testing.assert_array_equal(scores.scores, Means(99).score(whole))


def test_damaged_videos_are_listed_and_do_not_end_it():
    assert score_videos(Means(4), Videos(), 0).problems == ["2: damaged", "6: damaged"]


def test_worker_processes_give_the_same_scores_in_the_same_order():
    spec = SPEC._replace(labels=LABELS)
    videos = EvaluationClips(SyntheticClips(12, "validation", 0, LABELS), spec)
    alone, shared = (score_videos(Means(5), videos, workers) for workers in (0, 2))
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)


class Deadly(Videos):
    """Ends the worker that it comes to, as a machine does that is out of memory."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_worker_that_is_ended_from_outside_is_one_clear_error():
    with pytest.raises(ClipedgeError, match="ended from outside"):
        score_videos(Means(4), Deadly(), workers=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("thread", ["this one", "another"])
def test_ctrl_c_waits_while_workers_start(thread, number):
    """Whichever thread takes the signal: a half-started worker would complain at length."""
    started, done = threading.Event(), threading.Event()

    def take_signal():
        started.wait()
        if thread == "another":
            signal.raise_signal(number)
        done.set()

    other = threading.Thread(target=take_signal)
    other.start()  # before signals are blocked, which it would inherit
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), starting_workers():
            started.set()
            done.wait()
            if thread == "this one":
                signal.raise_signal(number)
            reached = sum(range(1000)) > 0  # time for a handler to run
        assert reached
        assert signal.getsignal(number) is signal.default_int_handler
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    finally:
        signal.signal(number, before)


def test_what_is_scored_is_let_go_of():
    """However long the data set is, the clips of a few videos are in memory."""
    seen, most = [], [0]

    class Watched(np.ndarray):
        pass

    class Long(Videos):
        def __getitem__(self, number):
            video = super().__getitem__(number)
            frames = video.frames.view(Watched)
            seen.append(weakref.ref(frames))
            most[0] = max(most[0], sum(one() is not None for one in seen))
            return video._replace(frames=frames)

    score_videos(Means(3), Long([2] * 60), workers=0)
    assert len(seen) == 60
    assert most[0] <= 4


@pytest.mark.parametrize("sizes", [None, (1,), (4,), (2, 8)])
@pytest.mark.parametrize("asked", [1, 5, 32])
def test_an_engine_of_any_batch_size_scores_all_clips_alike(sizes, asked):
    runner = LinearRunner(sizes)
    found = score_videos(RunnerScorer(runner, asked), Videos(), 0)
    plain = score_videos(RunnerScorer(LinearRunner(), 100), Videos(), 0)
    np.testing.assert_allclose(found.scores, plain.scores, atol=1e-6)
    np.testing.assert_array_equal(found.videos, plain.videos)
    np.testing.assert_allclose(found.scores.sum(axis=1), 1.0, atol=1e-6)
    if sizes is not None:
        assert set(runner.asked) <= set(sizes)
        assert max(runner.asked) == max([one for one in sizes if one <= asked] or [sizes[0]])


def test_a_model_is_left_as_it_was_also_where_parts_of_it_do_not_learn(model):
    """Frozen layers are in eval mode inside a model that trains; they stay so."""
    layers = list(model.modules())
    model.train()
    for layer in layers[3:9]:
        layer.eval()
    before = [layer.training for layer in layers]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    score_videos(ModelScorer(model, SPEC, 4), Videos(), 0)
    assert [layer.training for layer in layers] == before
    assert all(torch.equal(weights[name], one) for name, one in model.state_dict().items())
    model.eval()


def test_a_models_scores_do_not_depend_on_the_batch(model):
    by_one, by_eight = (
        score_videos(ModelScorer(model, SPEC, batch), Videos(), 0).scores for batch in (1, 8)
    )
    np.testing.assert_allclose(by_one, by_eight, atol=1e-5)
    np.testing.assert_allclose(by_one.sum(axis=1), 1.0, atol=1e-5)


def test_a_model_sees_the_colours_in_its_own_order():
    class First(torch.nn.Module):
        def forward(self, clips):
            return clips[:, :, 0, 0, 0]

    frames = np.zeros((1, *SPEC.clip_shape), np.uint8)
    frames[:, 0] = 200  # red
    for order, expected in (("RGB", 0), ("BGR", 2)):
        spec = SPEC._replace(channel_order=order, mean=(100.0,) * 3, std=(50.0,) * 3)
        assert ModelScorer(First(), spec, 1).score(frames).argmax() == expected


def test_what_overflows_in_mixed_precision_is_scored_in_fp32(caplog):
    """On a GPU; here the CPU computes in fp16."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 32 * 32, 3))
    torch.nn.init.constant_(model[1].weight, 1.0)
    clips = np.full((2, *SPEC.clip_shape), 200, np.uint8)
    exact = ModelScorer(model, SPEC, 2).score(clips)
    scorer = ModelScorer(model, SPEC, 2)
    scorer._mixed = True
    np.testing.assert_array_equal(scorer.score(clips), exact)
    np.testing.assert_array_equal(scorer.score(clips), exact)
    assert caplog.text.count("Mixed precision overflows") == 1


def test_weights_that_are_not_finite_are_an_error():
    class Broken(torch.nn.Module):
        def forward(self, clips):
            return torch.full((len(clips), 3), float("nan"))

    with pytest.raises(ClipedgeError, match="not finite"):
        score_videos(ModelScorer(Broken(), SPEC, 4), Videos(), 0)


def test_only_damaged_videos_are_an_error_that_names_one():
    scores = score_videos(Means(4), Videos([0, 0, 0]), 0)
    assert scores.scores.shape == (0, 3)
    with pytest.raises(ClipedgeError, match=r"no clips of it: 0: damaged \(3 such videos\)"):
        require_clips(scores, "clips of it")


def test_five_damaged_videos_are_named_and_the_rest_is_counted(caplog):
    warn_of_problems([f"{number}.avi: damaged" for number in range(12)])
    (record,) = caplog.records
    assert record.getMessage().splitlines() == [
        "12 damaged videos, left out or read in part:",
        *(f"{number}.avi: damaged" for number in range(scoring.PROBLEMS_SHOWN)),
        "... and 7 more",
    ]
