"""Reads the kernel's small files below a root, and says why one cannot be read."""

import pathlib
import re
from typing import Callable, Dict, List, Optional, Tuple, TypeVar, Union

from clipedge.jetson.files import PathLike
from clipedge.jetson.kernel_files import read_kernel_file

T = TypeVar("T")

# Only root enters it on an ordinary system, so that what is inside seems not to be there.
DEBUG = "/sys/kernel/debug"


class MissingError(Exception):
    """A fact that this machine does not tell; the text is the reason, for the user."""


class Tree:
    """The files of a machine: those below ``root``, by the paths they have on that machine."""

    def __init__(self, root: PathLike = "/") -> None:
        self._root = str(root).rstrip("/")

    def path(self, path: str) -> pathlib.Path:
        """Return where the file lies here."""
        return pathlib.Path(self._root + path)

    def text(self, path: str) -> str:
        """Return a file's text without blanks and zero bytes at its ends.

        Raises:
            MissingError: it is not there, only root may read it, or the device does not answer.
        """
        try:
            return read_kernel_file(self._root + path)
        except FileNotFoundError:
            raise MissingError(f"there is no {path}") from None
        except PermissionError:
            raise MissingError(f"only root may read {path}") from None
        except OSError:  # EAGAIN, EIO: a part of the chip that is switched off
            raise MissingError(f"{path} does not answer") from None

    def optional_text(self, path: str) -> str:
        """Return a file's text; an empty one where it cannot be read."""
        try:
            return self.text(path)
        except MissingError:
            return ""

    def number(self, path: str) -> float:
        """Return the number a file begins with.

        Raises:
            MissingError: it cannot be read, or holds something else.
        """
        text = self.text(path)
        try:
            return float(text.split()[0])
        except (ValueError, IndexError):
            raise MissingError(f"{path} says {text[:40]!r}, which is no number") from None

    def find(self, pattern: str) -> List[str]:
        """Return the paths that match a pattern, numbers in them in their order."""
        found = pathlib.Path(self._root + "/").glob(pattern.lstrip("/"))
        return sorted((str(path)[len(self._root) :] for path in found), key=_by_number)


class Report:
    """Collects facts, and for each that is missing the reason, under the fact's key."""

    def __init__(self) -> None:
        self.missing: Dict[str, str] = {}

    def take(self, key: str, read: Callable[[], T]) -> Optional[T]:
        """Return what ``read`` returns; None, with the reason noted, where it is missing."""
        try:
            return read()
        except MissingError as reason:
            self.missing[key] = str(reason)
            return None

    def miss(self, key: str, reason: str) -> None:
        """Note why a fact is missing."""
        self.missing[key] = reason


def _by_number(path: str) -> Tuple[Union[int, str], ...]:
    parts = re.split(r"(\d+)", path)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts))
