"""What all objects of the TensorRT stand-in share: a life that can be looked at."""

from typing import Any, Optional

from stand_ins.limited import Bound


class TrtObject(Bound):
    """Base of what holds resources: counted while it lives."""

    _home: Any
    _key: Optional[int] = None

    def _live(self, what: str, on_gpu: bool = False) -> None:
        self._key = self._home.machine.born(what, on_gpu)

    def _log(self, severity: str, text: str) -> None:
        self._home.log(self._logger, severity, text)

    def __del__(self) -> None:
        if self._key is not None:
            self._home.machine.died(self._key)


class IHostMemory(bytearray):
    """Bytes of the library's own: readable through the buffer protocol, with no length."""

    _of_a_stand_in = True

    @property
    def nbytes(self) -> int:
        return bytearray.__len__(self)

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in type(self)._members:
            raise AttributeError(f"'IHostMemory' object has no attribute '{name}'")
        return object.__getattribute__(self, name)

    _members = ("nbytes",)


def host_memory(home: Any, data: bytes) -> Any:
    """An IHostMemory with the members that the release's list gives it."""
    cls = type("IHostMemory", (IHostMemory,), {"_members": tuple(home.members["IHostMemory"])})
    return cls(data)
