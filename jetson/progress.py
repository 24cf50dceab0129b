"""A line on stderr that says how far long work is."""

import sys
import time
from typing import Optional, TextIO

CLEAR_LINE = "\r\x1b[K"  # to a terminal: back to the start of the line, and nothing is left on it
_WIDTH = 24  # of the bar, characters
_REDRAW_S = 0.2


class ProgressLine:
    """A bar that redraws itself on a terminal, five times a second; one plain line elsewhere."""

    def __init__(self, title: str, unit: str = "s", stream: Optional[TextIO] = None) -> None:
        self._title = title
        self._unit = unit
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._drawn_s = 0.0

    def __enter__(self) -> "ProgressLine":
        self._stream.write(self._title + ("" if self._live else "\n"))
        self._stream.flush()
        return self

    def __call__(self, done: float, planned: float) -> None:
        """Draw how much of what is planned is done, in the unit."""
        now_s = time.monotonic()
        if not self._live or now_s - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now_s
        share = min(1.0, done / planned) if planned > 0 else 1.0
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        self._stream.write(f"\r{self._title} [{bar}] {done:.0f} of {planned:.0f} {self._unit} ")
        self._stream.flush()

    def show(self, text: str) -> None:
        """Draw a text instead of a bar, where nobody knows how much there is to do."""
        if self._live:
            lead = f"{self._title}: " if self._title else ""
            self._stream.write(f"{CLEAR_LINE}{lead}{text}")
            self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line, for something else to be written."""
        if self._live:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()

    def __exit__(self, *_: object) -> None:
        self.clear()
