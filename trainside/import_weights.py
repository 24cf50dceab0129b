"""train-clips import: a released checkpoint of the paper's code becomes one of this project."""

import argparse
import logging
import pathlib
import shlex
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from clipedge.jetson.command_line import DONE, nearest
from clipedge.jetson.errors import ModelFileError, UsageError
from clipedge.jetson.spec import ClipSpec, numbered_labels
from clipedge.trainside.checkpoint import (
    FORMAT,
    from_efficient3d,
    load_tensors,
    save_checkpoint,
)
from clipedge.trainside.data.labels import dataset_labels, read_labels
from clipedge.trainside.models import ClipModel, ModelConfig, create_model
from clipedge.trainside.released_weights import looks_released

log = logging.getLogger(__name__)

FOLDER = pathlib.Path("checkpoints")


class Recipe(NamedTuple):
    """How the released weights of one data set were trained.

    All saw pixels of 0-255 with ActivityNet's mean subtracted and no division, the ClipSpec's
    defaults. The mean's three values stay in that order for BGR frames too: the released code
    subtracted the first from whichever channel came first.
    """

    stride_frames: int
    frame_rate_hz: float
    channel_order: str


RECIPES = {
    "jester": Recipe(2, 12.0, "RGB"),  # 16 of 32 frames, section 4.1; JPEGs read as RGB
    "ucf101": Recipe(1, 25.0, "RGB"),
    # The videos keep the rate they were uploaded with; 30 Hz is assumed, the usual one. OpenCV's
    # BGR frames were handed on as they were.
    "kinetics600": Recipe(1, 30.0, "BGR"),
}


def run(arguments: argparse.Namespace) -> int:
    """Read FILE, work out what it is, write the checkpoint and say what comes next."""
    recipe_of(arguments.dataset)  # a wrong name is said before a large file is read
    if arguments.model is not None:
        with torch.device("meta"):
            create_model(arguments.model, arguments.width)
    tensors = released_tensors(arguments.file)
    model = from_efficient3d(tensors, arguments.model, arguments.width)
    labels, source = choose_labels(arguments.dataset, arguments.labels, model.config.num_classes)
    spec = spec_of(model.config, arguments.dataset, labels, arguments.channel_order)
    output = pathlib.Path(arguments.output or FOLDER / f"{spec.file_stem}.pt")
    save_checkpoint(output, model, spec, imported_from=pathlib.Path(arguments.file).name)
    sys.stdout.write(_report(model, spec, source, output))
    return DONE


def released_tensors(path: str) -> Mapping[str, Any]:
    """Read the state dict of a released checkpoint, bare or beside epoch, arch and optimizer.

    Raises:
        UsageError: there is no such file.
        ClipedgeError: it is damaged, its pickle wants more than tensors, or it has no state dict.
    """
    content = load_tensors(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        raise ModelFileError(
            f"{path} is a clipedge checkpoint already: use it as it is, "
            f"export-engine --checkpoint {path}"
        )
    if not looks_released(content):
        raise ModelFileError(
            f"{path} has no state dict; expected a dict of tensors by name, or one under "
            "'state_dict' as the paper's code saves it."
        )
    tensors: Mapping[str, Any] = content.get("state_dict", content)
    return tensors


def choose_labels(dataset: str, labels_file: str | None, num_classes: int) -> tuple[list[str], str]:
    """Return the class names and where they come from: the file, the data set, or numbers.

    Raises:
        UsageError: the file is missing or has another number of labels.
    """
    if labels_file is not None:
        return read_labels(labels_file, num_classes), f"labels from {labels_file}"
    known = dataset_labels(dataset)
    if known is not None and len(known) == num_classes:
        return known, f"labels of {dataset}"
    reason = "its order of classes is not known"
    if known is not None:
        reason = f"it has {len(known)} classes"
    log.warning("The classes are numbered, not %s's: %s. Name them with --labels.", dataset, reason)
    return numbered_labels(num_classes), "numbered"


def recipe_of(dataset: str) -> Recipe:
    """Return how the weights of a data set were trained.

    Raises:
        UsageError: there are no released weights of it.
    """
    if dataset not in RECIPES:
        raise UsageError(f"Unknown data set '{dataset}'; {nearest(dataset, RECIPES)}")
    return RECIPES[dataset]


def spec_of(
    config: ModelConfig, dataset: str, labels: list[str], channel_order: str | None = None
) -> ClipSpec:
    """Return the ClipSpec of released weights; None keeps the data set's channel order.

    Raises:
        UsageError: there is no recipe for the data set.
    """
    recipe = recipe_of(dataset)
    return ClipSpec(
        model=config.name,
        width=config.width,
        labels=tuple(labels),
        dataset=dataset,
        frames=config.frames,
        size=config.size,
        stride_frames=recipe.stride_frames,
        frame_rate_hz=recipe.frame_rate_hz,
        channel_order=channel_order or recipe.channel_order,
    )


def with_timing_of(spec: ClipSpec, dataset: str) -> ClipSpec:
    """Return ``spec`` with the stride and frame rate of a known data set, else as it is."""
    if dataset not in RECIPES:
        return spec
    known = RECIPES[dataset]
    return spec._replace(stride_frames=known.stride_frames, frame_rate_hz=known.frame_rate_hz)


def _report(model: ClipModel, spec: ClipSpec, labels_source: str, output: pathlib.Path) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"model       {spec.architecture}, {parameters / 1e6:.2f}M parameters\n"
        f"classes     {spec.num_classes}, {labels_source}\n"
        f"clip        {_clip_text(spec)}\n"
        f"checkpoint  {output}\n"
        f"next        export-engine --checkpoint {shlex.quote(str(output))}\n"
    )


def _clip_text(spec: ClipSpec) -> str:
    mean = ", ".join(f"{value:.4f}" for value in spec.mean)
    return (
        f"{spec.frames} frames of {spec.size}x{spec.size}, stride {spec.stride_frames} at "
        f"{spec.frame_rate_hz:g} Hz, {spec.channel_order}, 0-255 less ({mean})"
    )
