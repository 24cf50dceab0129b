"""What the hand does in each of Jester's 27 classes, as poses over the progress of a gesture.

Directions are the picture's: 'Swiping Left' moves to the picture's left edge and 'Turning Hand
Clockwise' turns like a clock's hands as seen in the picture. A camera that shows a mirror image
swaps them. Depth is the camera's: 'Pushing Hand Away' goes from the person to the camera, so the
hand grows; 'Rolling Hand Forward' comes to the camera over the top of its circle.

Every function returns the pose of a right hand. A left hand is the mirror image of a right one
that does the mirrored gesture (``MIRRORED``), so directions hold for both.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipedge.trainside.data.hand import COLUMN, make_poses

NO_GESTURE = "No gesture"
OTHER_THINGS = "Doing other things"
BACKGROUND_LABELS = (NO_GESTURE, OTHER_THINGS)

_MIRROR_PAIRS = (
    ("Swiping Left", "Swiping Right"),
    ("Sliding Two Fingers Left", "Sliding Two Fingers Right"),
    ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
)
# The label of a clip's mirror image, where it is another one.
MIRRORED = {a: b for pair in _MIRROR_PAIRS for a, b in (pair, pair[::-1])}

Variation = Mapping[str, Any]
Values = dict[str, Any]

# Shapes of the hand: what each finger does.
_OPEN = {"spread": 0.45, "thumb_out": 0.75, "thumb_over": 0.1}
_FIST = {"thumb": 0.75, "index": 1.0, "middle": 1.0, "ring": 1.0, "pinky": 1.0}
_TWO = {"ring": 1.0, "pinky": 1.0, "spread": 0.9, "thumb": 0.85, "thumb_out": 0.5}
_FIST.update({"thumb_out": 0.6, "thumb_over": 0.75})
_TWO.update({"thumb_over": 0.9})
_THUMB = {**_FIST, "thumb": 0.0, "thumb_out": 1.45, "thumb_over": 0.1}
_CLAW = {"thumb": 0.1, "index": 0.28, "middle": 0.28, "ring": 0.28, "pinky": 0.28}
_CLAW.update({"spread": 0.9, "thumb_out": 0.8, "thumb_over": 0.5})
_RELAXED = {"thumb": 0.35, "index": 0.3, "middle": 0.38, "ring": 0.42, "pinky": 0.45}
_RELAXED.update({"spread": 0.2, "thumb_out": 0.6, "thumb_over": 0.4})
_BACK = np.pi  # yaw that shows the back of the hand


def draw_variation(rng: np.random.Generator) -> dict[str, Any]:
    """Draw what differs between two performances of a gesture."""
    return {
        "x": rng.uniform(-0.08, 0.08),
        "y": rng.uniform(-0.10, 0.04),
        "reach": rng.uniform(0.85, 1.15),
        "tilt": rng.uniform(-0.18, 0.18),
        "nod": rng.uniform(-0.15, 0.15),
        "look": rng.uniform(-0.2, 0.2),
        "bend": rng.uniform(0.0, 0.12),
        "hold": rng.uniform(0.05, 0.18),
        "phase": rng.uniform(0.0, 2.0 * np.pi),
        "cycles": rng.uniform(0.0, 1.0),
        "side": float(rng.choice((-1.0, 1.0))),
        "random": rng.uniform(0.0, 1.0, (7, 15)),
    }


def _eased(u: np.ndarray, variation: Variation) -> np.ndarray:
    """0 to 1 with a short hold at both ends and a smooth start and stop."""
    hold = variation["hold"]
    along = np.clip((u - hold) / (1.0 - 2.0 * hold), 0.0, 1.0)
    result: np.ndarray = along * along * (3.0 - 2.0 * along)
    return result


def _pose(u: np.ndarray, variation: Variation, shape: Values, values: Values) -> np.ndarray:
    """Poses with a shape of the hand and this performance's place and small tilts."""
    poses = make_poses(len(u), {**shape, **values})
    poses[:, COLUMN["x"]] += variation["x"]
    poses[:, COLUMN["y"]] += variation["y"]
    poses[:, COLUMN["roll"]] += variation["tilt"]
    poses[:, COLUMN["pitch"]] += variation["nod"]
    poses[:, COLUMN["yaw"]] += variation["look"]
    fingers = slice(COLUMN["index"], COLUMN["pinky"] + 1)
    poses[:, fingers] = np.clip(poses[:, fingers] + variation["bend"], 0.0, 1.0)
    return poses


def _across(shape: Values, direction: float, reach: float, lean: float) -> Callable[..., Any]:
    """A way to the picture's right (direction 1) or left (-1)."""

    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        way = direction * (2.0 * _eased(u, variation) - 1.0)
        x = reach * variation["reach"] * way
        # The edge of the hand leads, and the wrist trails behind.
        values = {"x": x, "roll": -lean * way, "yaw": direction * lean, "y": -0.05 * way**2}
        return _pose(u, variation, shape, values)

    return motion


def _upright(shape: Values, direction: float, reach: float, turned: Values) -> Callable[..., Any]:
    """A way up (direction 1) or down (-1)."""

    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        y = direction * reach * variation["reach"] * (2.0 * _eased(u, variation) - 1.0)
        return _pose(u, variation, shape, {**turned, "y": y})

    return motion


def _in_depth(shape: Values, direction: float, turned: Values) -> Callable[..., Any]:
    """Towards the camera (direction 1) or away from it (-1)."""

    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        way = direction * (2.0 * _eased(u, variation) - 1.0)
        grow = np.exp(0.42 * variation["reach"] * way)
        return _pose(u, variation, shape, {**turned, "grow": grow, "y": -0.04 * way})

    return motion


def _rolling(direction: float) -> Callable[..., Any]:
    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        turns = 1.6 + 0.5 * variation["cycles"]
        # From the bottom of the circle, give or take.
        angle = 0.25 * (variation["phase"] - np.pi) - np.pi / 2 + 2.0 * np.pi * turns * u
        reach = variation["reach"]
        values = {
            "y": 0.19 * reach * np.sin(angle),
            # Forward: at the top of the circle, where the sine is 1, the hand grows.
            "grow": np.exp(-0.42 * reach * direction * np.cos(angle)),
            "roll": -1.1,
            "yaw": _BACK - 0.3,
            # The fingers lean where the hand goes.
            "pitch": 0.6 * direction * np.sin(angle),
        }
        return _pose(u, variation, _RELAXED, values)

    return motion


def _turning(direction: float) -> Callable[..., Any]:
    """Direction 1 is counterclockwise in the picture."""

    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        roll = direction * 1.25 * variation["reach"] * (2.0 * _eased(u, variation) - 1.0)
        return _pose(u, variation, _CLAW, {"roll": roll, "pitch": 0.15})

    return motion


def _zooming(closed: Values, opened: Values, direction: float) -> Callable[..., Any]:
    """Fingers part (direction 1) or come together (-1)."""

    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        apart = _eased(u, variation) if direction > 0 else 1.0 - _eased(u, variation)
        shape = {
            name: closed.get(name, 0.0) * (1.0 - apart) + opened.get(name, 0.0) * apart
            for name in {**closed, **opened}
        }
        return _pose(u, variation, shape, {})

    return motion


def _thumb(values: Values) -> Callable[..., Any]:
    def motion(u: np.ndarray, variation: Variation) -> np.ndarray:
        nudge = 0.03 * variation["reach"] * np.sin(2.0 * np.pi * u) * np.sign(values["nudge"])
        shown = {name: value for name, value in values.items() if name != "nudge"}
        return _pose(u, variation, _THUMB, {**shown, "y": nudge})

    return motion


def _stop_sign(u: np.ndarray, variation: Variation) -> np.ndarray:
    grow = 1.0 + 0.12 * np.minimum(1.0, 5.0 * u)
    return _pose(u, variation, {**_OPEN, "spread": 0.25}, {"grow": grow, "y": 0.02})


def _shaking(u: np.ndarray, variation: Variation) -> np.ndarray:
    swing = np.sin(variation["phase"] + 2.0 * np.pi * (2.0 + variation["cycles"]) * u)
    reach = variation["reach"]
    return _pose(u, variation, _OPEN, {"roll": -0.42 * reach * swing, "x": 0.07 * reach * swing})


def _drumming(u: np.ndarray, variation: Variation) -> np.ndarray:
    angle = variation["phase"] + 2.0 * np.pi * (2.0 + variation["cycles"]) * u
    values: Values = {"pitch": 0.75, "y": -0.08, "thumb_out": 0.6, "spread": 0.5}
    for order, name in enumerate(("index", "middle", "ring", "pinky")):
        values[name] = 0.30 + 0.28 * np.sin(angle - 1.2 * order * variation["side"])
    return _pose(u, variation, {"thumb": 0.3}, values)


def _other_things(u: np.ndarray, variation: Variation) -> np.ndarray:
    """A smooth way through random places, turns and shapes: scratching, reaching, fidgeting."""
    random = variation["random"]
    knots = 3 + int(3.99 * variation["cycles"])
    along = np.clip(u, 0.0, 1.0) * (knots - 1)
    before = np.minimum(along.astype(int), knots - 2)
    part = along - before
    part = (part * part * (3.0 - 2.0 * part))[:, None]
    points = random[before] * (1.0 - part) + random[before + 1] * part  # (T, 15), 0-1
    low = np.array((-0.3, -0.25, 0.8, -1.2, -0.5, -0.6, 0, 0, 0, 0, 0, 0, 0.2, 0, 0))
    high = np.array((0.3, 0.3, 1.25, 1.2, 0.7, 0.6, 1, 1, 1, 1, 1, 0.8, 1.2, 0.8, 1))
    poses: np.ndarray = low + points * (high - low)
    # Fingers move together more than one by one, as those of a hand that does something do.
    shape = slice(COLUMN["index"], COLUMN["pinky"] + 1)
    poses[:, shape] = 0.25 * poses[:, shape] + 0.75 * points[:, 7:8]
    poses[:, COLUMN["yaw"]] += _BACK * (variation["side"] > 0)
    return poses


def resting_pose(count: int, place: tuple[float, float]) -> np.ndarray:
    """A relaxed hand at ``place``; most places are below the picture."""
    return make_poses(count, {**_RELAXED, "x": place[0], "y": place[1], "pitch": 0.2})


def _no_gesture(u: np.ndarray, variation: Variation) -> np.ndarray:
    return resting_pose(len(u), (variation["x"], -0.95))


_FULL_CLOSED = {"thumb": 0.4, "index": 0.8, "middle": 0.8, "ring": 0.8, "pinky": 0.8}
_FULL_CLOSED.update({"thumb_out": 0.55, "thumb_over": 0.9})
_FULL_OPEN = {"spread": 1.0, "thumb_out": 1.0, "thumb_over": 0.15}
_CURLED = {"middle": 1.0, "ring": 1.0, "pinky": 1.0}
_PINCH_CLOSED = {**_CURLED, "index": 0.62, "thumb": 0.3, "thumb_out": 0.5, "thumb_over": 0.85}
_PINCH_OPEN = {**_CURLED, "index": 0.0, "thumb_out": 1.15, "thumb_over": 0.2}
_PALM_DOWN = {"pitch": 0.85, "elbow_out": 0.4}
_PALM_UP = {"pitch": 0.75, "yaw": _BACK}
_SIDEWAYS = {"yaw": _BACK, "roll": -np.pi / 2, "nudge": 1.0, "elbow_out": 0.7}
_FLAT = {**_OPEN, "spread": 0.15}

_MOTIONS: dict[str, Callable[[np.ndarray, Variation], np.ndarray]] = {
    OTHER_THINGS: _other_things,
    "Drumming Fingers": _drumming,
    NO_GESTURE: _no_gesture,
    "Pulling Hand In": _in_depth(_OPEN, -1.0, {"yaw": _BACK}),
    "Pulling Two Fingers In": _in_depth(_TWO, -1.0, {"yaw": _BACK}),
    "Pushing Hand Away": _in_depth(_OPEN, 1.0, {}),
    "Pushing Two Fingers Away": _in_depth(_TWO, 1.0, {}),
    "Rolling Hand Backward": _rolling(-1.0),
    "Rolling Hand Forward": _rolling(1.0),
    "Shaking Hand": _shaking,
    "Sliding Two Fingers Down": _upright(_TWO, -1.0, 0.20, {}),
    "Sliding Two Fingers Left": _across(_TWO, -1.0, 0.24, 0.2),
    "Sliding Two Fingers Right": _across(_TWO, 1.0, 0.24, 0.2),
    "Sliding Two Fingers Up": _upright(_TWO, 1.0, 0.20, {}),
    "Stop Sign": _stop_sign,
    "Swiping Down": _upright(_FLAT, -1.0, 0.24, _PALM_DOWN),
    "Swiping Left": _across(_FLAT, -1.0, 0.29, 0.45),
    "Swiping Right": _across(_FLAT, 1.0, 0.29, 0.45),
    "Swiping Up": _upright(_FLAT, 1.0, 0.24, _PALM_UP),
    "Thumb Down": _thumb({"roll": -np.pi / 2, "nudge": -1.0, "elbow_out": 1.0}),
    "Thumb Up": _thumb(_SIDEWAYS),
    "Turning Hand Clockwise": _turning(-1.0),
    "Turning Hand Counterclockwise": _turning(1.0),
    "Zooming In With Full Hand": _zooming(_FULL_CLOSED, _FULL_OPEN, 1.0),
    "Zooming In With Two Fingers": _zooming(_PINCH_CLOSED, _PINCH_OPEN, 1.0),
    "Zooming Out With Full Hand": _zooming(_FULL_CLOSED, _FULL_OPEN, -1.0),
    "Zooming Out With Two Fingers": _zooming(_PINCH_CLOSED, _PINCH_OPEN, -1.0),
}

LABELS = tuple(_MOTIONS)  # Jester's, in the order of its logits (a test compares them)


def _scratching(u: np.ndarray, variation: Variation) -> np.ndarray:
    """Finger tips go up and down in one place, high up."""
    swing = np.sin(variation["phase"] + 2.0 * np.pi * (3.0 + 2.0 * variation["cycles"]) * u)
    values = {"x": 0.15 * variation["side"], "y": 0.25 + 0.02 * swing, "yaw": _BACK, "pitch": 0.4}
    bent = {name: 0.55 + 0.15 * swing for name in ("index", "middle", "ring", "pinky")}
    return _pose(u, variation, _RELAXED, {**values, **bent})


def _holding_still(u: np.ndarray, variation: Variation) -> np.ndarray:
    """A relaxed hand lies low in the picture."""
    values = {"x": 0.2 * variation["side"], "y": -0.25, "yaw": _BACK, "pitch": 0.5}
    return _pose(u, variation, _RELAXED, values)


def _reaching(u: np.ndarray, variation: Variation) -> np.ndarray:
    """To the face and back, without a halt."""
    up = np.sin(np.pi * np.clip(u, 0.0, 1.0))
    values = {"x": 0.2 * variation["side"] * (1.0 - up), "y": -0.5 + 0.75 * up, "yaw": _BACK}
    return _pose(u, variation, _RELAXED, values)


# What hands do between gestures and no network is trained on.
_DISTRACTIONS = {
    "Scratching": _scratching,
    "Holding still": _holding_still,
    "Reaching": _reaching,
}
DISTRACTORS = (OTHER_THINGS, *_DISTRACTIONS)
_ALL_MOTIONS = {**_MOTIONS, **_DISTRACTIONS}


def gesture_poses(label: str, progress: np.ndarray, variation: Variation) -> np.ndarray:
    """Poses of a right hand performing ``label``.

    Args:
        label: one of Jester's 27, or of DISTRACTORS.
        progress: (T,) float64, 0 where the gesture starts, 1 where it ends.
        variation: of ``draw_variation``.

    Returns:
        (T, 15) float64, columns as in ``hand.POSE_FIELDS``.
    """
    return _ALL_MOTIONS[label](progress, variation)
