"""Accuracy by clip and by video, from the scores of clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clipedge.jetson.command_line import format_table
from clipedge.trainside.scoring import Scores

TOP5_CLASSES = 6  # with fewer, five guesses are always right
NORMAL_95 = 1.959964  # standard deviations that hold 95 % of a normal distribution

Interval = tuple[float, float]


@dataclass(frozen=True)
class Accuracy:
    """Parts that were right, 0-1.

    A video's scores are the mean of those of its clips, which do not overlap (section 3.2 of the
    paper, for Kinetics and UCF-101).

    Attributes:
        clips: number of clips.
        clip_top1: of clips whose best score is the true class's.
        clip_top5: of clips whose true class is among the five best; None with fewer than six
            classes, where it says nothing.
        clip_interval: where the true ``clip_top1`` lies with 95 % confidence (Wilson). Clips of
            one video are alike, so it counts the videos, not the clips.
        videos: number of videos.
        video_top1: likewise, of videos.
        video_top5: likewise, of videos.
        video_interval: likewise, of ``video_top1``.
        classes: for each class with clips its name, number of clips, part right, and the class
            it is taken for most often where that is another one, else "".
        confusion: (C, C) int64, number of clips of each true class (row) by best score (column).
    """

    clips: int
    clip_top1: float
    clip_top5: float | None
    clip_interval: Interval
    videos: int
    video_top1: float
    video_top5: float | None
    video_interval: Interval
    classes: list[tuple[str, int, float, str]]
    confusion: np.ndarray = field(compare=False, repr=False)

    def summary(self) -> str:
        """Return one line."""
        return (
            f"clip top-1 {self.clip_top1:.1%}{_also(self.clip_top5)} ({self.clips} clips); "
            f"video top-1 {self.video_top1:.1%}{_also(self.video_top5)} ({self.videos} videos)"
        )

    def caveat(self) -> str:
        """Return one line on how far the figures can be trusted."""
        low, high = self.video_interval
        text = f"95 % interval of video top-1 with {self.videos} videos: {low:.0%} to {high:.0%}"
        if self.video_top5 is None:
            text += f"; top-5 says nothing with {len(self.confusion)} classes"
        return text

    def table(self) -> str:
        """Return the table of classes."""
        rows = [
            (name, str(count), f"{right:.0%}", mistaken)
            for name, count, right, mistaken in self.classes
        ]
        return format_table(("class", "clips", "right", "most often taken for"), rows)


def measure(scores: Scores, labels: Sequence[str]) -> Accuracy:
    """Compare scores with the true classes.

    Args:
        scores: of one clip at least.
        labels: names of the classes, in the order of the scores.
    """
    targets = scores.targets
    videos, first, member = np.unique(scores.videos, return_index=True, return_inverse=True)
    sums = np.zeros((len(videos), scores.scores.shape[1]))
    np.add.at(sums, member, scores.scores)
    means = sums / np.bincount(member)[:, None]
    clip_top1, video_top1 = _top(scores.scores, targets, 1), _top(means, targets[first], 1)
    confusion = _confusion(targets, scores.scores.argmax(1), len(labels))
    return Accuracy(
        clips=len(targets),
        clip_top1=clip_top1,
        clip_top5=_top5(scores.scores, targets),
        clip_interval=wilson_interval(clip_top1, len(videos)),
        videos=len(videos),
        video_top1=video_top1,
        video_top5=_top5(means, targets[first]),
        video_interval=wilson_interval(video_top1, len(videos)),
        classes=_by_class(confusion, labels),
        confusion=confusion,
    )


def wilson_interval(part: float, count: int) -> Interval:
    """Return the 95 % interval of a probability of which ``part`` was seen in ``count`` trials.

    Wilson's, which stays inside 0-1 and is honest with few trials: 3 of 4 right is 30 % to 95 %.
    """
    spread = NORMAL_95**2 / count
    middle = (part + spread / 2) / (1 + spread)
    reach = math.sqrt(part * (1 - part) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _also(top5: float | None) -> str:
    return "" if top5 is None else f", top-5 {top5:.1%}"


def _top5(scores: np.ndarray, targets: np.ndarray) -> float | None:
    return None if scores.shape[1] < TOP5_CLASSES else _top(scores, targets, 5)


def _top(scores: np.ndarray, targets: np.ndarray, best: int) -> float:
    places = np.argsort(-scores, axis=1, kind="stable")[:, :best]
    return float((places == targets[:, None]).any(axis=1).mean())


def _confusion(targets: np.ndarray, guesses: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (targets, guesses), 1)
    return counts


def _by_class(confusion: np.ndarray, labels: Sequence[str]) -> list[tuple[str, int, float, str]]:
    rows = []
    for target in np.flatnonzero(confusion.sum(axis=1)):
        taken = confusion[target].copy()
        count, right = int(taken.sum()), float(taken[target] / taken.sum())
        taken[target] = 0
        mistaken = labels[int(taken.argmax())] if taken.any() else ""
        rows.append((labels[int(target)], count, right, mistaken))
    return rows
