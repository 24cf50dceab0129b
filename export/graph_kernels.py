"""Weights of a convolution, laid out for another convolution that computes the same."""

from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np


class Axis(NamedTuple):
    """How a convolution or pooling goes along one axis; ``before`` and ``after`` are padding."""

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

    def used_taps(self, steps_in: int, steps_out: int) -> Tuple[int, int]:
        """Return the first and the last tap that ever see anything but padding."""
        taps = [
            tap
            for output in range(steps_out)
            for tap in (self.tap(output, position) for position in range(steps_in))
            if tap is not None
        ]
        return (min(taps), max(taps)) if taps else (0, self.kernel - 1)


def axes_of(attributes: Dict[str, Any], kernel: Sequence[int]) -> Tuple[Axis, ...]:
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


def along(axes: Sequence[Axis]) -> Dict[str, Any]:
    """Return the attributes of a Conv that goes along its axes like this."""
    return {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": [axis.before for axis in axes] + [axis.after for axis in axes],
        "dilations": [axis.dilation for axis in axes],
    }


def merge_groups(weight: np.ndarray, groups: int, merged: int) -> np.ndarray:
    """Return the weight of a convolution with fewer, larger groups, zeros between the old ones.

    Args:
        weight: (O, I / groups, ...).
        groups: of the convolution.
        merged: how many neighbouring groups become one.

    Returns:
        (O, merged * I / groups, ...); the convolution has groups / merged groups.
    """
    outputs, inputs = weight.shape[:2]
    wide = np.zeros((outputs, merged, inputs, *weight.shape[2:]), weight.dtype)
    rows = np.arange(outputs)
    wide[rows, rows // (outputs // groups) % merged] = weight
    return wide.reshape(outputs, merged * inputs, *weight.shape[2:])


def band(weight: np.ndarray, time: Axis, frames_in: int, frames_out: int) -> np.ndarray:
    """Return the weight of a grouped 2D convolution over the LANES view.

    Each output frame of a channel is an output channel, each input frame an input channel of its
    group, and the taps over time lie as a band in the matrix between them.

    Args:
        weight: (O, I / groups, T, H, W) of the 3D convolution.
        time: how it goes along frames.
        frames_in: frames of its input.
        frames_out: frames of its output.

    Returns:
        (O * frames_out, I / groups * frames_in, H, W); the groups stay.
    """
    outputs, inputs, _, height, width = weight.shape
    banded = np.zeros((outputs, frames_out, inputs, frames_in, height, width), weight.dtype)
    for output in range(frames_out):
        for position in range(frames_in):
            tap = time.tap(output, position)
            if tap is not None:
                banded[:, output, :, position] = weight[:, :, tap]
    return banded.reshape(outputs * frames_out, inputs * frames_in, height, width)


def stack(weight: np.ndarray) -> np.ndarray:
    """Return the weight of a 2D convolution whose input has its T frames stacked as channels.

    Args:
        weight: (O, I / groups, T, H, W).

    Returns:
        (O, T * I / groups, H, W); within a group the channels lie frame by frame.
    """
    outputs, inputs, taps, height, width = weight.shape
    return weight.transpose(0, 2, 1, 3, 4).reshape(outputs, taps * inputs, height, width)


def halved(axis: Axis, size_in: int, size_out: int) -> Axis:
    """Return how a convolution of stride 2 goes along an axis that was split into even and odd.

    Args:
        axis: of stride 2 and dilation 1.
        size_in: positions of its input, an even number.
        size_out: positions of its output.
    """
    first, last = -axis.before // 2, (axis.kernel - 1 - axis.before) // 2
    kernel = last - first + 1
    return Axis(kernel, 1, -first, size_out - 1 + kernel + first - size_in // 2)


def phases(weight: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Return the weight of a convolution of stride 1 over the four phases of a picture.

    Args:
        weight: (O, I, T, H, W) of a convolution that strides 2 along rows and columns.
        rows: how it goes along rows.
        columns: how it goes along columns.

    Returns:
        (O, I * 4, T, H', W'); channel ``4 * i + 2 * y + x`` is channel i at the rows of parity y
        and the columns of parity x.
    """
    outputs, inputs, taps, height, width = weight.shape
    # Padding stands for the positions before the first: their block is negative.
    tall, wide = (_blocks(axis) for axis in (rows, columns))
    split = np.zeros((outputs, inputs, 2, 2, taps, len(tall), len(wide)), weight.dtype)
    for row in range(height):
        block_y, y = divmod(row - rows.before, 2)
        for column in range(width):
            block_x, x = divmod(column - columns.before, 2)
            split[:, :, y, x, :, block_y - tall[0], block_x - wide[0]] = weight[..., row, column]
    return split.reshape(outputs, inputs * 4, taps, len(tall), len(wide))


def _blocks(axis: Axis) -> range:
    return range(-axis.before // 2, (axis.kernel - 1 - axis.before) // 2 + 1)
