"""Events as JSON lines, in a file or on standard output, each there as soon as it happened."""

import logging
import sys
import time
from typing import Optional

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.files import PathLike, readable_os_error
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.lines_file import LinesFile
from clipedge.jetson.outputs.output import Output

log = logging.getLogger(__name__)


class EventLines(Output):
    """``--events FILE``: the lines go to the file, and a word for people to standard output.

    No event is lost with a place that fails: what the file does not take goes to standard output,
    what that does not take to standard error, and ``close`` tells of it. Each event tries the file
    anew, as a full disk may have space again.
    """

    def __init__(self, path: Optional[PathLike] = None) -> None:
        """Open the file, which is emptied, or write to standard output.

        Args:
            path: of the file; None: standard output.

        Raises:
            ClipedgeError: the file cannot be written.
        """
        self.name = "--events" if path is None else f"--events {path}"
        self._file = None if path is None else LinesFile(path)
        self._file_misses = _Misses("" if path is None else str(path), "standard output")
        self._stdout_misses = _Misses("standard output", "standard error")

    def add(self, step: Step) -> None:
        """Write the step's event, if it has one.

        Raises:
            BrokenPipeError: the reader of standard output has gone.
        """
        if step.event is None:
            return
        line = step.event.to_json()
        if self._file is None:
            self._tell(line, line)
            return
        try:
            self._file.append(line)
            self._file_misses.none()
        except OSError as error:  # also a named pipe whose reader has gone: another may come
            self._file_misses.one(error)
            self._tell(line, line)
        else:
            self._tell(_for_people(step.event), None)

    def close(self) -> None:
        """Close the file.

        Raises:
            ClipedgeError: it lacks events; they were told elsewhere.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()
        problems = [misses.summary() for misses in (self._file_misses, self._stdout_misses)]
        told = " ".join(problem for problem in problems if problem)
        self._file_misses.count = self._stdout_misses.count = 0
        if told:
            raise ClipedgeError(told)

    def _tell(self, text: str, instead: Optional[str]) -> None:
        """Write to standard output, or where it fails, ``instead`` to standard error."""
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()  # a reader at the other end of a pipe acts on it now
            self._stdout_misses.none()
        except BrokenPipeError:
            raise
        except OSError as error:
            if instead is not None:
                self._stdout_misses.one(error)
                log.error("%s", instead)


class _Misses:
    """Counts the events that a place did not take; says when that begins and ends."""

    def __init__(self, place: str, instead: str) -> None:
        self._place, self._instead = place, instead
        self._failing = False
        self._error = ""
        self.count = 0

    def one(self, error: OSError) -> None:
        self.count += 1
        self._error = str(readable_os_error(error, self._place))
        if not self._failing:
            log.error("%s Events go to %s instead.", self._error, self._instead)
        self._failing = True

    def none(self) -> None:
        if self._failing:
            log.info("%s takes events again.", self._place)
        self._failing = False

    def summary(self) -> str:
        if not self.count:
            return ""
        events = "1 event" if self.count == 1 else f"{self.count} events"
        return f"{self._error} It lacks {events}, which went to {self._instead}."


def _for_people(event: GestureEvent) -> str:
    when = f"{event.time_s:8.2f} s"  # from the start of a file; a camera's clock has no meaning
    if event.wall_time_s is not None:
        when = time.strftime("%H:%M:%S", time.localtime(event.wall_time_s))
    label = "".join(letter if letter.isprintable() else "?" for letter in event.label)
    return f"{when}  {label}  {event.score:.2f}"
