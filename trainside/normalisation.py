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
    pixels = clips.contiguous(memory_format=torch.channels_last_3d).to(dtype)
    if spec.channel_order == "BGR":
        pixels = pixels.flip(1)
        gain = None if gain is None else gain.flip(1)
        offset = None if offset is None else offset.flip(1)
    if gain is None and offset is None:
        return (pixels - mean.view(1, 3, 1, 1, 1)) / std.view(1, 3, 1, 1, 1)
    # (pixel * gain + offset - mean) / std, with one pass over the pixels for each operation.
    factor = (1.0 if gain is None else gain) / std
    shift = ((0.0 if offset is None else offset) - mean) / std
    # Three colours are too few for vector instructions; a row of a picture is not.
    width = pixels.shape[-1]
    rows = pixels.permute(0, 2, 3, 4, 1).flatten(3).flatten(1, 2)  # (N, T * H, W * 3)
    factors, shifts = (values.repeat(1, width).unsqueeze(1) for values in (factor, shift))
    fresh = not clips.is_floating_point()  # a copy already, which may be overwritten
    rows = (rows.mul_(factors) if fresh else rows.mul(factors)).add_(shifts)
    return rows.view(pixels.permute(0, 2, 3, 4, 1).shape).permute(0, 4, 1, 2, 3)
