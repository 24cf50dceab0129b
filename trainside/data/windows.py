"""Labelled windows of a data set, rendered or read by worker processes into memory."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import ClipSpec


class Batch(NamedTuple):
    """What one job of a source yields.

    Attributes:
        frames: (N, 3, T, H, W) uint8, RGB; N may be 0.
        targets: (N,) int64, indices of labels.
        videos: (N,) int64, number of the video each window is from.
        hints: (N, K) float32 that help to learn (``data.hints``); K is 0 where there are none.
        problem: why a file gave no windows, else empty.
    """

    frames: np.ndarray
    targets: np.ndarray
    videos: np.ndarray
    hints: np.ndarray
    problem: str = ""


class WindowSource(Protocol):
    """A data set cut into jobs, each small enough for one worker. It must pickle."""

    labels: tuple[str, ...]

    @property
    def jobs(self) -> int:
        """Number of jobs."""

    def load(self, job: int, spec: ClipSpec) -> Batch:
        """Return the windows of one job, always the same ones."""


@dataclass
class Windows:
    """A data set in memory.

    Attributes:
        frames: (N, 3, T, H, W) uint8, RGB.
        targets: (N,) int64.
        videos: (N,) int64, number of the video each window is from.
        hints: (N, K) float32; K is 0 where there are none.
        labels: names of the classes.
        problems: one line for each file that was left out.
    """

    frames: np.ndarray
    targets: np.ndarray
    videos: np.ndarray
    hints: np.ndarray
    labels: tuple[str, ...]
    problems: list[str]

    def __len__(self) -> int:
        return len(self.targets)


def load_windows(source: WindowSource, spec: ClipSpec, workers: int, what: str) -> Windows:
    """Load all windows of ``source`` with a progress bar on stderr.

    Args:
        source: the data set.
        spec: frames, size and spacing of the windows.
        workers: number of processes.
        what: what the progress bar says.

    Raises:
        ClipedgeError: there is not enough memory, or a worker process was ended from outside.
    """
    from tqdm import tqdm

    store = _Store(spec)
    problems = []
    try:
        with _pool(workers) as pool:
            futures = deque(_submit(pool, source, spec))
            for _ in tqdm(range(len(futures)), desc=what, unit="job", dynamic_ncols=True):
                batch = futures.popleft().result()  # and let go of it: it is large
                store.add(batch)
                if batch.problem:
                    problems.append(batch.problem)
    except BrokenProcessPool:
        message = "A process that loads clips was ended from outside; most often memory ran out."
        raise ClipedgeError(f"{message} Use fewer clips, smaller frames or less threads.") from None
    except MemoryError:
        raise ClipedgeError(
            f"{store.count} clips of {spec.size} x {spec.size} pixels fill the memory. "
            "Use fewer clips (--clips) or smaller frames (--size)."
        ) from None
    return Windows(*store.arrays(), labels=source.labels, problems=problems)


class _Store:
    """Windows in arrays that grow by half; memory is taken only once it is written."""

    def __init__(self, spec: ClipSpec) -> None:
        self.count = 0
        self._frames = np.empty((256, *spec.clip_shape), np.uint8)
        self._numbers: list[Batch] = []

    def add(self, batch: Batch) -> None:
        end = self.count + len(batch.targets)
        if end > len(self._frames):
            grown = np.empty((end + end // 2, *self._frames.shape[1:]), np.uint8)
            grown[: self.count] = self._frames[: self.count]
            self._frames = grown
        self._frames[self.count : end] = batch.frames
        if end > self.count:
            self._numbers.append(batch._replace(frames=np.empty(0, np.uint8)))
        self.count = end

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return frames, targets, videos and hints."""
        if not self._numbers:
            none = np.empty(0, np.int64)
            return self._frames[:0], none, none, np.empty((0, 0), np.float32)
        return (
            self._frames[: self.count],
            np.concatenate([batch.targets for batch in self._numbers]),
            np.concatenate([batch.videos for batch in self._numbers]),
            np.concatenate([batch.hints for batch in self._numbers]),
        )


def _submit(pool: Executor, source: WindowSource, spec: ClipSpec) -> list["Future[Batch]"]:
    # Workers start here. They inherit that Ctrl-C waits, so that none dies of it with a traceback
    # before it ignores it; this process ends them in order.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return [pool.submit(source.load, job, spec) for job in range(source.jobs)]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    # Spawned, not forked: this process may already run PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the workers share the cores already
