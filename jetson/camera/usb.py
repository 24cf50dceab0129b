"""USB cameras, and all else that shows as /dev/videoN."""

import errno
import logging
import os
import re
import sys
from typing import Any, Tuple

from clipedge.jetson.camera import v4l2
from clipedge.jetson.camera.capture import Device, Reader
from clipedge.jetson.camera.opencv import OpenCvReader, quiet_cv2
from clipedge.jetson.errors import SourceError

log = logging.getLogger(__name__)

DEV = "/dev"
DEFAULT_SIZE = (640, 480)
DRIVER_BUFFERS = 2  # with one, the driver drops every second picture; more are only delay


class UsbCamera(Device):
    """A camera by number or by the path of its device."""

    exclusive = True
    advice = "Is its cable in? See gesture-demo --list-cameras."

    def __init__(self, text: str, size: Tuple[int, int] = DEFAULT_SIZE, rate_hz: float = 30.0):
        """Name a camera.

        Args:
            text: ``0``, ``/dev/video0``, or a link to such a device (/dev/v4l/by-id/...), which
                stays right when cameras change places.
            size: width and height to ask for, pixels.
            rate_hz: frames a second to ask for.
        """
        self._number = text if text.isdigit() else ""
        self._node = os.path.join(DEV, f"video{text}") if self._number else text  # noqa: PTH118
        self.name = f"camera {self._number}" if self._number else text
        self._size = size
        self._rate_hz = rate_hz
        self._told: Any = None  # what the camera gave, where that was said

    def open(self) -> Reader:
        """Open the camera; ask for motion JPEG, the size and the rate."""
        cv2 = quiet_cv2()
        target, backend = self._target(), cv2.CAP_ANY
        if sys.platform.startswith("linux"):
            self._check_node()
            backend = cv2.CAP_V4L2
        capture = cv2.VideoCapture(target, backend)
        try:
            if not capture.isOpened():
                raise SourceError(
                    f"{self.name} does not open, though it is there. Is it a camera, and is no "
                    "other program using it? See gesture-demo --list-cameras."
                )
            self._configure(cv2, capture)
        except BaseException:
            capture.release()
            raise
        return OpenCvReader(cv2, capture)

    def _target(self) -> Any:
        """Return what OpenCV takes: a number. A link may lead elsewhere after each plugging in."""
        node = re.search("([0-9]+)$", os.path.realpath(self._node))
        return int(node.group(1)) if node else self._node

    def _check_node(self) -> None:
        """Raise SourceError where the device is not there, is busy, or may not be used."""
        node = os.path.realpath(self._node)
        problem = v4l2.problem_of(node)
        if problem in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            where = f"{self.name}: there" if self._number else "There"
            raise SourceError(
                f"{where} is no {self._node}. Is it plugged in? "
                "gesture-demo --list-cameras shows what is."
            )
        if problem == errno.EBUSY:
            users = ", ".join(v4l2.holders(node)) or "another program"
            raise SourceError(f"{self.name} is busy: {users} uses it. Close that, then try again.")
        if problem in (errno.EACCES, errno.EPERM):
            raise SourceError(
                f"{self.name}: permission denied. Add yourself to the group video: "
                "sudo usermod -aG video $USER, then log in again."
            )

    def _configure(self, cv2: Any, capture: Any) -> None:
        # The format comes first: size and rate are chosen among what it offers. Raw pictures
        # of 640 x 480 fill half of a USB 2 bus.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        capture.set(cv2.CAP_PROP_FPS, self._rate_hz)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, DRIVER_BUFFERS)
        width, height, rate_hz = (
            capture.get(which)
            for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
        )
        asked = (*self._size, round(self._rate_hz, 1))
        # Some drivers do not know their rate.
        given = (int(width), int(height), round(rate_hz, 1) if rate_hz > 0 else asked[2])
        if given != asked and given != self._told and width:
            log.info(
                "%s gives %d x %d at %g Hz where %d x %d at %g Hz was asked for.",
                self.name, *given, *asked,
            )  # fmt: skip
        self._told = given
