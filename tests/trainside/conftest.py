"""Videos and folders of classes for the tests of trainside."""

import pathlib

import numpy as np
import pytest


def _write_video(path: pathlib.Path, frames: np.ndarray, rate_hz: float = 12.0) -> pathlib.Path:
    """Write (T, H, W, 3) uint8, RGB, without the loss of colour of a small-bitrate codec."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, size)
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def _grey_ramp(count: int, size: int = 32, step: int = 4) -> np.ndarray:
    """Frames whose grey level tells their number: ``step`` levels a frame."""
    levels = (np.arange(count) * step).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, size, size, 3)).copy()


@pytest.fixture
def write_video():
    return _write_video


@pytest.fixture
def grey_ramp():
    return _grey_ramp


@pytest.fixture
def classes(tmp_path):
    """A folder of two classes, five short videos each: one dark, one bright."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("bright", 200)):
        for number in range(5):
            frames = rng.integers(level - 20, level + 20, (40, 36, 48, 3)).astype(np.uint8)
            _write_video(tmp_path / "clips" / name / f"{number}.avi", frames)
    return tmp_path / "clips"
