"""train-clips evaluate: accuracy by clip, by video and by class, of whatever holds the model."""

import argparse
import dataclasses
import difflib
import json
import pathlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from clipedge.jetson.command_line import DONE
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import writable_folder
from clipedge.jetson.runners.opening import AUTO, open_runner
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.accuracy import Accuracy, measure
from clipedge.trainside.checkpoint import load_checkpoint
from clipedge.trainside.confusion import draw_confusion
from clipedge.trainside.data.catalog import Catalog, Part
from clipedge.trainside.data.clips import EvaluationClips
from clipedge.trainside.data.gestures import LABELS
from clipedge.trainside.data.opening import OFFICIAL, DataChoice, open_catalog
from clipedge.trainside.data.synthetic import DATASET, SyntheticClips
from clipedge.trainside.scoring import (
    ModelScorer,
    RunnerScorer,
    Scorer,
    require_clips,
    score_videos,
    warn_of_problems,
)

FORMAT_VERSION = 1
LABELS_SHOWN = 4  # in a message


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says; return the exit status.

    With ``--json`` it prints an object of these fields. Parts are 0-1; those that say nothing are
    null.

    - ``format_version``: 1.
    - ``model``: ``file``, ``kind`` (checkpoint, onnx or engine), ``name`` and what computed:
      ``backend``, with ``device`` and more as the backend tells it.
    - ``data``: what was evaluated.
    - ``clips``, ``clip_top1``, ``clip_top5``, ``clip_interval`` (lowest and highest, 95 %), and
      the same of ``videos``.
    - ``classes``: for each class with clips ``label``, ``clips``, ``right`` and
      ``most_often_taken_for``.
    - ``confusion``: ``labels``, and ``counts`` of clips, a row for each true class.
    - ``problems``: a line for each video that could not be read, or not to its end; ``left_out``:
      for each that is listed and not there.
    """
    picture = _check_picture(arguments.confusion)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with _open_model(arguments) as model:
        data = _open_data(arguments, model)
        clips = EvaluationClips(data.source, model.scorer.spec)
        scores = score_videos(model.scorer, clips, arguments.workers)
    require_clips(scores, f"clips in {data.described}")
    warn_of_problems(scores.problems)
    spec = model.scorer.spec
    accuracy = measure(scores, spec.labels)
    if picture is not None:
        draw_confusion(accuracy.confusion, spec.labels, picture)
    if arguments.json:
        print(json.dumps(_result(model, data, accuracy, scores.problems), indent=2))  # noqa: T201
        return DONE
    print(accuracy.table())  # noqa: T201
    print(f"\n{spec.file_stem} ({model.kind}) on {data.described}: {accuracy.summary()}")  # noqa: T201
    print(accuracy.caveat())  # noqa: T201
    if picture is not None:
        print(f"confusion matrix: {picture}")  # noqa: T201
    return DONE


class _Model(NamedTuple):
    """What is evaluated.

    Attributes:
        scorer: it judges clips.
        file: it is from.
        kind: of file: checkpoint, onnx or engine.
        facts: what computes, for JSON.
        trained_on: folder of the data it learned from, where the file says; else "".
    """

    scorer: Scorer
    file: str
    kind: str
    facts: dict[str, Any]
    trained_on: str


class _Data(NamedTuple):
    """What it is evaluated on."""

    source: Catalog | SyntheticClips
    described: str
    left_out: tuple[str, ...] = ()


@contextmanager
def _open_model(arguments: argparse.Namespace) -> Iterator[_Model]:
    if arguments.checkpoint:
        if arguments.backend != AUTO:
            raise UsageError(
                f"--backend {arguments.backend} runs ONNX files and engines; a checkpoint runs "
                "with PyTorch. Leave --backend out, or give --onnx."
            )
        yield _open_checkpoint(arguments.checkpoint, arguments.batch)
        return
    kind = "engine" if arguments.engine else "onnx"
    file = arguments.engine or arguments.onnx
    if (pathlib.Path(file).suffix == ENGINE_SUFFIX) != (kind == "engine"):
        other = "onnx" if kind == "engine" else "engine"
        raise UsageError(
            f"--{kind} {file}: a TensorRT engine's name ends in {ENGINE_SUFFIX}, and no other "
            f"file's does. Give it as --{other}."
        )
    with open_runner(file, arguments.backend, arguments.threads) as runner:
        scorer = RunnerScorer(runner, arguments.batch)
        yield _Model(scorer, file, kind, runner.describe(), "")


def _open_checkpoint(file: str, batch: int) -> _Model:
    model, spec, extra = load_checkpoint(file)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # of 5D weights
    scorer = ModelScorer(model, spec, batch, device)
    facts = {"backend": "pytorch", "version": torch.__version__, "device": scorer.device_name}
    return _Model(scorer, file, "checkpoint", facts, str(extra.get("data", "")))


def _open_data(arguments: argparse.Namespace, model: _Model) -> _Data:
    spec = model.scorer.spec
    if arguments.data == DATASET:
        if any(label not in LABELS for label in spec.labels):
            raise UsageError(
                f"{model.file} has other classes than the generated gestures; "
                "give a folder of its classes as --data."
            )
        if arguments.seed < 0:
            raise UsageError(f"--seed must be 0 or more; got {arguments.seed}.")
        source = SyntheticClips(arguments.clips, "validation", arguments.seed, spec.labels)
        return _Data(source, f"generated clips in validation style, seed {arguments.seed}")
    choice = DataChoice(arguments.data, arguments.layout, arguments.annotations, arguments.split)
    part = _choose_part(choice, model) if arguments.part == "auto" else arguments.part
    catalog = open_catalog(choice, part)
    if not catalog.recordings:
        raise UsageError(
            f"{arguments.data} has no {part} videos: its classes have a single video each. "
            "Evaluate all of them: --part all"
        )
    return _Data(
        with_labels_of(spec, catalog), f"{arguments.data} ({part} videos)", catalog.left_out
    )


def _choose_part(choice: DataChoice, model: _Model) -> Part:
    """Leave out what the model may have learned from: it says little about the model."""
    root = pathlib.Path(choice.data).expanduser().resolve()
    if str(root) == model.trained_on or root.name == model.scorer.spec.dataset:
        return "validation"
    if choice.layout != "auto":
        return "validation" if choice.layout in OFFICIAL else "all"
    annotations = pathlib.Path(choice.annotations) if choice.annotations else None
    official = any(module.recognise(root, annotations) for module in OFFICIAL.values())
    return "validation" if official else "all"


def with_labels_of(spec: ClipSpec, catalog: Catalog) -> Catalog:
    """Number the classes of ``catalog`` as the model does; they are matched by name.

    Raises:
        UsageError: the data set has a class that the model has not.
    """
    places = {label: place for place, label in enumerate(spec.labels)}
    unknown = [label for label in catalog.labels if label not in places]
    if unknown:
        raise UsageError(
            f"The model has no class {_quoted(unknown)}; {_nearest(unknown[0], spec.labels)} "
            f"Every class of {catalog.name} must be one of the model's: rename its folder, or "
            "train a model with it."
        )
    targets = [places[label] for label in catalog.labels]
    recordings = tuple(one._replace(target=targets[one.target]) for one in catalog.recordings)
    return dataclasses.replace(catalog, labels=spec.labels, recordings=recordings)


def _nearest(label: str, labels: Sequence[str]) -> str:
    by_plain = {_plain(known): known for known in labels}
    near = difflib.get_close_matches(_plain(label), list(by_plain), n=1, cutoff=0.6)
    if near:
        return f"the nearest is '{by_plain[near[0]]}'."
    return f"its classes are {_quoted(labels)}."


def _plain(label: str) -> str:
    return label.replace("_", " ").casefold()


def _quoted(labels: Sequence[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:LABELS_SHOWN])
    more = len(labels) - LABELS_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")


def _check_picture(path: str | None) -> pathlib.Path | None:
    """Find out before anything is decoded whether the picture can be written."""
    if path is None:
        return None
    picture = pathlib.Path(path)
    if picture.suffix.lower() != ".png":
        raise UsageError(f"--confusion {path}: the picture is a PNG file; name it FILE.png.")
    if picture.is_dir():
        raise UsageError(f"--confusion {path}: it is a folder; expected the name of a file.")
    writable_folder(picture.parent)
    return picture


def _result(
    model: _Model, data: _Data, accuracy: Accuracy, problems: Sequence[str]
) -> dict[str, Any]:
    spec = model.scorer.spec
    figures = {
        one.name: getattr(accuracy, one.name)
        for one in dataclasses.fields(accuracy)
        if one.name not in ("classes", "confusion")
    }
    classes = [
        {"label": label, "clips": clips, "right": right, "most_often_taken_for": mistaken or None}
        for label, clips, right, mistaken in accuracy.classes
    ]
    return {
        "format_version": FORMAT_VERSION,
        "model": {"file": model.file, "kind": model.kind, "name": spec.file_stem, **model.facts},
        "data": data.described,
        **figures,
        "classes": classes,
        "confusion": {"labels": list(spec.labels), "counts": accuracy.confusion.tolist()},
        "problems": list(problems),
        "left_out": list(data.left_out),
    }
