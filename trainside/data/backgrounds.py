"""Pictures to put behind the hand: kinds that only training sees, and kinds for validation."""

from collections.abc import Callable

import numpy as np

Painter = Callable[[np.random.Generator, int, int], np.ndarray]


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    side = min(height, width)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / np.float32(side)
    return rows, columns


def _colors(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32: colours of a room, few of them bright."""
    grey = rng.uniform(40, 220, (count, 1))
    colors: np.ndarray = np.clip(grey + rng.normal(0.0, 28.0, (count, 3)), 0, 255)
    return colors.astype(np.float32)


def _mix(weight: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = first + weight[..., None].astype(np.float32) * (second - first)
    return mixed


def _gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    first, second = _colors(rng, 2)
    along = np.cos(angle) * (columns - 0.5) + np.sin(angle) * (rows - 0.5)
    return _mix(np.clip(0.5 + 0.7 * along, 0, 1), first, second)


def _curtain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    first, second = _colors(rng, 2)
    folds = np.sin(rng.uniform(15, 45) * columns + 0.6 * np.sin(5 * rows) + rng.uniform(0, 6))
    return _mix(0.5 + 0.35 * folds, first, second)


def _cloudy(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    import cv2

    first, second = _colors(rng, 2)
    coarse = rng.uniform(0, 1, (int(rng.integers(4, 14)),) * 2).astype(np.float32)
    return _mix(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), first, second)


def _blobs(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    import cv2

    colors = _colors(rng, 15)
    image = np.tile(colors[0], (height, width, 1))
    for color in colors[1:]:
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(length) for length in rng.uniform(0.03, 0.25, 2) * min(height, width))
        cv2.ellipse(image, center, axes, float(rng.uniform(0, 180)), 0, 360, color.tolist(), -1)
    return image


def _room(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    import cv2

    side = min(height, width)
    wall, floor, frame, glass = _colors(rng, 4)
    image = np.tile(wall, (height, width, 1))
    image[int(height * rng.uniform(0.65, 0.85)) :] = floor
    left, top = rng.uniform(0, 0.7) * width, rng.uniform(0.02, 0.3) * height
    corner = (int(left + rng.uniform(0.2, 0.4) * side), int(top + rng.uniform(0.2, 0.4) * side))
    cv2.rectangle(image, (int(left), int(top)), corner, glass.tolist(), -1)
    cv2.rectangle(image, (int(left), int(top)), corner, frame.tolist(), max(1, side // 40))
    image *= _shadow(rng, height, width)
    return image


def _bricks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    brick, mortar = _colors(rng, 2)
    tall = rng.uniform(0.05, 0.11)
    course = np.floor(rows / tall)
    across = columns / (2.2 * tall) + 0.5 * (course % 2)
    joint = ((rows / tall) % 1 < 0.14) | (across % 1 < 0.07)
    rough = rng.normal(0, 0.12, rows.shape)
    return _mix(np.clip(joint + rough, 0, 1), brick, mortar)


def _shelves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    colors = _colors(rng, 40)
    image = np.tile(colors[0], (height, width, 1))
    tall = int(side * rng.uniform(0.2, 0.33))
    for top in range(0, height, max(tall, 2)):
        left = 0
        while left < width:
            thick = max(1, int(side * rng.uniform(0.02, 0.06)))
            start = top + int(tall * rng.uniform(0.12, 0.4))
            image[start : top + int(0.9 * tall), left : left + thick] = colors[rng.integers(1, 40)]
            left += thick + int(rng.uniform() < 0.1) * thick
    return image


def _tiles(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    first, second = _colors(rng, 2)
    angle, size = rng.uniform(0, np.pi / 2), rng.uniform(0.08, 0.2)
    along = (np.cos(angle) * columns + np.sin(angle) * rows) / size
    across = (np.cos(angle) * rows - np.sin(angle) * columns) / size
    return _mix((np.floor(along) + np.floor(across)) % 2, first, second)


def _patches(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    colors = _colors(rng, 36)
    image = np.tile(colors[0], (height, width, 1))
    for color in colors[1:]:
        tall, wide = (rng.uniform(0.03, 0.3, 2) * side).astype(int) + 1
        top, left = int(rng.integers(height)), int(rng.integers(width))
        image[top : top + tall, left : left + wide] = color
    return image


def _plaid(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    first, second = _colors(rng, 2)
    down = np.sin(rng.uniform(20, 70) * rows + rng.uniform(0, 6)) > rng.uniform(-0.6, 0.8)
    across = np.sin(rng.uniform(20, 70) * columns + rng.uniform(0, 6)) > rng.uniform(-0.6, 0.8)
    return _mix(0.5 * down + 0.5 * across, first, second)


def _speckle(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    import cv2

    first, second = _colors(rng, 2)
    weight = np.zeros((height, width), np.float32)
    for cells in (6, 16, 40):
        grains = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
        weight += cv2.resize(grains, (width, height), interpolation=cv2.INTER_NEAREST) / 3
    return _mix(weight, first, second)


def _shadow(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 1) factors of a light that comes from one side."""
    rows, columns = _grid(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (columns - 0.5) + np.sin(angle) * (rows - 0.5)
    factors: np.ndarray = np.clip(1.0 + 0.35 * along, 0.6, 1.3)[..., None]
    return factors


BACKGROUNDS: dict[str, dict[str, Painter]] = {
    "training": {
        "gradient": _gradient,
        "curtain": _curtain,
        "clouds": _cloudy,
        "blobs": _blobs,
        "room": _room,
        "patches": _patches,
        "plaid": _plaid,
        "speckle": _speckle,
    },
    "validation": {"bricks": _bricks, "shelves": _shelves, "tiles": _tiles},
}
PAINTERS = {**BACKGROUNDS["training"], **BACKGROUNDS["validation"]}
