"""Draws a run: the picture, and beside and below it what the recogniser makes of it."""

from typing import Any, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.camera import quiet_cv2
from clipedge.jetson.camera.source import LOST
from clipedge.jetson.display import layout as look
from clipedge.jetson.display.layout import Layout, fitted_size, layout_for
from clipedge.jetson.display.lettering import Colour, Lettering
from clipedge.jetson.display.panel import LINE, Panel
from clipedge.jetson.display.scoreboard import Snapshot
from clipedge.jetson.sensors import Sensors

LOST_TITLE = "camera lost, trying again"
FIRST_SIZE = (640, 480)  # before the first picture
HEADING = 13.0  # height of capitals, in units


class View(NamedTuple):
    """How the person before the window wants it."""

    mirror: bool = False
    paused: bool = False
    message: str = ""
    hint: str = ""
    playing: bool = False  # a file, which is not called live
    help: Tuple[Tuple[str, str], ...] = ()  # lines in two columns, in place of the picture


class Painter:
    """Draws onto one canvas again and again."""

    def __init__(self, fixed_size: bool = False) -> None:
        """Begin with an empty picture.

        Args:
            fixed_size: keep the size of the first picture, as a video must; else the canvas
                follows the source.
        """
        self._cv2: Any = quiet_cv2()
        self._fixed = fixed_size
        self._lettering = Lettering()
        self._source_size: Optional[Tuple[int, int]] = None
        self._arrange(layout_for(*FIRST_SIZE))

    def paint(
        self,
        image: Optional[np.ndarray],
        board: Snapshot,
        sensors: Optional[Sensors] = None,
        view: View = View(),  # noqa: B008  it does not change
    ) -> np.ndarray:
        """Draw the run as it is.

        Args:
            image: (H, W, 3) uint8, RGB; None: the last one stays.
            board: what to show beside it.
            sensors: power and temperature; None: no lines for them.
            view: what the person asked for.

        Returns:
            (H, W, 3) uint8, BGR: even sizes, good until the next call.
        """
        if image is not None:
            self._take(image)
        self._draw_picture(board, view)
        self._panel.draw(self._canvas, board, sensors, view.hint, view.playing)
        return self._canvas

    def _arrange(self, layout: Layout) -> None:
        self._layout = layout
        self._panel = Panel(layout, self._lettering)
        self._canvas = np.zeros(layout.canvas, np.uint8)
        self._picture = np.zeros((layout.height, layout.width, 3), np.uint8)
        self._picture[:] = look.DARK
        self._grey = np.zeros((layout.height, layout.width), np.uint8)

    def _take(self, image: np.ndarray) -> None:
        """Keep a picture in the size it is shown in, as BGR."""
        height, width = image.shape[:2]
        if (width, height) != self._source_size:
            if self._source_size is None or not self._fixed:
                self._arrange(layout_for(width, height))
            self._source_size = (width, height)
            shown = fitted_size(width, height, self._layout)
            left = (self._layout.width - shown[0]) // 2
            top = (self._layout.height - shown[1]) // 2
            self._picture[:] = look.DARK
            self._place = self._picture[top : top + shown[1], left : left + shown[0]]
            self._resized = np.empty((shown[1], shown[0], 3), np.uint8)
        cv2 = self._cv2
        if image.shape != self._resized.shape:
            size = (self._resized.shape[1], self._resized.shape[0])
            way = cv2.INTER_AREA if width >= 2 * size[0] else cv2.INTER_LINEAR
            image = cv2.resize(image, size, self._resized, interpolation=way)
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, self._place)

    def _draw_picture(self, board: Snapshot, view: View) -> None:
        cv2, layout = self._cv2, self._layout
        area = self._canvas[: layout.height, : layout.width]
        state = board.source.state
        if view.mirror:
            cv2.flip(self._picture, 1, area)
        else:
            area[:] = self._picture
        if view.help:
            self._draw_help(area, view.help)
        elif state == LOST:
            self._darken(area)
            self._draw_notice(area, LOST_TITLE, board.source.detail, look.ALARM)
        elif self._source_size is None:
            self._draw_notice(area, "waiting for the first picture", board.source.detail, look.TEXT)
        if view.paused:
            self._draw_badge(area, "paused", look.TEXT, top=True)
        if view.message:
            self._draw_badge(area, view.message, look.TEXT, top=False)
        elif board.complaint and not view.help:
            self._draw_badge(area, board.complaint, look.BAR, top=False)

    def _darken(self, area: np.ndarray) -> None:
        """Make it grey and dark."""
        cv2 = self._cv2
        cv2.cvtColor(area, cv2.COLOR_BGR2GRAY, self._grey)
        np.right_shift(self._grey, 1, self._grey)
        cv2.cvtColor(self._grey, cv2.COLOR_GRAY2BGR, area)

    def _draw_notice(self, area: np.ndarray, title: str, detail: str, colour: Colour) -> None:
        """Write a heading and a text in the middle, on a dark ground."""
        px, lettering = self._layout.px, self._lettering
        width = area.shape[1] - 2 * px(32)
        texts = [
            (line, px(HEADING), colour, True)
            for line in lettering.wrapped(title, px(HEADING), width, 2, bold=True)
        ]
        texts += [
            (line, px(LINE), look.TEXT, False)
            for line in lettering.wrapped(detail, px(LINE), width, 4)
        ]
        height = px(24) * len(texts) + px(16)
        top = max((area.shape[0] - height) // 2, 0)
        area[top : top + height] = look.DARK
        base = top + px(26)
        for text, size, shade, bold in texts:
            x = (area.shape[1] - lettering.width(text, size, bold)) // 2
            lettering.draw(area, text, (x, base), size, shade, look.DARK, bold)
            base += px(24)

    def _draw_help(self, area: np.ndarray, lines: Tuple[Tuple[str, str], ...]) -> None:
        px = self._layout.px
        area[:] = look.DARK
        left, second = px(24), px(124)
        width = area.shape[1] - second - left
        base = px(44)
        for name, text in lines:
            self._line(area, name, (left, base), look.DIM)
            for line in self._lettering.wrapped(text, px(LINE), width, 3) or [""]:
                self._line(area, line, (second, base), look.TEXT)
                base += px(22)

    def _line(self, area: np.ndarray, text: str, at: Tuple[int, int], colour: Colour) -> None:
        self._lettering.draw(area, text, at, self._layout.px(LINE), colour, look.DARK)

    def _draw_badge(self, area: np.ndarray, text: str, colour: Colour, top: bool) -> None:
        """Write up to three lines on a dark ground into a corner."""
        px = self._layout.px
        lines = self._lettering.wrapped(text, px(LINE), area.shape[1] - px(44), 3)
        width = max(self._lettering.width(line, px(LINE)) for line in lines) + px(20)
        height = px(20) * len(lines) + px(6)
        y = px(12) if top else area.shape[0] - px(12) - height
        area[y : y + height, px(12) : px(12) + width] = look.DARK
        for number, line in enumerate(lines):
            self._line(area, line, (px(22), y + px(18) + px(20) * number), colour)
