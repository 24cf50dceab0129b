"""A command that is run for each gesture."""

import contextlib
import logging
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time
from typing import Callable, Dict, List, Match, Optional

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

log = logging.getLogger(__name__)

EVERY_S = 0.5
AT_ONCE = 4
GRACE_S = 2.0  # for the commands that still run at the end, until they are asked to end
TERM_S = 1.0  # and then, until they are ended
POLL_S = 0.02

_FILL: Dict[str, Callable[[GestureEvent], str]] = {
    "label": lambda event: event.label,
    "score": lambda event: f"{event.score:.4f}",
    "time_s": lambda event: f"{event.time_s:.3f}",
    "kind": lambda event: event.kind,
    "frame": lambda event: str(event.frame),
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Words that mean something to a shell alone.
_FOR_SHELLS = re.compile(r"[0-9&]?(>>?|<)(&[0-9]|/dev/null)?|\|\|?|&&?|;")
# Programs that run the text after -c, which may stand among other options: -ec, -cx.
_RUNS_TEXT = re.compile(r"(a|ba|c|da|fi|k|tc|z)?sh|su|python[0-9.]*")
_BEFORE_TEXT = re.compile(r"-[a-zA-Z]{0,3}c[a-zA-Z]{0,3}")


class OnEvent(Output):
    """``--on-event 'command {label}'``: started without a shell, never waited for.

    A command that fails is said once and counted; it does not end the run.
    """

    def __init__(self, command: str, every_s: float = EVERY_S, at_once: int = AT_ONCE) -> None:
        """Parse the command; nothing is started yet.

        Args:
            command: program and arguments as a shell splits them, with the placeholders {label},
                {score}, {time_s}, {kind} and {frame} inside arguments.
            every_s: events that follow one that was acted on within this time, by the source's
                clock, are skipped.
            at_once: so many may run at a time; events beyond are skipped.

        Raises:
            UsageError: the command cannot be split or needs a shell, its program is not there, a
                placeholder is not known, or a shell would read the label as a script.
        """
        self.name = f"--on-event {shlex.quote(command)}"
        self._arguments = _parse(command)
        self._every_s, self._at_once = every_s, at_once
        self._running: List[subprocess.Popen[bytes]] = []
        self._ended_by_us = False  # what still ran at the end: that is no failure of theirs
        self._acted_s: Optional[float] = None  # time of the last event that was acted on
        self._counts = {"run": 0, "failed": 0, "too soon": 0, "too many": 0}

    def add(self, step: Step) -> None:
        """Start the command for the step's event, if it has one; look after those that run."""
        if self._running:
            self._reap()
        event = step.event
        if event is None:
            return
        if self._acted_s is not None and 0 <= event.time_s - self._acted_s < self._every_s:
            self._counts["too soon"] += 1
        elif len(self._running) >= self._at_once:
            self._counts["too many"] += 1
        else:
            self._acted_s = event.time_s
            self._start(event)

    def close(self) -> None:
        """Give commands that still run a moment, then end them; say what was skipped."""
        try:
            self._wait(GRACE_S)
            self._signal(signal.SIGTERM)
            self._wait(TERM_S)
        finally:  # also on a second Ctrl-C
            self._signal(signal.SIGKILL)
            self._wait(TERM_S)
        self._conclude()

    def _start(self, event: GestureEvent) -> None:
        arguments = [_filled(argument, event) for argument in self._arguments]
        self._counts["run"] += 1
        try:
            self._running.append(
                subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=_stderr_or_nowhere(),  # results on stdout are ours alone
                    start_new_session=True,  # Ctrl-C is for us; close ends the whole group
                )
            )
        except OSError as error:
            self._failure(error.strerror or str(error))

    def _reap(self) -> None:
        for process in tuple(self._running):
            status = process.poll()
            if status is not None:
                self._running.remove(process)
                if status and not self._ended_by_us:
                    self._failure(_status_text(status))

    def _failure(self, reason: str) -> None:
        self._counts["failed"] += 1
        if self._counts["failed"] == 1:
            log.warning("%s failed: %s. Further failures are counted.", self.name, reason)

    def _wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        self._reap()
        while self._running and time.monotonic() < end_s:
            time.sleep(POLL_S)
            self._reap()

    def _signal(self, number: int) -> None:
        if self._running:
            name = signal.Signals(number).name
            log.warning("%s: %d still run; they get %s.", self.name, len(self._running), name)
        for process in self._running:
            self._ended_by_us = True
            # It has ended meanwhile, or it is another user's, as behind sudo.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)

    def _conclude(self) -> None:
        counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        parts = [
            (counts["failed"], f"{counts['failed']} failed"),
            (counts["too soon"], f"{counts['too soon']} skipped within {self._every_s:g} s"),
            (counts["too many"], f"{counts['too many']} skipped as {self._at_once} were running"),
        ]
        told = [text for count, text in parts if count]
        if told:
            log.info("%s: started %d times, %s.", self.name, counts["run"], ", ".join(told))


def _parse(command: str) -> List[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:  # "No closing quotation"
        raise UsageError(f"--on-event {command}: {error}. Close the quotes.") from None
    if not arguments:
        raise UsageError("--on-event is empty; give a command such as 'notify-send {label}'.")
    if _PLACEHOLDER.search(arguments[0]):
        raise UsageError(
            f"--on-event {command}: the program is the same for all gestures; use the placeholder "
            "in an argument after it."
        )
    for argument in arguments:
        if _FOR_SHELLS.fullmatch(argument):
            raise UsageError(
                f"--on-event {command}: no shell is used, so '{argument}' means nothing. Call one: "
                "sh -c 'echo \"$1\" >> FILE' sh {label}"
            )
        for name in _PLACEHOLDER.findall(argument):
            if name not in _FILL:
                raise UsageError(
                    f"--on-event {command}: unknown placeholder {{{name}}}; {nearest(name, _FILL)}"
                )
    if shutil.which(arguments[0]) is None:
        raise UsageError(
            f"--on-event {command}: there is no program '{arguments[0]}'. Give its path, or look "
            "whether it is installed. No shell is used: for pipes and built-ins write a script."
        )
    _refuse_scripts_of_labels(command, arguments)
    return arguments


def _refuse_scripts_of_labels(command: str, arguments: List[str]) -> None:
    """Labels come with the model, from whoever made it: no shell shall run what they say."""
    runs_text = False
    for number, option in enumerate(arguments):
        runs_text = runs_text or _RUNS_TEXT.fullmatch(pathlib.PurePath(option).name) is not None
        if not (runs_text and _BEFORE_TEXT.fullmatch(option)):
            continue
        script = next((text for text in arguments[number + 1 :] if text[:1] not in ("-", "+")), "")
        if "{label}" in script:
            raise UsageError(
                f"--on-event {command}: the label would be run as a part of the script. "
                "Hand it over as an argument: sh -c 'echo \"$1\"' sh {label}"
            )


def _filled(argument: str, event: GestureEvent) -> bytes:
    """Return an argument with its placeholders filled; bytes, so that any locale starts it."""

    def fill(found: Match[str]) -> str:
        text = _FILL[found.group(1)](event)
        # A label holds anything that JSON does; an argument does not.
        return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")

    return _PLACEHOLDER.sub(fill, argument).encode("utf-8", "surrogateescape")


def _stderr_or_nowhere() -> int:
    try:
        os.fstat(2)
    except OSError:  # closed by the caller (2>&-)
        return subprocess.DEVNULL
    return 2


def _status_text(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"ended by signal {-status}"
