"""Kinetics-600: videos by class folder, and a CSV file a part.

    DIR/train/abseiling/0347ZoDXyP0_000095_000105.mp4 ... or DIR/abseiling/...
    DIR/kinetics-600_train.csv kinetics-600_val.csv, or train.csv val.csv

The videos are gathered from the web, and some are always gone: those are left out and counted.
"""

import os
import pathlib
from typing import NamedTuple

from clipedge.jetson.class_folders import VIDEO_SUFFIXES
from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.catalog import Catalog, Part, Recording
from clipedge.trainside.data.labels import check_labels, unknown_label
from clipedge.trainside.data.lists import entries, find_file, read_table, require_some

NAME = "kinetics600"
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
# How copies of the data set call a part: its folder, and the end of its CSV file's name.
PART_NAMES = {"training": ("train", "training"), "validation": ("val", "validate", "validation")}
_CSV_STARTS = ("kinetics-600_", "kinetics_600_", "kinetics600_", "")
_LISTS_FOLDER = "annotations"


class _Line(NamedTuple):
    """A line of a CSV file; ``stem`` is the name of the file that was cut to it."""

    label: str
    video: str
    stem: str
    place: str


def csv_names(part: str) -> list[str]:
    """Return the names a part's CSV file may have."""
    return [f"{start}{name}.csv" for start in _CSV_STARTS for name in PART_NAMES[part]]


def recognise(root: pathlib.Path, annotations: pathlib.Path | None) -> str | None:
    """Return what tells that ``root`` is this data set, or None."""
    for folder in _list_folders(root, annotations):
        for name in csv_names("training"):
            if (folder / name).is_file() and "youtube_id" in _first_line(folder / name):
                return name
    return None


def read_catalog(
    root: pathlib.Path, part: Part, annotations: pathlib.Path | None = None
) -> Catalog:
    """List one part of Kinetics-600; no video is opened.

    The classes are those of the training CSV, in the order of the alphabet, whether their videos
    are there or not: so all copies of the data set number them alike. A class folder may have
    spaces, underscores or nothing between the words of the label. The video of a line is
    ``ID_START_END.mp4`` (six digits each), or ``ID.mp4``, which is taken to be cut already.

    Args:
        root: the folder that holds the class folders, or one folder a part that holds them.
        part: which part.
        annotations: the folder of the CSV files, else ``root`` or ``annotations`` in it.

    Raises:
        UsageError: a CSV file is missing, has a label that is not among the classes, or not one
            of its videos is there.
        ClipedgeError: a CSV file cannot be read.
    """
    folders = _list_folders(root, annotations)
    training = _read_csv(find_file(csv_names("training"), folders), "training")
    labels = tuple(sorted({line.label for line in training}))
    check_labels(labels, "The training CSV")
    lines = training if part in ("all", "training") else []
    if part in ("all", "validation"):
        path = find_file(csv_names("validation"), folders)
        validation = _read_csv(path, "validation")
        _check_known(validation, labels)
        lines = lines + validation
    trained = {line.stem: line.place for line in training} if part == "validation" else {}
    return require_some(_match(lines, labels, part, _find_videos(root, part), trained), root)


def _list_folders(root: pathlib.Path, annotations: pathlib.Path | None) -> list[pathlib.Path]:
    return [annotations] if annotations else [root, root / _LISTS_FOLDER]


def _first_line(path: pathlib.Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline(1000)
    except OSError:
        return ""


def _read_csv(path: pathlib.Path, part: str) -> list[_Line]:
    others = {name for other, names in PART_NAMES.items() if other != part for name in names}
    found = []
    for number, (label, video, start, end, split) in read_table(path, COLUMNS):
        if split.lower() in others:
            raise UsageError(
                f"{path}, line {number}: its split is '{split}'; this file is for {part}."
            )
        try:
            stem = f"{video}_{int(float(start)):06d}_{int(float(end)):06d}"
        except (ValueError, OverflowError):
            raise UsageError(
                f"{path}, line {number}: time_start and time_end are '{start}' and '{end}'; "
                "expected seconds."
            ) from None
        if not label or not video:
            raise UsageError(f"{path}, line {number}: it has no label or no youtube_id.")
        found.append(_Line(label, video, stem, f"{path.name} line {number}"))
    if not found:
        raise UsageError(f"{path} lists no videos.")
    return found


def _check_known(lines: list[_Line], labels: tuple[str, ...]) -> None:
    known = set(labels)
    for line in lines:
        if line.label not in known:
            raise UsageError(unknown_label(line.label, labels, line.place, "the training CSV"))


def _match(
    lines: list[_Line],
    labels: tuple[str, ...],
    part: Part,
    there: dict[tuple[str, str], str],
    trained: dict[str, str],
) -> Catalog:
    """Return what is there of ``lines``, but for what is listed in ``trained`` too, by its stem."""
    targets = {label: target for target, label in enumerate(labels)}
    keys = {label: _key(label) for label in labels}
    recordings, left_out = [], []
    taken: dict[str, str] = {}
    for line in lines:
        # Some copies have no class folders, only one folder a part.
        places = [(key, stem) for stem in (line.stem, line.video) for key in (keys[line.label], "")]
        path = next((there[place] for place in places if place in there), None)
        if path is None:
            left_out.append(f"{line.label}/{line.stem}.mp4, of {line.place}, is not there")
        elif line.stem in trained:
            left_out.append(f"{path}, of {line.place}, is for training in {trained[line.stem]}")
        elif path in taken:
            left_out.append(f"{path}, of {line.place}, is already that of {taken[path]}")
        else:
            taken[path] = line.place
            recordings.append(Recording(pathlib.Path(path), targets[line.label]))
    return Catalog(NAME, part, labels, tuple(recordings), tuple(left_out))


def _find_videos(root: pathlib.Path, part: Part) -> dict[tuple[str, str], str]:
    """Return the paths of all videos by (class folder's key, name without suffix)."""
    own = [name for other, names in PART_NAMES.items() if part in ("all", other) for name in names]
    bases = [root / name for name in own if (root / name).is_dir()] or [root]
    found: dict[tuple[str, str], str] = {}
    for base in bases:
        inside = entries(base)
        _add_videos(found, "", inside)
        for folder in inside:
            if folder.is_dir():
                _add_videos(found, _key(folder.name), entries(base / folder.name))
    return found


def _add_videos(
    found: dict[tuple[str, str], str], key: str, files: list["os.DirEntry[str]"]
) -> None:
    for file in files:
        stem, suffix = os.path.splitext(file.name)  # noqa: PTH122  half a million of them
        if suffix.lower() in VIDEO_SUFFIXES:
            found.setdefault((key, stem), file.path)


def _key(name: str) -> str:
    """Return the letters and digits of a class's name, by which folder and label are one."""
    return "".join(filter(str.isalnum, name.casefold()))
