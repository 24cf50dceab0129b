"""What is beside and below the picture: the last gesture, scores, rates, and the last seconds."""

from typing import Any, List, Optional, Tuple

import numpy as np

from clipedge.jetson.camera import quiet_cv2
from clipedge.jetson.camera.source import LIVE, LOST
from clipedge.jetson.display import layout as look
from clipedge.jetson.display.layout import MARGIN, Layout
from clipedge.jetson.display.lettering import Colour, Lettering
from clipedge.jetson.display.scoreboard import TIMELINE_S, TOP, Moment, Snapshot
from clipedge.jetson.sensors import Sensors

FRESH_S = 1.5  # the name of a gesture is coloured for so long
GAP_S = 1.0  # the curve is not drawn across a longer time without scores
NAME, LINE, SMALL = 19.0, 10.0, 8.0  # heights of capitals, in units
NAME_LINES = 2


class Panel:
    """Draws on one canvas after another, all of one layout."""

    def __init__(self, layout: Layout, lettering: Lettering) -> None:
        self._cv2: Any = quiet_cv2()
        self._layout = layout
        self._lettering = lettering
        self._left = layout.width + layout.px(MARGIN)
        self._width = layout.panel_width - 2 * layout.px(MARGIN)
        self._right = self._left + self._width
        height, width, _ = layout.canvas
        self._beside = _ground(layout.height, width - layout.width)
        self._below = _ground(height - layout.height, width)

    def draw(
        self,
        canvas: np.ndarray,
        board: Snapshot,
        sensors: Optional[Sensors],
        hint: str = "",
        playing: bool = False,
    ) -> None:
        """Draw all of it.

        Args:
            canvas: of the layout's shape, BGR; its picture stays as it is.
            board: what to show.
            sensors: None where nobody asks for them: there are no lines for them then.
            hint: small, in the corner.
            playing: the source is a file, which is not called live.
        """
        canvas[: self._layout.height, self._layout.width :] = self._beside
        canvas[self._layout.height :] = self._below
        self._draw_gesture(canvas, board)
        self._draw_scores(canvas, board)
        self._draw_run(canvas, _rows(board, sensors, playing))
        self._text(canvas, hint, 470, SMALL, look.DIM, right=True)
        self._draw_timeline(canvas, board)

    def _draw_gesture(self, canvas: np.ndarray, board: Snapshot) -> None:
        if not board.events:
            self._text(canvas, "no gesture yet", 30, LINE, look.DIM)
            return
        came_s, event = board.events[-1]
        age_s = max(0.0, board.at_s - came_s)
        colour = look.HIT if age_s < FRESH_S else look.TEXT
        px = self._layout.px
        name = event.label.replace("_", " ")  # a place to wrap it
        lines = self._lettering.wrapped(name, px(NAME), self._width, NAME_LINES, bold=True)
        for number, line in enumerate(lines):
            self._text(canvas, line, 38 + 30 * number, NAME, colour, bold=True)
        detail = f"{event.score:.2f}  {event.kind}, {_ago(age_s)}"
        self._text(canvas, detail, 38 + 30 * len(lines) - 6, LINE, look.DIM)

    def _draw_scores(self, canvas: np.ndarray, board: Snapshot) -> None:
        self._rule(canvas, 120)
        if not board.top:
            self._text(canvas, "no scores yet", 144, LINE, look.DIM)
        for row, (label, score) in enumerate(board.top[:TOP]):
            base = 144 + 36 * row
            number = f"{score:.2f}"
            room = self._width - self._lettering.width(number, self._layout.px(LINE)) - 8
            label = self._lettering.fitted(label, self._layout.px(LINE), room)
            self._text(canvas, label, base, LINE, look.TEXT if row == 0 else look.DIM)
            self._text(canvas, number, base, LINE, look.TEXT if row == 0 else look.DIM, right=True)
            self._bar(canvas, base + 8, score, look.BAR if row == 0 else look.OTHER_BAR)

    def _bar(self, canvas: np.ndarray, top: float, share: float, colour: Colour) -> None:
        px = self._layout.px
        end = self._left + round(self._width * min(max(share, 0.0), 1.0))
        canvas[px(top) : px(top + 5), self._left : self._right] = look.TRACK
        canvas[px(top) : px(top + 5), self._left : end] = colour

    def _draw_run(self, canvas: np.ndarray, rows: List[Tuple[str, str, Colour]]) -> None:
        self._rule(canvas, 324)
        for row, (name, value, colour) in enumerate(rows):
            base = 346 + 20 * row
            self._text(canvas, name, base, LINE, look.DIM)
            self._text(canvas, value, base, LINE, colour, right=True)

    def _draw_timeline(self, canvas: np.ndarray, board: Snapshot) -> None:
        px, height = self._layout.px, self._layout.height
        left, right = px(MARGIN), canvas.shape[1] - px(MARGIN)
        top, bottom = height + px(30), height + px(80)
        self._axis(canvas, left, right, top, bottom)
        for moments in _runs(board.timeline):
            self._curve(canvas, moments, board.at_s, (left, right), (top, bottom))
        self._marks(canvas, board, (left, right), (top, bottom))
        base = height + px(96)
        known = any(moment.presence is not None for moment in board.timeline)
        what = "presence of a gesture" if known else "best score"
        names = [f"{TIMELINE_S:.0f} s ago", what, "now"]
        widths = [self._lettering.width(name, px(SMALL)) for name in names]
        places = [left, (left + right - widths[1]) // 2, right - widths[2]]
        for name, x in zip(names, places):
            self._lettering.draw(canvas, name, (x, base), px(SMALL), look.DIM, look.GROUND)

    def _axis(self, canvas: np.ndarray, left: int, right: int, top: int, bottom: int) -> None:
        for second in range(0, int(TIMELINE_S) + 1, 2):
            x = right - int(second / TIMELINE_S * (right - left))
            canvas[top:bottom, max(x - 1, 0) : x] = look.EDGE
        canvas[bottom : bottom + max(self._layout.px(1), 1), left:right] = look.TRACK

    def _curve(
        self,
        canvas: np.ndarray,
        moments: List[Moment],
        now_s: float,
        across: Tuple[int, int],
        down: Tuple[int, int],
    ) -> None:
        values = [_height(moment) for moment in moments]
        ages_s = [now_s - moment.at_s for moment in moments]
        points = np.empty((len(moments) + 2, 2), np.int32)
        points[1:-1, 0] = across[1] - np.array(ages_s) / TIMELINE_S * (across[1] - across[0])
        points[1:-1, 1] = down[1] - np.array(values) * (down[1] - down[0])
        points[0] = points[1, 0], down[1]
        points[-1] = points[-2, 0], down[1]
        self._cv2.fillPoly(canvas, [points], look.CURVE_GROUND)
        thickness = max(1, self._layout.px(1.4))
        self._cv2.polylines(canvas, [points[1:-1]], False, look.CURVE, thickness, self._cv2.LINE_AA)

    def _marks(
        self, canvas: np.ndarray, board: Snapshot, across: Tuple[int, int], down: Tuple[int, int]
    ) -> None:
        px = self._layout.px
        free = across[0]
        for came_s, event in board.events:
            age_s = board.at_s - came_s
            if age_s >= TIMELINE_S:
                continue
            x = across[1] - int(max(age_s, 0.0) / TIMELINE_S * (across[1] - across[0]))
            canvas[down[0] - px(4) : down[1], x - max(px(2), 1) : x] = look.HIT
            # The name ends at the mark: one that has just come has all the room there is.
            room = x - free - px(8)
            name = self._lettering.fitted(event.label, px(SMALL), room)
            if name:
                start = x - self._lettering.width(name, px(SMALL))
                at = (start, down[0] - px(9))
                self._lettering.draw(canvas, name, at, px(SMALL), look.HIT, look.GROUND)
            free = x

    def _rule(self, canvas: np.ndarray, y: float) -> None:
        top = self._layout.px(y)
        canvas[top : top + max(1, self._layout.px(1)), self._left : self._right] = look.EDGE

    def _text(
        self,
        canvas: np.ndarray,
        text: str,
        base: float,
        height: float,
        colour: Colour,
        bold: bool = False,
        right: bool = False,
    ) -> None:
        size = self._layout.px(height)
        x = self._right - self._lettering.width(text, size, bold) if right else self._left
        at = (x, self._layout.px(base))
        self._lettering.draw(canvas, text, at, size, colour, look.GROUND, bold)


def _ground(height: int, width: int) -> np.ndarray:
    """What lies behind the text; copying it is several times quicker than filling."""
    ground = np.empty((height, width, 3), np.uint8)
    ground[:] = look.GROUND
    return ground


def _rows(
    board: Snapshot, sensors: Optional[Sensors], playing: bool
) -> List[Tuple[str, str, Colour]]:
    """The lines of facts: name, value and colour of the value."""
    latency = "-" if board.latency_ms is None else f"{board.latency_ms:.1f} ms"
    state = board.source.state
    shown = "playing" if playing and state == LIVE else state
    rows = [
        ("source", shown, {LIVE: look.HIT, LOST: look.ALARM}.get(state, look.TEXT)),
        ("frames", f"{board.frame_rate_hz:.1f} /s", look.TEXT),
        ("clips", f"{board.inference_rate_hz:.1f} /s", look.TEXT),
        ("latency", latency, look.TEXT),
    ]
    if sensors is not None:
        power = "-" if sensors.power_w is None else f"{sensors.power_w:.1f} W"
        heat = "-" if sensors.temperature_c is None else f"{sensors.temperature_c:.0f} C"
        slowed = bool(sensors.throttled)
        rows.append(("power", power, look.TEXT))
        rows.append(
            ("temperature", f"{heat}, slowed" if slowed else heat,
             look.ALARM if slowed else look.TEXT)
        )  # fmt: skip
    return rows


def _ago(age_s: float) -> str:
    if age_s < 60.0:
        return f"{age_s:.0f} s ago"
    return f"{age_s / 60.0:.0f} min ago" if age_s < 3600.0 else f"{age_s / 3600.0:.0f} h ago"


def _height(moment: Moment) -> float:
    value = moment.score if moment.presence is None else moment.presence
    return min(max(value, 0.0), 1.0)


def _runs(timeline: List[Moment]) -> List[List[Moment]]:
    """Split the timeline where nothing was scored for a while."""
    runs: List[List[Moment]] = []
    for moment in timeline:
        if runs and moment.at_s - runs[-1][-1].at_s <= GAP_S:
            runs[-1].append(moment)
        else:
            runs.append([moment])
    return runs
