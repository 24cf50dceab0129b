"""The training loop: windows in memory, one pass of a rising and falling learning rate."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.hints import mirrored_hints
from clipedge.trainside.data.windows import Windows
from clipedge.trainside.head_start import prime_stem
from clipedge.trainside.learner import Batch, open_learner
from clipedge.trainside.models import ClipModel

WARM_UP = 0.2  # part of the training in which the learning rate rises
GAIN = (0.75, 1.25)  # of each colour, drawn for each clip
OFFSET = 20.0  # grey levels, likewise, up or down


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the windows.
        batch: windows a step.
        learning_rate: the highest one.
        seed: of shuffling and augmentation.
        threads: cores that share each batch.
        minutes: training ends after this time at the latest, the learning rate fallen to 0.
        mirrored: label of a clip's mirror image, where it is another one; None where clips must
            not be mirrored.
    """

    epochs: int
    batch: int
    learning_rate: float
    seed: int
    threads: int
    minutes: float | None = None
    mirrored: Mapping[str, str] | None = None


@dataclass
class Training:
    """What a training came to."""

    steps: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    accuracy: float = 0.0
    clips: int = 0


def train(model: ClipModel, windows: Windows, spec: ClipSpec, recipe: Recipe) -> Training:
    """Train ``model`` in place, with a progress bar on stderr.

    Raises:
        ClipedgeError: the loss is no longer finite.
    """
    from tqdm import tqdm

    torch.manual_seed(recipe.seed)
    prime_stem(model)
    set_layout(model.train(), torch.channels_last_3d)
    batches = _Batches(windows, spec, recipe)
    done = Training()
    started_s = time.monotonic()
    with ExitStack() as stack:
        learner = stack.enter_context(open_learner(model, windows.hints.shape[1], recipe.threads))
        progress = stack.enter_context(
            tqdm(total=batches.steps, desc="training", unit="step", dynamic_ncols=True)
        )
        for batch in batches:
            part = _part_done(done, batches.steps, recipe)
            if part >= 1.0:
                break
            loss, right = learner.step(batch, recipe.learning_rate * one_cycle(part))
            if not math.isfinite(loss):
                raise ClipedgeError(
                    f"The loss is no longer finite after {done.steps} steps; nothing was saved. "
                    f"Lower --learning-rate (now {recipe.learning_rate:g})."
                )
            keep = min(0.95, done.steps / (done.steps + 1.0))
            done.loss = keep * done.loss + (1.0 - keep) * loss
            done.accuracy = keep * done.accuracy + (1.0 - keep) * right
            done.steps += 1
            done.clips += len(batch.targets)
            done.seconds = time.monotonic() - started_s
            progress.set_postfix_str(f"loss {done.loss:.2f}, right {done.accuracy:.0%}")
            progress.update()
    return done


def set_layout(model: nn.Module, layout: torch.memory_format) -> None:
    """Arrange the kernels in memory; with channels last, steps take about half the time on CPUs."""
    for weight in model.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=layout)


def one_cycle(part: float) -> float:
    """Factor on the learning rate after ``part`` of the training, 0-1: a rise, then a fall to 0."""
    if part < WARM_UP:
        return 0.05 + 0.95 * part / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (part - WARM_UP) / (1.0 - WARM_UP)))


def _part_done(done: Training, steps: int, recipe: Recipe) -> float:
    by_time = done.seconds / (60.0 * recipe.minutes) if recipe.minutes else 0.0
    return max(done.steps / steps, by_time)


class _Batches:
    """Shuffled, augmented batches of all epochs."""

    def __init__(self, windows: Windows, spec: ClipSpec, recipe: Recipe) -> None:
        self._windows = windows
        self._spec = spec
        self._recipe = recipe
        self._rng = np.random.default_rng(recipe.seed)
        self._batch = min(recipe.batch, len(windows))
        self.steps = recipe.epochs * (len(windows) // self._batch)
        self._mirrored = _mirrored_targets(windows.labels, recipe.mirrored)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self._recipe.epochs):
            order = self._rng.permutation(len(self._windows))
            for first in range(0, len(order) - self._batch + 1, self._batch):
                yield self._make(np.sort(order[first : first + self._batch]))

    def _make(self, picked: np.ndarray) -> Batch:
        frames, targets = self._windows.frames[picked], self._windows.targets[picked]
        if self._spec.channel_order == "BGR":
            frames = np.ascontiguousarray(frames[:, ::-1])
        hints = self._windows.hints[picked]
        if self._mirrored is not None:
            flip = self._rng.uniform(size=len(picked)) < 0.5
            frames[flip] = frames[flip][..., ::-1]
            targets[flip] = self._mirrored[targets[flip]]
            if hints.size:
                hints[flip] = mirrored_hints(hints[flip])
        gain = self._rng.uniform(*GAIN, (len(picked), 3, 1, 1, 1))
        offset = self._rng.uniform(-OFFSET, OFFSET, (len(picked), 3, 1, 1, 1))
        # Change of colour and normalisation in one: (pixel * gain + offset - mean) / std.
        mean, std = (np.reshape(one, (3, 1, 1, 1)) for one in (self._spec.mean, self._spec.std))
        return Batch(
            torch.from_numpy(frames),
            torch.from_numpy((gain / std).astype(np.float32)),
            torch.from_numpy(((offset - mean) / std).astype(np.float32)),
            torch.from_numpy(targets),
            torch.from_numpy(hints),
        )


def _mirrored_targets(
    labels: Sequence[str], mirrored: Mapping[str, str] | None
) -> np.ndarray | None:
    if mirrored is None:
        return None
    return np.array([labels.index(mirrored.get(label, label)) for label in labels])


def normalise(clips: Tensor, spec: ClipSpec) -> Tensor:
    """Pixels (N, 3, T, H, W), RGB, 0-255, to what the model takes: the spec's order, mean, std."""
    if spec.channel_order == "BGR":
        clips = clips.flip(1)
    mean = torch.tensor(spec.mean).view(3, 1, 1, 1)
    std = torch.tensor(spec.std).view(3, 1, 1, 1)
    clips = (clips.float() - mean) / std
    return clips.contiguous(memory_format=torch.channels_last_3d)


def score_windows(
    model: nn.Module, windows: Windows, spec: ClipSpec, batch: int, what: str = "evaluating"
) -> np.ndarray:
    """Return the model's scores (N, classes) float32, each row summing to 1."""
    from tqdm import tqdm

    set_layout(model.eval(), torch.channels_last_3d)
    scores = []
    firsts = range(0, len(windows), batch)
    with torch.inference_mode():
        for first in tqdm(firsts, desc=what, unit="batch", dynamic_ncols=True):
            clips = torch.from_numpy(windows.frames[first : first + batch])
            scores.append(model(normalise(clips, spec)).softmax(1).numpy())
    return np.concatenate(scores)
