"""``--display window``: picture, scores and timeline in a window of OpenCV."""

import logging
import pathlib
import time
from typing import Any, Callable, List, Optional, Tuple

import numpy as np

from clipedge.jetson.camera import quiet_cv2
from clipedge.jetson.display.drawing import Painter, View
from clipedge.jetson.display.gui import ESCAPE, GuiWindow, why_no_window
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import write_whole
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.sensors import Sensors

log = logging.getLogger(__name__)

TITLE = "gesture-demo"
# Between two pictures. A camera of 30 frames a second jitters: at 1/30 s every second one would
# come too early.
LEAST_INTERVAL_S = 0.028
MOST_INTERVAL_S = 0.5  # however slow the screen is, keys are heard
SHARE = 0.2  # of the recogniser's time that drawing may take
SENSORS_EVERY_S = 1.0
MESSAGE_S = 3.0
HINT = "h  help"
KEYS = (
    ("q, Esc", "end"),
    ("space", "hold the picture; recognition goes on"),
    ("m", "mirror the picture"),
    ("s", "save what the window shows into the current folder"),
    ("h", "this help"),
)


class WindowDisplay(Output):
    """Shows the run and takes keys; lives in the main thread."""

    name = "--display window"

    def __init__(
        self,
        scoreboard: Scoreboard,
        facts: RunFacts,
        sensors: Optional[Callable[[], Sensors]] = None,
    ) -> None:
        """Open the window.

        Args:
            scoreboard: of this run; it is only read here, the run loop adds the steps to it.
            facts: what does not change.
            sensors: asked about once a second, such as ``SensorWatch().latest``.

        Raises:
            UsageError: no window can open here; it says why and what to do.
        """
        problem = why_no_window()
        if problem:
            raise UsageError(f"{self.name}: {problem}. --display web shows the same in a browser.")
        self._cv2: Any = quiet_cv2()
        self._scoreboard = scoreboard
        self._facts = facts
        self._sensors = sensors
        self._reading: Optional[Sensors] = None
        self._read_s = 0.0
        self._painter = Painter()
        self._canvas: Optional[np.ndarray] = None
        self._view = View(hint=HINT, playing=facts.playing)
        self._message_until_s = 0.0
        self._due_s = 0.0
        self._window = GuiWindow(TITLE)

    def add(self, step: Step) -> None:
        """Show the step, at most 30 times a second, and look after keys.

        Raises:
            ClipedgeError: the window system fails.
        """
        began_s = time.monotonic()
        if self.stop_requested or began_s < self._due_s:
            return
        image = None if step.frame is None or self._view.paused else step.frame.image
        try:
            self._show(image, began_s)
        except self._cv2.error as error:
            raise ClipedgeError(f"{self.name}: OpenCV cannot draw its window ({error}).") from None
        took_s = time.monotonic() - began_s
        self._due_s = began_s + min(max(LEAST_INTERVAL_S, took_s / SHARE), MOST_INTERVAL_S)

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        self._window.close()

    def _show(self, image: Optional[np.ndarray], now_s: float) -> None:
        if self._sensors is not None and now_s - self._read_s >= SENSORS_EVERY_S:
            self._reading, self._read_s = self._sensors(), now_s
        if self._view.message and now_s > self._message_until_s:
            self._view = self._view._replace(message="")
        board = self._scoreboard.snapshot()
        self._canvas = self._painter.paint(image, board, self._reading, self._view)
        self._window.show(self._canvas)
        key = self._window.key()
        if key is not None:
            self._obey(key)
        if self._window.closed:
            self.stop_requested = True

    def _obey(self, key: str) -> None:
        view = self._view
        if key in ("q", ESCAPE):
            self.stop_requested = True
        elif key == " ":
            self._view = view._replace(paused=not view.paused)
        elif key == "m":
            self._view = view._replace(mirror=not view.mirror)
        elif key == "h":
            self._view = view._replace(help=() if view.help else self._help())
        elif key == "s":
            self._save()

    def _save(self) -> None:
        """Write the canvas into the current folder, and say so in the window."""
        path = pathlib.Path(time.strftime("gesture-demo-%Y%m%d-%H%M%S.png"))
        try:
            done, data = self._cv2.imencode(".png", self._canvas)
            assert done
            write_whole(path, data.tobytes())
        except ClipedgeError as error:
            log.warning("%s", error)
            self._say(str(error))
        else:
            log.info("saved %s", path)
            self._say(f"saved {path}")

    def _say(self, message: str) -> None:
        self._view = self._view._replace(message=message)
        self._message_until_s = time.monotonic() + MESSAGE_S

    def _help(self) -> Tuple[Tuple[str, str], ...]:
        facts = self._facts
        lines: List[Tuple[str, str]] = [*KEYS, ("", "")]
        lines += [("model", facts.model), ("clip", facts.clip), ("backend", facts.backend)]
        lines.append(("source", facts.source))
        if self._reading is not None:
            lines.append(("power", self._reading.power_from))
            lines.append(("temperature", self._reading.temperature_from))
            lines.append(("throttled", self._reading.throttled_from))
        return tuple(lines)
