"""Comparing what two ways of running a model answer, on clips that are unlike each other."""

from typing import NamedTuple

import numpy as np

from clipedge.jetson.spec import ClipSpec


class Comparison(NamedTuple):
    """One batch, compared. ``relative_error`` is of the largest reference logit."""

    batch: int
    answers: int
    max_abs_error: float
    relative_error: float
    top1_agree: int
    finite: bool


def check_clips(spec: ClipSpec, batch: int, seed: int) -> np.ndarray:
    """Return clips that are unlike each other: noise, flat ones, and a bright disc on the move.

    Returns:
        (batch, 3, T, H, W) float32, RGB, whole numbers from 0 to 255, as a camera gives.
    """
    rng = np.random.default_rng(seed)
    kinds = (_noise_clip, _moving_clip, _flat_clip)
    clips = [kinds[index % len(kinds)](spec, rng) for index in range(batch)]
    return np.round(np.stack(clips)).astype(np.float32)


def compare(batch: int, reference: np.ndarray, candidate: np.ndarray) -> Comparison:
    """Compare logits (N, classes) that were computed with this batch size."""
    largest = float(np.abs(reference).max()) or 1.0
    error = float(np.abs(reference - candidate).max())
    return Comparison(
        batch=batch,
        answers=len(reference),
        max_abs_error=error,
        relative_error=error / largest,
        top1_agree=int((reference.argmax(axis=1) == candidate.argmax(axis=1)).sum()),
        finite=bool(np.isfinite(reference).all() and np.isfinite(candidate).all()),
    )


def response(logits: np.ndarray) -> float:
    """Return how far the logits of a class move between clips at most, of the largest logit."""
    return float(np.ptp(logits, axis=0).max()) / (float(np.abs(logits).max()) or 1.0)


def _noise_clip(spec: ClipSpec, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.0, 255.0, spec.clip_shape)


def _flat_clip(spec: ClipSpec, rng: np.random.Generator) -> np.ndarray:
    colour = rng.uniform(0.0, 255.0, (3, 1, 1, 1))
    return np.broadcast_to(colour, spec.clip_shape)


def _moving_clip(spec: ClipSpec, rng: np.random.Generator) -> np.ndarray:
    """A bright disc that crosses a sloping background."""
    _, frames, height, width = spec.clip_shape
    rows, columns = np.mgrid[0:height, 0:width]
    start, end = rng.uniform(0.2, 0.8, (2, 2)) * (height, width)
    slope = rows * rng.uniform(0.2, 1.0) + columns * rng.uniform(0.2, 1.0)
    clip = np.empty(spec.clip_shape)
    for frame in range(frames):
        top, left = start + (end - start) * frame / max(frames - 1, 1)
        disc = (rows - top) ** 2 + (columns - left) ** 2 < (0.15 * height) ** 2
        for channel in range(3):
            clip[channel, frame] = np.where(disc, 200.0 + 20 * channel, slope % 180.0)
    return clip
