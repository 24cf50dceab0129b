"""Pictures' memory, used again when nobody holds the picture any more."""

import sys
from typing import List, Tuple

import numpy as np

MOST = 8  # kept for the next pictures; whoever holds more gets memory of its own


class Buffers:
    """Gives out arrays; one is given out again when all references to it are gone.

    So a picture may be kept as long as it is needed, by any thread, without a copy, and a consumer
    that keeps none causes no allocation.
    """

    def __init__(self) -> None:
        self._arrays: List[np.ndarray] = []

    def take(self, shape: Tuple[int, ...]) -> np.ndarray:
        """Return an array of this shape, uint8, whose content is undefined."""
        for index in range(len(self._arrays)):
            if self._arrays[index].shape == shape and _references(self._arrays, index) <= _IDLE:
                return self._arrays[index]
        array = np.empty(shape, np.uint8)
        self._arrays = [kept for kept in self._arrays if kept.shape == shape][1 - MOST :]
        self._arrays.append(array)
        return array


def _references(arrays: List[np.ndarray], index: int) -> int:
    return sys.getrefcount(arrays[index])


_IDLE = _references([np.empty(0, np.uint8)], 0)  # in the list and nowhere else
