"""UCF-101 as it is unpacked: a folder of videos a class, and the lists of three splits.

DIR/UCF-101/Archery/v_Archery_g01_c01.avi ...
DIR/ucfTrainTestlist/classInd.txt trainlist01.txt testlist01.txt ...
"""

import pathlib
import re

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.catalog import Catalog, Part, Recording
from clipedge.trainside.data.labels import check_labels, unknown_label
from clipedge.trainside.data.lists import (
    entries,
    find_file,
    holding,
    read_lines,
    refuse_twice,
    require_some,
    shortened,
)

NAME = "ucf101"
VIDEOS_FOLDER = "UCF-101"
LISTS_FOLDER = "ucfTrainTestlist"
CLASSES_FILE = "classInd.txt"
LISTS = {"training": "trainlist{:02d}.txt", "validation": "testlist{:02d}.txt"}
SPLITS = (1, 2, 3)

_CLASS = re.compile(r"(\d+)\s+(.+)")
# CLASS/FILE, and in the lists for training the class's number.
_VIDEO = re.compile(r"([^/]+)/(.+?)(?:\s+(\d+))?")


def recognise(root: pathlib.Path, annotations: pathlib.Path | None) -> str | None:
    """Return what tells that ``root`` is this data set, or None."""
    if root.resolve().name == VIDEOS_FOLDER:
        return f"the folder's name, {VIDEOS_FOLDER}"
    for name in (VIDEOS_FOLDER, LISTS_FOLDER):
        if (root / name).is_dir():
            return f"{name}/"
    folders = [root, *([annotations, annotations / LISTS_FOLDER] if annotations else [])]
    return CLASSES_FILE if any((at / CLASSES_FILE).is_file() for at in folders) else None


def read_catalog(
    root: pathlib.Path, part: Part, annotations: pathlib.Path | None = None, split: int = 1
) -> Catalog:
    """List one part of a split of UCF-101; no video is opened. The test list is for validation.

    Args:
        root: the folder that holds ``UCF-101``, or that folder itself.
        part: which part.
        annotations: the folder of the lists, or the one that holds it; else ``ucfTrainTestlist``
            in ``root`` or beside the videos' folder.
        split: 1, 2 or 3.

    Raises:
        UsageError: a list or the videos are missing, or a list contradicts another.
        ClipedgeError: a list cannot be read.
    """
    if split not in SPLITS:
        raise UsageError(f"UCF-101 has no split {split}; known: 1, 2, 3.")
    videos = _videos_folder(root)
    near = (annotations,) if annotations else (root, videos.parent)
    folders = list(dict.fromkeys(at for base in near for at in (base / LISTS_FOLDER, base)))
    labels = _read_classes(find_file([CLASSES_FILE], folders))
    listed: list[tuple[str, int]] = []
    seen: dict[str, str] = {}
    for name, file in LISTS.items():
        found = _read_list(find_file([file.format(split)], folders), labels, seen)
        if part in ("all", name):
            listed += found
    there = _there(videos)
    recordings, left_out = [], []
    for video, target in listed:
        place = there.get(video.casefold())
        if place is None:
            left_out.append(f"{videos / video}, of {seen[video]}")
        else:
            recordings.append(Recording(videos / place, target))
    catalog = Catalog(NAME, part, labels, tuple(recordings), tuple(left_out))
    return require_some(catalog, videos)


def _videos_folder(root: pathlib.Path) -> pathlib.Path:
    if (root / VIDEOS_FOLDER).is_dir():
        return root / VIDEOS_FOLDER
    for folder in entries(root):
        if folder.is_dir() and any(
            entry.name.startswith(f"v_{folder.name}_") for entry in entries(root / folder.name)
        ):
            return root
    raise UsageError(
        f"{VIDEOS_FOLDER}/ is missing, the folder of the videos; expected in {root}. "
        f"{holding(root)}"
    )


def _there(videos: pathlib.Path) -> dict[str, str]:
    """Return CLASS/FILE of all that is there, by the same in small letters.

    Copies of the data set differ in capitals: v_HandStandPushups and v_HandstandPushups.
    """
    return {
        f"{folder.name}/{entry.name}".casefold(): f"{folder.name}/{entry.name}"
        for folder in entries(videos)
        if folder.is_dir()
        for entry in entries(videos / folder.name)
    }


def _read_classes(path: pathlib.Path) -> tuple[str, ...]:
    """Return the labels in the order of their numbers, which count from 1."""
    labels: list[str] = []
    for number, line in read_lines(path):
        match = _CLASS.fullmatch(line)
        if match is None or int(match[1]) != len(labels) + 1:
            raise UsageError(
                f"{path}, line {number}: expected '{len(labels) + 1} CLASS', "
                f"got '{shortened(line)}'."
            )
        labels.append(match[2])
    check_labels(labels, str(path))
    return tuple(labels)


def _read_list(
    path: pathlib.Path, labels: tuple[str, ...], seen: dict[str, str]
) -> list[tuple[str, int]]:
    """Return (CLASS/FILE, target) of each line, and note in ``seen`` where each is listed."""
    targets = {label: target for target, label in enumerate(labels)}
    found = []
    for number, line in read_lines(path):
        match = _VIDEO.fullmatch(line)
        if match is None:
            raise UsageError(
                f"{path}, line {number}: expected 'CLASS/VIDEO', got '{shortened(line)}'."
            )
        label, file, class_number = match.groups()
        target = targets.get(label)
        if target is None:
            raise UsageError(unknown_label(label, labels, f"{path}, line {number}", CLASSES_FILE))
        if class_number is not None and int(class_number) != target + 1:
            raise UsageError(
                f"{path}, line {number}: '{label}' has number {class_number}; "
                f"in {CLASSES_FILE} it has {target + 1}."
            )
        video = f"{label}/{file}"
        refuse_twice(seen, video, f"{path.name} line {number}")
        found.append((video, target))
    return found
