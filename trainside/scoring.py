"""Scores of a data set's clips, from PyTorch, an ONNX file or an engine through the same code."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.samples import VideoClips
from clipedge.trainside.data.workers import (
    start_worker,
    starting_workers,
    telling_of_lost_workers,
    worker_context,
)
from clipedge.trainside.normalisation import normalise

log = logging.getLogger(__name__)

PROBLEMS_SHOWN = 5  # of the damaged videos, in a message
VIDEOS_AHEAD = 2  # that each worker may have read before they are asked for


class Scorer(Protocol):
    """A model that judges clips.

    Attributes:
        spec: its labels and the shape of its clips.
        batch: how many clips ``score`` takes at most.
    """

    spec: ClipSpec
    batch: int

    def score(self, clips: np.ndarray) -> np.ndarray:
        """Return how likely each class is.

        Args:
            clips: (N, 3, T, S, S) uint8, RGB; N from 1 to ``batch``.

        Returns:
            (N, classes) float32; rows sum to 1.
        """


class ModelScorer:
    """Scores clips with a PyTorch module: in mixed precision on a GPU, in fp32 elsewhere."""

    def __init__(
        self,
        model: nn.Module,
        spec: ClipSpec,
        batch: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Take a module that may be trained on between two calls of ``score``.

        Args:
            model: takes clips normalised as ``spec`` says; it is moved to ``device``.
            spec: of the model.
            batch: how many clips are scored at a time.
            device: that computes.
        """
        self.spec = spec
        self.batch = batch
        self._device = torch.device(device)
        self._model = model.to(self._device)
        self._mixed = self._device.type == "cuda"

    @property
    def device_name(self) -> str:
        """The GPU's name, or ``cpu``."""
        if self._device.type == "cuda":
            return torch.cuda.get_device_name(self._device)
        return self._device.type

    def score(self, clips: np.ndarray) -> np.ndarray:
        """Return (N, classes) float32 scores of (N, 3, T, S, S) uint8, RGB.

        Raises:
            ClipedgeError: a score is not finite.
        """
        with torch.inference_mode(), _evaluating(self._model):
            pixels = normalise(torch.from_numpy(clips).to(self._device), self.spec)
            logits = self._logits(pixels)
            if self._mixed and not bool(logits.isfinite().all()):
                log.warning("Mixed precision overflows with this model; it is scored in fp32.")
                self._mixed = False
                logits = self._logits(pixels)
            scores: np.ndarray = logits.softmax(1).cpu().numpy()
        if not np.isfinite(scores).all():
            raise ClipedgeError(
                f"{self.spec.file_stem} gives scores that are not finite: its weights are "
                "damaged, or the training went astray. Train again with a lower learning rate."
            )
        return scores

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.float16, enabled=self._mixed):
            logits: torch.Tensor = self._model(pixels)
        return logits.float()


class RunnerScorer:
    """Scores clips with an ONNX file or an engine."""

    def __init__(self, runner: Runner, batch: int) -> None:
        """Take an open runner.

        Args:
            runner: it stays open, and the caller's.
            batch: how many clips are scored at a time. An engine that was not built for so many
                takes the next smaller number it was built for, else its smallest.
        """
        self.spec = runner.spec
        self.batch = _possible_batch(batch, runner.batch_sizes)
        self._runner = runner

    def score(self, clips: np.ndarray) -> np.ndarray:
        """Return (N, classes) float32 scores of (N, 3, T, S, S) uint8, RGB."""
        count = len(clips)
        sizes = self._runner.batch_sizes
        if sizes is not None and count not in sizes:
            # The last clip again and again, whose scores are dropped below.
            more = min(size for size in sizes if size > count) - count
            clips = np.concatenate([clips, np.repeat(clips[-1:], more, axis=0)])
        return _softmax(self._runner.infer(clips.astype(np.float32)))[:count]


class Scores(NamedTuple):
    """Scores of all clips that could be read.

    Attributes:
        scores: (N, classes) float32; rows sum to 1.
        targets: (N,) int64, true classes.
        videos: (N,) int64, number of the video each clip is from.
        problems: one line for each video that could not be read, or not to its end.
    """

    scores: np.ndarray
    targets: np.ndarray
    videos: np.ndarray
    problems: list[str]


def score_videos(
    scorer: Scorer, clips: "Dataset[VideoClips]", workers: int, what: str = "evaluating"
) -> Scores:
    """Score all clips of a data set, with a progress bar on stderr.

    Videos are read as they are needed and let go of when they are scored. Clips of several videos
    share a batch.

    Args:
        scorer: it judges them.
        clips: has a length, and VideoClips at each index below it.
        workers: number of processes that read; 0: this one reads.
        what: what the progress bar says.

    Raises:
        ClipedgeError: the scorer failed, or a worker was ended from outside.
    """
    progress = _Progress(len(clips), what)  # type: ignore[arg-type]  # Dataset names no __len__
    found: list[_Batch] = []
    with progress, telling_of_lost_workers():
        videos = progress.watch(_read(clips, workers))
        for batch in _gather(videos, scorer.batch):
            scores = scorer.score(batch.clips)
            progress.show_right(scores.argmax(1) == batch.targets)
            found.append(batch._replace(clips=scores))
    if not found:
        none = np.empty(0, np.int64)
        empty = np.empty((0, scorer.spec.num_classes), np.float32)
        return Scores(empty, none, none, progress.problems)
    scores, targets, numbers = (np.concatenate(part) for part in zip(*found, strict=True))
    return Scores(scores, targets, numbers, progress.problems)


def require_clips(scores: Scores, what: str) -> None:
    """Raise ClipedgeError where no video could be read."""
    if len(scores.targets) == 0:
        count = len(scores.problems)
        reason = f"{scores.problems[0]} ({count} such videos)" if count else "no videos for it."
        raise ClipedgeError(f"There are no {what}: {reason}")


def warn_of_problems(
    problems: Sequence[str], what: str = "damaged videos, left out or read in part"
) -> None:
    """Say on stderr which videos are damaged, and how; ``what`` follows their number."""
    if not problems:
        return
    shown = problems[:PROBLEMS_SHOWN]
    more = len(problems) - len(shown)
    lines = [f"{len(problems)} {what}:", *shown]
    log.warning("%s", "\n".join([*lines, f"... and {more} more"] if more else lines))


class _Batch(NamedTuple):
    """Clips that are scored together, or their scores, with the number of N along axis 0."""

    clips: np.ndarray
    targets: np.ndarray
    videos: np.ndarray


class _Progress:
    """A bar by videos, with the part of the clips so far that was right."""

    def __init__(self, videos: int, what: str) -> None:
        from tqdm import tqdm

        self.problems: list[str] = []
        self._bar = tqdm(total=videos, desc=what, unit="video", dynamic_ncols=True)
        self._right = self._clips = 0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def watch(self, videos: Iterator[VideoClips]) -> Iterator[VideoClips]:
        """Count the videos that pass, and keep their problems."""
        for video in videos:
            if video.problem:
                self.problems.append(video.problem)
            self._bar.update()
            yield video

    def show_right(self, right: np.ndarray) -> None:
        """Show the top-1 with these clips (N,) bool."""
        self._right += int(right.sum())
        self._clips += len(right)
        self._bar.set_postfix_str(f"clip top-1 {self._right / self._clips:.1%}", refresh=False)


def _read(clips: "Dataset[VideoClips]", workers: int) -> Iterator[VideoClips]:
    loader: DataLoader[VideoClips] = DataLoader(
        clips,
        batch_size=None,
        num_workers=workers,
        # Arrays stay arrays, which travel through a pipe. Tensors would go through shared memory,
        # of which a container has 64 MB unless it is told otherwise.
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # it takes one item
        worker_init_fn=start_worker if workers else None,
        multiprocessing_context=worker_context() if workers else None,
        prefetch_factor=VIDEOS_AHEAD if workers else None,
    )
    with starting_workers():
        videos = iter(loader)
    yield from videos


def _as_it_is(video: VideoClips) -> VideoClips:
    return video


def _gather(videos: Iterator[VideoClips], size: int) -> Iterator[_Batch]:
    """Yield the clips of ``videos`` in batches of ``size``, the last one smaller."""
    waiting: list[_Batch] = []
    count = 0
    for video in videos:
        if len(video.frames):
            waiting.append(_numbered(video))
            count += len(video.frames)
        if count >= size:
            clips, targets, numbers = (np.concatenate(part) for part in zip(*waiting, strict=True))
            full = count - count % size
            for first in range(0, full, size):
                part = slice(first, first + size)
                yield _Batch(clips[part], targets[part], numbers[part])
            # Copied: a view would keep a long video in memory.
            waiting = [_Batch(clips[full:].copy(), targets[full:], numbers[full:])]
            count -= full
    if count:
        yield _Batch(*(np.concatenate(part) for part in zip(*waiting, strict=True)))


def _numbered(video: VideoClips) -> _Batch:
    count = len(video.frames)
    targets = np.full(count, video.target, np.int64)
    return _Batch(video.frames, targets, np.full(count, video.video, np.int64))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a module into eval mode for a block; each of its layers gets its own mode back."""
    training = [layer for layer in model.modules() if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


def _possible_batch(asked: int, sizes: tuple[int, ...] | None) -> int:
    if sizes is None:
        return asked
    return max((size for size in sizes if size <= asked), default=sizes[0])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return scores
