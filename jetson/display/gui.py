"""One window of OpenCV: whether it can open, showing a picture, keys, and whether it is closed."""

import os
import subprocess
import sys
from typing import Any, Optional, Tuple

import numpy as np

from clipedge.jetson.camera import quiet_cv2
from clipedge.jetson.closing import Closing

ENTER, ESCAPE = "\n", "\x1b"
PROBE_LIMIT_S = 20.0
PROBE = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"
FIRST_WIDTH = 1200  # pixels at most: the size of the screen is not known


class GuiWindow(Closing):
    """A window; all calls come from the thread that made it."""

    def __init__(self, title: str) -> None:
        """Open it. ``why_no_window`` says beforehand whether that can work."""
        self._cv2: Any = quiet_cv2()
        self._title = title
        self._size: Optional[Tuple[int, int]] = None
        flags = self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO
        self._cv2.namedWindow(title, flags | self._cv2.WINDOW_GUI_NORMAL)  # no bar of Qt's tools

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, (H, W, 3) uint8, BGR; it appears with the next ``key``."""
        size = (picture.shape[1], picture.shape[0])
        if size != self._size:
            self._size = size
            share = min(1.0, FIRST_WIDTH / float(size[0]))
            self._cv2.resizeWindow(self._title, round(size[0] * share), round(size[1] * share))
        self._cv2.imshow(self._title, picture)

    def key(self, wait_ms: int = 1) -> Optional[str]:
        """Let the window work for at least ``wait_ms``; return a key that was pressed, or None.

        Letters come in lower case. Keys without a letter, such as arrows, count for nothing.
        """
        code = self._cv2.waitKeyEx(wait_ms)
        letter = code & 0xFFFF  # above are Shift, NumLock and others
        # GTK has 0xff51 for the left arrow, whose lower half is a Q.
        if code < 0 or not 0 < letter < 128:
            return None
        return chr(letter).replace("\r", ENTER).lower()

    @property
    def closed(self) -> bool:
        """The user closed it; showing a picture would open it again."""
        cv2 = self._cv2
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE)
            if visible >= 0:
                return bool(visible == 0)
            # GTK does not tell; but it knows nothing at all of a window that is gone.
            return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_AUTOSIZE) < 0)
        except cv2.error:  # Qt, when its last window is gone
            return True

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        self._cv2.destroyAllWindows()


def why_no_window() -> Optional[str]:
    """Return why OpenCV can open no window here, or None where it can.

    It is tried in a process of its own: on a display that does not answer, OpenCV's window systems
    end the process.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no display (DISPLAY is not set)"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return "the display does not answer"
    if tried.returncode == 0:
        return None
    if b"not implemented" in tried.stdout:
        return "this OpenCV is built without windows (pip's opencv-python has them)"
    return "OpenCV cannot open a window on this display"
