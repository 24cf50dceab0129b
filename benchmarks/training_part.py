"""One timed part of ``clipedge.benchmarks.training``, in a process of its own.

    python -m clipedge.benchmarks.training_part SETTINGS.json

A training on a CPU is several processes that start anew from the command line, so that each part
that is timed is a command too.
"""

import argparse
import json
import pathlib
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from clipedge.benchmarks import plain_loop
from clipedge.jetson.command_line import DONE, CommandParser, run_command
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import write_whole

SEED = 0
RECIPE = "paper-jester"
# No good for learning, but no loss ever grows beyond all bounds.
LEARNING_RATE = 1e-4
_NO_LIMIT = 1 << 50  # bytes

Result = Dict[str, Any]


class Ground(NamedTuple):
    """What all parts have in common: model, clips and recipe."""

    settings: Dict[str, Any]
    catalog: Any
    spec: Any
    model: Any
    recipe: Any
    augmentation: Any
    scratch: pathlib.Path


def open_part(data: str, layout: str, most: int, batch: int) -> Any:
    """Return the catalog of the recordings to train on: ``most`` of them, evenly spread.

    Raises:
        UsageError: it is no data set, or has fewer recordings than a batch.
        ClipedgeError: a list of it cannot be read.
    """
    from clipedge.trainside.data.catalog import Catalog
    from clipedge.trainside.data.opening import DataChoice, open_catalog

    catalog = open_catalog(DataChoice(data, layout), "training")
    count = min(most, len(catalog)) // batch * batch
    if count == 0:
        raise UsageError(
            f"{data}: {min(most, len(catalog))} recordings are fewer than a batch of {batch}; "
            "choose a smaller --batch, more --clips, or a larger data set."
        )
    chosen = [catalog.recordings[number * len(catalog) // count] for number in range(count)]
    return Catalog(catalog.name, catalog.part, catalog.labels, tuple(chosen))


def make_model(name: str, width: Optional[float], size: Optional[int], catalog: Any) -> Any:
    """Return (model, spec) as ``train-clips fit`` makes them for this data set."""
    import torch

    from clipedge.jetson.spec import ClipSpec
    from clipedge.trainside.import_weights import with_timing_of
    from clipedge.trainside.models import create_model

    torch.manual_seed(SEED)
    model = create_model(name, width, len(catalog.labels), dropout=0.2)
    config = model.config
    spec = ClipSpec(
        model=config.name,
        width=config.width,
        labels=catalog.labels,
        dataset=catalog.name,
        frames=config.frames,
        size=size or config.size,
    )
    return model, with_timing_of(spec, catalog.name).validate()


def _ground(settings: Dict[str, Any]) -> Ground:
    from clipedge.trainside.data.augmentation import Augmentation
    from clipedge.trainside.recipes import recipe_with

    catalog = open_part(settings["data"], settings["layout"], settings["clips"], settings["batch"])
    model, spec = make_model(settings["model"], settings["width"], settings["size"], catalog)
    changes = {
        "batch": settings["batch"],
        "epochs": 1 + settings["epochs"],
        "learning_rate": LEARNING_RATE,
    }
    recipe = recipe_with(RECIPE, changes)
    augmentation = Augmentation(scales=recipe.scales, crop=recipe.crop)
    return Ground(
        settings, catalog, spec, model, recipe, augmentation, pathlib.Path(settings["scratch"])
    )


# --- Ours ---


def _our_clips(ground: Ground, cached: bool) -> Any:
    from clipedge.trainside.data.cache import ClipCache
    from clipedge.trainside.data.clips import TrainingClips

    cache = ClipCache(ground.scratch / "cache", _NO_LIMIT if cached else 0)
    return TrainingClips(ground.catalog, ground.spec, ground.augmentation, SEED, cache)


def our_loader(ground: Ground) -> Result:
    """Time all worker processes of ``fit`` at once, with nobody who learns."""
    from clipedge.jetson.board import logical_cores
    from clipedge.trainside.loading import MicroBatches, training_loader
    from clipedge.trainside.training import LEAST_PART, MOST_WORKERS

    clips = _our_clips(ground, cached=True)
    workers = min(MOST_WORKERS, logical_cores())
    batch = ground.recipe.batch
    parts = max(1, min(workers, batch // LEAST_PART))
    order = MicroBatches(len(clips), batch, parts, 0, 1, SEED)
    loader = training_loader(clips, order, workers)
    _pass_seconds(loader)  # the workers start
    for entry in (ground.scratch / "cache").rglob("*"):
        if entry.is_file():
            entry.unlink()
    first_s = _pass_seconds(loader)
    later_s = [_pass_seconds(loader) for _ in range(ground.settings["epochs"])]
    count = order.steps * order.part_size * parts
    return {"clips": count, "first_s": first_s, "epochs_s": later_s, "workers": workers}


def _pass_seconds(batches: Any) -> float:
    start_s = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start_s


def our_step(ground: Ground) -> Result:
    """Time the steps of ``fit``, with clips that lie ready in its processes' memory."""
    clips = _our_clips(ground, cached=False)
    ready = _Ready([clips[0, number] for number in range(ground.recipe.batch)], len(clips))
    return _train(ground, ready, workers=0, whole_epochs=False)


class _Ready:
    """A data set of a few clips that are given again and again."""

    def __init__(self, samples: List[Any], count: int) -> None:
        self._samples = samples
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: Any) -> Any:
        return self._samples[key[1] % len(self._samples)]


def our_both(ground: Ground) -> Result:
    """Time whole epochs of ``fit``, without validation, which the plain loop has none of."""
    clips = _our_clips(ground, cached=ground.settings["cached"])
    return _train(ground, clips, workers=None, whole_epochs=True)


def _train(ground: Ground, clips: Any, workers: Optional[int], whole_epochs: bool) -> Result:
    import torch

    from clipedge.trainside.run_folder import RunFolder
    from clipedge.trainside.training import Machine, train

    learner = _timed_learner()(ground.model, ground.spec, ground.recipe, SEED)
    machine = Machine(precision=ground.settings["precision"], workers=workers)
    folder = RunFolder(ground.scratch / "run")
    folder.path.mkdir(parents=True, exist_ok=True)
    done = train(learner, clips, None, ground.recipe, machine, folder, SEED)
    starts_s = learner.epochs_s
    ends_s = starts_s[1:] + [learner.ended_s]
    spans = zip(starts_s, ends_s) if whole_epochs else learner.steps_s
    seconds = [end_s - start_s for start_s, end_s in spans]
    return {
        "clips": done.clips // len(seconds),
        "first_s": seconds[0],
        "epochs_s": seconds[1:],
        "started_s": learner.began_s - ground.settings["spawned_s"],
        "processes": learner.trainer.world_size,
        "threads": torch.get_num_threads(),
    }


def _timed_learner() -> Any:
    """Return the class of learner that notes when its epochs and steps begin and end."""
    from clipedge.trainside.learner import ClipLearner

    class TimedLearner(ClipLearner):
        epochs_s: List[float]
        steps_s: List[List[float]]
        began_s = ended_s = 0.0

        def on_fit_start(self) -> None:
            super().on_fit_start()
            self.epochs_s, self.steps_s = [], []

        def on_train_epoch_start(self) -> None:
            _wait_for_gpu()
            self.epochs_s.append(time.perf_counter())

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            super().on_train_batch_start(batch, batch_idx)
            if not self.steps_s:
                self.began_s = time.time()
            if batch_idx == 0:
                self.steps_s.append([time.perf_counter(), 0.0])

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx + 1 == self.trainer.num_training_batches:
                _wait_for_gpu()
                self.steps_s[-1][1] = time.perf_counter()

        def on_train_end(self) -> None:
            self.ended_s = time.perf_counter()

    return TimedLearner


# --- Plain ---


def plain(ground: Ground) -> Result:
    """Time the plain loop: its loader, its steps, and both."""
    import torch

    from clipedge.trainside.loading import MicroBatches

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ground.model.to(device).train()
    recipe, epochs = ground.recipe, ground.settings["epochs"]
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        dampening=recipe.dampening,
        weight_decay=recipe.weight_decay,
    )
    clips = plain_loop.PlainClips(ground.catalog, ground.spec, ground.augmentation, SEED)
    order = MicroBatches(len(ground.catalog), recipe.batch, 1, 0, 1, SEED)
    ready = next(clips.batches(order))

    def learn(batches: Any) -> float:
        start_s = time.perf_counter()
        for frames, targets in batches:
            plain_loop.step(model, optimizer, frames.to(device), targets.to(device))
        _wait_for_gpu()
        return time.perf_counter() - start_s

    began_s = time.time()
    learn([ready])  # memory is laid out
    return {
        "clips": order.steps * order.part_size,
        "loader_s": [_pass_seconds(clips.batches(order)) for _ in range(epochs)],
        "step_s": [learn([ready] * order.steps) for _ in range(epochs)],
        "both_s": [learn(clips.batches(order)) for _ in range(epochs)],
        "started_s": began_s - ground.settings["spawned_s"],
        "threads": torch.get_num_threads(),
    }


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


PARTS: Dict[str, Callable[[Ground], Result]] = {
    "our loader": our_loader,
    "our step": our_step,
    "our both": our_both,
    "plain": plain,
}


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.training_part",
        description="One timed part of python -m clipedge.benchmarks.training, which starts it.",
    )
    parser.add_argument("settings", metavar="SETTINGS.json", type=pathlib.Path)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    settings = json.loads(arguments.settings.read_text(encoding="utf-8"))
    result = PARTS[settings["part"]](_ground(settings))
    from clipedge.trainside.training import is_first_process

    if is_first_process():
        result["packages"] = _versions()
        write_whole(settings["result"], json.dumps(result))
    return DONE


def _versions() -> Dict[str, str]:
    names = ("torch", "lightning", "numpy", "cv2", "PIL", "av")
    loaded = {name: sys.modules.get(name) for name in names}
    return {
        name: str(getattr(module, "__version__", "unknown"))
        for name, module in loaded.items()
        if module is not None
    }


if __name__ == "__main__":
    sys.exit(main())
