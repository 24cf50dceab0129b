"""What the five commands share: exit statuses, argument types and nearest matches."""

import argparse
import contextlib
import difflib
import io
import logging
import os
import pathlib
import re
import signal
import sys
import threading
from typing import Any, Callable, Iterable, List, NoReturn, Optional, Sequence, TypeVar

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import readable_os_error
from clipedge.jetson.progress import CLEAR_LINE

DONE, FAILED, WRONG_CALL = 0, 1, 2

_Value = TypeVar("_Value", int, float)

Command = Callable[[argparse.Namespace], int]


class CommandParser(argparse.ArgumentParser):
    """Tells what is wrong in one line, without repeating the usage; help shows the defaults."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", _help_formatter)
        super().__init__(**options)
        self._given: List[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and keep the arguments for what is said of an error."""
        self._given = list(sys.argv[1:] if args is None else args)
        parsed, left = super().parse_known_args(args, namespace)
        if self._unknown(left):  # here, as a subcommand knows its own options
            self.error("unrecognized arguments: " + " ".join(left))
        return parsed, left

    def error(self, message: str) -> NoReturn:
        """Raise UsageError where argparse would print the usage and exit."""
        if message.startswith(("unrecognized arguments", "the following arguments are required")):
            for option in self._unknown(self._given):
                # Without the dashes, which would make all options resemble each other.
                bare = [one[2:] for one in self._options()]
                near = difflib.get_close_matches(option[2:], bare, n=1)
                advice = f"; did you mean --{near[0]}?" if near else "."
                raise UsageError(f"There is no option {option}{advice} See {self.prog} --help.")
        raise UsageError(f"{message}. See {self.prog} --help.")

    def _options(self) -> List[str]:
        return [option for option in self._option_string_actions if option.startswith("--")]

    def _unknown(self, arguments: Sequence[str]) -> List[str]:
        """Return the options among the arguments that are none of this parser."""
        given = list(arguments)
        given = given[: given.index("--")] if "--" in given else given
        names = [one.partition("=")[0] for one in given if re.match("--[a-z]", one)]
        known = self._options()
        return [name for name in names if not any(one.startswith(name) for one in known)]


def run_command(
    build_parser: Callable[[], CommandParser],
    command: Command,
    argv: Optional[Sequence[str]] = None,
) -> int:
    """Parse ``argv``, run ``command`` and return the exit status; no traceback for bad input.

    Results go to stdout; errors and talk go to stderr. An interrupt (Ctrl-C, or a request to end)
    unwinds the command's context managers, so that nothing stays half-written, and counts as a
    failure.
    """
    interrupts = _count_interrupts()
    name = pathlib.Path(sys.argv[0]).name
    try:
        _make_stdout_tolerant()
        if sys.stderr is None:  # closed by the caller (2>&-); the next file would get its number
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  open until the end
        parser = build_parser()
        name = parser.prog
        arguments = parser.parse_args(argv)
        _talk_on_stderr()
        status = command(arguments)
        _flush_stdout()
        return status
    except BrokenPipeError:
        _discard_stdout()
        return DONE
    except (Exception, KeyboardInterrupt) as error:
        # A library may turn the interrupt into an error of its own, halfway through its import.
        if interrupts or isinstance(error, KeyboardInterrupt):
            return _complain(name, "interrupted; no file is left half-written.", FAILED)
        if isinstance(error, UsageError):
            return _complain(name, str(error), WRONG_CALL)
        if isinstance(error, ClipedgeError):
            return _complain(name, str(error), FAILED)
        if isinstance(error, OSError):
            return _complain(
                name, str(readable_os_error(error, error.filename or "a file")), FAILED
            )
        raise


def _make_stdout_tolerant() -> None:
    """Let a label that the terminal's encoding lacks show as an escape instead of failing.

    Python 3.6 in the C locale, the default of a bare board or container, encodes to ASCII.
    """
    if sys.stdout is None:  # closed by the caller (>&-)
        sys.stdout = open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115, PTH123  open until the end
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    else:  # Python 3.6
        with contextlib.suppress(io.UnsupportedOperation):  # no real file: somebody captures it
            sys.stdout = open(  # noqa: SIM115
                sys.stdout.fileno(),
                "w",
                buffering=1 if sys.stdout.isatty() else -1,
                encoding=sys.stdout.encoding,
                errors="backslashreplace",
                closefd=False,
            )


def _flush_stdout() -> None:
    """Write what is still buffered now, while a failure can be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_stdout()
        raise readable_os_error(error, "standard output") from None


def _discard_stdout() -> None:
    """Send the rest to nowhere: the reader is gone, and Python would complain when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _talk_on_stderr() -> None:
    """Show our own log from INFO on; other libraries' talk stays at its default, warnings."""
    ours = logging.getLogger("clipedge")
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():  # a line that redraws itself may stand there
        handler.setFormatter(logging.Formatter(f"{CLEAR_LINE}%(message)s"))
    ours.handlers = [handler]
    ours.setLevel(logging.INFO)


def _count_interrupts() -> List[int]:
    """Raise KeyboardInterrupt on Ctrl-C and on requests to end; note them in the list returned.

    ``timeout``, ``docker stop`` and a closed terminal ask to end with other signals than Ctrl-C.
    """
    seen: List[int] = []

    def interrupt(number: int, frame: Any) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # not nohup
                signal.signal(number, interrupt)
    return seen


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a message's end: ``did you mean A?`` for a near miss, else ``known: A, B, C.``."""
    names = list(known)
    matches = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.6)
    if matches:
        return "did you mean {}?".format(" or ".join(matches))
    return "known: {}.".format(", ".join(names))


def positive_int(text: str) -> int:
    """Argparse type: a whole number above 0."""
    return _number(text, int, lambda value: value > 0, "a whole number above 0")


def natural(text: str) -> int:
    """Argparse type: a whole number, 0 or more."""
    return _number(text, int, lambda value: value >= 0, "a whole number, 0 or more")


def positive_float(text: str) -> float:
    """Argparse type: a finite number above 0."""
    return _number(text, float, lambda value: 0.0 < value < float("inf"), "a number above 0")


def natural_float(text: str) -> float:
    """Argparse type: a finite number, 0 or more."""
    return _number(text, float, lambda value: 0.0 <= value < float("inf"), "a number, 0 or more")


def probability(text: str) -> float:
    """Argparse type: a number from 0 to 1."""
    return number_to(1.0)(text)


def number_to(highest: float) -> Callable[[str], float]:
    """Return an argparse type: a number from 0 to ``highest``."""

    def parse(text: str) -> float:
        holds = f"a number from 0 to {highest:g}"
        return _number(text, float, lambda value: 0.0 <= value <= highest, holds)

    return parse


def _number(
    text: str, convert: Callable[[str], _Value], holds: Callable[[_Value], bool], what: str
) -> _Value:
    try:
        value = convert(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not {what}") from None
    if not holds(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
    return value


def threshold(text: str) -> float:
    """Argparse type: a score above 0, up to 1."""
    value = probability(text)
    if value == 0.0:
        raise argparse.ArgumentTypeError("'0' would name a gesture at every moment; choose more")
    return value


class _DefaultsWhereTheySaySomething(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _help_formatter(prog: str) -> argparse.HelpFormatter:
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
