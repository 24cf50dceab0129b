"""Decoded frames on a fast disk, shared by all processes that read clips.

Each entry is a file that is mapped into memory, so that the operating system holds one copy of it
for all processes for as long as there is room.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from clipedge.jetson.files import PathLike, writable_folder

log = logging.getLogger(__name__)

_SUFFIX = ".clips"
_LEDGER = "ledger"  # its length tells how much is stored
_LEDGER_UNIT = 1 << 16  # bytes of entries for each byte of the ledger
_LARGEST_PART = 0.25  # of the limit, for one entry
# What decides about an entry's pixels. Entries of other versions of these files are not used.
_SOURCES = (
    "trainside/data/*.py",
    "jetson/camera/*.py",
    "jetson/clip_buffer.py",
    "jetson/preprocess.py",
    "jetson/spec.py",
)


class Entry(NamedTuple):
    """What was stored.

    Attributes:
        arrays: (N, ...) uint8, read-only and mapped into memory.
        facts: what was stored with them, of JSON's types.
    """

    arrays: np.ndarray
    facts: dict[str, Any]


class ClipCache:
    """A folder of entries up to a limit; what does not fit is not stored, and is no error."""

    def __init__(self, folder: PathLike, limit_bytes: int) -> None:
        """Prepare the folder; entries of an earlier run with the same code are used again.

        Args:
            folder: created where it is not there. Several processes may share it.
            limit_bytes: of all entries together; each process may exceed it by one entry.

        Raises:
            ClipedgeError: no file can be made in ``folder``.
        """
        self._folder = pathlib.Path(folder) / f"clips-{_code_digest()}"
        self._limit_bytes = limit_bytes
        self._full = limit_bytes == 0
        writable_folder(self._folder)
        for other in self._folder.parent.glob("clips-*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)

    @property
    def used_bytes(self) -> int:
        """About how much all processes have stored."""
        try:
            return (self._folder / _LEDGER).stat().st_size * _LEDGER_UNIT
        except OSError:
            return 0

    @property
    def full(self) -> bool:
        """This process stores no more."""
        return self._full

    def find(self, key: str) -> Entry | None:
        """Return what was stored under ``key``, or None."""
        try:
            with self._path(key).open("rb") as file:
                head = json.loads(file.readline())
                shape = tuple(head["shape"])
                # What was cut by a crash of the machine is too short for its shape.
                arrays = np.memmap(file, np.uint8, "r", file.tell(), shape)
                return Entry(arrays.view(np.ndarray), head["facts"])
        except (OSError, ValueError):
            return None

    def add(
        self, key: str, count: int, arrays: Iterator[np.ndarray], facts: Mapping[str, Any]
    ) -> Entry | None:
        """Store arrays under ``key`` and return them, or None where they are not stored.

        Args:
            key: any text.
            count: how many arrays there are, 1 or more.
            arrays: uint8, all of one shape; one after the other is taken and written.
            facts: more to store, of JSON's types.
        """
        if self._full:
            return None
        first = next(arrays)
        size = count * first.nbytes
        if size > _LARGEST_PART * self._limit_bytes:
            return None
        if self.used_bytes + size > self._limit_bytes:
            self._full = True
            return None
        try:
            if not self._write(key, (count, *first.shape), first, arrays, facts):
                return None
            with (self._folder / _LEDGER).open("ab") as ledger:
                ledger.write(bytes(-(-size // _LEDGER_UNIT)))
        except OSError as error:
            self._give_up(error)
            return None
        return self.find(key)

    def _write(
        self,
        key: str,
        shape: tuple[int, ...],
        first: np.ndarray,
        rest: Iterator[np.ndarray],
        facts: Mapping[str, Any],
    ) -> bool:
        """Write an entry, whole or not at all; tell whether the arrays are what they should be."""
        handle, name = tempfile.mkstemp(dir=self._folder)
        temporary = pathlib.Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps({"shape": shape, "facts": facts}).encode() + b"\n")
                file.write(np.ascontiguousarray(first).data)
                written = 1
                for array in rest:
                    if array.shape != shape[1:]:
                        return False
                    file.write(np.ascontiguousarray(array).data)
                    written += 1
            if written != shape[0]:
                return False
            # Not flushed to the disk: all of it can be made again.
            temporary.replace(self._path(key))
            return True
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _give_up(self, error: OSError) -> None:
        self._full = True
        try:  # the first of all processes says so
            (self._folder / "stopped").touch(exist_ok=False)
        except FileExistsError:
            return
        except OSError:
            pass
        log.warning(
            "Decoded frames are no longer cached in %s: %s.", self._folder, error.strerror or error
        )

    def _path(self, key: str) -> pathlib.Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self._folder / f"{digest}{_SUFFIX}"


def _code_digest() -> str:
    root = pathlib.Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
