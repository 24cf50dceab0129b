"""What every output is, and how several of them go on when one fails."""

import abc
import logging
from typing import List, Sequence

from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.live import Step

log = logging.getLogger(__name__)


class Output(Closing, abc.ABC):
    """Takes every step of a run; a context manager that finishes what it wrote.

    Attributes:
        name: what the user asked for, for messages: ``--record out.mp4``.
        stop_requested: the user wants the run to end, as by a key in its window.
    """

    name = ""
    stop_requested = False

    @abc.abstractmethod
    def add(self, step: Step) -> None:
        """Take one step; ``step.frame`` is None where the source gave nothing new.

        Raises:
            ClipedgeError: it cannot go on (a full disk, a broker that went away for good).
        """

    def close(self) -> None:
        """Finish; a second call does nothing.

        Raises:
            ClipedgeError: what was written is not whole.
        """


class Outputs(Closing):
    """Several outputs as one. One that fails is closed with its message; the others go on."""

    def __init__(self, outputs: Sequence[Output] = ()) -> None:
        """Take over the outputs; the first gets each step first."""
        self._going: List[Output] = list(outputs)
        self.failed = False  # any of them, so far

    def include(self, output: Output, first: bool = False) -> None:
        """Take over one more, behind the others or before them."""
        self._going.insert(0 if first else len(self._going), output)

    @property
    def stop_requested(self) -> bool:
        """One of them wants the run to end."""
        return any(output.stop_requested for output in self._going)

    def add(self, step: Step) -> None:
        """Hand a step to all that still go."""
        for output in tuple(self._going):
            try:
                output.add(step)
            except BrokenPipeError:  # the reader of stdout has gone: the end of the run
                raise
            except Exception as error:
                self._going.remove(output)
                self._failure(output, error)
                self._close(output)

    def close(self) -> None:
        """Finish all of them, also where an interrupt comes while one does."""
        if not self._going:
            return
        try:
            self._close(self._going.pop(0))
        finally:
            self.close()

    def _close(self, output: Output) -> None:
        try:
            output.close()
        except Exception as error:
            self._failure(output, error)

    def _failure(self, output: Output, error: Exception) -> None:
        self.failed = True
        if isinstance(error, (ClipedgeError, OSError)):
            log.error("%s ends: %s", output.name, error)
        else:  # a mistake of ours, or of a library
            log.error("%s ends: %r", output.name, error, exc_info=error)
