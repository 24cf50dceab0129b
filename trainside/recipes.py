"""How to train, by name: the paper's recipes (section 3.2) and a quick one for small machines."""

import argparse
import dataclasses
from typing import Any, Literal

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import UNIT_STD
from clipedge.trainside.data.augmentation import PAPER_SCALES, Crop

Triple = tuple[float, float, float]

MOST_LEARNING_RATE = 1e3
IMAGENET_STD = (58.4, 57.1, 57.4)  # its 0.229, 0.224, 0.225 of 255; it sets the scale only


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Every value that training depends on besides data and model.

    Attributes:
        optimizer: ``sgd`` or ``adamw``.
        learning_rate: the first one; of ``one-cycle`` the highest.
        momentum: of ``sgd``.
        dampening: of ``sgd``.
        weight_decay: of kernels; biases and normalisation are left alone by ``adamw``.
        schedule: ``one-cycle`` rises and falls once; ``plateau`` divides the learning rate by 10
            where the validation loss no longer falls, three times at most; ``steps`` divides it by
            10 after each of ``milestones``.
        milestones: epochs, for ``steps``.
        patience: epochs without a lower validation loss that ``plateau`` waits for.
        stop_after: training ends after so many epochs without a lower validation loss; 0: never.
        epochs: at most.
        epoch_clips: an epoch has so many clips at least: a small data set is passed over again.
        batch: clips a step, over all processes.
        dropout: before the last layer.
        scales: of the square that is cut out of a frame, as parts of its short side.
        crop: where it is cut out: ``random``, ``corner`` (four and the centre) or ``center``.
        colour: each clip's colours are varied.
        head_start: the first layer starts out seeing motion, and hints of generated gestures are
            learned beside the labels.
        std: of the weights' normalisation, 0-255.
        freeze: ``backbone`` trains the last layer alone.
        validation_clips: of each video, evenly spread, after each epoch; 0: all.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    dampening: float = 0.9
    weight_decay: float = 1e-3
    schedule: Literal["one-cycle", "plateau", "steps"] = "plateau"
    milestones: tuple[int, ...] = ()
    patience: int = 5
    stop_after: int = 0
    epochs: int = 100
    epoch_clips: int = 0
    batch: int = 128
    dropout: float = 0.2
    scales: tuple[float, ...] = PAPER_SCALES
    crop: Crop = "random"
    colour: bool = False
    head_start: bool = False
    std: Triple = UNIT_STD
    freeze: Literal["none", "backbone"] = "none"
    validation_clips: int = 1


# The paper gives no numbers of epochs for Jester and Kinetics-600, nor when a loss has converged:
# epochs, patience and stop_after are ours. stop_after leaves time for all three falls.
RECIPES = {
    "paper-jester": Recipe(patience=5, stop_after=24, epochs=120),
    "paper-kinetics600": Recipe(patience=2, stop_after=12, epochs=60),
    # Only the last layer learns, from Kinetics-600 weights (section 3.2).
    "paper-ucf101-finetune": Recipe(
        learning_rate=0.01,
        schedule="steps",
        milestones=(30, 45),
        epochs=60,
        dropout=0.9,
        freeze="backbone",
    ),
    "quick": Recipe(
        optimizer="adamw",
        learning_rate=0.008,
        weight_decay=0.02,
        schedule="one-cycle",
        epochs=8,
        epoch_clips=2400,
        batch=24,
        dropout=0.0,
        scales=(1.0, 2**-0.25),
        colour=True,
        head_start=True,
        std=IMAGENET_STD,
        validation_clips=0,
    ),
}


def recipe_with(name: str, changes: argparse.Namespace | dict[str, Any]) -> Recipe:
    """Return a recipe with those of its values that ``changes`` gives (is not None for).

    Raises:
        UsageError: there is no such recipe, or a value makes no sense.
    """
    if name not in RECIPES:
        raise UsageError(f"Unknown recipe '{name}'; {nearest(name, RECIPES)}")
    given = changes if isinstance(changes, dict) else vars(changes)
    fields = {field.name for field in dataclasses.fields(Recipe)}
    kept: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in given.items()
        if key in fields and value is not None
    }
    recipe = dataclasses.replace(RECIPES[name], **kept)
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    if recipe.batch < 2:
        raise UsageError("--batch must be 2 or more: batch normalisation needs several clips.")
    if not recipe.scales or not all(0.0 < scale <= 1.0 for scale in recipe.scales):
        raise UsageError(
            f"--scales must be above 0, up to 1; got {', '.join(map(str, recipe.scales))}."
        )
    if recipe.learning_rate > MOST_LEARNING_RATE:
        raise UsageError(f"--learning-rate {recipe.learning_rate:g} is far too high; 0.1 is usual.")
    if recipe.dropout >= 1.0:
        raise UsageError("--dropout must be below 1: with 1 nothing is left to learn from.")
    if recipe.schedule == "steps" and not recipe.milestones:
        raise UsageError("--schedule steps needs --milestones, epochs such as 30 45.")
