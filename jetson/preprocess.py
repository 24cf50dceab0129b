"""From a camera's or video's frame to a model's: the one function that training and board share."""

import numpy as np

from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec


class Preprocessor:
    """Crops the centre square of a frame and scales it to the size of the ClipSpec.

    The released weights saw the short side scaled with PIL's bilinear filter, which averages when
    it shrinks. OpenCV's INTER_AREA averages too and is the nearest to it at a fraction of the cost;
    enlarging is bilinear in both. Cropping before scaling touches only the pixels that are kept.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._size = spec.size

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the model's view of a frame.

        Args:
            image: (H, W, 3) uint8, RGB, of any size.

        Returns:
            (3, size, size) float32, RGB, 0-255.

        Raises:
            ClipError: the image has another shape or dtype.
        """
        import cv2

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ClipError(
                f"A frame must be (H, W, 3) uint8, RGB; got {image.shape} {image.dtype}."
            )
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        if side != self._size:
            method = cv2.INTER_AREA if side > self._size else cv2.INTER_LINEAR
            square = cv2.resize(square, (self._size, self._size), interpolation=method)
        return np.ascontiguousarray(square.transpose(2, 0, 1), dtype=np.float32)
