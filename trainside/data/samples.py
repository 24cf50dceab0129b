"""What data sets give to training and to evaluation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Sample(NamedTuple):
    """One clip to learn from.

    Attributes:
        frames: (3, T, S, S) uint8, RGB.
        gain: (3,) float32, factor on each colour.
        offset: (3,) float32, grey levels added to each colour after that.
        target: index of its label.
        hints: (K,) float32 that help to learn (``data.hints``); K is 0 where there are none.
        problems: one line for each recording that could not be read, in whose place this one is,
            and one where this one ends early.
    """

    frames: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    target: int
    hints: np.ndarray
    problems: tuple[str, ...] = ()


class Batch(NamedTuple):
    """Samples of one step: the same fields, with N clips along the first axis.

    Frames are channels last in memory, so that the process that learns has nothing to rearrange.
    """

    frames: Tensor
    gain: Tensor
    offset: Tensor
    targets: Tensor
    hints: Tensor
    problems: tuple[str, ...]


class VideoClips(NamedTuple):
    """All clips of one video that are scored.

    Attributes:
        frames: (N, 3, T, S, S) uint8, RGB, as the board sees them; N is 0 where it cannot be read.
        target: index of the video's label.
        video: its number in the data set.
        problem: why it could not be read, or not to its end; else empty.
    """

    frames: np.ndarray
    target: int
    video: int
    problem: str = ""


class ValidationBatch(NamedTuple):
    """Clips of a few videos.

    Attributes:
        frames: (N, 3, T, S, S) uint8, RGB; N may be 0.
        targets: (N,) int64.
        problems: one line for each video that could not be read.
    """

    frames: Tensor
    targets: Tensor
    problems: tuple[str, ...]


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch."""
    frames = np.stack([sample.frames.transpose(1, 2, 3, 0) for sample in samples])
    return Batch(
        torch.from_numpy(frames).permute(0, 4, 1, 2, 3),
        torch.from_numpy(np.stack([sample.gain for sample in samples])),
        torch.from_numpy(np.stack([sample.offset for sample in samples])),
        torch.tensor([sample.target for sample in samples]),
        torch.from_numpy(np.stack([sample.hints for sample in samples])),
        tuple(problem for sample in samples for problem in sample.problems),
    )


def collate_videos(videos: Sequence[VideoClips]) -> ValidationBatch:
    """Put the clips of a few videos behind one another."""
    targets = [np.full(len(video.frames), video.target, np.int64) for video in videos]
    return ValidationBatch(
        torch.from_numpy(np.concatenate([video.frames for video in videos])),
        torch.from_numpy(np.concatenate(targets)),
        tuple(video.problem for video in videos if video.problem),
    )
