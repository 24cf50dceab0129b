"""A generated gesture data set: clips and windows of a drawn hand in Jester's 27 classes.

It is for the first run and for tests: nothing is downloaded, and everything follows from a seed.
It is no substitute for Jester: a network trained on it knows this drawn hand and no other.

A clip shows one gesture between two rests, at 12 frames a second like Jester's. A window is what a
network sees: the frames of a ClipSpec. In training it starts at a random moment, as a window that
slides over a live picture does: one that holds nearly the whole gesture has its label, one that
holds the edge of a gesture at most is 'No gesture', and nothing in between is shown.
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
from clipedge.trainside.data.gestures import LABELS, NO_GESTURE
from clipedge.trainside.data.hints import hand_hints
from clipedge.trainside.data.scene import STYLES, Style
from clipedge.trainside.data.streams import choose_gestures, render_stream, write_stream
from clipedge.trainside.data.takes import Take

DATASET = "synthetic"
CLIP_FRAMES = 36
FRAME_RATE_HZ = 12.0  # Jester's
MISSING_AT_MOST = 0.12  # of the gesture, in a window that has its label
EDGE_AT_MOST = 0.45  # of the gesture, in a window without a label
RECENT_S = 1.0  # how long ago the gesture ended in most training windows
RECENT_PART = 0.8
# One in so many training windows shows the edge of a gesture and is 'No gesture'.
EDGE_EVERY = 9


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
        take = self._take(rng, self.labels[self.target(index)])
        times_s = np.arange(frames) / FRAME_RATE_HZ
        self._center(take, times_s[-1], rng)
        return take.render(times_s, size, size)

    def window(self, index: int, spec: ClipSpec) -> Window:
        """Render what a network sees of clip ``index``.

        In the training style the moment is random, and one window in ``EDGE_EVERY`` is 'No gesture'
        where that is among the labels.
        """
        rng = self._rng(index)
        target = self.target(index)
        edge = self._style == "training" and self._is_edge(index)
        take = self._take(rng, self.labels[target])
        if self._style == "training":
            self._place(take, spec.span_s, rng, edge)
        else:
            self._center(take, spec.span_s, rng)
        times_s = np.arange(spec.frames) * spec.spacing_s
        # Drawn at the network's size, where preprocessing would change nothing.
        frames = take.render(times_s, spec.size, spec.size).transpose(3, 0, 1, 2)
        hints = hand_hints(take.poses(times_s), take.look.hand.left)
        return Window(frames, self.labels.index(NO_GESTURE) if edge else target, hints)

    def _is_edge(self, index: int) -> bool:
        round_number = index // len(self.labels)
        return NO_GESTURE in self.labels and (index + round_number) % EDGE_EVERY == 0

    def _rng(self, index: int) -> np.random.Generator:
        if not 0 <= index < self._count:
            raise IndexError(f"clip {index} of {self._count}")
        return np.random.default_rng((self._seed, STYLES.index(self._style), index))

    def _take(self, rng: np.random.Generator, label: str) -> Take:
        return Take(rng, self._style, [label])

    def _center(self, take: Take, span_s: float, rng: np.random.Generator) -> None:
        """Put the gesture near the middle of the time that is seen."""
        for gesture in take.performances:
            slack_s = max(0.0, span_s - (gesture.end_s - gesture.start_s)) / 2
            middle_s = span_s / 2 + rng.uniform(-0.6, 0.6) * slack_s
            take.move(0, middle_s - (gesture.start_s + gesture.end_s) / 2)

    def _place(self, take: Take, span_s: float, rng: np.random.Generator, edge: bool) -> None:
        """Put the gesture somewhere in the window, or its edge only."""
        for gesture in take.performances:
            lasting_s = gesture.end_s - gesture.start_s
            if edge:
                seen_s = rng.uniform(-0.4, EDGE_AT_MOST) * lasting_s
                starts = rng.uniform() < 0.6
                start_s = span_s - seen_s if starts else seen_s - lasting_s
            else:
                # Most windows are those in which a recogniser first sees all of a gesture.
                latest_s = RECENT_S if rng.uniform() < RECENT_PART else span_s - lasting_s
                ended_s = rng.uniform(-MISSING_AT_MOST * lasting_s, max(latest_s, 0.0))
                start_s = max(span_s - ended_s - lasting_s, -MISSING_AT_MOST * lasting_s)
            take.move(0, start_s - gesture.start_s)


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
