"""Text on pictures with OpenCV's own fonts, which know ASCII alone."""

import unicodedata
from typing import Any, Dict, List, Tuple

import numpy as np

from clipedge.jetson.camera import quiet_cv2

Colour = Tuple[int, int, int]  # blue, green, red: 0-255

KEPT_TEXTS = 400  # all are forgotten at more: numbers come and go, a picture shows about 40
UNIT_HEIGHT = 22.0  # pixels of a capital letter at OpenCV's scale 1
ELLIPSIS = "..."
ASCII = frozenset(map(chr, range(128)))
# Letters that have no plain form of their own in Unicode, and the marks of running text.
PLAIN = {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d",
         "Đ": "D", "œ": "oe", "Œ": "OE", "þ": "th", "\u0131": "i", "\u2013": "-", "\u2014": "-",
         "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "°": " "}  # fmt: skip


def ascii_text(text: str) -> str:
    """Return text in ASCII: letters without their accents, ``?`` for what has no such form."""
    if text.isprintable() and all(map(ASCII.__contains__, text)):
        return text
    plain = "".join(PLAIN.get(letter, letter) for letter in text)
    letters = unicodedata.normalize("NFKD", plain)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    printable = "".join(letter if letter.isprintable() else " " for letter in bare)
    return printable.encode("ascii", "replace").decode("ascii")


class Lettering:
    """Draws lines of text on a plain ground; a text that was drawn before is only copied."""

    def __init__(self) -> None:
        self._cv2: Any = quiet_cv2()
        self._kept: Dict[Tuple[Any, ...], np.ndarray] = {}

    def width(self, text: str, height: float, bold: bool = False) -> int:
        """Return how wide a text is, in pixels, whose capitals are ``height`` pixels high."""
        if not text:
            return 0
        font, scale, thickness = self._font(height, bold)
        size = self._cv2.getTextSize(ascii_text(text), font, scale, thickness)[0]
        return int(size[0])

    def fitted(self, text: str, height: float, width: int, bold: bool = False) -> str:
        """Return the text, or as much of it as fits into ``width`` pixels and an ellipsis."""
        text = ascii_text(text)
        if self.width(text, height, bold) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + ELLIPSIS, height, bold) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + ELLIPSIS if low else ""

    def wrapped(
        self, text: str, height: float, width: int, lines: int, bold: bool = False
    ) -> List[str]:
        """Return the text in at most so many lines that fit; the last one ends in an ellipsis."""
        got: List[str] = []
        words = ascii_text(text).split()
        while words and len(got) < lines:
            count = 1
            while count < len(words) and (
                self.width(" ".join(words[: count + 1]), height, bold) <= width
            ):
                count += 1
            if len(got) == lines - 1:
                count = len(words)
            got.append(self.fitted(" ".join(words[:count]), height, width, bold))
            words = words[count:]
        return got

    def draw(
        self,
        canvas: np.ndarray,
        text: str,
        at: Tuple[int, int],
        height: float,
        colour: Colour,
        ground: Colour,
        bold: bool = False,
    ) -> None:
        """Draw a line of text; what lies outside of the canvas is cut off.

        Args:
            canvas: (H, W, 3) uint8, BGR.
            text: any.
            at: left end of its base line: x, y.
            height: of a capital letter, pixels.
            colour: of the letters.
            ground: of what it stands on.
            bold: in a heavier font.
        """
        picture = self._picture(text, height, colour, ground, bold)
        side, above, _ = _margins(height)
        left, top = at[0] - side, at[1] - int(height) - above
        x0, y0 = max(left, 0), max(top, 0)
        x1 = min(left + picture.shape[1], canvas.shape[1])
        y1 = min(top + picture.shape[0], canvas.shape[0])
        if x0 < x1 and y0 < y1:
            canvas[y0:y1, x0:x1] = picture[y0 - top : y1 - top, x0 - left : x1 - left]

    def _picture(
        self, text: str, height: float, colour: Colour, ground: Colour, bold: bool
    ) -> np.ndarray:
        key = (text, height, colour, ground, bold)
        if key in self._kept:
            return self._kept[key]
        font, scale, thickness = self._font(height, bold)
        side, above, below = _margins(height)
        width = self.width(text, height, bold) + 2 * side
        picture = np.empty((above + int(height) + below, width, 3), np.uint8)
        picture[:] = ground
        origin = (side, above + int(height))
        self._cv2.putText(
            picture, ascii_text(text), origin, font, scale, colour, thickness, self._cv2.LINE_AA
        )
        if len(self._kept) >= KEPT_TEXTS:
            self._kept.clear()
        self._kept[key] = picture
        return picture

    def _font(self, height: float, bold: bool) -> Tuple[int, float, int]:
        font = self._cv2.FONT_HERSHEY_DUPLEX if bold else self._cv2.FONT_HERSHEY_SIMPLEX
        return font, height / UNIT_HEIGHT, max(1, round(height / (9.0 if bold else 18.0)))


def _margins(height: float) -> Tuple[int, int, int]:
    """Room for soft edges beside and above the capitals, and below for what hangs there: pixels."""
    return 3, int(height * 0.15) + 2, int(height * 0.45) + 2
