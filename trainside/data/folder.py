"""A folder of classes: DIR/CLASS/VIDEO, where a video is a file or a folder of frames.

Who is for validation: every fifth video of a class, unless ``DIR/split.csv`` says it by file or the
videos lie in ``DIR/training/CLASS`` and ``DIR/validation/CLASS``. Recordings of one person, place
or evening belong on one side, or the accuracy says nothing about others; only those two ways can
hold them together.
"""

import logging
import os
import pathlib

from clipedge.jetson.camera.stills import IMAGE_SUFFIXES
from clipedge.jetson.class_folders import VIDEO_SUFFIXES
from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import plain_path
from clipedge.trainside.data.catalog import Catalog, Part, Recording
from clipedge.trainside.data.labels import check_labels, unknown_label
from clipedge.trainside.data.lists import entries, find_file, holding, read_table, refuse_twice

log = logging.getLogger(__name__)

VALIDATION_EVERY = 5  # of a class's files, in the order of their names
SPLIT_FILE = "split.csv"
SPLIT_COLUMNS = ("file", "part")
SIDES = {"training": ("training", "train"), "validation": ("validation", "val")}
_UNUSED_SIDES = ("test", "testing")

Classes = dict[str, list[pathlib.Path]]


def read_catalog(
    root: pathlib.Path, part: Part, annotations: pathlib.Path | None = None
) -> Catalog:
    """List one part of a folder of classes; no video is opened.

    Args:
        root: the folder; each folder in it is a class, in the order of the alphabet.
        part: all videos, or those for training or validation. Validation may be empty, where each
            class has a single video.
        annotations: the folder of ``split.csv``, else ``root``, where it need not be.

    Raises:
        UsageError: there is no such folder, it holds fewer than two classes with videos, or what
            says who is for validation contradicts what is there.
        ClipedgeError: a folder or ``split.csv`` cannot be read.
    """
    plain_path(root)
    sides = _side_folders(root)
    split = _split_file(root, annotations)
    if sides and split:
        raise UsageError(
            f"{root} has {sides[0].name}/ and {sides[1].name}/, and {split} says it as well; "
            "remove one of the two."
        )
    if sides:
        return _from_sides(root, part, *sides)
    classes = list_classes(root)
    check_labels(list(classes), str(root))
    labels = tuple(classes)
    if split:
        chosen = _choose_listed(root, classes, split, part)
    else:
        chosen = {label: _choose_counted(paths, part) for label, paths in classes.items()}
    return _catalog(root, part, labels, chosen)


def list_classes(root: pathlib.Path) -> Classes:
    """Return the videos of each class folder that has any, in the order of the names.

    Raises:
        UsageError: there is no such folder, it has no videos in class folders, or a name cannot
            be read.
    """
    found: Classes = {}
    for folder in entries(root):
        if not folder.is_dir():
            continue
        videos = [root / folder.name / entry.name for entry in _videos(root / folder.name)]
        for video in videos:
            plain_path(video)
        if videos:
            found[folder.name] = videos
        else:
            log.warning("Left out, as it has no videos: the class '%s'", folder.name)
    if not found:
        raise UsageError(
            f"{root} has no videos in class folders; expected {root.name}/CLASS/VIDEO with at "
            f"least two classes (a video is a file or a folder of frames). {holding(root)}"
        )
    return found


def _videos(folder: pathlib.Path) -> list["os.DirEntry[str]"]:
    return [entry for entry in entries(folder) if _is_video(entry)]


def _is_video(entry: "os.DirEntry[str]") -> bool:
    if not entry.is_dir():
        return entry.name.lower().endswith(VIDEO_SUFFIXES)
    return any(
        file.name.lower().endswith(IMAGE_SUFFIXES) for file in entries(pathlib.Path(entry.path))
    )


def _side_folders(root: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path] | None:
    """Return the folders for training and validation, where there are both.

    Raises:
        UsageError: there are other folders beside them, whose videos belong to neither.
    """
    folders = [entry.name for entry in entries(root) if entry.is_dir()]
    found = [[name for name in names if name in folders] for names in SIDES.values()]
    if not all(found):
        return None
    others = [name for name in folders if [name] not in found and name not in _UNUSED_SIDES]
    if others:
        raise UsageError(
            f"{root} has {found[0][0]}/ and {found[1][0]}/, and beside them {others[0]}/; expected "
            "either these two alone or class folders alone."
        )
    return root / found[0][0], root / found[1][0]


def _from_sides(
    root: pathlib.Path, part: Part, training: pathlib.Path, validation: pathlib.Path
) -> Catalog:
    classes = list_classes(training)
    check_labels(list(classes), str(training))
    labels = tuple(classes)
    held_out = list_classes(validation)
    for label in held_out:
        if label not in classes:
            raise UsageError(unknown_label(label, labels, str(validation), str(training)))
    chosen = {
        label: [
            *(classes[label] if part != "validation" else []),
            *(held_out.get(label, []) if part != "training" else []),
        ]
        for label in labels
    }
    return _catalog(root, part, labels, chosen)


def _choose_counted(paths: list[pathlib.Path], part: Part) -> list[pathlib.Path]:
    return [
        path
        for number, path in enumerate(paths)
        if part == "all" or _is_validation(number, len(paths)) == (part == "validation")
    ]


def _is_validation(number: int, count: int) -> bool:
    if count < VALIDATION_EVERY:
        return count > 1 and number == count - 1
    return number % VALIDATION_EVERY == VALIDATION_EVERY - 1


def _split_file(root: pathlib.Path, annotations: pathlib.Path | None) -> pathlib.Path | None:
    if annotations:
        return find_file([SPLIT_FILE], [annotations])
    return root / SPLIT_FILE if (root / SPLIT_FILE).is_file() else None


def _choose_listed(
    root: pathlib.Path, classes: Classes, split: pathlib.Path, part: Part
) -> Classes:
    """Return the videos that ``split.csv`` has in a part."""
    parts = _read_split(split, classes)
    unlisted = [
        path
        for label, paths in classes.items()
        for path in paths
        if f"{label}/{path.name}" not in parts
    ]
    if unlisted:
        first = unlisted[0].relative_to(root).as_posix()
        raise UsageError(
            f"{split} does not list {len(unlisted)} of the videos in {root}; the first one is "
            f"'{first}'. Add a line for each: {first},training or {first},validation."
        )
    chosen = {
        label: [path for path in paths if part in ("all", parts[f"{label}/{path.name}"])]
        for label, paths in classes.items()
    }
    if part == "training":
        for label, paths in chosen.items():
            if not paths:
                raise UsageError(
                    f"{split}: the class '{label}' has no video for training; give it one or more."
                )
    return chosen


def _read_split(split: pathlib.Path, classes: Classes) -> dict[str, str]:
    """Return the part of each CLASS/NAME that is listed."""
    videos = {f"{label}/{path.name}" for label, paths in classes.items() for path in paths}
    parts: dict[str, str] = {}
    seen: dict[str, str] = {}
    for number, (file, part) in read_table(split, SPLIT_COLUMNS):
        if file not in videos:
            raise UsageError(
                f"{split}, line {number}: there is no video '{file}'; expected CLASS/NAME of one "
                "in the class folders."
            )
        if part not in SIDES:
            raise UsageError(
                f"{split}, line {number}: there is no part '{part}'; {nearest(part, SIDES)}"
            )
        refuse_twice(seen, file, f"{split}, line {number}")
        parts[file] = part
    return parts


def _catalog(root: pathlib.Path, part: Part, labels: tuple[str, ...], chosen: Classes) -> Catalog:
    recordings = tuple(
        Recording(path, target) for target, label in enumerate(labels) for path in chosen[label]
    )
    return Catalog(root.resolve().name, part, labels, recordings)
