"""From a camera's or video's frame to a model's: the one function that training and board share."""

from typing import Optional, Tuple

import numpy as np

from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec


class Preprocessor:
    """Scales the short side of a frame to the size of the ClipSpec and crops the centre square.

    The geometry is the released weights' own: the long side is rounded down and the crop's corner
    rounded to the nearest pixel of the scaled picture. They used PIL's bilinear filter, which
    averages when it shrinks; OpenCV's INTER_AREA averages too and is the nearest to it at a
    fraction of the cost. Enlarging is bilinear in both. Cropping before scaling would be cheaper
    and is not done: it puts the crop up to a pixel of the small picture aside, which costs more
    grey levels than the filter does.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._size = spec.size

    def __call__(self, image: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the model's view of a frame.

        Args:
            image: (H, W, 3) uint8, RGB, of any size.

            out: (3, size, size) uint8 to write into; a new array where None.

        Returns:
            (3, size, size) uint8, RGB. A picture of size x size is its own view.

        Raises:
            ClipError: the image has another shape or dtype.
        """
        import cv2

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ClipError(
                f"A frame must be (H, W, 3) uint8, RGB; got {image.shape} {image.dtype}."
            )
        size = self._size
        height, width = _scaled(image.shape[0], image.shape[1], size)
        if (height, width) != image.shape[:2]:
            method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=method)
        top, left = round((height - size) / 2), round((width - size) / 2)
        square = image[top : top + size, left : left + size]
        view = np.empty((3, size, size), np.uint8) if out is None else out
        np.copyto(view, square.transpose(2, 0, 1))
        return view


def _scaled(height: int, width: int, size: int) -> Tuple[int, int]:
    """Return (height, width) with the short side at ``size``, the long one rounded down."""
    if height <= width:
        return size, size * width // height
    return size * height // width, size
