"""Weights of a 3D convolution, laid out for the 2D convolution that computes the same."""

from typing import Any, NamedTuple, Optional, Sequence, Tuple

import numpy as np


class Axis(NamedTuple):
    """How a convolution or pooling goes along one axis."""

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def is_trivial(self) -> bool:
        """It looks at each position by itself and leaves none out."""
        return self.kernel == 1 and self.stride == 1 and self.before == self.after == 0

    def tap(self, output: int, position: int) -> Optional[int]:
        """Return which tap of output step ``output`` sees input step ``position``; None: none."""
        offset = position - output * self.stride + self.before
        tap, rest = divmod(offset, self.dilation)
        return tap if rest == 0 and 0 <= tap < self.kernel else None


def axes_of(attributes: Any, kernel: Sequence[int]) -> Tuple[Axis, ...]:
    """Return how a Conv or pooling node goes along frames, rows and columns.

    Args:
        attributes: of the node, by name.
        kernel: its extent along each axis.
    """
    count = len(kernel)
    strides = attributes.get("strides", [1] * count)
    pads = attributes.get("pads", [0] * (2 * count))
    dilations = attributes.get("dilations", [1] * count)
    return tuple(
        Axis(kernel[axis], strides[axis], pads[axis], pads[axis + count], dilations[axis])
        for axis in range(count)
    )


def band(
    weight: np.ndarray, time: Axis, frames_in: int, frames_out: int, groups: int, merged: int = 1
) -> np.ndarray:
    """Return the weight of a grouped 2D convolution over the LANES view.

    Each output frame of a channel is an output channel, each input frame an input channel of its
    group, and the taps over time lie as a band in the matrix between them.

    Args:
        weight: (O, I / groups, T, H, W) of the 3D convolution.
        time: how it goes along frames.
        frames_in: frames of its input.
        frames_out: frames of its output.
        groups: of the 3D convolution.
        merged: how many neighbouring groups become one, zeros between them.

    Returns:
        (O * frames_out, merged * I / groups * frames_in, H, W); the 2D convolution has
        groups / merged groups.
    """
    outputs, inputs, _, height, width = weight.shape
    per_group = outputs // groups
    banded = np.zeros((outputs, frames_out, merged, inputs, frames_in, height, width), weight.dtype)
    place = np.arange(outputs) // per_group % merged  # of its old group within the new one
    for step in range(frames_out):
        for position in range(frames_in):
            tap = time.tap(step, position)
            if tap is not None:
                banded[np.arange(outputs), step, place, :, position] = weight[:, :, tap]
    return banded.reshape(outputs * frames_out, merged * inputs * frames_in, height, width)


def stack(weight: np.ndarray) -> np.ndarray:
    """Return the weight of a 2D convolution whose input has its T frames stacked as channels.

    Args:
        weight: (O, I / groups, T, H, W).

    Returns:
        (O, T * I / groups, H, W); within a group the channels lie frame by frame.
    """
    outputs, inputs, taps, height, width = weight.shape
    return weight.transpose(0, 2, 1, 3, 4).reshape(outputs, taps * inputs, height, width)
