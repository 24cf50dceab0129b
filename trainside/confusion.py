"""A picture of a confusion matrix: which class is taken for which."""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipedge.jetson.files import PathLike, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

DOTS_PER_INCH = 110
POINTS_PER_INCH = 72
CELL_INCHES = (0.11, 0.9)  # smallest, below which labels cannot be read, and largest
LABEL_POINTS = 10.0
LEAST_NUMBER_POINTS = 5.5  # smaller ones are left out
LABEL_LENGTH = 40
UPRIGHT_FROM = 31  # so many labels stand upright; fewer lean
FAMILY = "DejaVu Sans"  # matplotlib brings it along
NORMAL_WEIGHT = 400
NO_CLIPS = "0.88"  # grey of rows without clips


def draw_confusion(confusion: np.ndarray, labels: Sequence[str], path: PathLike) -> None:
    """Write a PNG, whole or not at all.

    Rows are true classes, in per cent of their clips. Classes that have no clips and that no clip
    is taken for are left out.

    Args:
        confusion: (C, C) numbers of clips of each true class (row) by what it is taken for.
        labels: names of the classes; those that no font here can write become ``class 3``.
        path: of the PNG.

    Raises:
        ClipedgeError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kept = _seen(confusion)
    counts = confusion[np.ix_(kept, kept)]
    families, drawable = _choose_fonts(labels[place] for place in kept)
    names = [_short(labels[place], int(place), drawable) for place in kept]
    low, high = CELL_INCHES
    cell = float(np.clip(1.9 / np.sqrt(len(kept)), low, high))
    figure = Figure(figsize=(cell * len(kept), cell * len(kept)), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))  # labels lie outside, where the picture grows
    _draw_cells(figure, axes, counts, cell)
    _draw_labels(axes, counts, names, cell, families)
    right, clips = int(np.trace(confusion)), int(confusion.sum())
    missing = len(labels) - len(kept)
    more = f"\nnot shown, as they have no clips: {missing} of {len(labels)} classes"
    axes.set_title(
        f"{right} of {clips} clips right{more if missing else ''}", fontsize=LABEL_POINTS, pad=10
    )
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight")


def _seen(confusion: np.ndarray) -> np.ndarray:
    """Return the places of the classes that clips have or are taken for."""
    seen = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return np.flatnonzero(seen) if seen.any() else np.arange(len(confusion))


def _shares(counts: np.ndarray) -> np.ndarray:
    """Divide rows by their sums; rows without clips are NaN."""
    totals = counts.sum(axis=1, keepdims=True).astype(float)
    totals[totals == 0] = np.nan
    shares: np.ndarray = counts / totals
    return shares


def _draw_cells(figure: "Figure", axes: "Axes", counts: np.ndarray, cell: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    shares = _shares(counts)
    colours = colormaps["Blues"].with_extremes(bad=NO_CLIPS)
    # The root, so that five in a hundred can be told from none.
    picture = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5, 0.0, 1.0), aspect="auto")
    side = cell * len(counts)
    bar = axes.inset_axes((1.0 + 0.12 / side, 0.0, 0.15 / side, 1.0))
    figure.colorbar(picture, cax=bar, format=PercentFormatter(1.0), ticks=[0, 0.05, 0.2, 0.5, 1])
    bar.set_ylabel("of the true class's clips", fontsize=LABEL_POINTS)
    bar.tick_params(labelsize=0.8 * LABEL_POINTS)
    points = min(LABEL_POINTS, 0.36 * cell * POINTS_PER_INCH)  # three digits fill most of a cell
    if points < LEAST_NUMBER_POINTS:
        return
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        share = shares[row, column]
        colour = "white" if share > 0.4 else "black"
        text = f"{100 * share:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=points, color=colour)


def _draw_labels(
    axes: "Axes", counts: np.ndarray, names: Sequence[str], cell: float, families: Sequence[str]
) -> None:
    points = min(LABEL_POINTS, 0.8 * cell * POINTS_PER_INCH)
    # A dollar sign in a label would start a formula.
    style: dict[str, Any] = {"fontsize": points, "fontfamily": list(families), "parse_math": False}
    places = range(len(names))
    totals = counts.sum(axis=1)
    rows = [f"{name}  ({total})" for name, total in zip(names, totals, strict=True)]
    axes.set_yticks(places, rows, **style)
    if len(names) < UPRIGHT_FROM:
        axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", **style)
    else:
        axes.set_xticks(places, names, rotation=90, **style)
    axes.set_ylabel("true class (clips)", fontsize=LABEL_POINTS)
    axes.set_xlabel("taken for", fontsize=LABEL_POINTS)


def _choose_fonts(labels: Iterable[str]) -> tuple[list[str], set[str]]:
    """Return fonts for the labels, the first one that has a letter writes it, and what they have.

    The fonts of this machine are opened only for letters that the first font lacks.
    """
    from matplotlib.font_manager import fontManager

    wanted = {letter for label in labels for letter in " ".join(label.split())}
    families = [FAMILY]
    drawable = wanted & _letters(FAMILY, wanted)
    # Of other weights matplotlib would complain; a font of last resort has a box for every letter.
    others = {
        entry.name
        for entry in fontManager.ttflist
        if entry.weight == NORMAL_WEIGHT and entry.style == "normal"
    }
    for family in sorted(others - {FAMILY, "Last Resort High-Efficiency"}):
        missing = wanted - drawable
        if not missing:
            break
        found = _letters(family, missing)
        if found:
            families.append(family)
            drawable |= found
    return families, drawable


def _letters(family: str, wanted: set[str]) -> set[str]:
    """Return which letters a font can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    try:
        font = get_font(findfont(FontProperties(family=[family])))
        font.set_size(LABEL_POINTS, DOTS_PER_INCH)  # fails for pictures of fixed size, as emoji are
        glyphs = font.get_charmap()
    except (OSError, RuntimeError) as error:
        log.debug("The font %s cannot be used: %s", family, error)
        return set()
    return {letter for letter in wanted if ord(letter) in glyphs}


def _short(label: str, place: int, drawable: set[str]) -> str:
    name = " ".join(label.split())
    if not name or not set(name) <= drawable:
        return f"class {place}"
    return name if len(name) <= LABEL_LENGTH else name[: LABEL_LENGTH - 1] + "…"
