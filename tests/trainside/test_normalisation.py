"""From pixels to what the weights expect."""

import numpy as np
import pytest
import torch

from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.normalisation import normalise

SPEC = ClipSpec("m", ("a",), channel_order="BGR", mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 2.0))


def one_pixel(dtype):
    return torch.tensor([10, 20, 30], dtype=dtype).reshape(1, 3, 1, 1, 1)  # R, G, B


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_normalising_is_order_then_mean_then_std(dtype):
    found = normalise(one_pixel(dtype), SPEC)
    assert found.flatten().tolist() == [29, 18, 3.5]  # B, G, R
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_change_of_colour_is_of_the_picture_not_of_what_the_weights_see():
    gain = torch.tensor([[1.0, 2.0, 0.5]])  # R, G, B
    offset = torch.tensor([[5.0, 0.0, -1.0]])
    found = normalise(one_pixel(torch.uint8), SPEC, gain, offset)
    # B: 30 * 0.5 - 1 = 14; G: 20 * 2 = 40; R: 10 + 5 = 15
    assert found.flatten().tolist() == [13, 38, 6]


def test_gain_or_offset_may_come_alone():
    ones, nothing = torch.ones(1, 3), torch.zeros(1, 3)
    for gain, offset in ((ones, None), (None, nothing), (ones, nothing)):
        found = normalise(one_pixel(torch.uint8), SPEC, gain, offset)
        assert found.flatten().tolist() == [29, 18, 3.5]


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_result_is_channels_last_and_the_clips_are_left_alone(order):
    clips = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 6)).astype(np.uint8)
    )
    before = clips.clone()
    for colours in ({}, {"gain": torch.full((2, 3), 2.0), "offset": torch.ones(2, 3)}):
        found = normalise(clips, SPEC._replace(channel_order=order), **colours)
        assert found.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(clips, before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_each_pixel_is_computed_as_one_alone_would_be(order, dtype, layout):
    """Bit for bit: the passes over whole rows are for speed only."""
    rng = np.random.default_rng(1)
    spec = SPEC._replace(channel_order=order, std=(58.4, 57.1, 57.4))
    pixels = torch.from_numpy(rng.integers(0, 256, (2, 3, 4, 5, 6))).to(dtype)
    clips = pixels.contiguous(memory_format=layout)
    gain, offset = torch.from_numpy(rng.uniform(0.7, 20, (2, 2, 3)).astype(np.float32))
    found, plain = normalise(clips, spec, gain, offset), normalise(clips, spec)
    for clip, colour in np.ndindex(2, 3):
        at = colour if order == "RGB" else 2 - colour
        mean, std = torch.tensor(spec.mean)[colour], torch.tensor(spec.std)[colour]
        factor, shift = gain[clip, at] / std, (offset[clip, at] - mean) / std
        assert torch.equal(found[clip, colour], pixels[clip, at].float() * factor + shift)
        assert torch.equal(plain[clip, colour], (pixels[clip, at].float() - mean) / std)
    assert torch.equal(clips, pixels)
