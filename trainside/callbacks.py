"""What happens beside the learning: where it stands is saved, and its figures are written down."""

import pathlib
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.plugins.io import TorchCheckpointIO

from clipedge.jetson.files import PathLike
from clipedge.trainside.checkpoint import save_tensors
from clipedge.trainside.learner import ClipLearner
from clipedge.trainside.run_folder import RunFolder

CLOCK_EVERY = 10  # micro-batches between two looks at the clock
FIGURES = (
    "training_loss",
    "training_top1",
    "validation_loss",
    "validation_top1",
    "validation_top5",
)


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, each whole or not at all; a full disk is said in a line."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any = None
    ) -> None:
        """Replace the file at ``path`` once the new one is complete.

        Raises:
            ClipedgeError: it cannot be written; the file that was there is as it was.
        """
        save_tensors(path, checkpoint)


class EpochBars(TQDMProgressBar):
    """One bar an epoch, without the number of Lightning's log folder."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what is shown behind the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Count epochs from 1, as ``metrics.csv`` does."""
        super().on_train_epoch_start(trainer)
        number = trainer.current_epoch + 1
        self.train_progress_bar.set_description(f"Epoch {number} of {trainer.max_epochs}")

    def init_validation_tqdm(self) -> Any:
        """Return a bar that is not shown: each epoch's validation is short."""
        return Tqdm(disable=True)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar's line, so that what went wrong has one of its own."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()


class KeepBest(ModelCheckpoint):
    """Keep the weights with the highest ``validation_rank``."""

    def __init__(self, path: PathLike) -> None:
        path = pathlib.Path(path)
        super().__init__(
            path.parent,
            filename=path.stem,
            monitor="validation_rank",
            mode="max",
            save_weights_only=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best so far, also where the folder was moved since.

        Lightning would forget how good the best is, and replace it by the next.
        """
        names = ("best_model_path", "kth_best_model_path")
        here = {name: self._here(state_dict[name]) for name in names}
        known = {self._here(path): rank for path, rank in state_dict["best_k_models"].items()}
        super().load_state_dict(
            {**state_dict, **here, "best_k_models": known, "dirpath": self.dirpath}
        )

    def _here(self, path: str) -> str:
        return str(pathlib.Path(str(self.dirpath), pathlib.Path(path).name)) if path else ""


class SaveProgress(Checkpoint):
    """Save where the training is, at the end of each epoch and from time to time within."""

    def __init__(self, path: PathLike, every_minutes: float) -> None:
        self._path = pathlib.Path(path)
        self._every_s = 60.0 * every_minutes
        self._saved_s = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is time, but not within a step nor at the end of an epoch."""
        done = batch_idx + 1
        within_step = done % trainer.accumulate_grad_batches != 0
        if done % CLOCK_EVERY or within_step or done == trainer.num_training_batches:
            return
        late = time.monotonic() - self._saved_s > self._every_s
        if trainer.strategy.broadcast(late):  # the first process's clock decides for all
            self._save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; Lightning calls this after the other callbacks."""
        self._save(trainer, pl_module)

    def _save(self, trainer: Trainer, learner: LightningModule) -> None:
        assert isinstance(learner, ClipLearner)
        learner.average_statistics()  # the file holds those of the first process
        learner.require_finite()  # else the last weights that are of use would be gone
        trainer.save_checkpoint(self._path)
        self._saved_s = time.monotonic()


class WriteFigures(Callback):
    """Keep ``metrics.csv`` and the list of damaged recordings up to date."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._began_s = 0.0
        self._rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began_s = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate, which validation may lower for the next epoch."""
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's line."""
        assert isinstance(pl_module, ClipLearner)
        # Gathered from all processes, so all must ask, and before they share anything else: the
        # first one's bar has asked already.
        figures = trainer.callback_metrics
        pl_module.share_problems()
        if not trainer.is_global_zero:
            return
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "steps": trainer.global_step}
        row["learning_rate"] = float(f"{self._rate:.3g}")
        row.update({name: round(float(figures[name]), 4) for name in FIGURES if name in figures})
        row["seconds"] = round(time.monotonic() - self._began_s, 1)
        self._folder.add_metrics(row)
        self._folder.note_damaged(pl_module.problems)
