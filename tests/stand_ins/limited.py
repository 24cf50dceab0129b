"""Classes that have exactly the members of a list, as the bindings of one release have them."""

import json
import pathlib
import types
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping

from stand_ins.in_c import as_c

_LISTS = pathlib.Path(__file__).resolve().parent / "members.json"

# What every Python class has, and what the stand-ins need inside.
_DUNDERS_OF_A_LIST = ("__len__", "__getitem__")

Members = Dict[str, List[str]]


def member_lists() -> Dict[str, Members]:
    """{release: {class, or "module" for names of the module itself: [member]}}."""
    lists: Dict[str, Members] = json.loads(_LISTS.read_text(encoding="utf-8"))
    return lists


class Meta(type):
    """Checks, as pybind11 does, that a subclass written in Python calls ``__init__``."""

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        made = super().__call__(*arguments, **named)
        if getattr(cls, "_written_in_python", False) and not hasattr(made, "_initialised"):
            raise TypeError(f"{cls.__name__}.__init__() must be called when overriding __init__")
        return made


class Bound(metaclass=Meta):
    """Base of every class of a stand-in: no attribute beside the listed ones can be set."""

    _open = False  # True in classes that a user derives from

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        cls._written_in_python = not cls.__dict__.get("_of_a_stand_in", False)

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        known = isinstance(getattr(cls, name, None), property)
        if not (name.startswith("_") or known or (self._open and cls._written_in_python)):
            raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)


def limited(name: str, written: type, members: Iterable[str], module: str) -> Any:
    """A class with the listed public members of `written`, and no others."""
    members = frozenset(members)
    parts: Dict[str, Any] = {}
    for cls in reversed(written.__mro__):
        if cls is object or cls is Bound:
            continue
        parts.update(
            (key, value)
            for key, value in cls.__dict__.items()
            if key in members or (key.startswith("_") and key not in _DUNDERS_OF_A_LIST)
        )
    for key in members | {"__init__"}:
        if key in parts:
            parts[key] = _as_c(parts[key])
    for unwanted in ("__dict__", "__weakref__", "__doc__"):
        parts.pop(unwanted, None)
    absent = members - frozenset(parts)
    if absent:
        raise NotImplementedError(f"the stand-in has no {name}.{', '.join(sorted(absent))}")
    parts.update({"_of_a_stand_in": True, "__module__": module, "__qualname__": name})
    bases = (Bound,) if issubclass(written, Bound) else written.__bases__
    return types.new_class(name, bases, {}, lambda namespace: namespace.update(parts))


def _as_c(member: Any) -> Any:
    """A method, class method or property as a call of C."""
    if isinstance(member, property):
        setter = member.fset and as_c(member.fset)
        return property(member.fget and as_c(member.fget), setter)
    if isinstance(member, classmethod):
        return classmethod(as_c(member.__func__))
    return as_c(member) if isinstance(member, types.FunctionType) else member


class Value:
    """A member of an enumeration as pybind11 makes it: no int, but ``int(value)`` works."""

    def __init__(self, enumeration: str, name: str, number: int) -> None:
        self._enumeration = enumeration
        self.name = name
        self.value = number

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{self._enumeration}.{self.name}: {self.value}>"

    def __str__(self) -> str:
        return f"{self._enumeration}.{self.name}"

    def __hash__(self) -> int:
        return hash((self._enumeration, self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and (self._enumeration, self.value) == (
            other._enumeration,
            other.value,
        )


def enumeration(name: str, numbers: Mapping[str, int], members: Iterable[str]) -> Any:
    """An enumeration that has the listed members and no others."""
    wanted: FrozenSet[str] = frozenset(members)
    absent = wanted - frozenset(numbers)
    if absent:
        raise NotImplementedError(f"the stand-in has no {name}.{', '.join(sorted(absent))}")
    values = {key: Value(name, key, numbers[key]) for key in numbers if key in wanted}
    return type(name, (), dict(values, __members__=values))
