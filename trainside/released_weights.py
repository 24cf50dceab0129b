"""The paper's released state dicts: which model, width and number of classes they belong to."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from clipedge.jetson.errors import ModelFileError, UsageError
from clipedge.trainside.models import (
    ModelConfig,
    architecture,
    create_model,
    list_models,
)
from clipedge.trainside.tensor_match import describe_mismatch, differences

PREFIX = "module."  # what nn.DataParallel puts before every name


def looks_released(content: Any) -> bool:
    """True for a dict of tensors, bare or under ``state_dict``."""
    tensors = content.get("state_dict", content) if isinstance(content, dict) else None
    return (
        isinstance(tensors, Mapping)
        and bool(tensors)
        and all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    )


def plain_names(state_dict: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors by their names without the ``module.`` of nn.DataParallel.

    Raises:
        ClipedgeError: it is not a dict of tensors.
    """
    if not looks_released({"state_dict": state_dict}):
        raise ModelFileError("The state dict is not a dict of tensors by name, or it is empty.")
    return {name.removeprefix(PREFIX): tensor for name, tensor in state_dict.items()}


def identify(
    tensors: Mapping[str, torch.Tensor],
    model: str | None,
    width: float | None,
    options: dict[str, Any],
) -> ModelConfig:
    """Return the configuration whose tensors have exactly these names and shapes.

    Args:
        tensors: from ``plain_names``.
        model: None tries every architecture.
        width: None tries every width.
        options: given by the caller; the shortcut is tried both ways where it is not among them.

    Raises:
        UsageError: there is no such model, width or option.
        ClipedgeError: none fits; the message says what does not, and what would fit.
    """
    if model is not None:
        _check_call(model, width, options)
    asked = [
        config
        for config in _configurations(tensors, options)
        if model in (None, config.name) and width in (None, config.width)
    ]
    if not asked:
        raise UsageError(f"No model has width {width} and options {options or 'none'}.")
    nearest = min(asked, key=lambda config: _differing(config, tensors))
    if not _differing(nearest, tensors):
        return nearest
    fitting = next(
        (config for config in _configurations(tensors, {}) if not _differing(config, tensors)), None
    )
    advice = f" They fit {_described(fitting)}." if fitting else ""
    unasked = model is None and width is None
    raise ModelFileError(
        ("The tensors fit none of the known models; the nearest is " if unasked else "")
        + ("" if unasked else "The tensors are not those of ")
        + f"{_described(nearest)}: {describe_mismatch(_expected(nearest), tensors)}.{advice}"
    )


def _configurations(
    tensors: Mapping[str, torch.Tensor], options: dict[str, Any]
) -> Iterator[ModelConfig]:
    """Every model, width and shortcut that takes these options, with the tensors' class count."""
    for name in list_models():
        entry = architecture(name)
        defaults = entry.default_options
        if not set(options) <= set(defaults):
            continue
        head = tensors.get(f"{entry.head}.weight")
        num_classes = head.shape[0] if head is not None and head.dim() else 1
        choices = [{**defaults, **options}]
        if "shortcut" in defaults and "shortcut" not in options:
            choices = [{**choices[0], "shortcut": shortcut} for shortcut in ("A", "B")]
        for width in entry.widths or (None,):
            for choice in choices:
                yield ModelConfig(name, width, num_classes, choice)


def _differing(config: ModelConfig, tensors: Mapping[str, torch.Tensor]) -> int:
    return differences(_expected(config), tensors).total


def _expected(config: ModelConfig) -> Mapping[str, torch.Tensor]:
    return _expected_shapes(
        config.name, config.width, config.num_classes, tuple(sorted(config.options.items()))
    )


@functools.lru_cache(maxsize=64)
def _expected_shapes(
    name: str, width: float | None, num_classes: int, options: tuple[tuple[str, Any], ...]
) -> Mapping[str, torch.Tensor]:
    with torch.device("meta"):  # names and shapes without any memory behind them
        return create_model(name, width, num_classes, **dict(options)).state_dict()


def _check_call(name: str, width: float | None, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        create_model(name, width, **options)


def _described(config: ModelConfig) -> str:
    text = config.name if config.width is None else f"{config.name} {config.width}x"
    shortcut = config.options.get("shortcut")
    if shortcut != architecture(config.name).default_options.get("shortcut"):
        text += f" with shortcut {shortcut}"
    return text
