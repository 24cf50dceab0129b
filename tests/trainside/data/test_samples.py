"""Samples become batches."""

import numpy as np
import torch

from clipedge.trainside.data.samples import Sample, collate


def sample(number, frames):
    rng = np.random.default_rng(number)
    gain, offset, hints = (rng.uniform(size=size).astype(np.float32) for size in (3, 3, 4))
    return Sample(frames, gain, offset, number, hints, (f"problem {number}",))


def test_a_batch_holds_its_samples_whatever_their_layout_in_memory():
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 256, (3, 4, 5, 6)).astype(np.uint8) for _ in range(3)]
    clips[1] = np.ascontiguousarray(clips[1].transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    batch = collate([sample(number, frames) for number, frames in enumerate(clips)])
    assert batch.frames.shape == (3, 3, 4, 5, 6)
    assert np.array_equal(batch.frames.numpy(), np.stack(clips))
    assert batch.frames.is_contiguous(memory_format=torch.channels_last_3d)
    assert batch.targets.tolist() == [0, 1, 2]
    assert batch.problems == ("problem 0", "problem 1", "problem 2")
