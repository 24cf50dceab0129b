"""Accuracy by clip and by video, from the scores of windows."""

from dataclasses import dataclass

import numpy as np

from clipedge.jetson.command_line import format_table
from clipedge.trainside.data.windows import Windows


@dataclass(frozen=True)
class Accuracy:
    """Parts that were right, 0-1.

    A video's scores are the mean of those of its clips, as the paper does for Kinetics and UCF-101.

    Attributes:
        clips: number of clips.
        clip_top1: of clips whose best score is the true class's.
        clip_top5: of clips whose true class is among the five best.
        videos: number of videos.
        video_top1: likewise, of videos.
        video_top5: likewise, of videos.
        classes: for each class with clips its name, number of clips, part right, and the class
            it is taken for most often where that is another one, else "".
    """

    clips: int
    clip_top1: float
    clip_top5: float
    videos: int
    video_top1: float
    video_top5: float
    classes: list[tuple[str, int, float, str]]

    def summary(self) -> str:
        """Return one line."""
        return (
            f"clip top-1 {self.clip_top1:.1%}, top-5 {self.clip_top5:.1%} ({self.clips} clips); "
            f"video top-1 {self.video_top1:.1%}, top-5 {self.video_top5:.1%} "
            f"({self.videos} videos)"
        )

    def table(self) -> str:
        """Return the table of classes."""
        rows = [
            (name, str(count), f"{right:.0%}", mistaken)
            for name, count, right, mistaken in self.classes
        ]
        return format_table(("class", "clips", "right", "most often taken for"), rows)


def measure(scores: np.ndarray, windows: Windows) -> Accuracy:
    """Compare scores (N, classes) with the true classes of ``windows``."""
    targets = windows.targets
    videos, first, member = np.unique(windows.videos, return_index=True, return_inverse=True)
    sums = np.zeros((len(videos), scores.shape[1]))
    np.add.at(sums, member, scores)
    means = sums / np.bincount(member)[:, None]
    return Accuracy(
        clips=len(targets),
        clip_top1=_top(scores, targets, 1),
        clip_top5=_top(scores, targets, 5),
        videos=len(videos),
        video_top1=_top(means, targets[first], 1),
        video_top5=_top(means, targets[first], 5),
        classes=_by_class(scores.argmax(1), windows),
    )


def _top(scores: np.ndarray, targets: np.ndarray, best: int) -> float:
    places = np.argsort(-scores, axis=1, kind="stable")[:, :best]
    return float((places == targets[:, None]).any(axis=1).mean())


def _by_class(guesses: np.ndarray, windows: Windows) -> list[tuple[str, int, float, str]]:
    rows = []
    for target in np.unique(windows.targets):
        taken = np.bincount(guesses[windows.targets == target], minlength=len(windows.labels))
        count, right = int(taken.sum()), float(taken[target] / taken.sum())
        taken[target] = 0
        mistaken = windows.labels[int(taken.argmax())] if taken.any() else ""
        rows.append((windows.labels[int(target)], count, right, mistaken))
    return rows
