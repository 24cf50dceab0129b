"""The settings of a training: what the command line says, its defaults, and what is resumed."""

import argparse
import dataclasses
import hashlib
import pathlib
from typing import Any

from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.clips import Source
from clipedge.trainside.data.synthetic import DATASET, SyntheticClips
from clipedge.trainside.recipes import Recipe, recipe_with
from clipedge.trainside.run_folder import RunFolder

# Values of flags that a recipe does not have and that were not given.
DEFAULTS = {
    "recipe": "quick",
    "data": DATASET,
    "layout": "auto",
    "split": 1,
    "flip": "auto",
    "clips": 4050,
    "seed": 0,
    "nodes": 1,
    "accumulate": 1,
    "save_minutes": 10.0,
}
MOST_SEED = 2**63 - 1  # what PyTorch takes
# Flags that may be given with --resume: they change nothing of what is learned, or it is noticed.
_WITH_RESUME = (
    "data",
    "annotations",
    "devices",
    "workers",
    "threads",
    "cache_gb",
    "save_minutes",
)
_NOT_SETTINGS = ("command", "resume")
_FACTS = "trained_on"  # what ``facts_of`` gave when the training began
# Flags that only some values of another one look at.
_ONLY_WITH = {
    "minutes": ("schedule", "one-cycle"),
    "patience": ("schedule", "plateau"),
    "milestones": ("schedule", "steps"),
    "momentum": ("optimizer", "sgd"),
    "dampening": ("optimizer", "sgd"),
    "clips": ("data", DATASET),
}


def read_settings(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the flags with their defaults, or those of the training that is resumed.

    Raises:
        UsageError: flags contradict each other, or there is nothing to resume.
        ClipedgeError: what is to be resumed is damaged.
    """
    given = {
        name: value
        for name, value in vars(arguments).items()
        if name not in _NOT_SETTINGS and value is not None
    }
    settings: dict[str, Any] = {**dict.fromkeys(vars(arguments)), **DEFAULTS}
    if arguments.resume is None:
        settings.update(given)
        _check_used(given, settings)
    else:
        other = [name for name in given if name not in _WITH_RESUME]
        if other:
            flags = ", ".join(map(_flag, other))
            raise UsageError(
                f"--resume goes on as the training began: leave out {flags}. For a training with "
                "other settings that starts from its weights use --init-from."
            )
        folder = RunFolder(arguments.resume)
        settings.update({**folder.settings(), **given})
        settings["output"] = str(folder.output(settings["output"]))
        settings["resume"] = arguments.resume
    if not 0 <= settings["seed"] <= MOST_SEED:
        raise UsageError(f"--seed must be 0 or more, and below 2^63; got {settings['seed']}.")
    return argparse.Namespace(**settings)


def _check_used(given: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse flags that would change nothing."""
    recipe = recipe_with(settings["recipe"], settings)
    values = {**settings, **dataclasses.asdict(recipe)}
    for name, (other, needed) in _ONLY_WITH.items():
        if name in given and values[other] != needed:
            raise UsageError(
                f"{_flag(name)} is of --{other} {needed}, and this training has {values[other]}: "
                "leave one of them out."
            )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def to_save(
    settings: argparse.Namespace, recipe: Recipe, output: pathlib.Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Return what ``read_settings`` needs to go on, whatever folder that happens in.

    Values of the recipe are written out: a later version may have other ones.
    """
    content = {key: value for key, value in vars(settings).items() if key not in _NOT_SETTINGS}
    for key in ("data", "annotations", "init_from"):
        if content[key] not in (None, DATASET):
            content[key] = str(pathlib.Path(content[key]).expanduser().resolve())
    named = {**content, **dataclasses.asdict(recipe), "output": str(output.resolve())}
    return {**named, _FACTS: facts}


def facts_of(settings: argparse.Namespace, spec: ClipSpec, *sources: Source) -> dict[str, Any]:
    """Return what must not have changed when a training is resumed, as plain types for JSON.

    Recordings are known by their names and classes, wherever the data set lies.
    """
    digest = hashlib.sha256()
    for source in sources:
        digest.update(_listed(settings, source).encode("utf-8", "surrogateescape"))
    return {"spec": spec._replace(dataset="").to_dict(), "recordings": digest.hexdigest()}


def _listed(settings: argparse.Namespace, source: Source) -> str:
    if isinstance(source, SyntheticClips):
        return source.identity
    root = pathlib.Path(settings.data).expanduser().absolute()
    lines = []
    for recording in source.recordings:
        path = recording.path.absolute()
        name = path.relative_to(root) if path.is_relative_to(root) else pathlib.Path(path.name)
        lines.append(f"{name.as_posix()} {recording.target}\n")
    return "".join(lines)


def check_unchanged(settings: argparse.Namespace, facts: dict[str, Any]) -> None:
    """Raise UsageError where a training is resumed on other recordings or for other classes."""
    before = getattr(settings, _FACTS, None) or {}
    if before == facts:
        return
    what = "recordings" if before.get("spec") == facts["spec"] else "classes or clips"
    raise UsageError(
        f"The {what} of {settings.data} are not those that the training began with, so it cannot "
        "go on. Restore them, or begin a new training with another --output."
    )
