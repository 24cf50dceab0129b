"""Where things are on the drawn picture of a run, and in which colours."""

from typing import NamedTuple, Tuple

from clipedge.jetson.display.lettering import Colour

# Heights of the picture: a smaller one is enlarged, so that all fits beside it and stays legible; a
# larger one is shrunk, so that drawing stays cheap and the window fits onto a screen.
LEAST_HEIGHT, MOST_HEIGHT = 480, 720
LEAST_WIDTH, MOST_WIDTH = 240, 1280
PANEL_WIDTH, STRIP_HEIGHT, MARGIN = 272, 104, 16  # in units

GROUND: Colour = (31, 27, 25)
EDGE: Colour = (52, 46, 43)
TRACK: Colour = (60, 53, 49)
TEXT: Colour = (238, 236, 234)
DIM: Colour = (165, 157, 151)
BAR: Colour = (84, 178, 245)
OTHER_BAR: Colour = (140, 128, 120)
HIT: Colour = (122, 214, 120)
CURVE: Colour = (196, 160, 92)
CURVE_GROUND: Colour = (72, 60, 44)
ALARM: Colour = (92, 96, 238)
DARK: Colour = (18, 15, 14)  # behind the picture, and under text on it


class Layout(NamedTuple):
    """Sizes in pixels; a unit is a pixel of a picture 480 high."""

    width: int  # of the picture
    height: int

    @property
    def unit(self) -> float:
        """Pixels that one pixel of the design takes here."""
        return self.height / float(LEAST_HEIGHT)

    @property
    def panel_width(self) -> int:
        """Of what is beside the picture."""
        return self.px(PANEL_WIDTH) // 2 * 2

    @property
    def strip_height(self) -> int:
        """Of what is below both."""
        return self.px(STRIP_HEIGHT) // 2 * 2

    @property
    def canvas(self) -> Tuple[int, int, int]:
        """Shape of the whole; even numbers, as video coders want."""
        return self.height + self.strip_height, self.width + self.panel_width, 3

    def px(self, units: float) -> int:
        """Return the design's pixels as pixels here."""
        return round(units * self.unit)


def layout_for(width: int, height: int) -> Layout:
    """Return the layout for a camera's picture of this size."""
    scale = min(max(height, LEAST_HEIGHT), MOST_HEIGHT) / float(height)
    shown_height = round(height * scale)
    shown_width = min(max(round(width * scale), LEAST_WIDTH), MOST_WIDTH)
    return Layout(shown_width // 2 * 2, shown_height // 2 * 2)


def fitted_size(width: int, height: int, layout: Layout) -> Tuple[int, int]:
    """Return the size at which a picture fits into the layout's without being distorted."""
    scale = min(layout.width / float(width), layout.height / float(height))
    return max(1, round(width * scale)), max(1, round(height * scale))
