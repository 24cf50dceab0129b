"""Compare the names and shapes of two sets of tensors and say in a line where they differ."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

SHOWN = 3  # of each kind of difference, in a message
# Written since PyTorch 0.4.1 and read by nothing here: a checkpoint may lack it.
_OPTIONAL = "num_batches_tracked"


class Differences(NamedTuple):
    """Names of the tensors that do not fit, in the order of the module or the file."""

    reshaped: list[str]
    missing: list[str]
    unexpected: list[str]

    @property
    def total(self) -> int:
        """How many tensors do not fit."""
        return len(self.reshaped) + len(self.missing) + len(self.unexpected)


def differences(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> Differences:
    """Return where the tensors ``got`` do not fit a module's state dict ``expected``."""
    return Differences(
        reshaped=[
            name for name in expected if name in got and got[name].shape != expected[name].shape
        ],
        missing=[name for name in expected if name not in got and not name.endswith(_OPTIONAL)],
        unexpected=[name for name in got if name not in expected],
    )


def describe_mismatch(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str:
    """Name the first tensors that do not fit and count all of them; empty where all fit."""
    found = differences(expected, got)
    if not found.total:
        return ""
    parts = [
        f"{name} is {_shape(got[name])}, expected {_shape(expected[name])}"
        for name in found.reshaped[:SHOWN]
    ]
    for kind, names in (("missing", found.missing), ("unexpected", found.unexpected)):
        if names:
            parts.append(f"{kind} {', '.join(names[:SHOWN])}")
    return f"{'; '.join(parts)} ({found.total} in all)"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
