"""Files are written whole or not at all: to a temporary name beside the target, then renamed."""

import contextlib
import errno
import os
import pathlib
import tempfile
from typing import Iterable, Iterator, Tuple, Union

from clipedge.jetson.errors import ClipedgeError

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
    return ClipedgeError(f"{error.filename or path}: {reason}.")


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


@contextlib.contextmanager
def whole_file(path: PathLike) -> Iterator[pathlib.Path]:
    """Yield a temporary path beside ``path``; rename it on success, delete it on any exception.

    The temporary file keeps the suffix of ``path`` (video writers choose the container by it) and
    starts with a dot, so that nothing takes it for a finished file.

    Raises:
        ClipedgeError: the folder cannot be written, or the disk is full.
    """
    target = pathlib.Path(path)
    make_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=target.suffix, dir=str(target.parent)
        )
    except OSError as error:
        raise readable_os_error(error, target) from None
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_current_umask())
        temporary.replace(target)
    except OSError as error:
        raise readable_os_error(error, target) from None
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
        for path, data in contents:
            temporary = stack.enter_context(whole_file(path))
            temporary.write_bytes(_raw(data))
            _flush_to_disk(temporary)


def _raw(data: Union[bytes, str]) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else data


def _flush_to_disk(path: pathlib.Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
