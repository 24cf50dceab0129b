"""A take: one hand in one scene performing gestures at known times, rendered at any moment.

Each gesture has a rest before and after it: the hand comes from its resting place (most often out
of view), performs, and goes back. Times are in seconds from the start of the take.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clipedge.trainside.data.gestures import (
    MIRRORED,
    NO_GESTURE,
    OTHER_THINGS,
    draw_variation,
    gesture_poses,
    resting_pose,
)
from clipedge.trainside.data.hand import COLUMN, draw_hand, hand_shapes
from clipedge.trainside.data.scene import Scene, SceneLook, Style, draw_look

# Usual seconds of the gesture proper, where they are not 1.
_USUAL_S = {
    "Rolling Hand Backward": 1.25,
    "Rolling Hand Forward": 1.25,
    "Shaking Hand": 1.2,
    "Drumming Fingers": 1.25,
    "Turning Hand Clockwise": 1.25,
    "Turning Hand Counterclockwise": 1.25,
    "Zooming In With Full Hand": 1.15,
    "Zooming In With Two Fingers": 1.15,
    "Zooming Out With Full Hand": 1.15,
    "Zooming Out With Two Fingers": 1.15,
    OTHER_THINGS: 1.6,
}


@dataclass(frozen=True)
class Performance:
    """One gesture in a take.

    Attributes:
        label: one of Jester's 27.
        enter_s: when the hand leaves its resting place.
        start_s: when the gesture proper starts.
        end_s: when it ends.
        gone_s: when the hand is back at rest.
        variation: of ``gestures.draw_variation``.
    """

    label: str
    enter_s: float
    start_s: float
    end_s: float
    gone_s: float
    variation: dict[str, Any]

    def visible(self, from_s: float, to_s: float) -> float:
        """Part of the gesture proper, 0-1, that lies in the window from ``from_s`` to ``to_s``."""
        seen = min(self.end_s, to_s) - max(self.start_s, from_s)
        return max(0.0, seen) / (self.end_s - self.start_s)


class Take:
    """A look, a list of performances in order of time, and the pictures of them."""

    def __init__(self, rng: np.random.Generator, style: Style, labels: Sequence[str]) -> None:
        """Plan a take in which ``labels`` are performed; see ``plan`` for their times.

        Args:
            rng: what differs between takes is drawn from it.
            style: the training or the validation style.
            labels: of the gestures; 'No gesture' is a rest and gets no performance.
        """
        self.look: SceneLook = draw_look(rng, style)
        self._rng = rng
        in_view = self.look.rest_in_view
        if len(labels) == 1 and labels[0] == NO_GESTURE:
            in_view = bool(rng.uniform() < 0.5)  # a still hand is no gesture either
        self._rests = [self._draw_rest(in_view) for _ in range(len(labels) + 1)]
        self._drift = rng.uniform(0.0, 2.0 * np.pi, 3)
        self.performances: list[Performance] = []
        now_s = 0.0
        for label in labels:
            if label != NO_GESTURE:
                self.performances.append(self._draw_performance(label, now_s))
                now_s = self.performances[-1].gone_s

    def _draw_rest(self, in_view: bool) -> tuple[float, float]:
        rng = self._rng
        if in_view:
            return float(rng.uniform(-0.25, 0.15)), float(rng.uniform(-0.48, -0.36))
        return float(rng.uniform(-0.45, 0.25)), float(rng.uniform(-1.05, -0.85))

    def _draw_performance(self, label: str, enter_s: float) -> Performance:
        rng, speed = self._rng, self.look.speed
        coming, going = rng.uniform(0.22, 0.45, 2) / speed
        lasting = _USUAL_S.get(label, 1.0) * rng.uniform(0.75, 1.3) / speed
        start_s = enter_s + coming
        end_s = start_s + lasting
        return Performance(label, enter_s, start_s, end_s, end_s + going, draw_variation(rng))

    def move(self, order: int, delay_s: float) -> None:
        """Shift the performance number ``order`` and all later ones by ``delay_s``."""
        for place in range(order, len(self.performances)):
            was = self.performances[place]
            self.performances[place] = replace(
                was,
                enter_s=was.enter_s + delay_s,
                start_s=was.start_s + delay_s,
                end_s=was.end_s + delay_s,
                gone_s=was.gone_s + delay_s,
            )

    def poses(self, times_s: np.ndarray) -> np.ndarray:
        """(T, 15) poses of the right hand whose mirror image a left hand is."""
        poses = self._resting(times_s, 0)
        for order, performance in enumerate(self.performances):
            after = times_s >= performance.enter_s
            poses[after] = self._performing(times_s[after], performance, order)
        wave = np.sin(np.array((1.7, 2.3, 1.1)) * times_s[:, None] + self._drift)
        poses[:, COLUMN["x"]] += 0.006 * wave[:, 0]
        poses[:, COLUMN["y"]] += 0.006 * wave[:, 1]
        poses[:, COLUMN["roll"]] += 0.03 * wave[:, 2]
        return poses

    def _resting(self, times_s: np.ndarray, order: int) -> np.ndarray:
        return resting_pose(len(times_s), self._rests[order])

    def _performing(self, times_s: np.ndarray, what: Performance, order: int) -> np.ndarray:
        label = MIRRORED.get(what.label, what.label) if self.look.hand.left else what.label
        progress = np.clip((times_s - what.start_s) / (what.end_s - what.start_s), 0.0, 1.0)
        poses = gesture_poses(label, progress, what.variation)
        came = (times_s - what.enter_s) / (what.start_s - what.enter_s)
        left = (times_s - what.end_s) / (what.gone_s - what.end_s)
        poses = _blend(self._resting(times_s, order), poses, came, came * 2.0)
        return _blend(poses, self._resting(times_s, order + 1), left, left * 2.0 - 1.0)

    def pictures(self, times_s: np.ndarray, height: int, width: int) -> Iterator[np.ndarray]:
        """Yield the picture at each of ``times_s``: (height, width, 3) uint8, RGB."""
        scene = Scene(self.look, self._rng, height, width)
        shifts = scene.camera_shift(times_s)
        shapes = hand_shapes(self.poses(times_s), self.look.hand, height, width, shifts)
        for order, time_s in enumerate(times_s.tolist()):
            image = scene.paint(time_s, shifts[order])
            draw_hand(image, shapes, order, self.look.hand)
            yield scene.photograph(image, time_s)

    def render(self, times_s: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return the pictures at ``times_s``: (T, height, width, 3) uint8, RGB."""
        return np.stack(list(self.pictures(times_s, height, width)))


def _blend(
    before: np.ndarray, after: np.ndarray, moved: np.ndarray, shaped: np.ndarray
) -> np.ndarray:
    """Go from one pose to another: the place as ``moved`` says, all else as ``shaped`` says.

    The hand takes the shape of its gesture while it is low and mostly out of view, and drops it
    there: otherwise the way from the rest to a gesture looks like the opposite gesture.
    """
    part = np.repeat(_smooth(shaped), before.shape[1], axis=1)
    place = [COLUMN["x"], COLUMN["y"]]
    part[:, place] = _smooth(moved)
    blended: np.ndarray = before + part * (after - before)
    return blended


def _smooth(part: np.ndarray) -> np.ndarray:
    """(T, 1) from 0 to 1 with a soft start and stop."""
    part = np.clip(part, 0.0, 1.0)[:, None]
    result: np.ndarray = part * part * (3.0 - 2.0 * part)
    return result
