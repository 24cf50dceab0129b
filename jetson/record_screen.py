"""What the person before the camera sees and presses: a terminal and, where one is, a window."""

import contextlib
import os
import pathlib
import re
import select
import shutil
import sys
import time
from typing import Any, Iterator, List, Optional

import numpy as np

from clipedge.jetson.camera import quiet_cv2
from clipedge.jetson.closing import Closing
from clipedge.jetson.display.gui import ENTER, GuiWindow, why_no_window
from clipedge.jetson.errors import UsageError
from clipedge.jetson.take import SHEET_PICTURES, Take

QUIT = "q"
BELL = "\a"
TITLE = "gesture-record"
SEQUENCE = re.compile("\x1b(\\[[0-9;]*.|O.|)")  # what arrow and function keys send
NO_TERMINAL = "There is no terminal to ask on whether a clip shall be kept; --yes keeps them all."
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


class Terminal:
    """Lines and single keys; made by ``open_terminal``."""

    def __init__(self, keys_from: Optional[int]) -> None:
        """Write on stderr; read keys from this file descriptor, or none at all."""
        self._keys_from = keys_from
        self._pending: List[str] = []
        self._live = sys.stderr.isatty()
        self._shown = ""

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self.status("")
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def status(self, text: str) -> None:
        """Show this on a terminal's last line until the next text comes; nothing elsewhere."""
        if self._live and text != self._shown:
            self._shown = text
            # A longer line would not be redrawn. A serial console says that it has no columns.
            columns = shutil.get_terminal_size().columns or 80
            sys.stderr.write("\r\x1b[K" + text[: columns - 1])
            sys.stderr.flush()

    def ring(self) -> None:
        """Make a terminal sound: the person may stand away from it."""
        if self._live:
            sys.stderr.write(BELL)
            sys.stderr.flush()

    def key(self) -> Optional[str]:
        """Return a key that was pressed, in lower case, or None; it does not wait."""
        if self._pending:
            return self._pending.pop(0)
        if self._keys_from is None or not select.select([self._keys_from], [], [], 0)[0]:
            return None
        try:
            typed = os.read(self._keys_from, 64).decode("utf-8", "replace")
        except OSError:
            typed = ""
        if not typed:  # the terminal is gone
            raise KeyboardInterrupt
        self._pending = list(SEQUENCE.sub("", typed).replace("\r", ENTER).lower())
        return self._pending.pop(0) if self._pending else None


@contextlib.contextmanager
def open_terminal(ask: bool) -> Iterator[Terminal]:
    """Take single keys from the terminal, without showing them, until the end of the block.

    Args:
        ask: False where no question will be asked: no key is read then.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if not ask:
        yield Terminal(None)
        return
    try:
        import termios
        import tty
    except ImportError:  # not a Unix
        raise UsageError(NO_TERMINAL) from None
    try:
        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (AttributeError, ValueError, OSError, termios.error):
        raise UsageError(NO_TERMINAL) from None
    if not sys.stderr.isatty():
        raise UsageError(NO_TERMINAL)
    try:
        tty.setcbreak(number)
        yield Terminal(number)
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(number, termios.TCSADRAIN, before)


class Window(Closing):
    """The picture as in a mirror, with a line of text below."""

    def __init__(self) -> None:
        self._cv2: Any = quiet_cv2()
        self._window = GuiWindow(TITLE)
        self._pressed: List[str] = []

    def show(self, image: np.ndarray, text: str, wait_ms: int = 1) -> None:
        """Draw a picture, (H, W, 3) uint8 RGB, for at least ``wait_ms``; note a key pressed."""
        cv2 = self._cv2
        picture = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)[:, ::-1])
        height, width = picture.shape[:2]
        font = cv2.FONT_HERSHEY_SIMPLEX
        text_width = cv2.getTextSize(text, font, 1.0, 2)[0][0]
        scale = min(height / 400.0, 0.95 * width / max(text_width, 1))
        at = (int(0.02 * width), height - int(0.03 * height))
        for colour, thickness in ((BLACK, 5), (WHITE, 2)):  # legible on any picture
            lines = max(1, round(thickness * scale))
            cv2.putText(picture, text, at, font, scale, colour, lines, cv2.LINE_AA)
        self._window.show(picture)
        key = self._window.key(wait_ms)
        if key is not None:
            self._pressed.append(key)

    def key(self) -> Optional[str]:
        """Return a key that was pressed in the window, or None."""
        return self._pressed.pop(0) if self._pressed else None

    def close(self) -> None:
        """Close the window."""
        self._window.close()


class ContactSheet(Closing):
    """Pictures of the last take in one file, for where no window is; it goes at the end."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._path: Optional[pathlib.Path] = None

    def write(self, take: Take) -> pathlib.Path:
        """Write the pictures of a take in place of those before; return the file's path."""
        if self._path is None:
            number = 1
            while (self._folder / f"review_{number}.png").exists():
                number += 1
            self._path = self._folder / f"review_{number}.png"
        take.save_sheet(self._path)
        return self._path

    def close(self) -> None:
        """Delete the file."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path = None


class Screen:
    """Terminal and window as one."""

    def __init__(self, terminal: Terminal, window: Optional[Window], sheet: ContactSheet) -> None:
        self.terminal = terminal
        self._window = window
        self._sheet = sheet

    def show(self, image: np.ndarray, text: str) -> None:
        """Show the camera's picture, (H, W, 3) uint8 RGB, and the text that goes with it."""
        self.terminal.status(text)
        if self._window is not None:
            self._window.show(image, text)

    def key(self) -> Optional[str]:
        """Return a key that was pressed in either, or None."""
        key = self.terminal.key()
        if key is None and self._window is not None:
            key = self._window.key()
        return key

    def forget_keys(self) -> None:
        """Drop what was pressed before a question was asked."""
        while self.key() is not None:
            pass

    def play(self, take: Take) -> None:
        """Show a take in the window at its own pace, until a key; with no window, write a sheet."""
        if self._window is None:
            self.terminal.say(f"  {SHEET_PICTURES} pictures of it: {self._sheet.write(take)}")
            return
        began_s = time.monotonic()
        for number, picture in enumerate(take.pictures()):
            due_s = began_s + (number + 1) / take.rate_hz
            wait_ms = max(1, round((due_s - time.monotonic()) * 1000))
            self._window.show(picture, "playing back", wait_ms)
            if self.key() is not None:
                return


@contextlib.contextmanager
def open_window(choice: str) -> Iterator[Optional[Window]]:
    """Open the window, where it is wanted and possible.

    Args:
        choice: ``auto``: where it is possible; ``window``: it must be; ``none``.

    Raises:
        UsageError: a window must be and cannot.
    """
    problem = None if choice == "none" else why_no_window()
    if choice == "window" and problem:
        raise UsageError(f"--preview window: {problem}. Leave it out to record without.")
    if choice == "none" or problem:
        yield None
        return
    with Window() as window:
        yield window
