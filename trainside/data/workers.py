"""Worker processes that read clips for a DataLoader."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext

from clipedge.jetson.errors import ClipedgeError


def worker_context() -> BaseContext:
    """Return how workers are started: from a server that has imported torch once.

    They are not forked off this process, which may already run PyTorch's, a backend's or CUDA's
    threads; and they start in a fraction of the seconds that an import of torch takes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "clipedge.trainside.data.workers"])
    return context


def start_worker(number: int) -> None:
    """Leave Ctrl-C to the process that ends the workers; a DataLoader's ``worker_init_fn``."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the workers share the cores already


@contextmanager
def starting_workers() -> Iterator[None]:
    """Let Ctrl-C wait while workers start.

    They inherit that it waits, so that none dies of it with a traceback before ``start_worker``
    ignores it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def telling_of_lost_workers() -> Iterator[None]:
    """Turn a DataLoader's error over a worker that is gone into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):  # of PyTorch's own, not of a data set
            raise
        message = "A process that reads clips was ended from outside; most often memory ran out."
        raise ClipedgeError(f"{message} Use fewer --workers or smaller frames.") from None
