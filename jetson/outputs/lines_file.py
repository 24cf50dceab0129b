"""A file that grows by whole lines."""

import contextlib
import os
import pathlib
import stat

from clipedge.jetson.files import PathLike, make_folder, readable_os_error


class LinesFile:
    """Lines are in it as soon as they are written; what a full disk cuts is taken back."""

    def __init__(self, path: PathLike, keep: bool = False) -> None:
        """Open the file; its folder is made.

        Args:
            path: a file, a named pipe or a device.
            keep: go on after the lines that are there; else they are removed.

        Raises:
            ClipedgeError: it cannot be written.
        """
        make_folder(pathlib.Path(path).parent)
        # Appending: who empties the file meanwhile, as logrotate does, leaves no hole in it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if keep else os.O_TRUNC)
        try:
            self._handle = os.open(str(path), flags, 0o666)
        except OSError as error:
            raise readable_os_error(error, path) from None
        self._path = path
        self._is_regular = stat.S_ISREG(os.fstat(self._handle).st_mode)

    def append(self, line: str) -> None:
        """Write a line, without its line break, whole or not at all.

        Raises:
            OSError: the disk is full.
        """
        rest = f"{line}\n".encode()
        length = os.fstat(self._handle).st_size
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            if self._is_regular:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, length)
            raise

    def close(self) -> None:
        """Close it; once.

        Raises:
            ClipedgeError: the file system tells only now that it has no space.
        """
        try:
            os.close(self._handle)
        except OSError as error:
            raise readable_os_error(error, self._path) from None
