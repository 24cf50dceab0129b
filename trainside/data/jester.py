"""20BN-Jester v1 as it is unpacked: a folder of JPEG frames a video, and semicolon CSVs.

    DIR/20bn-jester-v1/34870/00001.jpg ...
    DIR/jester-v1-labels.csv jester-v1-train.csv jester-v1-validation.csv

The test list has no labels and is not read.
"""

import os
import pathlib

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.catalog import Catalog, Part, Recording
from clipedge.trainside.data.labels import check_labels, unknown_label
from clipedge.trainside.data.lists import (
    entries,
    find_file,
    holding,
    read_lines,
    read_rows,
    refuse_twice,
    require_some,
    shortened,
)

NAME = "jester"
FRAMES_FOLDER = "20bn-jester-v1"
LABELS_FILE = "jester-v1-labels.csv"
LISTS = {"training": "jester-v1-train.csv", "validation": "jester-v1-validation.csv"}
FRAME_RATE_HZ = 12.0  # the data set's description


def recognise(root: pathlib.Path, annotations: pathlib.Path | None) -> str | None:
    """Return what tells that ``root`` is this data set, or None."""
    if root.resolve().name == FRAMES_FOLDER:
        return f"the folder's name, {FRAMES_FOLDER}"
    if (root / FRAMES_FOLDER).is_dir():
        return f"{FRAMES_FOLDER}/"
    names = (LABELS_FILE, *LISTS.values())
    folders = [root, *([annotations] if annotations else [])]
    return next((name for name in names for at in folders if (at / name).is_file()), None)


def read_catalog(
    root: pathlib.Path, part: Part, annotations: pathlib.Path | None = None
) -> Catalog:
    """List one part of Jester; no picture is opened, and no folder of one video.

    Args:
        root: the folder that holds the frames' folder, or the frames' folder itself.
        part: which part.
        annotations: the folder of the CSV files; else they are in ``root`` or, where that is the
            frames' folder, beside it.

    Raises:
        UsageError: a list or the frames are missing, or a list contradicts another.
        ClipedgeError: a list cannot be read.
    """
    frames = _frames_folder(root)
    folders = [annotations] if annotations else list(dict.fromkeys((root, frames, frames.parent)))
    labels = _read_labels(find_file([LABELS_FILE], folders))
    listed: list[tuple[str, int]] = []
    seen: dict[str, str] = {}
    for name, file in LISTS.items():
        videos = _read_list(find_file([file], folders), labels, seen)
        if part in ("all", name):
            listed += videos
    there = {entry.name for entry in entries(frames) if entry.is_dir()}
    base = str(frames)
    catalog = Catalog(
        NAME,
        part,
        labels,
        tuple(
            Recording(pathlib.Path(f"{base}{os.sep}{video}"), target, FRAME_RATE_HZ)
            for video, target in listed
            if video in there
        ),
        tuple(f"{frames / video}, of {seen[video]}" for video, _ in listed if video not in there),
    )
    return require_some(catalog, frames)


def _frames_folder(root: pathlib.Path) -> pathlib.Path:
    if (root / FRAMES_FOLDER).is_dir():
        return root / FRAMES_FOLDER
    # A copy may have another name; its folders have numbers for names.
    if root.resolve().name == FRAMES_FOLDER or any(
        entry.name.isdigit() and entry.is_dir() for entry in entries(root)
    ):
        return root
    raise UsageError(
        f"{FRAMES_FOLDER}/ is missing, the folder of frames; expected in {root}. {holding(root)}"
    )


def _read_labels(path: pathlib.Path) -> tuple[str, ...]:
    """Return the labels in the order of the released weights' logits: the alphabet's."""
    labels = tuple(sorted(line for _, line in read_lines(path)))
    check_labels(labels, str(path))
    return labels


def _read_list(
    path: pathlib.Path, labels: tuple[str, ...], seen: dict[str, str]
) -> list[tuple[str, int]]:
    """Return (video, target) of each line, and note in ``seen`` where each is listed."""
    targets = {label: target for target, label in enumerate(labels)}
    found = []
    for number, fields in read_rows(path, ";"):
        if len(fields) != 2:
            line = shortened(";".join(fields))
            raise UsageError(f"{path}, line {number}: expected 'ID;LABEL', got '{line}'.")
        video, label = fields
        target = targets.get(label)
        if target is None:
            raise UsageError(unknown_label(label, labels, f"{path}, line {number}", LABELS_FILE))
        refuse_twice(seen, video, f"{path.name} line {number}")
        found.append((video, target))
    return found
