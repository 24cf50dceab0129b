"""train-clips fit: data set -> trained checkpoint, with its accuracy on what it has not seen."""

import argparse
import logging
import pathlib
import shlex
import tempfile

import torch

from clipedge.jetson.command_line import DONE
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import make_folder, readable_os_error
from clipedge.jetson.spec import RANDOM_WEIGHTS, ClipSpec
from clipedge.trainside.accuracy import Accuracy, measure
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.data.folder import FolderClips
from clipedge.trainside.data.gestures import MIRRORED
from clipedge.trainside.data.synthetic import DATASET, SyntheticClips
from clipedge.trainside.data.windows import Windows, WindowSource, load_windows
from clipedge.trainside.models import ClipModel, create_model
from clipedge.trainside.training import Recipe, Training, score_windows, set_layout, train

log = logging.getLogger(__name__)

STD_RGB = (58.4, 57.1, 57.4)  # ImageNet's 0.229, 0.224, 0.225 of 255; it sets the scale only
VALIDATION_CLIPS = 540  # generated; 20 for each of 27 classes
MISSING_SHOWN = 5  # names of damaged files in the message


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says; return the exit status."""
    _check_numbers(arguments)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    training_set, validation_set, dataset = _open_data(arguments)
    model = create_model(
        arguments.model, arguments.width, len(training_set.labels), **_options(arguments)
    )
    spec = _make_spec(arguments, model, training_set.labels, dataset)
    output = _check_output(arguments.output or f"checkpoints/{spec.file_stem}.pt")
    _check_forward(model, spec)

    windows = _load(training_set, spec, arguments, "training clips")
    recipe = Recipe(
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        threads=arguments.threads,
        minutes=arguments.minutes,
        mirrored=MIRRORED if arguments.data == DATASET else None,
    )
    done = train(model, windows, spec, recipe)
    del windows
    accuracy = _validate(model, validation_set, spec, arguments)
    extra = _record(arguments, done, accuracy)
    set_layout(model, torch.contiguous_format)
    save_checkpoint(output, model, spec, **extra)
    _report(output, spec, done, accuracy)
    return DONE


def _check_numbers(arguments: argparse.Namespace) -> None:
    if arguments.batch < 2:
        raise UsageError("--batch must be 2 or more: batch normalisation needs several clips.")
    if arguments.seed < 0:
        raise UsageError(f"--seed must be 0 or more; got {arguments.seed}.")


def _open_data(arguments: argparse.Namespace) -> tuple[WindowSource, WindowSource, str]:
    """Return the training set, the validation set and the data set's name."""
    if arguments.data == DATASET:
        count = max(arguments.clips, arguments.batch)
        return (
            SyntheticClips(count, "training", arguments.seed),
            SyntheticClips(min(VALIDATION_CLIPS, count), "validation", arguments.seed),
            DATASET,
        )
    training_set = FolderClips(arguments.data, "training")
    name = pathlib.Path(arguments.data).resolve().name
    if name in (DATASET, RANDOM_WEIGHTS):
        name += "_folder"  # these names say something else
    return training_set, FolderClips(arguments.data, "validation"), name


def _options(arguments: argparse.Namespace) -> dict[str, float]:
    return {} if arguments.dropout is None else {"dropout": arguments.dropout}


def _make_spec(
    arguments: argparse.Namespace, model: ClipModel, labels: tuple[str, ...], dataset: str
) -> ClipSpec:
    return ClipSpec(
        model=model.config.name,
        width=model.config.width,
        labels=labels,
        dataset=dataset,
        frames=arguments.frames or model.config.frames,
        size=arguments.size or model.config.size,
        stride_frames=arguments.stride,
        frame_rate_hz=arguments.frame_rate,
        std=STD_RGB,
    ).validate()


def _check_output(path: str) -> pathlib.Path:
    """Find out before the training, not after it, whether its result can be written."""
    output = pathlib.Path(path)
    if output.is_dir():
        raise UsageError(f"{output} is a folder; expected the name of a checkpoint, as model.pt.")
    folder = make_folder(output.parent)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise readable_os_error(error, output) from None
    return output


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


def _load(
    source: WindowSource, spec: ClipSpec, arguments: argparse.Namespace, what: str
) -> Windows:
    windows = load_windows(source, spec, arguments.threads, what)
    require_windows(windows, what)
    warn_of_problems(windows)
    if len(windows) < 2:
        raise ClipedgeError(f"{arguments.data} gives 1 clip for training; at least 2 are needed.")
    return windows


def require_windows(windows: Windows, what: str) -> None:
    """Raise ClipedgeError where no file gave a window."""
    if len(windows) == 0:
        count = len(windows.problems)
        reason = f"{windows.problems[0]} ({count} such files)" if count else "no videos for it."
        raise ClipedgeError(f"There are no {what}: {reason}")


def warn_of_problems(windows: Windows) -> None:
    """Say on stderr which files were left out and why."""
    if not windows.problems:
        return
    shown = windows.problems[:MISSING_SHOWN]
    more = len(windows.problems) - len(shown)
    lines = [f"{len(windows.problems)} files were left out:", *shown]
    log.warning("\n".join([*lines, f"... and {more} more"] if more else lines))


def _validate(
    model: ClipModel, source: WindowSource, spec: ClipSpec, arguments: argparse.Namespace
) -> Accuracy | None:
    """Measure accuracy on the validation set; None where the data set has too few videos."""
    if source.jobs == 0:
        return None
    windows = load_windows(source, spec, arguments.threads, "validation clips")
    warn_of_problems(windows)
    if len(windows) == 0:
        return None
    return measure(score_windows(model, windows, spec, arguments.batch), windows)


def _record(
    arguments: argparse.Namespace, done: Training, accuracy: Accuracy | None
) -> dict[str, object]:
    """What the checkpoint keeps about its training."""
    data = (
        arguments.data if arguments.data == DATASET else str(pathlib.Path(arguments.data).resolve())
    )
    return {
        "data": data,
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "steps": done.steps,
        "learning_rate": arguments.learning_rate,
        "training_loss": done.loss,
        "validation_top1": None if accuracy is None else accuracy.clip_top1,
        "validation_top5": None if accuracy is None else accuracy.clip_top5,
    }


def _report(
    output: pathlib.Path, spec: ClipSpec, done: Training, accuracy: Accuracy | None
) -> None:
    rate = done.clips / max(done.seconds, 1e-9)
    print(  # noqa: T201
        f"{spec.file_stem}: {done.steps} steps in {done.seconds:.0f} s, {rate:.0f} clips/s, "
        f"training loss {done.loss:.3f}"
    )
    if accuracy is None:
        print("validation: too few videos; give each class two or more")  # noqa: T201
    else:
        print(f"validation: {accuracy.summary()}")  # noqa: T201
    print(f"checkpoint: {output}")  # noqa: T201
    print(f"next: export-engine --checkpoint {shlex.quote(str(output))}")  # noqa: T201
