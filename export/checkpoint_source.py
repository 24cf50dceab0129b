"""Where export gets its model from: a checkpoint, or an architecture with random weights."""

import logging
from typing import TYPE_CHECKING, NamedTuple, Optional

from clipedge.jetson.logits import check_clips
from clipedge.jetson.spec import RANDOM_WEIGHTS, ClipSpec, numbered_labels

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

JESTER_CLASSES = 27


class ModelToExport(NamedTuple):
    """A module in eval mode that takes normalised clips, with its ClipSpec."""

    model: "torch.nn.Module"
    spec: ClipSpec


def from_checkpoint(path: str) -> ModelToExport:
    """Load a checkpoint of ``train-clips``; ClipedgeError where it is damaged."""
    from clipedge.trainside.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    return ModelToExport(checkpoint.model, checkpoint.spec)


def with_random_weights(
    name: str, width: Optional[float] = None, num_classes: int = JESTER_CLASSES
) -> ModelToExport:
    """Create an architecture whose weights know nothing: good for measuring speed, no more.

    The batch norms' statistics are set from a few clips. With the defaults the signal dies out on
    its way through fifty layers, every clip gets the same logits, and no parity check could tell a
    right file from a wrong one.

    Raises:
        UsageError: there is no such architecture or width.
    """
    import torch

    from clipedge.trainside.models import create_model

    torch.manual_seed(0)
    model = create_model(name, width, num_classes=num_classes)
    spec = ClipSpec(
        model=name,
        width=model.config.width,
        labels=tuple(numbered_labels(num_classes)),
        dataset=RANDOM_WEIGHTS,
        frames=model.config.frames,
        size=model.config.size,
    )
    settle_batch_norms(model, spec)
    return ModelToExport(model, spec)


def settle_batch_norms(model: "torch.nn.Module", spec: ClipSpec) -> None:
    """Set the batch norms' statistics of an untrained model from a few clips; leave it in eval."""
    import torch

    from clipedge.trainside.normalisation import normalise

    clips = normalise(torch.from_numpy(check_clips(spec, 2, seed=7)), spec)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.momentum = None  # a plain average instead of a slow one
    with torch.no_grad():
        model.train()(clips)
    model.eval()
