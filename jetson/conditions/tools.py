"""Runs the tools that tell what no file does: nvpmodel and nvidia-smi."""

import os
import subprocess
from typing import Callable, Dict, NamedTuple, Sequence

from clipedge.jetson.conditions.tree import MissingError

LIMIT_S = 10.0  # nvidia-smi takes seconds where it has to start the driver


class Output(NamedTuple):
    """What a tool wrote to stdout and stderr, and its exit status."""

    status: int
    text: str


Run = Callable[[Sequence[str]], Output]


def run_tool(arguments: Sequence[str], limit_s: float = LIMIT_S) -> Output:
    """Run a tool and return what it wrote; an exit status other than 0 is no error here.

    Raises:
        MissingError: it is not installed, cannot be started, or does not end in time.
    """
    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=plain_environment(),
        )
    except FileNotFoundError:
        raise MissingError(f"{arguments[0]} is not installed") from None
    except OSError as error:
        raise MissingError(f"{arguments[0]} cannot be started: {error.strerror}") from None
    try:
        raw, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise MissingError(f"{arguments[0]} did not answer within {limit_s:g} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return Output(process.returncode, raw.decode("utf-8", "replace"))


def plain_environment() -> Dict[str, str]:
    """Return the environment with English messages and decimal points."""
    return dict(os.environ, LC_ALL="C")
