"""Worker processes that read clips for a DataLoader."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext

from clipedge.jetson.errors import ClipedgeError

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PRELOADED = ("torch", "cv2", "av", "clipedge.trainside.data.clips")


def worker_context() -> BaseContext:
    """Return how workers are started: from a server that has imported what they need once.

    They are not forked off this process, which may already run PyTorch's, a backend's or CUDA's
    threads; and they start in a fraction of the seconds that an import of torch takes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def start_worker(number: int) -> None:
    """Leave Ctrl-C to the process that ends the workers; a DataLoader's ``worker_init_fn``."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the workers share the cores already
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that it reads for was killed.

    PyTorch looks for that too, but at the process that forked the worker, which is the server.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Let Ctrl-C and requests to end wait while workers start.

    A half-started worker would complain at length. Workers inherit that Ctrl-C is blocked, so that
    none dies of it before ``start_worker`` ignores it.
    """
    if threading.current_thread() is not threading.main_thread():  # signals go to the main one
        yield
        return
    resource_tracker.ensure_running()  # where it is started later, it lets Ctrl-C through again
    waiting: list[int] = []
    before = {one: signal.getsignal(one) for one in INTERRUPTS if callable(signal.getsignal(one))}
    # Blocked is this thread alone; another one may still take the signal.
    for one in before:
        signal.signal(one, lambda number, _: waiting.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if waiting:
            signal.raise_signal(waiting[0])


@contextmanager
def telling_of_lost_workers() -> Iterator[None]:
    """Turn a DataLoader's error over a worker that is gone into one that says what to do.

    An error of our own that was raised in a worker comes with a traceback in its text, which goes.
    """
    try:
        yield
    except ClipedgeError as error:
        kind, text = type(error), str(error)
        if not text.startswith("Caught "):
            raise
        raise kind(text.rsplit(f"{kind.__name__}: ", 1)[-1].strip()) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):  # of PyTorch's own, not of a data set
            raise
        message = "A process that reads clips was ended from outside; most often memory ran out."
        raise ClipedgeError(f"{message} Use fewer --workers or smaller frames.") from None
