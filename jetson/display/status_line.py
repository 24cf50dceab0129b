"""One line on the terminal that shows a run going: rates, latency, and what scores best."""

import time

from clipedge.jetson.camera.source import LIVE
from clipedge.jetson.display.scoreboard import Scoreboard, Snapshot
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.progress import ProgressLine

REDRAW_S = 0.25
WIDTH = 72  # characters; a longer line would wrap, and a wrapped one cannot be redrawn


class StatusLine(Output):
    """Redraws itself while nothing else is written; nothing where stderr is no terminal."""

    name = "the status line"

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._line = ProgressLine("")
        self._drawn_s = 0.0

    def add(self, step: Step) -> None:
        """Redraw, or make room for an event."""
        if step.event is not None:
            self.close()
            return
        now_s = time.monotonic()
        if now_s - self._drawn_s >= REDRAW_S:
            self._drawn_s = now_s
            self._line.show(describe(self._scoreboard.snapshot())[:WIDTH])

    def close(self) -> None:
        """Clear the line."""
        self._line.clear()


def describe(now: Snapshot) -> str:
    """Return a snapshot in a line of text."""
    if now.source.state != LIVE:
        return f"{now.source.state}: {now.source.detail}"
    text = f"{now.frame_rate_hz:.0f} frames/s, {now.inference_rate_hz:.0f} clips/s"
    if now.latency_ms is not None:
        text += f", {now.latency_ms:.1f} ms"
    if now.top:
        label, score = now.top[0]
        text += f"; {label} {score:.2f}"
    return text
