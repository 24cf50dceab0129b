"""Where the generated hand is and what it does, as numbers that help a network to learn.

A label is one number for 16 pictures, and learning from labels alone takes long to find the hand
in them. The generator knows the hand's pose: a second head that predicts it while training, and is
thrown away after it, finds the hand within the first hundred steps.
"""

import numpy as np

from clipedge.trainside.data.hand import COLUMN

EVERY_FRAMES = 2  # hints are given for every second frame of a window
# Change of sign in a mirror image: x, y, size, roll, which side is seen, tilt, thumb, and the bend
# of index, middle and the other two.
_SIGNS = np.array((-1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), np.float32)
_BELOW = -0.6  # lower hands are out of view, and only where they are counts


def hand_hints(poses: np.ndarray, left: bool) -> np.ndarray:
    """Return (K,) float32, each about -1 to 1, of the poses (T, 15) of one window.

    Args:
        poses: of the right hand whose mirror image a left hand is.
        left: the picture shows a left hand.
    """
    poses = poses[::EVERY_FRAMES]
    first, last = COLUMN["index"], COLUMN["pinky"] + 1
    fingers = poses[:, first:last]
    hints = np.stack(
        (
            4.0 * poses[:, COLUMN["x"]],
            4.0 * np.clip(poses[:, COLUMN["y"]], -0.55, 0.6),
            3.0 * np.log(poses[:, COLUMN["grow"]]),
            np.sin(poses[:, COLUMN["roll"]]),
            np.cos(poses[:, COLUMN["yaw"]]),
            np.sin(poses[:, COLUMN["pitch"]]),
            2.0 * poses[:, COLUMN["thumb_out"]] - 1.5,
            2.0 * fingers[:, 0] - 1.0,
            2.0 * fingers[:, 1] - 1.0,
            2.0 * fingers[:, 2:].mean(axis=1) - 1.0,
        ),
        axis=1,
    )
    hints[poses[:, COLUMN["y"]] < _BELOW, 2:] = 0.0
    if left:
        hints *= _SIGNS
    return hints.astype(np.float32).ravel()


def mirrored_hints(hints: np.ndarray) -> np.ndarray:
    """Return the hints (N, K) of the mirror images."""
    split = hints.reshape(len(hints), -1, len(_SIGNS))
    mirrored: np.ndarray = (split * _SIGNS).reshape(hints.shape)
    return mirrored
