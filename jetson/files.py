"""Files are written whole or not at all: to a temporary name beside the target, then renamed."""

import contextlib
import errno
import os
import pathlib
import sys
import tempfile
from typing import Iterable, Iterator, Tuple, Union

from clipedge.jetson.errors import ClipedgeError, UsageError

PathLike = Union[str, "os.PathLike[str]"]


def readable_os_error(error: OSError, path: PathLike) -> ClipedgeError:
    """Return an error that says what could not be written or read, why, and what to do."""
    advice = {
        errno.ENOSPC: "the disk is full; free some space or choose another place",
        errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
        errno.EACCES: "permission denied; choose another place or change its permissions",
        errno.EPERM: "permission denied; choose another place or change its permissions",
        errno.EROFS: "the file system is read-only; choose another place",
        errno.ENOENT: "there is no such file or folder",
        errno.EISDIR: "it is a folder; a file is needed",
        errno.ENOTDIR: "a part of its path is a file, not a folder",
    }
    reason = advice.get(error.errno or 0, error.strerror or str(error))
    return ClipedgeError(f"{path}: {reason}.")


def make_folder(path: PathLike) -> pathlib.Path:
    """Create the folder ``path`` with its parents, or raise ClipedgeError with the reason."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        message = f"{folder}: it is a file; a folder is needed."
        raise ClipedgeError(message) from None
    except OSError as error:
        raise readable_os_error(error, folder) from None
    return folder


def writable_folder(path: PathLike) -> pathlib.Path:
    """Create a folder as ``make_folder`` does; raise ClipedgeError where no file can be made in it.

    For what takes long before it writes: the reason is heard of early.
    """
    folder = make_folder(path)
    try:
        with tempfile.TemporaryFile(prefix=".clipedge-", dir=str(folder)):
            pass
    except FileNotFoundError:  # as in whole_file
        message = f"{folder}: no file can be made in this folder; choose another place."
        raise ClipedgeError(message) from None
    except OSError as error:
        raise readable_os_error(error, folder) from None
    return folder


@contextlib.contextmanager
def whole_file(path: PathLike) -> Iterator[pathlib.Path]:
    """Yield a temporary path beside ``path``; rename it on success, delete it on any exception.

    The temporary file keeps the suffix of ``path`` (video writers choose the container by it) and
    starts with a dot, so that nothing takes it for a finished file. Where ``path`` is a link, the
    file it leads to is replaced.

    Raises:
        ClipedgeError: the folder cannot be written, the disk is full, or something that is no
            file, such as a folder or a device, has the name.
    """
    target = pathlib.Path(os.path.realpath(str(path)))
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "not a regular file"
        raise ClipedgeError(f"{path}: it is {kind}; give the name of a file.")
    make_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=target.suffix, dir=str(target.parent)
        )
    except FileNotFoundError:  # the folder is there, but takes none, such as /proc
        message = f"{path}: no file can be made in this folder; choose another place."
        raise ClipedgeError(message) from None
    except OSError as error:
        raise readable_os_error(error, path) from None
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_current_umask())
        temporary.replace(target)
    except OSError as error:
        # The body may fail over other files and pipes; those errors are not about this one.
        if isinstance(error, BrokenPipeError) or error.filename not in (None, name):
            raise
        raise readable_os_error(error, path) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_whole(path: PathLike, data: Union[bytes, str]) -> pathlib.Path:
    """Write ``data`` (text as UTF-8) to ``path``, whole or not at all; return the path."""
    with whole_file(path) as temporary:
        temporary.write_bytes(_raw(data))
    return pathlib.Path(path)


def write_set(contents: Iterable[Tuple[PathLike, Union[bytes, str]]]) -> None:
    """Write files that belong together: every one is complete on disk before the first appears.

    They appear in reverse order, so that the first one given, the main file, comes last.
    """
    with contextlib.ExitStack() as stack:
        # All names are checked before the first file appears.
        temporaries = [(stack.enter_context(whole_file(path)), data) for path, data in contents]
        for temporary, data in temporaries:
            temporary.write_bytes(_raw(data))
            _flush_to_disk(temporary)


def plain_path(path: PathLike) -> str:
    """Return ``path`` as text, or raise UsageError where its name is not UTF-8.

    OpenCV and ONNX Runtime take file names as UTF-8; OpenCV ends the process over any other.
    """
    text = str(path)
    try:
        text.encode("utf-8")
        text.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
        raise UsageError(
            f"{shown}: this name cannot be read as UTF-8. Rename the file, or set LC_ALL=C.UTF-8."
        ) from None
    return text


def _raw(data: Union[bytes, str]) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else data


def _flush_to_disk(path: pathlib.Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
