"""Which clips a step takes, in which process: the order of data, the same however it is shared."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from clipedge.trainside.data.clips import EvaluationClips, TrainingClips
from clipedge.trainside.data.samples import (
    Batch,
    ValidationBatch,
    collate,
    collate_videos,
)
from clipedge.trainside.data.workers import start_worker, starting_workers, worker_context

VIDEOS_AT_A_TIME = 8  # whose clips one step of validation measures


class MicroBatches(Sampler[list[tuple[int, int]]]):
    """The shuffled (epoch, index) of each micro-batch that one process of a training takes.

    A step learns from ``batch`` clips, cut into ``parts`` micro-batches of the same size. Process
    ``rank`` of ``world`` takes every ``world``-th of them. Two processes with one micro-batch each
    so learn from the same clips as one process that accumulates two.
    """

    def __init__(
        self, count: int, batch: int, parts: int, rank: int, world: int, seed: int, least: int = 0
    ) -> None:
        """Describe the order.

        Args:
            count: number of recordings; all are shuffled anew in every pass.
            batch: clips a step; rounded down to a multiple of ``parts``, and to the epoch.
            parts: micro-batches a step, a multiple of ``world``.
            rank: of this process.
            world: number of processes.
            seed: of the order.
            least: clips an epoch has at least; recordings are passed over again.
        """
        self._count = count
        self._passes = max(1, -(-least // count))
        clips = count * self._passes
        self.part_size = max(1, min(batch, clips) // parts)
        self._parts, self._rank, self._world, self._seed = parts, rank, world, seed
        self.steps = clips // (self.part_size * parts)
        self.epoch = 0  # of the next iteration
        self.first = 0  # micro-batch of this process to begin with; of the next iteration only

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
    """Return a loader of every ``world``-th video's clips, some videos at a time."""
    return _Loader(
        clips,
        sampler=range(rank, len(clips), world),
        batch_size=VIDEOS_AT_A_TIME,
        collate_fn=collate_videos,
        **_options(workers, pinned),
    )


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
