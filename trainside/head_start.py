"""Two ways to learn from few steps: a stem that sees motion, and a second head that finds the hand.

Neither leaves a trace in the model: its architecture, its size and its speed stay the same.
"""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from clipedge.trainside.models import ClipModel, architecture

MOTION_PART = 0.75  # of the stem's filters


def prime_stem(model: nn.Module) -> None:
    """Make most of the first layer's fresh filters blind to what stands still.

    Their mean over time is taken out, so that they answer to change alone; their length stays.
    Random filters answer to the background before all, and unlearning that takes hundreds of steps.
    """
    stem = next(layer for layer in model.modules() if isinstance(layer, nn.Conv3d))
    kernels = stem.weight.data[: int(MOTION_PART * stem.out_channels)]
    if kernels.shape[2] == 1:
        return  # it looks at one frame at a time
    changes = kernels - kernels.mean(dim=2, keepdim=True)
    lengths = kernels.flatten(1).norm(dim=1) / changes.flatten(1).norm(dim=1)
    kernels.copy_(changes * lengths.view(-1, 1, 1, 1, 1))


class HintHead:
    """A linear layer beside the model's last one that predicts hints from the same features."""

    def __init__(self, model: ClipModel, hints: int) -> None:
        """Make the layer for ``model``, whose clips have ``hints`` numbers each."""
        head = model.get_submodule(architecture(model.config.name).head)
        width = head.in_features if isinstance(head, nn.Linear) else head.in_channels
        assert isinstance(width, int)
        self.layer = nn.Linear(width, hints)
        self._head = head
        self._features: Tensor | None = None
        self._handle: RemovableHandle | None = None

    def attach(self) -> None:
        """From now on each forward pass of the model leaves its features here."""
        self._handle = self._head.register_forward_pre_hook(self._keep)

    def detach(self) -> None:
        """Leave no trace in the model."""
        if self._handle is not None:
            self._handle.remove()

    def _keep(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def loss(self, hints: Tensor) -> Tensor:
        """Return the loss against ``hints`` (N, K) for the clips of the last forward pass."""
        assert self._features is not None
        features = self._features
        if features.ndim == 5:  # a convolution is the last layer, and the mean follows it
            features = features.mean(dim=(2, 3, 4))
        guessed = self.layer(features)
        return torch.nn.functional.smooth_l1_loss(guessed, hints)
