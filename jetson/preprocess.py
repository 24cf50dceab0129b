"""From a camera's or video's frame to a model's: the one function that training and board share."""

from typing import List, Optional, Tuple

import numpy as np

from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec

# A picture so many times as large as the model's is halved first, again and again. With 3 it is
# slower, with 2 and less further from the released weights' filter.
WORTH_HALVING = 2.5


class Preprocessor:
    """Scales the short side of a frame to the size of the ClipSpec and crops the centre square.

    The geometry is the released weights' own: the long side is rounded down and the crop's corner
    rounded to the nearest pixel of the scaled picture. They used PIL's bilinear filter, which
    averages over a triangle when it shrinks. OpenCV's INTER_AREA averages over a box; halving large
    pictures before makes a filter between the two. On 90 frames of real videos, made 3, 4.29, 6.43
    and 9.64 times smaller, it is 0.95, 1.14, 1.16 and 1.90 grey levels from PIL's on average,
    INTER_AREA alone 1.28, 1.61, 2.13 and 2.78, at more than twice the time. Enlarging is bilinear
    in both. Cropping before scaling would be cheaper still and is not done: it puts the crop a part
    of a pixel aside, which costs up to 0.4 grey levels.

    It keeps pictures to write into, so two threads must not share one.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._size = spec.size
        self._shape = (0, 0)  # of the frames that the stages are for
        self._stages: List[np.ndarray] = []  # what a frame is scaled into, one after the other

    def __call__(self, image: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the model's view of a frame.

        Args:
            image: (H, W, 3) uint8, RGB, of any size.
            out: (3, size, size) uint8 to write into; a new array where None.

        Returns:
            (3, size, size) uint8, RGB. A frame of size x size is its own view.

        Raises:
            ClipError: the image has another shape or dtype.
        """
        import cv2

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ClipError(
                f"A frame must be (H, W, 3) uint8, RGB; got {image.shape} {image.dtype}."
            )
        if image.shape[:2] != self._shape:
            self._lay_out(image.shape[0], image.shape[1])
        for scaled in self._stages:
            height, width = scaled.shape[:2]
            method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), dst=scaled, interpolation=method)
        size = self._size
        top, left = round((image.shape[0] - size) / 2), round((image.shape[1] - size) / 2)
        square = image[top : top + size, left : left + size]
        view = np.empty((3, size, size), np.uint8) if out is None else out
        np.copyto(view, square.transpose(2, 0, 1))
        return view

    def _lay_out(self, height: int, width: int) -> None:
        """Make the pictures that frames of this shape are scaled into."""
        self._shape, self._stages = (height, width), []
        shape, target = (height, width), _scaled(height, width, self._size)
        while min(shape) >= WORTH_HALVING * self._size:
            shape = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
            self._stages.append(np.empty((*shape, 3), np.uint8))
        if shape != target:
            self._stages.append(np.empty((*target, 3), np.uint8))


def _scaled(height: int, width: int, size: int) -> Tuple[int, int]:
    """Return (height, width) with the short side at ``size``, the long one rounded down."""
    if height <= width:
        return size, size * width // height
    return size * height // width, size
