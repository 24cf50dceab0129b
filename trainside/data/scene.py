"""What is around the hand: style, background, person, clutter, light and camera.

Training and validation styles are disjoint. Skin tones and kinds of background are two separate
lists. Each range of numbers (size, speed, noise, light ...) is cut into ten bands: training draws
from the even ones, validation from the odd ones (``draw_in_bands``).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipedge.trainside.data.backgrounds import BACKGROUNDS, PAINTERS
from clipedge.trainside.data.hand import HandLook

Style = Literal["training", "validation"]
STYLES: tuple[Style, ...] = ("training", "validation")
BANDS = 10
_MARGIN = 0.08  # of background around the picture, for the camera's shake

# RGB, 0-255, from light to dark; neighbours lie in different lists.
SKIN_TONES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "training": (
        (255, 219, 190),
        (233, 188, 153),
        (214, 160, 122),
        (181, 126, 88),
        (141, 91, 62),
        (98, 62, 44),
        (240, 184, 160),
    ),
    "validation": (
        (244, 205, 172),
        (224, 172, 135),
        (198, 143, 104),
        (160, 108, 75),
        (118, 76, 53),
    ),
}


@dataclass(frozen=True)
class SceneLook:
    """All that differs between two scenes; drawn by ``draw_look``.

    Attributes:
        hand: how the hand looks.
        speed: of the gestures, relative to the usual.
        background: name of its kind, one of BACKGROUNDS[style].
        contrast: of all behind the hand, which is out of focus and less lit; 1 is as painted.
        light: factor on all pixels.
        flicker: of the light, relative.
        noise: of the sensor, standard deviation in grey levels.
        blur: of the lens, standard deviation in sides of the centre square; 0 for none.
        shake: of the camera, in sides of the centre square.
        person: whether somebody sits behind the hand.
        clutter: number of things that move behind the hand.
        rest_in_view: whether the resting hand can be seen.
    """

    hand: HandLook
    speed: float
    background: str
    contrast: float
    light: float
    flicker: float
    noise: float
    blur: float
    shake: float
    person: bool
    clutter: int
    rest_in_view: bool


def draw_in_bands(rng: np.random.Generator, low: float, high: float, style: Style) -> float:
    """Draw a number from ``low`` to ``high``, from the bands that belong to ``style``."""
    band = 2 * int(rng.integers(BANDS // 2)) + (style == "validation")
    return low + (high - low) * (band + float(rng.uniform())) / BANDS


def draw_look(rng: np.random.Generator, style: Style) -> SceneLook:
    """Draw one scene of ``style``."""

    def number(low: float, high: float) -> float:
        return draw_in_bands(rng, low, high, style)

    tones = SKIN_TONES[style]
    skin = np.array(tones[rng.integers(len(tones))]) * rng.uniform(0.96, 1.04)
    hand = HandLook(
        palm_length=number(0.20, 0.27),
        skin=_rgb(np.minimum(skin, 255.0)),
        sleeve=_rgb(rng.uniform(20, 235, 3)),
        sleeve_from=number(0.12, 0.7),
        thickness=number(0.88, 1.12),
        elbow=(number(-0.42, -0.05), number(-0.85, -0.65)),
        left=bool(rng.integers(2)),
    )
    return SceneLook(
        hand=hand,
        speed=number(0.85, 1.2),
        background=str(rng.choice(list(BACKGROUNDS[style]))),
        contrast=number(0.25, 0.65),
        light=number(0.72, 1.12),
        flicker=number(0.0, 0.03),
        noise=number(1.0, 6.0),
        blur=number(0.003, 0.009) if rng.uniform() < 0.3 else 0.0,
        shake=number(0.0, 0.008) if rng.uniform() < 0.5 else 0.0,
        person=bool(rng.uniform() < 0.4),
        clutter=int(rng.integers(0, 3)),
        rest_in_view=bool(rng.uniform() < 0.2),
    )


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


class Scene:
    """A place that can be rendered at any time: everything but the hand, and then the camera."""

    def __init__(self, look: SceneLook, rng: np.random.Generator, height: int, width: int) -> None:
        import cv2

        self._cv2 = cv2
        self._look = look
        self._height, self._width = height, width
        self._side = min(height, width)
        self._margin = int(np.ceil(_MARGIN * self._side))
        size = (height + 2 * self._margin, width + 2 * self._margin)
        painted = PAINTERS[look.background](rng, *size)
        self._mean = painted.mean(axis=(0, 1))
        painted = self._fade(cv2.GaussianBlur(painted, (0, 0), 0.008 * self._side))
        self._background = np.clip(painted, 0, 255).astype(np.uint8)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, 12)
        self._rates = rng.uniform(0.5, 2.5, 12)  # rad/s
        self._places = rng.uniform(-0.5, 0.5, (8, 2))
        self._colors = self._fade(rng.uniform(20, 235, (8, 3)))
        self._round = rng.uniform(size=8) < 0.5
        tile = rng.normal(0.0, look.noise, (height + 16, width + 16, 3))
        self._noise = np.rint(tile).astype(np.int16)
        self._rng = rng

    def _fade(self, colors: np.ndarray) -> np.ndarray:
        """Bring colours (..., 3) nearer to the background's mean."""
        faded: np.ndarray = self._mean + self._look.contrast * (colors - self._mean)
        return faded

    def camera_shift(self, times_s: np.ndarray) -> np.ndarray:
        """(T, 2) of the picture, x right and y down, in sides of the centre square."""
        wave = np.sin(self._rates[:4] * 3.0 * times_s[:, None] + self._phases[:4])
        shift: np.ndarray = self._look.shake * (wave[:, :2] + 0.5 * wave[:, 2:] ** 3)
        return shift

    def paint(self, time_s: float, shift: np.ndarray) -> np.ndarray:
        """Return what is behind the hand, (H, W, 3) uint8, RGB."""
        moved = shift * self._side
        center = (
            self._margin + self._width / 2 - 0.5 - moved[0],
            self._margin + self._height / 2 - 0.5 - moved[1],
        )
        size = (self._width, self._height)
        image: np.ndarray = self._cv2.getRectSubPix(self._background, size, center)
        for thing in range(self._look.clutter):
            self._draw_clutter(image, thing, time_s)
        if self._look.person:
            self._draw_person(image, time_s, shift)
        return image

    def photograph(self, image: np.ndarray, time_s: float) -> np.ndarray:
        """Return ``image`` as the camera records it: light, blur and noise."""
        look, cv2 = self._look, self._cv2
        if look.blur > 0.0:
            image = cv2.GaussianBlur(image, (0, 0), max(look.blur * self._side, 0.3))
        flicker = np.sin(9.0 * self._rates[4] * time_s + self._phases[4])
        gain = look.light * (1.0 + look.flicker * flicker)
        top, left = self._rng.integers(0, 16, 2)
        noise = self._noise[top : top + self._height, left : left + self._width]
        lit = cv2.convertScaleAbs(image, alpha=gain)
        result: np.ndarray = cv2.add(lit, noise, dtype=cv2.CV_8U)
        return result

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        """Fixed-point pixel (4 fractional bits) of a point in the pose's units."""
        px = (x * self._side + self._width / 2 - 0.5) * 16
        py = (-y * self._side + self._height / 2 - 0.5) * 16
        return round(px), round(py)

    def _draw_clutter(self, image: np.ndarray, thing: int, time_s: float) -> None:
        angle = self._rates[5 + thing] * time_s + self._phases[5 + thing]
        x = self._places[thing, 0] * 1.2 + 0.25 * np.sin(angle)
        y = self._places[thing, 1] + 0.15 * np.cos(1.3 * angle)
        radius = 0.04 + 0.06 * abs(self._places[thing + 3, 0])
        color = tuple(self._colors[thing].tolist())
        if self._round[thing]:
            center, length = self._pixel(x, y), round(radius * self._side * 16)
            self._cv2.circle(image, center, length, color, -1, self._cv2.LINE_AA, 4)
        else:
            corners = (self._pixel(x - radius, y - radius), self._pixel(x + radius, y + radius))
            self._cv2.rectangle(image, *corners, color, -1, self._cv2.LINE_AA, 4)

    def _draw_person(self, image: np.ndarray, time_s: float, shift: np.ndarray) -> None:
        """Head, neck and shoulders that sway a little."""
        cv2 = self._cv2
        sway = 0.015 * np.sin(self._rates[8] * time_s + self._phases[8])
        x, y = 0.25 * self._places[6, 0] + sway + shift[0], 0.22 - shift[1]
        x += -0.12 if self._look.hand.left else 0.12
        size = 0.85 + 0.5 * abs(self._places[7, 0])
        skin = tuple(self._fade(np.array(self._look.hand.skin)).tolist())
        cloth = tuple(self._fade(np.array(self._look.hand.sleeve)).tolist())
        hair = tuple((0.35 * self._colors[5]).tolist())

        def ellipse(dx: float, dy: float, width: float, height: float, color: object) -> None:
            axes = (round(width * size * self._side * 16), round(height * size * self._side * 16))
            center = self._pixel(x + dx * size, y + dy * size)
            cv2.ellipse(image, center, axes, 0, 0, 360, color, -1, cv2.LINE_AA, 4)

        ellipse(0.0, -0.55, 0.33, 0.33, cloth)
        ellipse(0.0, -0.20, 0.06, 0.13, skin)
        ellipse(0.0, 0.03, 0.125, 0.155, hair)
        ellipse(0.0, -0.02, 0.105, 0.135, skin)
        for dx in (-0.042, 0.042):
            ellipse(dx, 0.01, 0.016, 0.010, hair)
        ellipse(0.0, -0.085, 0.035, 0.010, tuple(0.7 * channel for channel in skin))
