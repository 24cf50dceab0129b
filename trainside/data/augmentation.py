"""How training clips are varied; evaluation varies nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Section 3.2 of the paper: 1, 2^-1/4, 2^-1/2, 2^-3/4, 1/2 of the short side.
PAPER_SCALES = (1.0, 2**-0.25, 2**-0.5, 2**-0.75, 0.5)

Crop = Literal["random", "corner", "center"]


@dataclass(frozen=True)
class Augmentation:
    """What may be drawn for a clip.

    Attributes:
        scales: sides of the square that is cut out, as parts of the picture's short side.
        crop: where: anywhere, at one of four corners and the centre, or at the centre only.
        mirrored: for each label that of the mirror image; None: clips are never mirrored.
        colour: gain and offset of each colour are drawn for each clip.
    """

    scales: tuple[float, ...] = PAPER_SCALES
    crop: Crop = "random"
    mirrored: Mapping[str, str] | None = None
    colour: bool = False
