"""Ctrl-C in a training that starts further processes of this machine."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class HearInterrupts(Callback):
    """Let the first process hear of interrupts again, once all processes have met."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning calls this after the meeting."""
        if trainer.local_rank == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)


def _started_by_another(strategy: DDPStrategy) -> bool:
    environment = strategy.cluster_environment
    return environment is not None and environment.creates_processes_externally


@contextmanager
def interrupts_wait(trainer: Trainer) -> Iterator[None]:
    """Let interrupts wait until ``HearInterrupts`` is called.

    The further processes inherit that they wait and never hear of one: the first process ends
    them. And the first does not hear of one while it waits for the others to come, in code of
    PyTorch's that Python cannot interrupt: it would be ended without a word.
    """
    strategy = trainer.strategy
    starts_others = isinstance(strategy, DDPStrategy) and not _started_by_another(strategy)
    if not starts_others:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
