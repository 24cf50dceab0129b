"""Clips as the paper's code prepares them: PIL scales, crops and normalises every frame of each."""

from typing import Any, List, Optional, Sequence

import numpy as np

from clipedge.jetson.spec import ClipSpec


class ClipsByPil:
    """Makes a clip out of pictures of full size. That they become PIL's is not a part of it.

    The steps are those of Efficient-3DCNNs at test time: the short side scaled to the model's size
    with PIL's bilinear filter, the centre square, float32 planes, the mean subtracted, frames
    stacked.
    """

    def __init__(self, image_module: Any, pictures: Sequence[np.ndarray], spec: ClipSpec) -> None:
        frames = [pictures[number % len(pictures)] for number in range(spec.frames)]
        self._pictures: List[Any] = [image_module.fromarray(frame) for frame in frames]
        self._bilinear = image_module.BILINEAR
        self._size = spec.size
        self._mean = np.array(spec.mean, np.float32)[:, None, None]

    @classmethod
    def of(cls, pictures: Sequence[np.ndarray], spec: ClipSpec) -> "Optional[ClipsByPil]":
        """Return it for pictures (H, W, 3) uint8, RGB; None where PIL is not installed."""
        try:
            from PIL import Image
        except ImportError:
            return None
        return cls(Image, pictures, spec)

    def clip(self) -> np.ndarray:
        """Return (1, 3, T, size, size) float32, RGB, normalised."""
        frames = [self._normalised(self._square(picture)) for picture in self._pictures]
        return np.stack(frames, axis=1)[None]

    def _square(self, picture: Any) -> Any:
        size, (width, height) = self._size, picture.size
        if width < height:
            scaled = picture.resize((size, size * height // width), self._bilinear)
        else:
            scaled = picture.resize((size * width // height, size), self._bilinear)
        left, top = (round((side - size) / 2.0) for side in scaled.size)
        return scaled.crop((left, top, left + size, top + size))

    def _normalised(self, square: Any) -> np.ndarray:
        planes = np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1), dtype=np.float32)
        planes -= self._mean
        return planes
