"""What is learned from a batch and how: the part of training that is ours and not Lightning's."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.samples import Batch, ValidationBatch
from clipedge.trainside.head_start import HintHead
from clipedge.trainside.models import ClipModel
from clipedge.trainside.normalisation import normalise
from clipedge.trainside.recipes import Recipe
from clipedge.trainside.transfer import freeze_backbone

HINT_WEIGHT = 4.0  # of the hints' loss beside that of the labels
WARM_UP = 0.2  # part of a one-cycle training in which the learning rate rises
FALLS = 3  # of the learning rate on a plateau, section 3.2
CHECK_EVERY = 50  # steps; looking at a loss makes a GPU wait


class ClipLearner(LightningModule):
    """A model with its losses, its optimizer and its learning rate.

    All that is drawn at random follows from seed, epoch and the number of the micro-batch, so that
    a training that is interrupted and resumed, or shared by several processes, draws the same.
    """

    def __init__(
        self,
        model: ClipModel,
        spec: ClipSpec,
        recipe: Recipe,
        seed: int = 0,
        hints: int = 0,
        minutes: float | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: is trained in place.
            spec: its normalisation is applied to every batch.
            recipe: how to train.
            seed: of dropout.
            hints: that each clip has; 0 where there are none.
            minutes: a one-cycle training ends after this time at the latest, the learning rate
                fallen to 0.
        """
        super().__init__()
        self.model = model
        self.problems: dict[str, None] = {}  # recordings that could not be read, each once
        self.agree_on = ""  # what must be the same in all processes, on whatever machine
        self._hint_head = HintHead(model, hints) if hints else None
        self._hint_layer = self._hint_head.layer if self._hint_head else None  # trained with it
        self._spec = spec
        self._recipe = recipe
        self._seed = seed
        self._still = freeze_backbone(model) if recipe.freeze == "backbone" else []
        self.train()
        self._limit_s = 60.0 * minutes if minutes else None
        self._spent_s = 0.0  # before this process began
        self._started_s: float | None = None  # of the first step
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._measured = torch.zeros(4)  # of validation so far: see ``validation_step``

    def train(self, mode: bool = True) -> "ClipLearner":
        """Set the mode; what is frozen keeps its statistics too."""
        super().train(mode)
        for layer in self._still:
            layer.eval()
        return self

    def on_fit_start(self) -> None:
        """Find out whether all train the same; let the layer of the hints see the features."""
        same = self.agree_on == self.trainer.strategy.broadcast(self.agree_on)
        if not self.trainer.strategy.reduce_boolean_decision(same, all=True):
            raise ClipedgeError(
                "The machines do not train the same: give each the same flags, and the same data "
                "set under the same names."
            )
        if self._hint_head is not None:
            self._hint_head.attach()

    def teardown(self, stage: str) -> None:
        """Let go of the model."""
        if self._hint_head is not None:
            self._hint_head.detach()

    # --- What is learned ---

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one micro-batch."""
        place = batch_idx * self.trainer.world_size + self.global_rank
        torch.manual_seed(hash((self._seed, self.current_epoch, place)) & 0x7FFFFFFF)
        self.problems.update(dict.fromkeys(batch.problems))
        logits = self.model(normalise(batch.frames, self._spec, batch.gain, batch.offset))
        loss = nn.functional.cross_entropy(logits, batch.targets)
        total = loss
        if self._hint_head is not None:
            total = loss + HINT_WEIGHT * self._hint_head.loss(batch.hints)
        self._check_finite(loss, batch_idx)
        right = (logits.detach().argmax(1) == batch.targets).float().mean()
        count = len(batch.targets)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=count)
        self.log("right", right, prog_bar=True, batch_size=count)
        for name, value in (("training_loss", loss.detach()), ("training_top1", right)):
            self.log(name, value, on_step=False, on_epoch=True, sync_dist=True, batch_size=count)
        return total

    def _check_finite(self, loss: Tensor, batch_idx: int) -> None:
        if batch_idx % CHECK_EVERY == 0:
            self._require_finite([loss.detach()], "loss is")

    def require_finite(self) -> None:
        """Raise ClipedgeError where the weights are of no use any more; all processes ask."""
        tensors = self.model.state_dict().values()
        self._require_finite([one for one in tensors if one.is_floating_point()], "weights are")

    def _require_finite(self, tensors: Sequence[Tensor], what: str) -> None:
        finite = bool(torch.stack([one.isfinite().all() for one in tensors]).all())
        # All processes end together: one that ended alone would leave the others waiting.
        if not self.trainer.strategy.reduce_boolean_decision(finite, all=True):
            raise ClipedgeError(
                f"The {what} no longer finite after {self.global_step} steps. Train anew with a "
                f"lower --learning-rate (now {self._recipe.learning_rate:g})."
            )

    def on_validation_epoch_start(self) -> None:
        """Measure from nothing."""
        self._measured = torch.zeros(4, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Add up loss, right, right among five, and number of the clips of a few videos."""
        self.problems.update(dict.fromkeys(batch.problems))
        pieces = zip(
            torch.split(batch.frames, self._recipe.batch),
            torch.split(batch.targets, self._recipe.batch),
            strict=True,
        )
        for frames, targets in pieces:
            if not len(targets):  # none of these videos can be read
                continue
            logits = self.model(normalise(frames, self._spec)).float()
            best = logits.topk(min(5, logits.shape[1])).indices == targets[:, None]
            loss = nn.functional.cross_entropy(logits, targets, reduction="sum")
            right, in_five = best[:, 0].sum(), best.sum()
            self._measured += torch.stack([loss, right, in_five, loss.new_tensor(len(targets))])

    def on_validation_epoch_end(self) -> None:
        """Log the figures, rank the weights, and lower the learning rate on a plateau.

        Processes have different numbers of clips, or none, so sums are added up and not means.
        """
        everywhere = self.trainer.strategy.reduce(self._measured, reduce_op="sum")
        loss, right, in_five, clips = everywhere.tolist()
        if not clips:
            first = next(iter(self.problems), "")
            raise ClipedgeError(f"None of the validation videos can be read. {first}".strip())
        self.log("validation_loss", loss / clips)
        self.log("validation_top1", right / clips, prog_bar=True)
        self.log("validation_top5", in_five / clips)
        self.log("validation_rank", rank(right, loss / clips))
        if self._plateau is not None:
            self._plateau.step(loss / clips)

    # --- How it is learned ---

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the recipe's optimizer."""
        recipe = self._recipe
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        if recipe.optimizer == "adamw":
            groups: list[dict[str, Any]] = [
                {"params": [one for one in trained if one.ndim > 1]},
                {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
            ]
            return self._watched(
                torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
            )
        optimizer = torch.optim.SGD(
            trained,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            dampening=recipe.dampening,
            weight_decay=recipe.weight_decay,
        )
        return self._watched(optimizer)

    def _watched(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Attach the schedule that has a memory; the others follow from epoch and step alone."""
        if self._recipe.schedule == "plateau":
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer,
                factor=0.1,
                patience=self._recipe.patience,
                min_lr=self._recipe.learning_rate * 0.1**FALLS,
            )
            if self._plateau_state is not None:
                self._plateau.load_state_dict(self._plateau_state)
        return optimizer

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of schedules that go by step or epoch."""
        if self._plateau is not None:
            return
        if self._recipe.schedule == "one-cycle":
            part = self._part_done()
            factor = one_cycle(part)
            if part >= 1.0:
                self.trainer.should_stop = True
        else:
            falls = sum(self.current_epoch >= epoch for epoch in self._recipe.milestones)
            factor = 0.1**falls
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        for group in optimizer.param_groups:
            group["lr"] = factor * self._recipe.learning_rate

    def _part_done(self) -> float:
        by_step = self.global_step / float(self.trainer.estimated_stepping_batches)
        if self._limit_s is None:
            return by_step
        # One clock for all processes, or their weights would drift apart.
        spent_s: float = self.trainer.strategy.broadcast(self._seconds())
        return max(by_step, spent_s / self._limit_s)

    def _seconds(self) -> float:
        if self._started_s is None:
            self._started_s = time.monotonic()
        return self._spent_s + time.monotonic() - self._started_s

    # --- What a checkpoint must hold ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of."""
        checkpoint["clipedge_seconds"] = self._seconds()
        checkpoint["clipedge_processes"] = self.trainer.world_size
        checkpoint["clipedge_plateau"] = self._plateau and self._plateau.state_dict()
        checkpoint["clipedge_problems"] = list(self.problems)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back; this runs before ``configure_optimizers``."""
        self._spent_s = checkpoint["clipedge_seconds"]
        self._plateau_state = checkpoint["clipedge_plateau"]
        self.problems.update(dict.fromkeys(checkpoint["clipedge_problems"]))

    def on_validation_start(self) -> None:
        """Let all processes measure the same model."""
        self.average_statistics()

    def average_statistics(self) -> None:
        """Give every process the mean of what each one's batch normalisation saw.

        The statistics are moving averages, which are linear: when this is done changes nothing.
        """
        if self.trainer.world_size == 1:
            return
        for buffer in self.model.buffers():
            if buffer.is_floating_point():
                everywhere = self.all_gather(buffer)
                assert isinstance(everywhere, Tensor)
                buffer.copy_(everywhere.mean(dim=0))

    def share_problems(self) -> None:
        """Let every process know of the recordings that another one could not read."""
        if self.trainer.world_size == 1:
            return
        everywhere: list[list[str]] = [[]] * self.trainer.world_size
        torch.distributed.all_gather_object(everywhere, list(self.problems))
        for problems in everywhere:
            self.problems.update(dict.fromkeys(problems))


def rank(right: float, loss: float) -> float:
    """Order weights by how many clips they get right; of equals the lower loss is better.

    Equals are common with few videos. Weights whose loss is not finite come last.
    """
    return right - loss / (1.0 + loss) if math.isfinite(loss) else -1.0


def one_cycle(part: float) -> float:
    """Factor on the learning rate after ``part`` of the training, 0-1: a rise, then a fall to 0."""
    if part < WARM_UP:
        return 0.05 + 0.95 * part / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (min(part, 1.0) - WARM_UP) / (1.0 - WARM_UP)))
