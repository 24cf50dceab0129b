"""Training on Lightning: devices, precision, accumulation, checkpoints, resuming, logs.

Lightning was chosen because it does all that for one GPU or many machines, and is well kept. What
is ours is in ``learner`` (what is learned) and ``loading`` (from which clips, in which order).
"""

import contextlib
import errno
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning_utilities.core.rank_zero import rank_zero_only

from clipedge.jetson.board import logical_cores
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import readable_os_error
from clipedge.trainside.callbacks import (
    EpochBars,
    KeepBest,
    SaveProgress,
    WholeFiles,
    WriteFigures,
)
from clipedge.trainside.checkpoint import load_tensors
from clipedge.trainside.data.clips import EvaluationClips, TrainingClips
from clipedge.trainside.data.workers import telling_of_lost_workers
from clipedge.trainside.interrupts import HearInterrupts, interrupts_wait
from clipedge.trainside.learner import ClipLearner
from clipedge.trainside.loading import MicroBatches, training_loader, validation_loader
from clipedge.trainside.models import ClipModel
from clipedge.trainside.recipes import Recipe
from clipedge.trainside.run_folder import RunFolder

LEAST_PART = 8  # clips of a micro-batch: over fewer, batch normalisation averages too little
MOST_WORKERS = 8  # for each device

log = logging.getLogger(__name__)


class LostProcessError(ClipedgeError):
    """Another process of this training has ended, and said why."""


class Machine(NamedTuple):
    """On what to train, and how work is shared.

    Attributes:
        devices: GPUs, or processes where there is no GPU, of this machine; None: all GPUs, or as
            many processes as there are cores and parts of 8 clips in a batch.
        nodes: machines.
        precision: ``fp32``, ``fp16`` or ``bf16`` (both mixed); None: bf16 where the GPU computes
            it, fp16 on other GPUs, fp32 on CPUs.
        accumulate: micro-batches that a device takes one after the other in each step.
        workers: processes that prepare clips for each device; None: by the number of cores.
        save_minutes: between two saves of where the training is, besides those after each epoch.
    """

    devices: int | None = None
    nodes: int = 1
    precision: str | None = None
    accumulate: int = 1
    workers: int | None = None
    save_minutes: float = 10.0


class Training(NamedTuple):
    """What a training came to, in the first process; the model holds its best weights.

    Attributes:
        epochs: that were begun.
        steps: of the optimizer.
        seconds: of this run, without what came before it was resumed.
        clips: learned from in this run.
        problems: one line for each recording that could not be read.
    """

    epochs: int
    steps: int
    seconds: float
    clips: int
    problems: tuple[str, ...]


def is_first_process() -> bool:
    """False in the further processes of a training on several devices or machines."""
    machine = int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0")))
    return machine == 0 and int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def is_first_of_machine() -> bool:
    """False in the processes that the first one of this machine started."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def train(
    learner: ClipLearner,
    clips: TrainingClips,
    validation: EvaluationClips | None,
    recipe: Recipe,
    machine: Machine,
    folder: RunFolder,
    seed: int = 0,
    resume: bool = False,
) -> Training:
    """Train the learner's model, in as many processes as asked for.

    On return the model holds the best weights: those with the highest validation top-1, or the
    last ones where nothing is validated.

    Raises:
        ClipedgeError: the loss is no longer finite, or a file cannot be written.
        KeyboardInterrupt: somebody ended it; it can be resumed.
    """
    _check(machine)
    if machine.devices is None and not torch.cuda.is_available():
        clips_at_most = min(recipe.batch, max(len(clips), recipe.epoch_clips))
        machine = machine._replace(devices=_cpu_processes(clips_at_most, machine.accumulate))
    with _talk_kept_down():
        trainer = _make_trainer(recipe, machine, folder, validated=validation is not None)
    world = trainer.world_size
    order = _share(len(clips), recipe, machine, trainer, seed)
    step_clips = order.part_size * world * machine.accumulate
    first_step = _go_to_where_it_was(order, folder, world) if resume else 0
    workers = _workers(machine, trainer.num_devices)
    pinned = trainer.strategy.root_device.type == "cuda"
    loaders: dict[str, Any] = {
        "train_dataloaders": training_loader(clips, order, workers, pinned),
    }
    if validation is not None:
        loaders["val_dataloaders"] = validation_loader(
            validation, trainer.global_rank, world, workers, pinned
        )
    set_layout(learner.model, torch.channels_last_3d)
    began_s = time.monotonic()
    ending = _ending_together(trainer)
    with _talk_kept_down(), interrupts_wait(trainer), ending, telling_of_lost_workers():
        trainer.fit(
            learner, **loaders, ckpt_path=folder.last if resume else None, weights_only=True
        )
    seconds = time.monotonic() - began_s
    if trainer.is_global_zero and folder.best.exists():
        _load_best(learner.model, folder)
    set_layout(learner.model, torch.contiguous_format)
    steps = trainer.global_step
    return Training(
        epochs=trainer.current_epoch,
        steps=steps,
        seconds=seconds,
        clips=(steps - first_step) * step_clips,
        problems=tuple(learner.problems),
    )


def _check(machine: Machine) -> None:
    """Find out before anything starts what Lightning would not do, or would do in another way."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and machine.devices and machine.devices > gpus:
        raise UsageError(f"--devices {machine.devices}: this machine has {gpus} GPUs.")
    if machine.precision == "fp16" and not gpus:
        raise UsageError("--precision fp16 needs a GPU; a CPU trains in fp32, or in bf16.")
    told = ("MASTER_ADDR", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID")
    if machine.nodes > 1 and not any(name in os.environ for name in told):
        raise UsageError(
            f"--nodes {machine.nodes}: the machines have to find each other. Set MASTER_ADDR, "
            "MASTER_PORT and NODE_RANK, or use torchrun; docs/training.md has both."
        )


@contextlib.contextmanager
def _ending_together(trainer: Trainer) -> Iterator[None]:
    """End all processes of this machine where one fails, and say in one line why."""
    try:
        yield
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
    except BaseException as error:
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)  # they wait for this one and hear nothing else
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error):
            raise ClipedgeError(
                "The memory is too small for a step. Let it be taken in parts, --accumulate 2 or "
                "more, or lower --batch."
            ) from None
        if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
            raise readable_os_error(error, trainer.default_root_dir) from None  # of TensorBoard
        if trainer.world_size > 1 and _is_lost_connection(error):
            raise LostProcessError(
                "Another process of this training has ended; what it said is above, or on its "
                "machine."
            ) from None
        raise


def _is_lost_connection(error: BaseException) -> bool:
    named = isinstance(error, torch.distributed.DistError)
    return named or (isinstance(error, RuntimeError) and "gloo" in str(error))


def set_layout(model: torch.nn.Module, layout: torch.memory_format) -> None:
    """Arrange the kernels in memory; with channels last, steps take less time on CPUs."""
    for weight in model.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=layout)


def _make_trainer(recipe: Recipe, machine: Machine, folder: RunFolder, validated: bool) -> Trainer:
    gpu = torch.cuda.is_available()
    devices = machine.devices or -1
    return Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=devices,
        num_nodes=machine.nodes,
        strategy=_strategy(devices, machine.nodes, gpu),
        precision=_precision(machine.precision, gpu),  # type: ignore[arg-type]
        max_epochs=recipe.epochs,
        accumulate_grad_batches=machine.accumulate,
        callbacks=_callbacks(recipe, machine, folder, validated),
        logger=TensorBoardLogger(
            folder.path, name="", version="tensorboard", default_hp_metric=False
        ),
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # ``MicroBatches`` knows its process
        enable_model_summary=False,
        plugins=[WholeFiles()],
        default_root_dir=folder.path,
        benchmark=gpu,
    )


def _callbacks(
    recipe: Recipe, machine: Machine, folder: RunFolder, validated: bool
) -> list[Callback]:
    callbacks: list[Callback] = [HearInterrupts(), EpochBars(), WriteFigures(folder)]
    if validated and recipe.stop_after:
        callbacks.append(
            EarlyStopping("validation_loss", patience=recipe.stop_after, check_finite=False)
        )
    if validated:
        callbacks.append(KeepBest(folder.best))
    # The last one: what it saves has to know what the others have come to.
    callbacks.append(SaveProgress(folder.last, machine.save_minutes))
    return callbacks


def _strategy(devices: int, nodes: int, gpu: bool) -> Strategy | str:
    if devices == 1 and nodes == 1:
        return "auto"
    # Each process keeps its own statistics of batch normalisation until they are averaged.
    return DDPStrategy(broadcast_buffers=False, process_group_backend="nccl" if gpu else "gloo")


def _cpu_processes(batch: int, accumulate: int) -> int:
    """One process a core: two threads in one take nearly as long as one, for small networks."""
    return max(1, min(logical_cores(), batch // (LEAST_PART * accumulate)))


def _workers(machine: Machine, devices: int) -> int:
    if machine.workers is not None:
        return machine.workers
    return max(1, min(MOST_WORKERS, logical_cores() // devices))


def _precision(asked: str | None, gpu: bool) -> str:
    if asked is None:
        if not gpu:
            return "32-true"
        asked = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}[asked]


def _share(
    count: int, recipe: Recipe, machine: Machine, trainer: Trainer, seed: int
) -> MicroBatches:
    """Return which recordings this process takes when; tell where a step is not --batch."""
    world, rank = trainer.world_size, trainer.global_rank
    parts = world * machine.accumulate
    order = MicroBatches(count, recipe.batch, parts, rank, world, seed, recipe.epoch_clips)
    if order.part_size * parts != recipe.batch:
        log.info(
            "A step learns from %d clips, not from %d: from whole parts for %d processes, and no "
            "more than an epoch has.",
            order.part_size * parts,
            recipe.batch,
            world,
        )
    return order


def _go_to_where_it_was(order: MicroBatches, folder: RunFolder, world: int) -> int:
    """Let the order begin where the saved training was; return the steps done by then."""
    content = load_tensors(folder.last)
    try:
        loops = content["loops"]["fit_loop"]
        order.epoch = loops["epoch_progress"]["current"]["processed"]
        ready = loops["epoch_loop.batch_progress"]["current"]["ready"]
        steps: int = content["global_step"]
        before: int = content["clipedge_processes"]
    except (KeyError, TypeError):
        raise ClipedgeError(f"{folder.last} is no checkpoint of a training.") from None
    if before != world:
        raise UsageError(
            f"This training began with {before} processes, and here it would have {world}, which "
            f"share the clips in another way. Resume it with --devices {before} in all."
        )
    # An epoch that was completed counts all its micro-batches.
    order.first = ready % len(order)
    return steps


def _load_best(model: ClipModel, folder: RunFolder) -> None:
    tensors = load_tensors(folder.best)["state_dict"]
    prefix = "model."
    model.load_state_dict(
        {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    )


@contextlib.contextmanager
def _talk_kept_down() -> Iterator[None]:
    """Send Lightning's bars to stderr, and leave out advice about what is meant to be so."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", module=r"torch\.utils\.data.*")
        warnings.filterwarnings("ignore", message="Grad strides do not match")
        yield
