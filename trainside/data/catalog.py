"""What a data set holds, before anything is opened: labelled recordings and class names."""

import pathlib
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

Part = Literal["all", "training", "validation"]


class Recording(NamedTuple):
    """One labelled video.

    Attributes:
        path: a video file, or a folder of frames.
        target: index of its label.
        frame_rate_hz: of a folder of frames, which does not say; None: the model's own rate. A
            video file carries its own time stamps.
    """

    path: pathlib.Path
    target: int
    frame_rate_hz: float | None = None


@dataclass(frozen=True)
class Catalog:
    """One part of a data set.

    Attributes:
        name: ``jester``, ``ucf101``, ``kinetics600``, or that of a folder of classes.
        part: which part of it this is.
        labels: names of the classes, in the order of the targets.
        recordings: what can be read.
        left_out: one line for each recording that is listed and was not taken: most are not there.
    """

    name: str
    part: Part
    labels: tuple[str, ...]
    recordings: tuple[Recording, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.recordings)

    def summary(self) -> str:
        """Return one line: how many recordings of how many classes were found, and left out."""
        counts = Counter(recording.target for recording in self.recordings)
        held = [counts[target] for target in range(len(self.labels))]
        few, many = min(held, default=0), max(held, default=0)
        spread = f"{few} a class" if few == many else f"{few} to {many} a class"
        missing = f"; left out: {len(self.left_out)}" if self.left_out else ""
        return (
            f"{self.name}, {self.part}: {len(self)} recordings of {len(self.labels)} classes"
            f", {spread}{missing}"
        )
