"""Checkpoints: a module with its configuration and ClipSpec in one file of plain types."""

import dataclasses
import io
import os
import pathlib
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from clipedge.jetson.errors import ClipedgeError, ModelFileError, UsageError
from clipedge.jetson.files import PathLike, readable_os_error, whole_file
from clipedge.jetson.spec import ClipSpec, spec_from_dict
from clipedge.trainside.models import ClipModel, ModelConfig, create_model
from clipedge.trainside.tensor_match import describe_mismatch

FORMAT = "clipedge checkpoint"
FORMAT_VERSION = 1
_FIELDS = ("config", "spec", "state_dict", "extra")
_PLAIN = (bool, int, float, str, type(None), torch.Tensor)


class Checkpoint(NamedTuple):
    """What ``load_checkpoint`` returns.

    Attributes:
        model: in eval mode, on the CPU.
        spec: the ClipSpec that was saved with it.
        extra: what else was saved, such as the epoch; plain types and tensors.
    """

    model: ClipModel
    spec: ClipSpec
    extra: dict[str, Any]


def save_checkpoint(path: PathLike, model: ClipModel, spec: ClipSpec, **extra: Any) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: target; its folder is created.
        model: from ``create_model``.
        spec: of the same model, width and number of classes.
        **extra: numbers, texts, tensors, None, and lists and dicts of them.

    Raises:
        ClipedgeError: the file cannot be written.
        ValueError: ``spec`` is of another model, or ``extra`` holds something that is not plain.
    """
    problem = _disagreement(model.config, spec)
    if problem:
        raise ValueError(problem)
    _require_plain(extra, "extra")
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(model.config),
        "spec": spec.validate().to_dict(),
        "state_dict": dict(model.state_dict()),
        "extra": extra,
    }
    save_tensors(path, content)


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Read what ``save_checkpoint`` wrote; the module is in eval mode, on the CPU.

    Raises:
        ClipedgeError: the file is missing, truncated, not a checkpoint of this project, wants
            more than tensors and plain types, or contradicts itself.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelFileError(_why_not_ours(path, content))
    if content.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has checkpoint format version {content.get('format_version')}; this clipedge "
            f"reads {FORMAT_VERSION}. Use the clipedge that wrote it, or train again."
        )
    missing = [field for field in _FIELDS if not isinstance(content.get(field), dict)]
    if missing:
        raise ModelFileError(f"{path} is damaged: it has no {', '.join(missing)}.")
    spec = spec_from_dict(content["spec"])
    model = _rebuild(path, content["config"], content["state_dict"])
    problem = _disagreement(model.config, spec)
    if problem:
        raise ModelFileError(f"{path} contradicts itself: {problem}")
    return Checkpoint(model, spec, content["extra"])


def save_tensors(path: PathLike, content: Any) -> None:
    """Write what ``torch.save`` takes, whole or not at all.

    Raises:
        ClipedgeError: the file cannot be written.
    """
    # In memory first: torch reports a full disk as a RuntimeError that does not say so.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


def load_tensors(path: PathLike) -> Any:
    """Read any file of ``torch.save`` that holds only tensors and plain types, onto the CPU.

    Raises:
        UsageError: there is no such file.
        ClipedgeError: it cannot be read, is damaged, or its pickle wants more; the name of what it
            wants is in the message.
    """
    if not pathlib.Path(path).exists():
        raise UsageError(f"{path}: there is no such file.")
    try:
        with warnings.catch_warnings():
            # Of damaged bytes torch warns first, on two lines, that it may not know their format.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(os.fspath(path), map_location="cpu", weights_only=True)
    except OSError as error:
        raise readable_os_error(error, path) from None
    except Exception as error:  # damaged bytes make torch raise nearly any kind of exception
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            raise ModelFileError(
                f"{path} is refused: unpickling it would run {wanted.group(1)}, and only tensors "
                "and plain types are loaded. Save it again with its state_dict alone."
            ) from None
        raise ModelFileError(
            f"{path} is not a checkpoint, or is damaged or truncated: torch cannot read it. "
            "Copy or download it again."
        ) from None


def from_efficient3d(
    state_dict: Mapping[str, Any],
    model: str | None = None,
    width: float | None = None,
    **options: Any,
) -> ClipModel:
    """Build the module that a released state dict of the paper's code belongs to.

    Args:
        state_dict: tensors by name, with or without ``module.`` before each name.
        model: name of the architecture; None reads it off the tensors, like the number of classes.
        width: its width multiplier; None reads it off the tensors.
        **options: of ``create_model``; the ResNets' ``shortcut`` is read off the tensors where it
            is not given.

    Returns:
        The module in eval mode with these weights.

    Raises:
        UsageError: there is no such model, width or option.
        ClipedgeError: the tensors do not fit; the message names the first that do not.
    """
    from clipedge.trainside.released_weights import identify, plain_names

    tensors = plain_names(state_dict)
    config = identify(tensors, model, width, options)
    return _filled(create_model_like(config), tensors)


def create_model_like(config: ModelConfig) -> ClipModel:
    """Build a module with fresh weights from another's ``config``."""
    return create_model(config.name, config.width, config.num_classes, **config.options)


def _filled(model: ClipModel, tensors: Mapping[str, torch.Tensor]) -> ClipModel:
    # Not strict: checkpoints of PyTorch before 0.4.1 lack num_batches_tracked, the only tensors
    # that may be missing by now.
    model.load_state_dict(dict(tensors), strict=False)
    return model.eval()


def _rebuild(path: PathLike, fields: dict[str, Any], tensors: dict[str, torch.Tensor]) -> ClipModel:
    try:
        config = ModelConfig(**fields)
        model = create_model_like(config)
    except (ClipedgeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} holds a model that cannot be built: {error}") from None
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise ModelFileError(f"{path} is damaged: its state_dict holds more than tensors.")
    mismatch = describe_mismatch(model.state_dict(), tensors)
    if mismatch:
        raise ModelFileError(f"{path}: its weights are not those of {config.name}: {mismatch}.")
    return _filled(model, tensors)


def _disagreement(config: ModelConfig, spec: ClipSpec) -> str:
    """Say where a configuration and a ClipSpec are of different models; empty where they agree."""
    ours = (config.name, config.width, config.num_classes)
    theirs = (spec.model, spec.width, spec.num_classes)
    if ours == theirs:
        return ""
    return "the module is {} with width {} and {} classes, ".format(
        *ours
    ) + "its ClipSpec says {} with width {} and {} labels.".format(*theirs)


def _why_not_ours(path: PathLike, content: Any) -> str:
    from clipedge.trainside.released_weights import looks_released

    if looks_released(content):
        return (
            f"{path} holds bare weights, as the paper's released checkpoints do. "
            f"Run first: train-clips import {path} --dataset jester"
        )
    return f"{path} is not a checkpoint of clipedge; expected a file of train-clips fit or import."


def _require_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}[{index}]")
    elif type(value) not in _PLAIN:
        raise ValueError(f"{where} is a {type(value).__name__}; a checkpoint keeps plain types.")
