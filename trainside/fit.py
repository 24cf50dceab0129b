"""train-clips fit: data set -> trained checkpoint, with its accuracy on what it has not seen."""

import argparse
import logging
import os
import pathlib
import shlex
import shutil
import sys
from typing import Any, NamedTuple

import torch

from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import writable_folder
from clipedge.jetson.spec import RANDOM_WEIGHTS, ClipSpec
from clipedge.trainside.accuracy import Accuracy, measure
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.confusion import draw_confusion
from clipedge.trainside.data.augmentation import Augmentation
from clipedge.trainside.data.cache import ClipCache
from clipedge.trainside.data.catalog import Catalog
from clipedge.trainside.data.clips import EvaluationClips, Source, TrainingClips
from clipedge.trainside.data.labels import mirrored_labels
from clipedge.trainside.data.opening import DataChoice, open_catalog
from clipedge.trainside.data.synthetic import DATASET, SyntheticClips
from clipedge.trainside.fit_settings import check_unchanged, facts_of, read_settings, to_save
from clipedge.trainside.head_start import prime_stem
from clipedge.trainside.import_weights import with_timing_of
from clipedge.trainside.learner import ClipLearner
from clipedge.trainside.models import ClipModel, create_model
from clipedge.trainside.recipes import Recipe, recipe_with
from clipedge.trainside.run_folder import SUFFIX, RunFolder, folder_for
from clipedge.trainside.scoring import (
    ModelScorer,
    require_clips,
    score_videos,
    warn_of_problems,
)
from clipedge.trainside.training import (
    LostProcessError,
    Machine,
    Training,
    is_first_of_machine,
    is_first_process,
    train,
)
from clipedge.trainside.transfer import Start, load_start, model_from

log = logging.getLogger(__name__)

VALIDATION_CLIPS = 540  # generated; 20 for each of 27 classes
DIRECTIONLESS = ("kinetics600", "ucf101")  # data sets whose clips the paper mirrors


class Plan(NamedTuple):
    """All that a training is made of."""

    recipe: Recipe
    training: Source
    validation: Source
    model: ClipModel
    spec: ClipSpec
    output: pathlib.Path
    folder: RunFolder


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says; return the exit status."""
    first = is_first_process()
    if not first:
        logging.getLogger("clipedge").setLevel(logging.ERROR)
    settings = read_settings(arguments)
    torch.manual_seed(settings.seed)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    plan = _plan(settings)
    facts = facts_of(settings, plan.spec, plan.training, plan.validation)
    if first:
        if settings.resume is not None:
            check_unchanged(settings, facts)
            plan.folder.hold()
        else:
            plan.folder.start(to_save(settings, plan.recipe, plan.output, facts))
        _run_first(settings, plan, facts)
    else:
        _run_further(settings, plan, facts)
    return DONE


def _run_first(settings: argparse.Namespace, plan: Plan, facts: dict[str, Any]) -> None:
    try:
        done = _train(settings, plan, facts)
        _finish(settings, plan, done)
    except (Exception, KeyboardInterrupt):
        plan.folder.give_up()
        if plan.folder.last.exists():
            how = f"train-clips fit --resume {shlex.quote(str(plan.folder.path))}"
            log.warning("It can go on: %s", how)
        raise


def _run_further(settings: argparse.Namespace, plan: Plan, facts: dict[str, Any]) -> None:
    try:
        _train(settings, plan, facts)
    except (KeyboardInterrupt, LostProcessError):
        sys.exit(FAILED)  # the first process says what there is to say
    finally:
        if is_first_of_machine():  # the others use its cache, which the first process cleans here
            plan.folder.clean()


# --- What is trained on what ---


def _plan(settings: argparse.Namespace) -> Plan:
    recipe = recipe_with(settings.recipe, settings)
    start = load_start(settings.init_from) if settings.init_from else None
    if start is None and recipe.freeze == "backbone":
        raise UsageError(
            "--freeze backbone trains the last layer alone, on top of weights that know something: "
            "give them as --init-from FILE."
        )
    _check_model(settings, start)
    training, validation, dataset = _open_data(settings, recipe)
    if recipe.schedule == "plateau" and not len(validation):
        raise UsageError(
            f"--schedule plateau goes by the validation loss, and {settings.data} has no recording "
            "for validation. Give each class two or more, or choose --schedule one-cycle."
        )
    labels = training.labels
    if start is None:
        model = create_model(settings.model, settings.width, len(labels), dropout=recipe.dropout)
        if recipe.head_start:
            prime_stem(model)
    else:
        model = model_from(start, labels, recipe.dropout)
    spec = _make_spec(settings, recipe, start, model, labels, dataset)
    _check_forward(model, spec)
    output, folder = _output(settings, spec)
    return Plan(recipe, training, validation, model, spec, output, folder)


def _check_model(settings: argparse.Namespace, start: Start | None) -> None:
    if start is None:
        if settings.model is None:
            raise UsageError("--model is missing: a name that train-clips summary lists.")
        return
    config = start.model.config
    if settings.model not in (None, config.name) or settings.width not in (None, config.width):
        raise UsageError(
            f"{settings.init_from} holds {start.spec.architecture}: leave --model and --width out, "
            "or start from weights of that model."
        )


def _open_data(settings: argparse.Namespace, recipe: Recipe) -> tuple[Source, Source, str]:
    """Return the training part, the validation part and the data set's name."""
    if settings.data == DATASET:
        count = max(settings.clips, recipe.batch)
        return (
            SyntheticClips(count, "training", settings.seed),
            SyntheticClips(min(VALIDATION_CLIPS, count), "validation", settings.seed),
            DATASET,
        )
    choice = DataChoice(settings.data, settings.layout, settings.annotations, settings.split)
    training, validation = open_catalog(choice, "training"), open_catalog(choice, "validation")
    if len(training) < 2:
        raise ClipedgeError(
            f"{settings.data} gives {len(training)} recording for training; 2 are needed at least."
        )
    if len(validation) == 0:
        log.warning("No recording is left for validation: give each class two or more.")
    return training, validation, _dataset_name(training)


def _dataset_name(catalog: Catalog) -> str:
    # These names say something else.
    return f"{catalog.name}_folder" if catalog.name in (DATASET, RANDOM_WEIGHTS) else catalog.name


def _make_spec(
    settings: argparse.Namespace,
    recipe: Recipe,
    start: Start | None,
    model: ClipModel,
    labels: tuple[str, ...],
    dataset: str,
) -> ClipSpec:
    """Return the ClipSpec: of the weights it starts from, else of the data set, else the usual."""
    if start is not None:
        spec = start.spec._replace(labels=labels, dataset=dataset)
    else:
        spec = ClipSpec(
            model=model.config.name,
            width=model.config.width,
            labels=labels,
            dataset=dataset,
            frames=model.config.frames,
            size=model.config.size,
            std=recipe.std,
        )
        spec = with_timing_of(spec, dataset)
    asked = {
        "frames": settings.frames,
        "size": settings.size,
        "stride_frames": settings.stride,
        "frame_rate_hz": settings.frame_rate,
    }
    return spec._replace(**{k: v for k, v in asked.items() if v is not None}).validate()


def _check_forward(model: ClipModel, spec: ClipSpec) -> None:
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *spec.clip_shape))
    except RuntimeError:
        raise UsageError(
            f"{spec.architecture} cannot take clips of {spec.frames} frames of {spec.size} x "
            f"{spec.size} pixels; it was designed for {model.config.frames} of "
            f"{model.config.size}. Change --frames or --size."
        ) from None
    model.train()


def _output(settings: argparse.Namespace, spec: ClipSpec) -> tuple[pathlib.Path, RunFolder]:
    """Find out before the training, not after it, whether its result can be written."""
    output = pathlib.Path(settings.output or f"checkpoints/{spec.file_stem}.pt")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; expected the name of a checkpoint, as model.pt.")
    if output.suffix == SUFFIX:
        raise UsageError(
            f"--output {output}: that name is of a training's folder; expected the name of a "
            "checkpoint, as model.pt. To go on with a training use --resume."
        )
    writable_folder(output.parent)
    return output, RunFolder(folder_for(output))


# --- The training, and what it ends with ---


def _train(settings: argparse.Namespace, plan: Plan, facts: dict[str, Any]) -> Training:
    recipe, spec = plan.recipe, plan.spec
    cache = ClipCache(plan.folder.cache, _cache_bytes(settings, plan.output.parent))
    clips = TrainingClips(plan.training, spec, _augmentation(settings, plan), settings.seed, cache)
    validation = None
    if len(plan.validation):
        count = recipe.validation_clips or None
        validation = EvaluationClips(plan.validation, spec, count, cache)
    generated = recipe.head_start and isinstance(plan.training, SyntheticClips)
    hints = len(clips[0, 0].hints) if generated else 0
    learner = ClipLearner(plan.model, spec, recipe, settings.seed, hints, settings.minutes)
    learner.agree_on = f"{facts} {recipe} {settings.seed}"
    machine = Machine(
        settings.devices,
        settings.nodes,
        settings.precision,
        settings.accumulate,
        settings.workers,
        settings.save_minutes,
    )
    resume = settings.resume is not None
    return train(learner, clips, validation, recipe, machine, plan.folder, settings.seed, resume)


def _augmentation(settings: argparse.Namespace, plan: Plan) -> Augmentation:
    flip = settings.flip
    if flip == "auto":
        directionless = plan.spec.dataset in DIRECTIONLESS
        flip = "same" if directionless else "swap" if plan.spec.dataset == DATASET else "none"
    return Augmentation(
        scales=plan.recipe.scales,
        crop=plan.recipe.crop,
        mirrored=mirrored_labels(plan.spec.labels, flip),
        colour=plan.recipe.colour,
    )


def _cache_bytes(settings: argparse.Namespace, folder: pathlib.Path) -> int:
    """Return the room for decoded frames: what was asked for, else half of what is free."""
    if settings.cache_gb is not None:
        return int(settings.cache_gb * 1e9)
    disk = shutil.disk_usage(folder).free
    # Frames on the disk are quick to read while the memory holds them too.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return min(disk, memory) // 2


def _finish(settings: argparse.Namespace, plan: Plan, done: Training) -> None:
    """Measure the best weights on all validation clips, save them and say what came out."""
    accuracy, more = _validate(settings, plan)
    plan.folder.clean()  # before anything is written, which may need the room
    problems = tuple(dict.fromkeys((*done.problems, *more)))
    plan.folder.note_damaged(problems)
    warn_of_problems(problems, f"recordings could not be read; all of them: {plan.folder.damaged}")
    extra = {
        "data": settings.data
        if settings.data == DATASET
        else str(pathlib.Path(settings.data).expanduser().resolve()),
        "recipe": settings.recipe,
        "seed": settings.seed,
        "epochs": done.epochs,
        "steps": done.steps,
        "learning_rate": plan.recipe.learning_rate,
        "validation_top1": None if accuracy is None else accuracy.clip_top1,
        "validation_top5": None if accuracy is None else accuracy.clip_top5,
    }
    replaced = " (it replaces the one that was there)" if plan.output.exists() else ""
    save_checkpoint(plan.output, plan.model, plan.spec, **extra)
    plan.folder.finish()
    rate = done.clips / max(done.seconds, 1e-9)
    print(  # noqa: T201
        f"{plan.spec.file_stem}: {done.epochs} epochs, {done.steps} steps, "
        f"{done.seconds:.0f} s, {rate:.0f} clips/s with validation"
    )
    if accuracy is not None:
        print(f"validation: {accuracy.summary()}")  # noqa: T201
        print(f"confusion:  {plan.folder.confusion}")  # noqa: T201
    print(f"metrics:    {plan.folder.metrics}")  # noqa: T201
    print(f"checkpoint: {plan.output}{replaced}")  # noqa: T201
    print(f"next: export-engine --checkpoint {shlex.quote(str(plan.output))}")  # noqa: T201


def _validate(settings: argparse.Namespace, plan: Plan) -> tuple[Accuracy | None, list[str]]:
    """Return the accuracy on all clips, and a line for each recording that could not be read."""
    if not len(plan.validation):
        return None, []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scorer = ModelScorer(plan.model.to(device), plan.spec, plan.recipe.batch, device)
    what_is_there = ClipCache(plan.folder.cache, 0)
    clips = EvaluationClips(plan.validation, plan.spec, cache=what_is_there)
    workers = 1 if settings.workers is None else settings.workers
    scores = score_videos(scorer, clips, workers, "validation")
    plan.model.cpu()
    require_clips(scores, "clips for validation")
    accuracy = measure(scores, plan.spec.labels)
    draw_confusion(accuracy.confusion, plan.spec.labels, plan.folder.confusion)
    return accuracy, scores.problems
