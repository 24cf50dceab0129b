"""From what the command line says about data to the catalog of one part of it."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import plain_path
from clipedge.trainside.data import folder, jester, kinetics600, ucf101
from clipedge.trainside.data.catalog import Catalog, Part
from clipedge.trainside.data.lists import entries

log = logging.getLogger(__name__)

LEFT_OUT_SHOWN = 3  # lines of the message; the catalog has all of them
OFFICIAL = {"jester": jester, "ucf101": ucf101, "kinetics600": kinetics600}
LAYOUTS = ("auto", *OFFICIAL, "folder")


class DataChoice(NamedTuple):
    """What the command line says about data.

    Attributes:
        data: the data set's folder.
        layout: how it is laid out: one of ``LAYOUTS``.
        annotations: the folder of the CSV or list files, where they are not in ``data``.
        split: of UCF-101: 1, 2 or 3.
    """

    data: str
    layout: str = "auto"
    annotations: str | None = None
    split: int = 1


def open_catalog(choice: DataChoice, part: Part) -> Catalog:
    """List one part of a data set, and log what was found and what is missing.

    Args:
        choice: the folder and how it is laid out. ``auto`` looks for the names of the official
            layouts, and takes a folder that has none of them for one of classes.
        part: which part. That for validation may be empty in a folder of classes.

    Raises:
        UsageError: there is no such folder or layout, a part of the data set is missing, or its
            lists contradict each other or what is there.
        ClipedgeError: a folder or list cannot be read.
    """
    if choice.layout not in LAYOUTS:
        raise UsageError(f"Unknown layout '{choice.layout}'; {nearest(choice.layout, LAYOUTS)}")
    root = _folder(choice.data)
    annotations = _folder(choice.annotations) if choice.annotations else None
    layout, mark = choice.layout, ""
    if layout == "auto":
        layout, mark = _recognise(root, annotations)
    if choice.split != 1 and layout != "ucf101":
        raise UsageError(
            f"Split {choice.split} was asked for, but {root} is read as '{layout}'; only UCF-101 "
            "has numbered splits (--layout ucf101)."
        )
    catalog = _reader(layout, choice.split)(root, part, annotations)
    if layout == "folder" and catalog.name in OFFICIAL:  # that name says something else
        catalog = dataclasses.replace(catalog, name=f"{catalog.name}_folder")
    log.info("%s: %s%s", root, catalog.summary(), mark)
    _warn_of_missing(catalog)
    return catalog


def _reader(
    layout: str, split: int
) -> Callable[[pathlib.Path, Part, pathlib.Path | None], Catalog]:
    if layout == "ucf101":
        return lambda root, part, annotations: ucf101.read_catalog(root, part, annotations, split)
    readers = {
        "jester": jester.read_catalog,
        "kinetics600": kinetics600.read_catalog,
        "folder": folder.read_catalog,
    }
    return readers[layout]


def _folder(name: str) -> pathlib.Path:
    plain_path(name)
    path = pathlib.Path(name).expanduser()
    entries(path)  # raises where it is not there or cannot be listed
    return path


def _recognise(root: pathlib.Path, annotations: pathlib.Path | None) -> tuple[str, str]:
    """Return the layout and the end of a message that says what it was recognised by."""
    marks = {name: module.recognise(root, annotations) for name, module in OFFICIAL.items()}
    found = {name: mark for name, mark in marks.items() if mark}
    if len(found) > 1:
        told = " and ".join(f"{name} ({mark})" for name, mark in found.items())
        raise UsageError(f"{root} looks like {told}; say which one it is with --layout.")
    for name, mark in found.items():
        return name, f" (read as {name}: found {mark})"
    return "folder", " (read as a folder of classes)"


def _warn_of_missing(catalog: Catalog) -> None:
    if not catalog.left_out:
        return
    shown = catalog.left_out[:LEFT_OUT_SHOWN]
    more = len(catalog.left_out) - len(shown)
    lines = [f"Left out {len(catalog.left_out)} of the listed videos:", *shown]
    log.warning("%s", "\n".join([*lines, f"... and {more} more"] if more else lines))
