"""A jointed hand: from poses to segments in the picture, and the drawing of them.

Lengths are in palm lengths (wrist to the root of the middle finger). The hand's own axes are those
of a right hand that shows its palm, fingers up: x to the thumb's side (the picture's right), y up,
z towards the camera. A left hand is the mirror image of a right one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# What a pose is made of, one column each.
POSE_FIELDS = (
    "x",  # middle of the palm; 0 the picture's middle, +0.5 the right edge of its centre square
    "y",  # likewise, upwards
    "grow",  # size relative to the hand's own: nearer to the camera is larger
    "roll",  # turn in the picture's plane, counterclockwise, radians
    "pitch",  # finger tips tilt towards the camera, radians
    "yaw",  # turn about the hand's length, radians; pi shows the back of the hand
    "thumb",  # how far each finger is bent: 0 straight, 1 into the fist
    "index",
    "middle",
    "ring",
    "pinky",
    "spread",  # of the fingers: 0 side by side, 1 wide
    "thumb_out",  # angle between thumb and hand in the palm's plane, radians
    "thumb_over",  # how far the thumb stands in front of the palm, radians
    "elbow_out",  # 0 the elbow hangs below, 1 it is lifted to the hand's side
)
COLUMN = {name: column for column, name in enumerate(POSE_FIELDS)}

_PIVOT = np.array((0.0, 0.6, 0.0))  # the middle of the palm, which a pose places and turns
_ROOTS = np.array(((0.30, 0.95, 0.0), (0.09, 1.0, 0.0), (-0.13, 0.96, 0.0), (-0.33, 0.86, 0.0)))
_LENGTHS = np.array(
    ((0.45, 0.27, 0.22), (0.50, 0.30, 0.23), (0.46, 0.28, 0.22), (0.36, 0.21, 0.19))
)
_SPREAD = np.array((0.24, 0.03, -0.16, -0.38))  # radians at spread 1
_FLEX = np.array((1.40, 1.75, 1.15))  # radians each joint bends at bend 1
_RADII = np.array(((0.115, 0.10, 0.09, 0.075),) * 3 + ((0.10, 0.085, 0.075, 0.065),))
_THUMB_ROOT = np.array((0.24, 0.22, 0.02))
_THUMB_LENGTHS = np.array((0.42, 0.33, 0.27))
_THUMB_RADII = np.array((0.17, 0.125, 0.11, 0.085))
_THUMB_FOLD = np.array((0.25, 0.85, 1.35))  # radians each part folds over the palm at bend 1
_PALM_RADII = np.array((0.15, 0.13, 0.13, 0.14))
_PERSPECTIVE = 0.13  # how much nearer parts look larger, for each palm length of depth
_ELBOW_OUT = np.array((-0.40, 0.50))  # way of the elbow, in the pose's units
_FOREARM_RADII = (0.25, 0.31, 0.38)  # wrist, cuff, elbow

FINGER_SEGMENTS = 15  # thumb, index ... pinky: three each, from the root to the tip
_SHIFT = 4  # OpenCV's fractional bits: vertices are placed to 1/16 of a pixel
_ROUND = np.linspace(-np.pi / 2, np.pi / 2, 6)


@dataclass(frozen=True)
class HandLook:
    """How one hand looks.

    Attributes:
        palm_length: of the centre square's side, when ``grow`` is 1.
        skin: RGB, 0-255.
        sleeve: RGB, 0-255.
        sleeve_from: where on the forearm the sleeve starts; 0 the wrist, 1 the elbow.
        thickness: of fingers, relative to the usual.
        elbow: (x, y) of the elbow in the pose's units while the hand is in the middle.
        left: draw a left hand, the mirror image of the poses.
    """

    palm_length: float
    skin: tuple[float, float, float]
    sleeve: tuple[float, float, float]
    sleeve_from: float
    thickness: float
    elbow: tuple[float, float]
    left: bool


@dataclass(frozen=True)
class HandShapes:
    """A hand's outlines over T frames, in pixels, ready to draw.

    Attributes:
        outer, inner: (T, S, P, 2) int32, with 4 fractional bits: the polygon of each segment's rim
            and of its inside. Segments: 15 of the fingers, 5 of the palm, forearm, sleeve.
        palm: (T, 8, 2) int32: the polygon between the palm's segments.
        nails: (T, 5, P, 2) int32.
        depth: (T, 15) towards the camera, of the fingers' segments; 0 is the palm.
        shade: (T, S) brightness relative to the skin's.
        back: (T,) how far the back of the hand faces the camera, -1 to 1.
    """

    outer: np.ndarray
    inner: np.ndarray
    palm: np.ndarray
    nails: np.ndarray
    depth: np.ndarray
    shade: np.ndarray
    back: np.ndarray


def make_poses(count: int, values: Mapping[str, float | np.ndarray]) -> np.ndarray:
    """Return poses (count, 15) float64 with ``values`` by name; what is not named is 0, grow 1."""
    poses = np.zeros((count, len(POSE_FIELDS)))
    poses[:, COLUMN["grow"]] = 1.0
    for name, value in values.items():
        poses[:, COLUMN[name]] = value
    return poses


def joint_positions(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bend and turn the hand.

    Args:
        poses: (T, 15), columns as in POSE_FIELDS.

    Returns:
        joints: (T, 5, 4, 3): thumb ... pinky, from the root to the tip, in palm lengths about the
            middle of the palm, turned as the pose says.
        frame: (T, 2, 3): the wrist, and the direction the palm faces.
    """
    count = len(poses)
    joints = np.empty((count, 5, 4, 3))
    bend = poses[:, COLUMN["index"] : COLUMN["pinky"] + 1]
    angle = poses[:, COLUMN["spread"], None] * _SPREAD
    flex = np.cumsum(bend[:, :, None] * _FLEX, axis=2)  # (T, 4, 3)
    steps = np.stack(
        (
            np.sin(angle)[:, :, None] * np.cos(flex),
            np.cos(angle)[:, :, None] * np.cos(flex),
            np.sin(flex),
        ),
        axis=-1,
    )
    joints[:, 1:, 0] = _ROOTS
    joints[:, 1:, 1:] = _ROOTS[:, None] + np.cumsum(steps * _LENGTHS[:, :, None], axis=2)
    out = poses[:, COLUMN["thumb_out"], None] - poses[:, COLUMN["thumb"], None] * _THUMB_FOLD
    over = poses[:, COLUMN["thumb_over"], None]
    steps = np.stack(
        (np.sin(out) * np.cos(over), np.cos(out) * np.cos(over), np.sin(over) + 0.0 * out), axis=-1
    )
    joints[:, 0, 0] = _THUMB_ROOT
    joints[:, 0, 1:] = _THUMB_ROOT + np.cumsum(steps * _THUMB_LENGTHS[:, None], axis=1)
    turn = _rotations(poses)
    joints = np.einsum("tij,tfkj->tfki", turn, joints - _PIVOT)
    frame = np.stack((turn @ -_PIVOT, turn[:, :, 2]), axis=1)
    return joints, frame


def _rotations(poses: np.ndarray) -> np.ndarray:
    """(T, 3, 3): yaw about the hand's length first, then pitch, then roll."""
    roll, pitch, yaw = (poses[:, COLUMN[name]] for name in ("roll", "pitch", "yaw"))
    zero, one = np.zeros(len(poses)), np.ones(len(poses))

    def matrix(*rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=1)

    cos, sin = np.cos, np.sin
    about_y = matrix((cos(yaw), zero, sin(yaw)), (zero, one, zero), (-sin(yaw), zero, cos(yaw)))
    about_x = matrix(
        (one, zero, zero), (zero, cos(pitch), -sin(pitch)), (zero, sin(pitch), cos(pitch))
    )
    about_z = matrix((cos(roll), -sin(roll), zero), (sin(roll), cos(roll), zero), (zero, zero, one))
    turn: np.ndarray = about_z @ about_x @ about_y
    return turn


def hand_shapes(
    poses: np.ndarray, look: HandLook, height: int, width: int, shift: np.ndarray
) -> HandShapes:
    """Place the hand in pictures of ``height`` x ``width`` pixels.

    Args:
        poses: (T, 15), for a right hand.
        look: sizes and sides.
        height: of the picture, pixels.
        width: of the picture, pixels.
        shift: (T, 2) of the camera, x right and y down, in sides of the centre square.
    """
    side = min(height, width)
    joints, frame = joint_positions(poses)
    wrist, facing = frame[:, 0], frame[:, 1]
    # Starts and ends of all segments with their radii, in palm lengths.
    roots = np.concatenate((joints[:, 1:, 0], joints[:, :1, 0]), axis=1)
    foot = wrist[:, None] + 0.30 * (roots - wrist[:, None])
    start = np.concatenate((joints[:, :, :-1].reshape(-1, 15, 3), foot), axis=1)
    end = np.concatenate((joints[:, :, 1:].reshape(-1, 15, 3), roots), axis=1)
    radii = np.concatenate((_THUMB_RADII[None], _RADII)) * look.thickness
    palm_radii = np.append(_PALM_RADII, _THUMB_RADII[0]) * look.thickness
    start_radius = np.concatenate((radii[:, :-1].ravel(), palm_radii))
    end_radius = np.concatenate((radii[:, 1:].ravel(), palm_radii))
    depth = (start[..., 2] + end[..., 2]) / 2

    scale = look.palm_length * poses[:, COLUMN["grow"]]
    mirror = -1.0 if look.left else 1.0

    def place(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, K, 3) about the palm -> (T, K, 2) in pixels, and pixels for a palm length."""
        zoom = scale[:, None] / (1.0 - _PERSPECTIVE * points[..., 2])
        flat = points[..., :2] * zoom[..., None] + poses[:, None, :2]
        return _to_pixels(flat, mirror, shift, height, width), zoom * side

    start_px, start_zoom = place(start)
    end_px, end_zoom = place(end)
    wrist_px, _ = place(wrist[:, None])
    arm = _arm(wrist_px[:, 0], poses, look, mirror, shift, (height, width))
    arm_radius = scale[:, None] * side * np.array(_FOREARM_RADII)
    starts = np.concatenate((start_px, arm[:, :2]), axis=1)
    ends = np.concatenate((end_px, arm[:, 1:]), axis=1)
    start_r = np.concatenate((start_zoom * start_radius, arm_radius[:, :2] * (1.0, 1.12)), axis=1)
    end_r = np.concatenate((end_zoom * end_radius, arm_radius[:, 1:] * (1.0, 1.12)), axis=1)
    rim = (0.045 * side * scale)[:, None]
    hull = np.concatenate((start_px[:, 15:19][:, ::-1], end_px[:, 15:19]), axis=1)
    tips = slice(2, FINGER_SEGMENTS, 3)
    return HandShapes(
        outer=_capsules(starts, ends, start_r, end_r),
        inner=_capsules(starts, ends, start_r - rim, end_r - rim),
        palm=_fixed_point(hull),
        nails=_nails(start_px[:, tips], end_px[:, tips], end_r[:, tips]),
        depth=depth[:, :FINGER_SEGMENTS],
        shade=0.92 + 0.10 * np.clip(np.pad(depth, ((0, 0), (0, 2))), -1.0, 1.0),
        back=-facing[:, 2],
    )


def _to_pixels(
    points: np.ndarray, mirror: float, shift: np.ndarray, height: int, width: int
) -> np.ndarray:
    side = min(height, width)
    x = (mirror * points[..., 0] + shift[:, None, 0]) * side + width / 2
    y = (-points[..., 1] + shift[:, None, 1]) * side + height / 2
    return np.stack((x, y), axis=-1)


def _arm(
    wrist: np.ndarray,
    poses: np.ndarray,
    look: HandLook,
    mirror: float,
    shift: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """(T, 3, 2): wrist, cuff and elbow in pixels; the elbow follows half of the hand's way."""
    elbow = np.asarray(look.elbow) + 0.5 * poses[:, :2]
    elbow = elbow + poses[:, COLUMN["elbow_out"], None] * _ELBOW_OUT
    elbow = _to_pixels(elbow[:, None], mirror, shift, *size)[:, 0]
    cuff = wrist + look.sleeve_from * (elbow - wrist)
    return np.stack((wrist, cuff, elbow), axis=1)


def _capsules(
    start: np.ndarray, end: np.ndarray, start_radius: np.ndarray, end_radius: np.ndarray
) -> np.ndarray:
    """Polygons (T, S, 12, 2) of thick lines with round ends, as OpenCV's fixed-point int32."""
    along = end - start
    heading = np.arctan2(along[..., 1], along[..., 0])[..., None]
    ahead = heading + _ROUND
    behind = ahead + np.pi
    front = np.stack((np.cos(ahead), np.sin(ahead)), axis=-1) * end_radius[..., None, None]
    rear = np.stack((np.cos(behind), np.sin(behind)), axis=-1) * start_radius[..., None, None]
    return _fixed_point(np.concatenate((front + end[..., None, :], rear + start[..., None, :]), 2))


def _nails(start: np.ndarray, end: np.ndarray, radius: np.ndarray) -> np.ndarray:
    first, last = start + 0.62 * (end - start), start + 1.12 * (end - start)
    return _capsules(first, last, 0.55 * radius, 0.5 * radius)


def _fixed_point(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rint((points - 0.5) * (1 << _SHIFT)), dtype=np.int32)


def draw_hand(image: np.ndarray, shapes: HandShapes, frame: int, look: HandLook) -> None:
    """Draw one frame's hand into ``image``, (H, W, 3) uint8, RGB."""
    import cv2

    back = shapes.back[frame]
    # The palm is lighter and redder than the back of the hand.
    tint = np.array((1.0, 0.96, 0.95)) if back < 0 else np.array((0.93, 0.92, 0.91))
    skin = np.asarray(look.skin) * tint
    rim = tuple((0.55 * skin).tolist())
    outer, inner, shade = shapes.outer[frame], shapes.inner[frame], shapes.shade[frame]

    def fill(polygon: np.ndarray, color: tuple[float, ...]) -> None:
        cv2.fillConvexPoly(image, polygon, color, cv2.LINE_AA, _SHIFT)

    def tone(segment: int, factor: float = 1.0) -> tuple[float, ...]:
        return tuple(np.minimum(skin * (shade[segment] * factor), 255.0).tolist())

    def palm() -> None:
        for segment in range(15, 20):
            fill(outer[segment], rim)
        for segment in range(15, 20):
            fill(inner[segment], tone(15))
        cv2.fillPoly(image, [shapes.palm[frame]], tone(15), cv2.LINE_AA, _SHIFT)

    def finger_part(segment: int) -> None:
        fill(outer[segment], rim)
        fill(inner[segment], tone(segment))
        if back > 0.3 and segment % 3 == 2:
            fill(shapes.nails[frame, segment // 3], tone(segment, 1.18))

    fill(outer[20], rim)
    fill(inner[20], tone(20, 0.95))
    fill(outer[21], tuple(0.6 * channel for channel in look.sleeve))
    fill(inner[21], look.sleeve)
    # From the farthest to the nearest; the palm has depth 0.
    depth = shapes.depth[frame]
    order = np.argsort(depth).tolist()
    behind = int((depth < 0.0).sum())
    for segment in order[:behind]:
        finger_part(segment)
    palm()
    for segment in order[behind:]:
        finger_part(segment)
