"""Scores clips without repeating the first convolution on frames that were seen before.

Successive clips of a live stream share most of their frames, and where the camera's rate is steady
they share most neighbours too. An output of the first convolution depends on three neighbours only,
so it is kept for as long as they can be neighbours again.
"""

from typing import Dict, List, Sequence, Tuple

import numpy as np

from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.split_model import TRIPLE, open_half, split_model

LARGEST_DIFFERENCE = 1e-4  # from the whole model, as a part of the range of its logits
MOST_KEPT_MIB = 128  # of the stem's outputs; ShuffleNet at 112 pixels and 30 Hz keeps 35
NO_FRAME = -1  # before the clip's first frame and after its last
# So many are new in each clip of a steady stream: both ends, and the newest frame's neighbours.
AT_ONCE = 3

Triple = Tuple[int, int, int]  # numbers of three neighbours


class StemReuse:
    """Takes a Runner's place for the clips of one stream."""

    def __init__(self, path: PathLike, runner: Runner) -> None:
        """Split the model and compare it with the whole one.

        Args:
            path: ONNX file that ``runner`` was opened from.
            runner: the whole model, on the CPU and in fp32.

        Raises:
            UsageError: this file or this backend has nothing to reuse.
            ModelFileError: the halves do not give what the whole gives.
        """
        facts = runner.describe()
        if facts.get("precision") != "fp32":
            raise UsageError(
                f"The stem is reused in fp32 on a CPU; got {runner.backend} in "
                f"{facts.get('precision')}. Leave it whole."
            )
        spec, split = runner.spec, split_model(path)
        channels, _, height, width = split.features
        self._triples = np.empty((AT_ONCE, 3, TRIPLE, spec.size, spec.size), np.float32)
        self._features = np.empty((1, *split.features), np.float32)
        threads = int(facts["threads"])
        self._stem = open_half(split.stem, self._triples.shape, runner.backend, threads)
        self._rest = open_half(split.rest, self._features.shape, runner.backend, threads)
        mean = spec.mean if spec.channel_order == "RGB" else spec.mean[::-1]
        # The convolution pads with zeros, and they are what the mean becomes.
        self._blank = np.array(mean, np.float32)[:, None, None]
        self._slice_shape = (channels, height, width)
        slice_bytes = 4 * channels * height * width
        self._most_kept = max(1, int(MOST_KEPT_MIB * 2**20) // slice_bytes)
        self._kept: Dict[Triple, np.ndarray] = {}  # the oldest first
        self._unused: List[np.ndarray] = []
        self.computed = 0  # outputs of the stem, so far
        self.reused = 0
        self._compare(path, runner)

    def logits(self, frames: Sequence[np.ndarray], numbers: Sequence[int]) -> np.ndarray:
        """Score a clip.

        Args:
            frames: T of (3, size, size) uint8, RGB, oldest first.
            numbers: of each; the same number is the same frame, and they never get smaller.

        Returns:
            (classes,) float32.

        Raises:
            BackendError: a logit is NaN or infinite.
        """
        self._forget(numbers[0])
        ends = [NO_FRAME, *numbers, NO_FRAME]
        missing: List[int] = []
        for position in range(len(numbers)):
            kept = self._kept.get((ends[position], ends[position + 1], ends[position + 2]))
            if kept is None:
                missing.append(position)
            else:
                self._features[0, :, position] = kept
        for start in range(0, len(missing), AT_ONCE):
            self._compute(frames, ends, missing[start : start + AT_ONCE])
        self.computed += len(missing)
        self.reused += len(numbers) - len(missing)
        logits = np.array(self._rest(self._features)[0], np.float32)
        if not np.isfinite(logits).all():
            raise BackendError("The split model returned logits that are not finite.")
        return logits

    def _compute(
        self, frames: Sequence[np.ndarray], ends: Sequence[int], positions: Sequence[int]
    ) -> None:
        """Run the stem for these positions of the clip and keep what can come again."""
        for row, position in enumerate(positions):
            for place in range(TRIPLE):
                number = position + place - 1
                inside = 0 <= number < len(frames)
                self._triples[row, :, place] = frames[number] if inside else self._blank
        outputs = self._stem(self._triples)
        for row, position in enumerate(positions):
            self._features[0, :, position] = outputs[row, :, 0]
            triple = (ends[position], ends[position + 1], ends[position + 2])
            if NO_FRAME not in triple:
                kept = self._free_slice()
                np.copyto(kept, outputs[row, :, 0])
                self._kept[triple] = kept

    def _free_slice(self) -> np.ndarray:
        if self._unused:
            return self._unused.pop()
        if len(self._kept) >= self._most_kept:
            return self._kept.pop(next(iter(self._kept)))  # the oldest
        return np.empty(self._slice_shape, np.float32)

    def _forget(self, oldest: int) -> None:
        """Let go of what lies before the clip: no later one reaches back there."""
        while self._kept:
            first = next(iter(self._kept))
            if first[0] >= oldest:
                break
            self._unused.append(self._kept.pop(first))

    def _compare(self, path: PathLike, runner: Runner) -> None:
        clips = np.random.RandomState(0).randint(0, 256, (1, *runner.spec.clip_shape))
        whole = runner.infer(clips.astype(np.float32))[0]
        frames = list(clips[0].astype(np.uint8).transpose(1, 0, 2, 3))
        halves = self.logits(frames, list(range(len(frames))))
        difference = relative_difference(whole, halves)
        if difference > LARGEST_DIFFERENCE:
            raise ModelFileError(
                f"{path}: cut behind its first convolution it gives other logits, off by "
                f"{difference:.1e} of their range; allowed is {LARGEST_DIFFERENCE:g}. Leave the "
                "stem whole."
            )
        self._forget(len(frames))
        self.computed = self.reused = 0


def relative_difference(expected: np.ndarray, got: np.ndarray) -> float:
    """Return the largest difference between logits as a part of their range."""
    span = float(expected.max() - expected.min())
    largest = float(np.abs(expected - got).max())
    return largest / span if span > 0 else largest
