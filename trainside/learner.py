"""One training step, shared by several cores: each works on a part of the batch.

PyTorch's own threads divide every operation. Those of a small network are too small for that: two
threads are hardly faster than one. Here each core takes whole clips through a replica of the model
with one thread, and the gradients are summed. Replicas share their weights with the model.
"""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clipedge.trainside.head_start import HintHead
from clipedge.trainside.models import ClipModel

WEIGHT_DECAY = 0.02
LEAST_PART = 8  # clips that a core takes of a batch at least
HINT_WEIGHT = 4.0  # of the hints' loss beside that of the labels


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        frames: (N, 3, T, H, W) uint8, in the order of colours that the model takes.
        scale, shift: (N, 3, 1, 1, 1) float32: the model takes ``frames * scale + shift``.
        targets: (N,) int64.
        hints: (N, K) float32; K may be 0.
    """

    frames: Tensor
    scale: Tensor
    shift: Tensor
    targets: Tensor
    hints: Tensor


class _Replica(NamedTuple):
    model: ClipModel
    hints: HintHead | None


class Learner:
    """A model with its optimizer and replicas; made by ``open_learner``."""

    def __init__(self, replicas: list[_Replica], pool: ThreadPoolExecutor) -> None:
        self._replicas = replicas
        self._used = 1  # replicas that a batch was large enough for
        self._pool = pool
        self._modules = [_modules(replica) for replica in replicas]
        self._optimizer = torch.optim.AdamW(_groups(self._modules[0]))

    def step(self, batch: Batch, learning_rate: float) -> tuple[float, float]:
        """Learn one batch; return the labels' loss and the part that was right before it."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        count = len(batch.targets)
        # Batch normalisation averages over a part; over few clips it averages too little.
        parts = max(1, min(len(self._replicas), count // LEAST_PART))
        self._used = max(self._used, parts)
        pieces = zip(*(torch.tensor_split(one, parts) for one in batch), strict=True)
        work = [
            self._pool.submit(_learn, replica, Batch(*piece), count)
            for replica, piece in zip(self._replicas, pieces, strict=False)
        ]
        results = [one.result() for one in work]
        weights = [list(modules.parameters()) for modules in self._modules[:parts]]
        for weight, *copies in zip(*weights, strict=True):
            for other in copies:
                if weight.grad is not None and other.grad is not None:
                    weight.grad += other.grad
        self._optimizer.step()
        for modules in self._modules:
            modules.zero_grad(set_to_none=True)
        loss, right = (sum(values) for values in zip(*results, strict=True))
        return loss, right

    def average_statistics(self) -> None:
        """Give the model the mean of what the replicas' batch normalisation saw."""
        buffers = [list(modules.buffers()) for modules in self._modules[: self._used]]
        for first, *others in zip(*buffers, strict=True):
            if first.is_floating_point():
                for other in others:
                    first += other
                first /= len(buffers)


@contextmanager
def open_learner(model: ClipModel, hints: int, threads: int) -> Iterator[Learner]:
    """Yield a Learner for ``model``, whose clips have ``hints`` hints each.

    PyTorch runs with one thread an operation inside.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ExitStack() as stack:
            # Copied before hooks are attached, which would be copied too.
            models = [model, *(copy.deepcopy(model) for _ in range(threads - 1))]
            replicas = [_Replica(one, _attach(stack, one, hints)) for one in models]
            for twin in replicas[1:]:
                _share_weights(_modules(replicas[0]), _modules(twin))
            pool = stack.enter_context(ThreadPoolExecutor(threads))
            learner = Learner(replicas, pool)
            yield learner
            learner.average_statistics()
    finally:
        torch.set_num_threads(threads_before)


def _attach(stack: ExitStack, model: ClipModel, hints: int) -> HintHead | None:
    return stack.enter_context(HintHead(model, hints)) if hints else None


def _modules(replica: _Replica) -> nn.ModuleList:
    layers: list[nn.Module] = [replica.model]
    if replica.hints is not None:
        layers.append(replica.hints.layer)
    return nn.ModuleList(layers)


def _share_weights(source: nn.Module, target: nn.Module) -> None:
    for weight, shared in zip(target.parameters(), source.parameters(), strict=True):
        weight.data = shared.data


def _learn(replica: _Replica, batch: Batch, count: int) -> tuple[float, float]:
    """Add the gradients of a part of ``count`` clips; return its share of loss and part right."""
    torch.set_num_threads(1)
    share = len(batch.targets) / count
    # Here and not where the batch is made, so that the cores share this work too.
    clips = batch.frames.contiguous(memory_format=torch.channels_last_3d).float()
    logits = replica.model(clips.mul_(batch.scale).add_(batch.shift))
    loss = nn.functional.cross_entropy(logits, batch.targets)
    total = loss
    if replica.hints is not None:
        total = loss + HINT_WEIGHT * replica.hints.loss(batch.hints)
    torch.autograd.backward(total * share)
    right = (logits.detach().argmax(1) == batch.targets).float().mean()
    return share * float(loss.detach()), share * float(right)


def _groups(modules: nn.Module) -> list[dict[str, object]]:
    """Weight decay for kernels only; biases and normalisation are left alone."""
    kernels = [weight for weight in modules.parameters() if weight.ndim > 1]
    others = [weight for weight in modules.parameters() if weight.ndim <= 1]
    return [
        {"params": kernels, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
