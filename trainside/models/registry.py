"""The table of architectures: what can be built, at which widths, for which clip."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError

WIDTH_WHEN_NOT_GIVEN = 1.0


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """All it takes to build a module again; ``create_model`` leaves it on the module."""

    name: str
    width: float | None
    num_classes: int
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Length of the clip that the architecture was designed for."""
        return architecture(self.name).frames

    @property
    def size(self) -> int:
        """Height and width of that clip, pixels."""
        return architecture(self.name).size


class ClipModel(nn.Module):
    """Base of every architecture: clips to logits.

    ``forward`` takes (N, 3, T, H, W) float32, normalised as the ClipSpec says, and returns
    (N, classes) float32 logits.
    """

    config: ModelConfig


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        build: takes num_classes, width where there are widths, and the options by name.
        widths: the paper's width multipliers, ascending; empty where there is none.
        head: name of the layer whose weight has one row a class.
        frames: length of the clip it was designed for.
        size: height and width of that clip, pixels.
    """

    name: str
    build: Callable[..., ClipModel]
    widths: tuple[float, ...]
    head: str
    frames: int
    size: int

    @property
    def default_options(self) -> dict[str, Any]:
        """Options of ``create_model`` with their defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        return {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.name not in ("num_classes", "width")
        }


_ARCHITECTURES: dict[str, Architecture] = {}


def register(
    name: str, *, head: str, widths: tuple[float, ...] = (), frames: int = 16, size: int = 112
) -> Callable[[Callable[..., ClipModel]], Callable[..., ClipModel]]:
    """Enter the decorated class or function in the registry under ``name``."""

    def enter(build: Callable[..., ClipModel]) -> Callable[..., ClipModel]:
        _ARCHITECTURES[name] = Architecture(name, build, widths, head, frames, size)
        return build

    return enter


def list_models() -> list[str]:
    """Names that ``create_model`` knows, in alphabetical order."""
    return sorted(_ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """Return the registry's entry; raise UsageError with the nearest name where there is none."""
    try:
        return _ARCHITECTURES[name]
    except KeyError:
        raise UsageError(f"Unknown model '{name}'; {nearest(name, list_models())}") from None


def widths(name: str) -> tuple[float, ...]:
    """Width multipliers of a model, ascending; empty where it has none."""
    return architecture(name).widths


def create_model(
    name: str, width: float | None = None, num_classes: int = 27, **options: Any
) -> ClipModel:
    """Build a model with fresh weights, in training mode.

    Args:
        name: one of ``list_models()``.
        width: one of ``widths(name)``; None is 1.0 where there are widths.
        num_classes: number of logits.
        **options: ``dropout`` before the last layer (0.2, the paper's section 3.2); ``shortcut``
            "A" or "B" for the ResNets.

    Returns:
        The module; its ``config`` builds it again.

    Raises:
        UsageError: the name, the width or an option is unknown, or a value makes no sense.
    """
    entry = architecture(name)
    chosen_width = _checked_width(entry, width)
    if num_classes < 1:
        raise UsageError(f"A model needs at least 1 class; got {num_classes}.")
    chosen_options = _checked_options(entry, options)
    arguments = dict(chosen_options)
    if chosen_width is not None:
        arguments["width"] = chosen_width
    model = entry.build(num_classes=num_classes, **arguments)
    model.config = ModelConfig(name, chosen_width, num_classes, chosen_options)
    return model


def _checked_width(entry: Architecture, width: float | None) -> float | None:
    if not entry.widths:
        if width is not None:
            with_widths = [name for name in list_models() if _ARCHITECTURES[name].widths]
            raise UsageError(
                f"{entry.name} has no width multiplier; got {width:g}. Leave the width out, or "
                f"choose a model that has one: {', '.join(with_widths)}."
            )
        return None
    wanted = WIDTH_WHEN_NOT_GIVEN if width is None else float(width)
    if wanted not in entry.widths:
        near = sorted(sorted(entry.widths, key=lambda known: abs(known - wanted))[:2])
        raise UsageError(
            f"{entry.name} has no width {wanted:g}; the nearest are "
            f"{' and '.join(map(str, near))}, all: {', '.join(map(str, entry.widths))}."
        )
    return wanted


def _checked_options(entry: Architecture, options: dict[str, Any]) -> dict[str, Any]:
    known = entry.default_options
    for name in options:
        if name not in known:
            raise UsageError(f"{entry.name} has no option '{name}'; {nearest(name, known)}")
    chosen = {**known, **options}
    if not 0.0 <= chosen["dropout"] < 1.0:
        raise UsageError(f"dropout must be from 0 up to but not 1; got {chosen['dropout']}.")
    if chosen.get("shortcut", "A") not in ("A", "B"):
        raise UsageError(f"shortcut must be A or B; got {chosen['shortcut']}.")
    return chosen
