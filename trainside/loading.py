"""Which clips a step takes, in which process: the order of data, the same however it is shared."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.clips import EvaluationClips, TrainingClips
from clipedge.trainside.data.samples import (
    Batch,
    ValidationBatch,
    VideoClips,
    collate,
    collate_videos,
)
from clipedge.trainside.data.workers import start_worker, starting_workers, worker_context

VIDEOS_AT_A_TIME = 8  # whose clips one step of validation measures
LEAST_CLIPS = 2  # of a micro-batch: batch normalisation needs several


class MicroBatches(Sampler[list[tuple[int, int]]]):
    """The shuffled (epoch, index) of each micro-batch that one process of a training takes.

    A step learns from ``batch`` clips, cut into ``parts`` micro-batches of the same size. Process
    ``rank`` of ``world`` takes every ``world``-th of them. Two processes with one micro-batch each
    so learn from the same clips as one process that accumulates two.

    Attributes:
        clips: of an epoch; those that do not fill a last step are left out of it.
        part_size: clips of a micro-batch.
        steps: of an epoch.
        epoch: of the next iteration.
        first: micro-batch of this process to begin with, of the next iteration only.
    """

    def __init__(
        self, count: int, batch: int, parts: int, rank: int, world: int, seed: int, least: int = 0
    ) -> None:
        """Describe the order.

        Args:
            count: number of recordings; all are shuffled anew in every pass.
            batch: clips a step; rounded down to the epoch, and to a multiple of ``parts``.
            parts: micro-batches a step, a multiple of ``world``.
            rank: of this process.
            world: number of processes.
            seed: of the order.
            least: clips an epoch has at least; recordings are passed over again, as where there
                are too few of them for one step.

        Raises:
            UsageError: the parts of a step would be too small.
        """
        if batch < LEAST_CLIPS * parts:
            raise UsageError(
                f"--batch {batch} is cut into {parts} parts (devices x nodes x accumulate); each "
                f"needs {LEAST_CLIPS} clips at least. Raise --batch to {LEAST_CLIPS * parts}, or "
                "take fewer --devices."
            )
        self._count = count
        self._passes = -(-max(least, LEAST_CLIPS * parts) // count)
        self.clips = count * self._passes
        self.part_size = min(batch, self.clips) // parts
        self._parts, self._rank, self._world, self._seed = parts, rank, world, seed
        self.steps = self.clips // (self.part_size * parts)
        self.epoch = self.first = 0

    def __len__(self) -> int:
        return self.steps * self._parts // self._world

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        passes = [
            np.random.default_rng((self._seed, epoch, one)).permutation(self._count)
            for one in range(self._passes)
        ]
        order = np.concatenate(passes)
        rounds = epoch * self._passes + np.repeat(np.arange(self._passes), self._count)
        first, self.first = self.first, 0
        for number in range(first, len(self)):
            start = (number * self._world + self._rank) * self.part_size
            places = slice(start, start + self.part_size)
            yield [
                (int(one), int(index))
                for one, index in zip(rounds[places], order[places], strict=True)
            ]


def training_loader(
    clips: TrainingClips, order: MicroBatches, workers: int, pinned: bool = False
) -> DataLoader[Batch]:
    """Return a loader of this process's micro-batches; its workers live as long as it does."""
    return _Loader(
        clips,
        batch_sampler=order,
        collate_fn=collate,
        **_options(workers, pinned),
    )


def validation_loader(
    clips: EvaluationClips, rank: int, world: int, workers: int, pinned: bool = False
) -> DataLoader[ValidationBatch]:
    """Return a loader of every ``world``-th video's clips, some videos at a time.

    A process for which there is no video gets a batch of none: Lightning would leave out its
    validation, and the others would wait for it.
    """
    numbers = list(range(rank, len(clips), world))
    starts = range(0, max(1, len(numbers)), VIDEOS_AT_A_TIME)
    return _Loader(
        clips,
        batch_sampler=[numbers[start : start + VIDEOS_AT_A_TIME] for start in starts],
        collate_fn=_collate_videos,
        **_options(workers, pinned),
    )


def _collate_videos(videos: Sequence[VideoClips]) -> ValidationBatch:
    if not videos:
        return ValidationBatch(torch.empty(0), torch.empty(0, dtype=torch.int64), ())
    return collate_videos(videos)


class _Loader(DataLoader[Any]):
    """A DataLoader whose workers leave Ctrl-C to this process from their first moment on."""

    def __iter__(self) -> Any:
        with starting_workers():
            return super().__iter__()


def _options(workers: int, pinned: bool) -> dict[str, Any]:
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": pinned,
        "worker_init_fn": start_worker,
        "multiprocessing_context": worker_context() if workers else None,
    }
