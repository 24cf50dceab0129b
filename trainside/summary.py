"""train-clips summary: every model's size and cost beside the paper's Tables 7 and 8."""

import argparse
import sys
from typing import Any, NamedTuple

from clipedge.jetson import paper
from clipedge.jetson.command_line import DONE, format_table
from clipedge.jetson.errors import UsageError
from clipedge.trainside.complexity import Complexity, measure
from clipedge.trainside.models import list_models, widths

AGREES, NEAR, DIFFERS, UNKNOWN = "=", "~", "!", "-"
NEAR_PERCENT = 0.3
HEADER = (
    "model",
    *("layers", "paper"),
    *("nonlinear", "paper"),
    *("skips", "paper"),
    *("params M", "paper"),
    *("MFLOPs", "paper"),
)


class Variant(NamedTuple):
    """What the paper's row of a model counts, where that is not our default model."""

    options: dict[str, Any]
    num_classes: int
    note: str


VARIANTS = {
    "resnet50": Variant(
        {"shortcut": "A"}, paper.CLASSES, "shortcut A (the released weights have B)"
    ),
    "resnet101": Variant(
        {"shortcut": "A"}, paper.CLASSES, "shortcut A (the released weights have B)"
    ),
    "i3d": Variant({}, 400, "400 classes, 64 frames of 224 pixels"),
}
AS_IN_PAPER = Variant({}, paper.CLASSES, "")


class Row(NamedTuple):
    """One model and width with its counts."""

    model: str
    width: float | None
    counted: Complexity
    note: str  # what was counted, where that is not the default model

    @property
    def label(self) -> str:
        """``shufflenetv1 2.0x``, or the model's name alone."""
        return self.model if self.width is None else f"{self.model} {self.width}x"


def run(arguments: argparse.Namespace) -> int:
    """Print the table for the models that were asked for."""
    names = choose(arguments.model, arguments.width, arguments.all)
    rows = [count(name, width, arguments.classes) for name, width in names]
    lines = [table_text(rows, arguments.classes), "", *legend(rows, arguments.classes)]
    sys.stdout.write("\n".join(lines) + "\n")
    return DONE


def choose(
    model: str | None, width: float | None, everything: bool
) -> list[tuple[str, float | None]]:
    """Return models and widths: one model's, the paper's rows, or these and all others.

    Raises:
        UsageError: the model is unknown, or a width or --all does not go with it.
    """
    if model is None:
        if width is not None:
            raise UsageError(f"--width {width:g} needs --model; every row is printed without it.")
        rows = [(row.model, row.width) for row in paper.TABLE_8]
        known = [(name, each) for name in list_models() for each in widths(name) or (None,)]
        return rows + [pair for pair in known if everything and pair not in rows]
    if everything:
        raise UsageError("--all and --model do not go together; leave one of them out.")
    if width is not None:
        return [(model, width)]
    return [(model, each) for each in widths(model) or (None,)]


def count(model: str, width: float | None, num_classes: int = paper.CLASSES) -> Row:
    """Count a model as the paper's row does; another number of classes counts the default model.

    Raises:
        UsageError: there is no such model or width.
    """
    variant = VARIANTS.get(model, AS_IN_PAPER)
    if num_classes == paper.CLASSES:
        counted = measure(model, width, variant.num_classes, **variant.options)
        return Row(model, width, counted, variant.note)
    return Row(model, width, measure(model, width, num_classes), "")


def table_text(rows: list[Row], num_classes: int = paper.CLASSES) -> str:
    """Return the table; every column of ours is followed by the paper's with a mark."""
    comparable = num_classes == paper.CLASSES
    return format_table(HEADER, [_cells(row, comparable) for row in rows])


def legend(rows: list[Row], num_classes: int = paper.CLASSES) -> list[str]:
    """Return the lines that explain marks and notes, those that these rows need."""
    if num_classes != paper.CLASSES:
        return [
            f"Heads of {num_classes} classes; the paper counts {paper.CLASSES}, so parameters and "
            "MFLOPs are not marked."
        ]
    marks = f"{AGREES} agrees after rounding, {NEAR} within {NEAR_PERCENT} %, {DIFFERS} differs"
    lines = [f"{num_classes} classes. Beside the paper's Tables 7 and 8: {marks}."]
    lines += [f"{row.label}: {row.note}, as the paper counts it." for row in rows if row.note]
    return lines


def _cells(row: Row, comparable: bool) -> list[str]:
    counted = row.counted
    table_7 = paper.TABLE_7.get(row.model)
    table_8 = paper.published(row.model, row.width)
    cells = [row.label]
    for index, ours in enumerate(counted.layers):
        cells += _pair(ours, table_7[index] if table_7 else None, 0, True)
    cells += _pair(
        counted.params_millions, table_8.params_millions if table_8 else None, 2, comparable
    )
    cells += _pair(counted.mflops, table_8.mflops if table_8 else None, 0, comparable)
    return cells


def _pair(ours: float, published: float | None, decimals: int, comparable: bool) -> list[str]:
    if published is None:
        return [f"{ours:.{decimals}f}", UNKNOWN]
    text = f"{published:.{decimals}f}"
    if not comparable:
        return [f"{ours:.{decimals}f}", text]
    return [f"{ours:.{decimals}f}", f"{mark(ours, published, decimals)} {text}"]


def mark(ours: float, published: float, decimals: int) -> str:
    """Return the mark for a figure of ours beside one printed with so many decimals."""
    if round(ours, decimals) == round(published, decimals):
        return AGREES
    return NEAR if abs(ours - published) <= published * NEAR_PERCENT / 100 else DIFFERS
