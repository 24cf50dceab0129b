"""A generated gesture data set: clips and windows of a drawn hand in Jester's 27 classes.

It is for the first run and for tests: nothing is downloaded, and everything follows from a seed.
It is no substitute for Jester: a network trained on it knows this drawn hand and no other.

A clip shows one gesture between two rests, at 12 frames a second like Jester's. A window is what a
network sees: the frames of a ClipSpec. In training it starts at a random moment, as a window that
slides over a live picture does: one that holds nearly the whole gesture has its label, one that
holds the edge of a gesture at most is 'No gesture', and nothing in between is shown. Often the hand
has done something else before, which counts for nothing: the newest counts. 'Doing other things'
is whatever else hands do (``gestures.DISTRACTORS``).
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.gestures import DISTRACTORS, LABELS, NO_GESTURE, OTHER_THINGS
from clipedge.trainside.data.hints import hand_hints
from clipedge.trainside.data.scene import STYLES, Style
from clipedge.trainside.data.streams import choose_gestures, render_stream, write_stream
from clipedge.trainside.data.takes import Performance, Take

DATASET = "synthetic"
CLIP_FRAMES = 36
FRAME_RATE_HZ = 12.0  # Jester's
MISSING_AT_MOST = 0.12  # of the gesture, in a window that has its label
EDGE_AT_MOST = 0.45  # of the gesture, in a window without a label
RECENT_S = 1.0  # how long ago the gesture ended in most training windows
RECENT_PART = 0.8
# One in so many training windows shows the edge of a gesture and is 'No gesture'.
EDGE_EVERY = 9
# One in so many shows, in place of its gesture, something that is none.
OTHER_EVERY = 18
OTHER_PART = 0.4  # of it that is seen at least
BEFORE_PART = 0.4  # of the training windows in which the hand does something before
BEFORE_REST_S = (0.3, 1.5)  # shortest and longest rest after that
# An edge after something else: less of it would be no sign that the first is over.
BEGUN_AT_LEAST = 0.1


class Window(NamedTuple):
    """One labelled window.

    Attributes:
        frames: (3, T, H, W) uint8, RGB.
        target: index of its label.
        hints: (K,) float32, of ``data.hints``.
    """

    frames: np.ndarray
    target: int
    hints: np.ndarray


class SyntheticClips:
    """Generated clips, in balanced classes, deterministic by seed, style and index."""

    def __init__(
        self,
        count: int,
        style: Style = "training",
        seed: int = 0,
        labels: Sequence[str] = LABELS,
    ) -> None:
        """Describe the data set; nothing is rendered yet.

        Args:
            count: number of clips.
            style: looks of training or of validation, which share nothing (``data.scene``).
            seed: another seed, other clips.
            labels: the classes, a choice of Jester's.
        """
        self.labels = tuple(labels)
        self._count = count
        self._style = style
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    @property
    def identity(self) -> str:
        """What its clips follow from, besides their numbers."""
        return f"{DATASET} {self._style} {self._seed} {self.labels}"

    def target(self, index: int) -> int:
        """Index of the label of clip ``index``."""
        return index % len(self.labels)

    def clip(self, index: int, size: int = 112, frames: int = CLIP_FRAMES) -> np.ndarray:
        """Render a clip: (frames, size, size, 3) uint8, RGB, at 12 frames a second."""
        rng = self._rng(index)
        take = Take(rng, self._style, [self.labels[self.target(index)]])
        times_s = np.arange(frames) / FRAME_RATE_HZ
        self._center(take, times_s[-1], rng)
        return take.render(times_s, size, size)

    def window(self, index: int, spec: ClipSpec) -> Window:
        """Render what a network sees of clip ``index``.

        In the training style the moment is random, and one window in ``EDGE_EVERY`` is 'No
        gesture', one in ``OTHER_EVERY`` 'Doing other things', where those are among the labels.
        """
        rng = self._rng(index)
        label = self.labels[self.target(index)]
        if self._style == "training":
            take, label = self._training_take(rng, index, label, spec.span_s)
        else:
            take = Take(rng, self._style, [label])
            self._center(take, spec.span_s, rng)
        times_s = np.arange(spec.frames) * spec.spacing_s
        # Drawn at the network's size, where preprocessing would change nothing.
        frames = take.render(times_s, spec.size, spec.size).transpose(3, 0, 1, 2)
        hints = hand_hints(take.poses(times_s), take.look.hand.left)
        return Window(frames, self.labels.index(label), hints)

    def _training_take(
        self, rng: np.random.Generator, index: int, label: str, span_s: float
    ) -> tuple[Take, str]:
        """Return a take that is placed in its window, and the window's label."""
        turn = index + index // len(self.labels)
        edge = NO_GESTURE in self.labels and turn % EDGE_EVERY == 0
        if OTHER_THINGS in self.labels and turn % OTHER_EVERY == OTHER_EVERY // 2 + 1:
            label = OTHER_THINGS
        shown = [label]
        if label == OTHER_THINGS:
            shown = [DISTRACTORS[rng.integers(len(DISTRACTORS))]]
        before = label != NO_GESTURE and rng.uniform() < BEFORE_PART
        if before:
            others = [one for one in LABELS if one != NO_GESTURE] + list(DISTRACTORS)
            shown.insert(0, others[rng.integers(len(others))])
        take = Take(rng, self._style, shown)
        if before:
            take.move(1, float(rng.uniform(*BEFORE_REST_S)))
        if take.performances:
            start_s = self._start_s(take.performances[-1], span_s, rng, edge, before)
            take.move(0, start_s - take.performances[-1].start_s)
        return take, NO_GESTURE if edge else label

    def _rng(self, index: int) -> np.random.Generator:
        if not 0 <= index < self._count:
            raise IndexError(f"clip {index} of {self._count}")
        return np.random.default_rng((self._seed, STYLES.index(self._style), index))

    def _center(self, take: Take, span_s: float, rng: np.random.Generator) -> None:
        """Put the gesture near the middle of the time that is seen."""
        for gesture in take.performances:
            slack_s = max(0.0, span_s - (gesture.end_s - gesture.start_s)) / 2
            middle_s = span_s / 2 + rng.uniform(-0.6, 0.6) * slack_s
            take.move(0, middle_s - (gesture.start_s + gesture.end_s) / 2)

    def _start_s(
        self,
        gesture: Performance,
        span_s: float,
        rng: np.random.Generator,
        edge: bool,
        before: bool,
    ) -> float:
        """Choose when the gesture starts in its window, or where only its edge is seen."""
        lasting_s = gesture.end_s - gesture.start_s
        if edge:
            least = BEGUN_AT_LEAST if before else -0.4
            seen_s = rng.uniform(least, EDGE_AT_MOST) * lasting_s
            starts = before or rng.uniform() < 0.6
            return float(span_s - seen_s if starts else seen_s - lasting_s)
        if gesture.label in DISTRACTORS:
            hidden_s = (1.0 - OTHER_PART) * lasting_s
            return float(rng.uniform(-hidden_s, span_s - lasting_s + hidden_s))
        # Most windows are those in which a recogniser first sees all of a gesture.
        latest_s = RECENT_S if rng.uniform() < RECENT_PART else span_s - lasting_s
        ended_s = rng.uniform(-MISSING_AT_MOST * lasting_s, max(latest_s, 0.0))
        return float(max(span_s - ended_s - lasting_s, -MISSING_AT_MOST * lasting_s))


def build_parser() -> CommandParser:
    """Return the parser of ``python -m clipedge.trainside.data.synthetic``."""
    parser = CommandParser(
        prog="python -m clipedge.trainside.data.synthetic",
        description="Write a generated video of gestures, and their true times beside it.",
    )
    parser.add_argument("--output", metavar="FILE.mp4", required=True)
    parser.add_argument("--gestures", type=positive_int, default=12, help="how many, in a row")
    parser.add_argument("--seed", type=int, default=3, help="which ones, by what hand, and where")
    parser.add_argument(
        "--size", type=positive_int, nargs=2, default=(320, 240), metavar=("W", "H")
    )
    parser.add_argument("--frame-rate", type=positive_float, default=24.0, help="frames a second")
    parser.add_argument("--style", choices=STYLES, default="validation")
    return parser


def write_video(arguments: argparse.Namespace) -> int:
    """Write the video and its truth; return the exit status."""
    if arguments.seed < 0:
        raise UsageError(f"--seed must be 0 or more; got {arguments.seed}.")
    width, height = arguments.size
    stream = render_stream(
        choose_gestures(arguments.gestures, arguments.seed),
        arguments.seed,
        arguments.style,
        arguments.frame_rate,
        height,
        width,
    )
    truth = write_stream(stream, arguments.output, arguments.frame_rate)
    lasting_s = len(stream.times_s) / arguments.frame_rate
    print(f"{arguments.output}: {len(stream.truth)} gestures in {lasting_s:.0f} s")  # noqa: T201
    print(f"{truth}: their true times")  # noqa: T201
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, write_video, argv)


if __name__ == "__main__":
    sys.exit(main())
