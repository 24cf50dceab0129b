"""USB cameras for a machine without any: what stands in for ``cv2.VideoCapture``.

``VideoCapture`` has members of the real class alone (a test compares them), and the answers of its
V4L2 backend: a size that the camera lacks becomes the nearest, raw pictures come slowly, a pulled
camera's ``grab`` is False, a silent one's blocks.
"""

import threading
import time

import numpy as np

STALL_LIMIT_S = 60.0  # far beyond what a test waits


class Camera:
    """What the test does with the hardware."""

    sizes = ((640, 480), (1280, 720))

    def __init__(self, rate_hz=200.0):
        self.rate_hz = rate_hz  # of motion JPEG
        self.plugged = True
        self.going = threading.Event()
        self.going.set()
        self.opened = 0  # times
        self.holders = 0  # at this moment
        self.most_holders = 0
        self.asked = []  # property numbers, in the order they were set
        self.grabbed = 0


class VideoCapture:
    """One ``cv2.VideoCapture``; ``cameras`` and ``cv2`` are given by ``video_capture``."""

    cameras = None
    cv2 = None

    def __init__(self, number, backend):
        assert backend == self.cv2.CAP_V4L2
        self._camera = self.cameras.get(number)
        self._open = self._camera is not None and self._camera.plugged
        self._values = {
            self.cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            self.cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            self.cv2.CAP_PROP_FPS: 30.0,
            self.cv2.CAP_PROP_FOURCC: float(self.cv2.VideoWriter_fourcc(*"YUYV")),
        }
        self._number = 0
        if self._open:
            self._camera.opened += 1
            self._camera.holders += 1
            self._camera.most_holders = max(self._camera.most_holders, self._camera.holders)

    def isOpened(self):
        return self._open

    def set(self, which, value):
        self._camera.asked.append(which)
        self._values[which] = float(value)
        wanted = self._values[self.cv2.CAP_PROP_FRAME_WIDTH]
        size = min(self._camera.sizes, key=lambda size: abs(size[0] - wanted))
        if which == self.cv2.CAP_PROP_FRAME_HEIGHT:  # both are known
            self._values[self.cv2.CAP_PROP_FRAME_WIDTH] = float(size[0])
            self._values[self.cv2.CAP_PROP_FRAME_HEIGHT] = float(size[1])
        return True

    def get(self, which):
        return self._values.get(which, 0.0)

    def grab(self):
        if not self._open or not self._camera.plugged:
            return False
        self._camera.going.wait(STALL_LIMIT_S)
        raw = self._values[self.cv2.CAP_PROP_FOURCC] != self.cv2.VideoWriter_fourcc(*"MJPG")
        time.sleep((10.0 if raw else 1.0) / self._camera.rate_hz)
        self._camera.grabbed += 1
        self._number += 1
        return self._camera.plugged

    def retrieve(self, image=None):
        shape = (
            int(self._values[self.cv2.CAP_PROP_FRAME_HEIGHT]),
            int(self._values[self.cv2.CAP_PROP_FRAME_WIDTH]),
            3,
        )
        if image is None or image.shape != shape:
            image = np.empty(shape, np.uint8)
        image[:] = (10, 20, self._number % 256)  # BGR
        return True, image

    def release(self):
        if self._open:
            self._camera.holders -= 1
        self._open = False


def video_capture(cv2, cameras):
    """Return a class to use in place of ``cv2.VideoCapture``.

    Args:
        cv2: the real module.
        cameras: what is plugged in, by number; a Camera each.
    """
    return type("VideoCapture", (VideoCapture,), {"cameras": cameras, "cv2": cv2})
