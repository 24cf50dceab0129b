"""What the four commands share: exit statuses, argument types and nearest matches."""

import argparse
import difflib
import logging
import os
import signal
import sys
import threading
from typing import Any, Callable, Iterable, List, Optional, Sequence

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import readable_os_error

DONE, FAILED, WRONG_CALL = 0, 1, 2

Command = Callable[[argparse.Namespace], int]


def run_command(
    parser: argparse.ArgumentParser, command: Command, argv: Optional[Sequence[str]] = None
) -> int:
    """Parse ``argv``, run ``command`` and return the exit status; no traceback for bad input.

    Results go to stdout; errors and talk go to stderr. An interrupt (Ctrl-C) unwinds the command's
    context managers, so that nothing stays half-written, and counts as a failure.
    """
    interrupts = _count_interrupts()
    try:
        arguments = parser.parse_args(argv)
        _talk_on_stderr()
        return command(arguments)
    except BrokenPipeError:
        # The reader of stdout went away (`| head`): not an error of ours; keep Python's exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (Exception, KeyboardInterrupt) as error:
        # A library may turn the interrupt into an error of its own, halfway through its import.
        if interrupts or isinstance(error, KeyboardInterrupt):
            return _complain(parser.prog, "interrupted; no unfinished file was left.", FAILED)
        if isinstance(error, UsageError):
            return _complain(parser.prog, str(error), WRONG_CALL)
        if isinstance(error, ClipedgeError):
            return _complain(parser.prog, str(error), FAILED)
        if isinstance(error, OSError):
            return _complain(parser.prog, str(readable_os_error(error, "a file")), FAILED)
        raise


def _talk_on_stderr() -> None:
    """Show our own log from INFO on; other libraries' talk stays at its default, warnings."""
    ours = logging.getLogger("clipedge")
    ours.handlers = [logging.StreamHandler(sys.stderr)]
    ours.setLevel(logging.INFO)


def _count_interrupts() -> List[int]:
    """Raise KeyboardInterrupt on Ctrl-C, as Python does, and remember it in the list returned."""
    seen: List[int] = []

    def interrupt(number: int, frame: Any) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)
    return seen


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean A?`` for a near miss, else ``known: A, B, C``."""
    names = list(known)
    matches = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.6)
    if matches:
        return "did you mean {}?".format(" or ".join(matches))
    return "known: {}".format(", ".join(names))


def positive_int(text: str) -> int:
    """Argparse type: a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def positive_float(text: str) -> float:
    """Argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def probability(text: str) -> float:
    """Argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


class _DefaultsWhereTheySaySomething(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Help that shows the defaults, where there are any."""
    return _DefaultsWhereTheySaySomething(prog, max_help_position=30, width=98)


def _complain(prog: str, message: str, status: int) -> int:
    sys.stderr.write(f"{prog}: {message}\n")
    return status


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text table: first column flush left, the others flush right."""
    lines = [list(header)] + [list(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        texts.append("  ".join(cells).rstrip())
    texts.insert(1, "-" * max(len(text) for text in texts))
    return "\n".join(texts)
