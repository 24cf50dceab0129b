"""Pictures to clips: the crops and changes of training, and what the board does in evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.augmentation import Augmentation

GAIN = (0.75, 1.25)  # of each colour
OFFSET = 20.0  # grey levels, up or down
# Half of the short side is the smallest crop: of twice the model's size it needs no enlarging.
KEPT_SIZES = 2.0
# Pictures that are little larger are kept as they are: another scaling would gain nothing.
WORTH_SCALING = 2.5


class Draws(NamedTuple):
    """What chance decides for a clip, drawn before its recording is opened.

    Attributes:
        start: 0-1, how far through what is possible the clip starts.
        scale: side of the square that is cut out, as a part of the short side.
        top, left: 0-1, where it lies in the room that it has.
        mirror: the clip is mirrored.
        gain: (3,) float32, factor on each colour.
        offset: (3,) float32, grey levels added after that.
    """

    start: float
    scale: float
    top: float
    left: float
    mirror: bool
    gain: np.ndarray
    offset: np.ndarray


def draw(rng: np.random.Generator, augmentation: Augmentation) -> Draws:
    """Draw for one clip; all that ``augmentation`` leaves out is drawn too, and not used."""
    start = float(rng.uniform())
    scale = augmentation.scales[int(rng.integers(len(augmentation.scales)))]
    top, left = (float(one) for one in rng.uniform(size=2))
    corner = int(rng.integers(5))
    mirror = bool(rng.uniform() < 0.5) and augmentation.mirrored is not None
    gain = rng.uniform(*GAIN, 3).astype(np.float32)
    offset = rng.uniform(-OFFSET, OFFSET, 3).astype(np.float32)
    if augmentation.crop == "center" or (augmentation.crop == "corner" and corner == 4):
        top = left = 0.5
    elif augmentation.crop == "corner":
        top, left = float(corner // 2), float(corner % 2)
    if not augmentation.colour:
        gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    return Draws(start, scale, top, left, mirror, gain, offset)


def kept_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (height, width) in which training keeps pictures for a model of ``size``."""
    short = min(height, width)
    if short <= WORTH_SCALING * size:
        return height, width
    kept = KEPT_SIZES * size
    return round(height * kept / short), round(width * kept / short)


def scaled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale (H, W, 3) uint8 to a height and width, as preprocessing does: averaging to shrink."""
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    result: np.ndarray = cv2.resize(picture, (width, height), interpolation=method)
    return result


def training_frames(pictures: Sequence[np.ndarray], draws: Draws, size: int) -> np.ndarray:
    """Cut the same square out of all pictures, scale it, and mirror it.

    Args:
        pictures: T of (H, W, 3) uint8, RGB, all of one shape.
        draws: what was drawn for this clip.
        size: of the result, pixels.

    Returns:
        (3, T, size, size) uint8, RGB.
    """
    import cv2

    height, width = pictures[0].shape[:2]
    side = max(1, round(draws.scale * min(height, width)))
    top = round(draws.top * (height - side))
    left = round(draws.left * (width - side))
    clip = np.empty((3, len(pictures), size, size), np.uint8)
    for number, picture in enumerate(pictures):
        square = scaled(picture[top : top + side, left : left + side], size, size)
        if draws.mirror:
            square = cv2.flip(square, 1)
        cv2.split(square, [clip[colour, number] for colour in range(3)])  # written in place
    return clip


def evaluation_frames(pictures: Iterable[np.ndarray], spec: ClipSpec) -> np.ndarray:
    """Return (N, 3, size, size) uint8, RGB: N pictures as the board hands them to the model."""
    preprocess = Preprocessor(spec)
    # It scales 8-bit pictures to 8 bits, so that nothing is lost here.
    return np.stack([preprocess(picture).astype(np.uint8) for picture in pictures])


def mirrored_target(target: int, labels: Sequence[str], mirrored: Mapping[str, str]) -> int:
    """Return the index of the label that the mirror image has."""
    label = labels[target]
    return labels.index(mirrored.get(label, label))
