"""train-clips evaluate: a checkpoint's accuracy by clip, by video and by class."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from clipedge.jetson.command_line import DONE
from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.accuracy import Accuracy, measure
from clipedge.trainside.checkpoint import load_checkpoint
from clipedge.trainside.data.folder import FolderClips, Part
from clipedge.trainside.data.gestures import LABELS
from clipedge.trainside.data.synthetic import DATASET, SyntheticClips
from clipedge.trainside.data.windows import Windows, WindowSource, load_windows
from clipedge.trainside.fit import require_windows, warn_of_problems
from clipedge.trainside.training import score_windows


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says; return the exit status."""
    torch.set_num_threads(arguments.threads)
    model, spec, extra = load_checkpoint(arguments.checkpoint)
    source, described = _open_data(arguments, spec, extra)
    windows = load_windows(source, spec, arguments.threads, "clips")
    require_windows(windows, "clips")
    warn_of_problems(windows)
    windows = _with_labels_of(spec, windows)
    accuracy = measure(score_windows(model, windows, spec, arguments.batch), windows)
    if arguments.json:
        result = {"checkpoint": arguments.checkpoint, "data": described}
        print(json.dumps({**result, **_plain(accuracy)}, indent=2))  # noqa: T201
    else:
        print(accuracy.table())  # noqa: T201
        print(f"\n{spec.file_stem} on {described}: {accuracy.summary()}")  # noqa: T201
    return DONE


def _open_data(
    arguments: argparse.Namespace, spec: ClipSpec, extra: dict[str, Any]
) -> tuple[WindowSource, str]:
    """Return the data set and what to call it."""
    if arguments.data == DATASET:
        if any(label not in LABELS for label in spec.labels):
            raise UsageError(
                f"{arguments.checkpoint} has other classes than the generated gestures; "
                "give a folder of its classes as --data."
            )
        if arguments.seed < 0:
            raise UsageError(f"--seed must be 0 or more; got {arguments.seed}.")
        source = SyntheticClips(arguments.clips, "validation", arguments.seed, spec.labels)
        return source, f"generated clips in validation style, seed {arguments.seed}"
    part: Part = "all"
    if arguments.part != "auto":
        part = arguments.part
    elif extra.get("data") == str(pathlib.Path(arguments.data).resolve()):
        part = "validation"  # videos that a model was trained on say little about it
    return FolderClips(arguments.data, part), f"{arguments.data} ({part} videos)"


def _with_labels_of(spec: ClipSpec, windows: Windows) -> Windows:
    """Number the classes of ``windows`` as the model does.

    Raises:
        UsageError: the data set has a class that the model has not.
    """
    unknown = [label for label in windows.labels if label not in spec.labels]
    if unknown:
        raise UsageError(
            f"The model has no class {_quoted(unknown)}; its classes are {_quoted(spec.labels)}."
        )
    places = np.array([spec.labels.index(label) for label in windows.labels])
    return dataclasses.replace(windows, targets=places[windows.targets], labels=spec.labels)


def _quoted(labels: Sequence[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:4])
    return shown + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")


def _plain(accuracy: Accuracy) -> dict[str, Any]:
    fields = dataclasses.asdict(accuracy)
    fields["classes"] = [
        {"label": label, "clips": clips, "right": right, "most_often_taken_for": mistaken or None}
        for label, clips, right, mistaken in accuracy.classes
    ]
    return fields
