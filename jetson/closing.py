"""What is closed at the end of a ``with`` block, also after an exception or Ctrl-C."""

from types import TracebackType
from typing import Optional, Type, TypeVar

T = TypeVar("T", bound="Closing")


class Closing:
    """A context manager whose end is its ``close``."""

    def close(self) -> None:
        """Free what is held; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
