"""From pixels to what the weights expect: order of colours, mean and standard deviation."""

import torch
from torch import Tensor

from clipedge.jetson.spec import ClipSpec


def normalise(
    clips: Tensor, spec: ClipSpec, gain: Tensor | None = None, offset: Tensor | None = None
) -> Tensor:
    """Return what a model of ``spec`` takes.

    Args:
        clips: (N, 3, T, H, W) uint8 or float, RGB, 0-255.
        spec: its order of colours, mean and std are applied.
        gain: (N, 3), factor on each colour first; None: 1.
        offset: (N, 3), grey levels added after that; None: 0.

    Returns:
        (N, 3, T, H, W) float32 (float64 for float64), channels last in memory.
    """
    dtype = clips.dtype if clips.is_floating_point() else torch.float32
    mean, std = (
        torch.tensor(values, dtype=dtype, device=clips.device).view(1, 3)
        for values in (spec.mean, spec.std)
    )
    # A copy in any case: what follows overwrites it.
    pixels = clips.contiguous(memory_format=torch.channels_last_3d).to(dtype, copy=True)
    if spec.channel_order == "BGR":
        pixels = pixels.flip(1)
        gain = None if gain is None else gain.flip(1)
        offset = None if offset is None else offset.flip(1)
    pixels = pixels.permute(0, 2, 3, 4, 1)
    # Three colours are too few for vector instructions; a row of a picture is not.
    rows = pixels.flatten(3).flatten(1, 2)  # (N, T * H, W * 3)
    if gain is None and offset is None:
        rows.sub_(_row(mean, clips)).div_(_row(std, clips))
    else:
        # (pixel * gain + offset - mean) / std, with one pass over the pixels for each operation.
        factor = (1.0 if gain is None else gain) / std
        shift = ((0.0 if offset is None else offset) - mean) / std
        rows.mul_(_row(factor, clips)).add_(_row(shift, clips))
    return rows.view(pixels.shape).permute(0, 4, 1, 2, 3)


def _row(values: Tensor, clips: Tensor) -> Tensor:
    """Repeat (N, 3) for each pixel in a row of ``clips``: (N, 1, W * 3)."""
    return values.repeat(1, clips.shape[-1]).unsqueeze(1)
