"""The list files of data sets, and the folders they lie in: found, read, and told of when wrong."""

import csv
import io
import os
import pathlib
from collections.abc import Iterator, Sequence

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import readable_os_error
from clipedge.trainside.data.catalog import Catalog

NAMES_SHOWN = 8  # of what a folder holds, in a message

Row = tuple[int, list[str]]


def entries(folder: pathlib.Path) -> list["os.DirEntry[str]"]:
    """Return what a folder holds, hidden entries apart, in the order of the names.

    An entry knows whether it is a folder without a further look at the disk, which counts where a
    data set has a hundred thousand of them.

    Raises:
        UsageError: there is no such folder.
        ClipedgeError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            seen = [entry for entry in found if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise UsageError(f"{folder}: there is no such folder.") from None
    except NotADirectoryError:
        raise UsageError(f"{folder}: it is a file; a folder is needed.") from None
    except OSError as error:
        raise readable_os_error(error, folder) from None
    return sorted(seen, key=lambda entry: entry.name)


def holding(folder: pathlib.Path) -> str:
    """Return the end of a message: what a folder holds, as ``DIR holds a/, b.csv``."""
    if not folder.is_dir():
        return f"{folder} is not there."
    names = [entry.name + "/" * entry.is_dir() for entry in entries(folder)]
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN]) or "nothing"
    return f"{folder} holds {shown}" + (f" and {more} more." if more > 0 else ".")


def find_file(names: Sequence[str], folders: Sequence[pathlib.Path]) -> pathlib.Path:
    """Return the first file that is there of these names, in the first folder that has one.

    Raises:
        UsageError: none is there; the message says where each was expected.
    """
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    places = " or ".join(str(folder) for folder in folders)
    raise UsageError(
        f"{' or '.join(names)} is missing; expected in {places}. {holding(folders[0])} "
        "Give the folder of the lists with --annotations, where it is another one."
    )


def read_lines(path: pathlib.Path) -> list[tuple[int, str]]:
    """Read the lines of a text, without the empty ones: (number from 1, stripped text).

    Raises:
        ClipedgeError: it cannot be read as UTF-8 text, or it is empty.
    """
    lines = enumerate(_text(path).split("\n"), start=1)
    found = [(number, line.strip()) for number, line in lines if line.strip()]
    if not found:
        raise ClipedgeError(f"{path} is empty.")
    return found


def read_rows(path: pathlib.Path, delimiter: str) -> Iterator[Row]:
    """Read a CSV file's rows, without the empty ones: (number of the line, stripped fields).

    Raises:
        ClipedgeError: it is no CSV file in UTF-8, or it is empty.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    count = 0
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if any(stripped):
                count += 1
                yield reader.line_num, stripped
    except csv.Error as error:
        message = f"{path}, line {reader.line_num}: this is not CSV text ({error})."
        raise ClipedgeError(message) from None
    if not count:
        raise ClipedgeError(f"{path} is empty.")


def read_table(path: pathlib.Path, columns: Sequence[str]) -> Iterator[Row]:
    """Read the named columns of a CSV file whose first line names its columns.

    Raises:
        UsageError: a column is missing, or a row is shorter than the first line.
        ClipedgeError: it is no CSV file in UTF-8, or it is empty.
    """
    rows = read_rows(path, ",")
    _, header = next(rows)
    known = [name.lower() for name in header]
    missing = [column for column in columns if column not in known]
    if missing:
        raise UsageError(
            f"{path} has no column {' or '.join(missing)}; its first line is "
            f"'{shortened(','.join(header))}'. Expected the columns {','.join(columns)}."
        )
    places = [known.index(column) for column in columns]
    for number, fields in rows:
        if len(fields) <= max(places):
            raise UsageError(
                f"{path}, line {number}: {len(fields)} fields; the first line has {len(header)}."
            )
        yield number, [fields[place] for place in places]


def shortened(text: str, most: int = 80) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= most else text[: most - 3] + "..."


def refuse_twice(seen: dict[str, str], video: str, place: str) -> None:
    """Remember where a video is listed; raise UsageError where it was listed before."""
    if video in seen:
        raise UsageError(
            f"{place}: '{video}' is listed a second time; it is already in {seen[video]}. "
            "A video belongs to one class and one part: remove one of the lines."
        )
    seen[video] = place


def require_some(catalog: Catalog, folder: pathlib.Path) -> Catalog:
    """Return the catalog, or raise UsageError where not one of the listed videos is there."""
    if not catalog.recordings:
        first = f" The first one: {catalog.left_out[0]}." if catalog.left_out else ""
        raise UsageError(
            f"Not one of the {len(catalog.left_out)} listed videos of {catalog.name}, "
            f"{catalog.part}, is there.{first} {holding(folder)}"
        )
    return catalog


def _text(path: pathlib.Path) -> str:
    """Read UTF-8, with or without a byte order mark, which some editors put first."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise readable_os_error(error, path) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        message = f"{path}, line {number}: this is not UTF-8 text. Save the file as UTF-8."
        raise ClipedgeError(message) from None
