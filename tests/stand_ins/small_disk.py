"""A disk that is full after so many bytes, for the files of this process."""

import contextlib
import resource


@contextlib.contextmanager
def disk_of(size):
    """No file of this process grows beyond ``size`` bytes: the write that would is cut there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
