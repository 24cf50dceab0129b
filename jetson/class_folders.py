"""A folder of classes as recordings go into it: DIR/<class>/<class>_0001.avi and so on.

``train-clips fit --data DIR`` reads it.
"""

import contextlib
import pathlib
import re
import shlex
import unicodedata
from typing import Dict, List, Optional

from clipedge.jetson.camera.stills import IMAGE_SUFFIXES
from clipedge.jetson.command_line import format_table
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import PathLike, plain_path, readable_os_error
from clipedge.jetson.recogniser import BACKGROUND_LABELS

# What training takes for a video.
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm")
# The two folders of a data set that is split already; as in clipedge.trainside.data.folder.
SIDES = (("training", "train"), ("validation", "val"))
BACKGROUND = "No gesture"  # the name to suggest
LONGEST_LABEL = 200  # bytes; a file name of 255 holds it with number and suffix
NO_FOLDER = '/\\:*?"<>|'  # letters that some file system refuses
FEW_CLIPS = 5  # every fifth clip is for validation


class ClassFolders:
    """The classes under one folder, which need not exist yet."""

    def __init__(self, root: PathLike) -> None:
        """Take the folder's name.

        Raises:
            UsageError: the name is not UTF-8.
        """
        self.root = pathlib.Path(plain_path(root))

    def counts(self) -> Dict[str, int]:
        """Return how many clips each class has, in the order of the names.

        Raises:
            ClipedgeError: the folder cannot be read.
        """
        try:
            if not self.root.exists():
                return {}
            folders = sorted(entry for entry in self.root.iterdir() if entry.is_dir())
            return {
                folder.name: sum(_is_clip(entry) for entry in folder.iterdir())
                for folder in folders
                if not folder.name.startswith(".")
            }
        except OSError as error:
            raise readable_os_error(error, self.root) from None

    def check_label(self, label: str) -> None:
        """Refuse what makes no folder, and a second spelling of a class that is there.

        Raises:
            UsageError: it says what is wrong and what to give instead.
        """
        problem = _problem_of_name(label)
        if problem:
            raise UsageError(f"--label '{label}': {problem}; give a name such as 'Swipe left'.")
        plain_path(label)
        known = self.counts()
        alike = [name for name in known if _key(name) == _key(label)]
        if alike and label not in alike:
            raise UsageError(
                f"--label '{label}': {self.root} already has the class '{alike[0]}'. "
                f"Add to it with --label {shlex.quote(alike[0])}, or choose another name."
            )

    def folder_of(self, label: str) -> pathlib.Path:
        """Return the folder for clips of a model's label, whatever the label holds.

        It is the class that is there in this or another spelling; else a new name, in which ``_``
        stands for what makes no folder.

        Raises:
            UsageError: the name is not UTF-8.
            ClipedgeError: the folder above cannot be read.
        """
        try:
            known = [entry.name for entry in self.root.iterdir() if entry.is_dir()]
        except OSError as error:
            raise readable_os_error(error, self.root) from None
        name = _folder_name(label)
        alike = [one for one in known if _key(one) == _key(name)]
        if alike and name not in alike:
            name = alike[0]
        return pathlib.Path(plain_path(self.root / name))

    def free_path(self, label: str) -> pathlib.Path:
        """Return the path of the next clip of a class: one number above the highest there is."""
        folder = self.root / label
        pattern = re.compile(re.escape(f"{label}_") + r"(\d+)(\.|$)", re.IGNORECASE)
        try:
            names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
        except OSError as error:
            raise readable_os_error(error, folder) from None
        found = [pattern.match(name) for name in names]
        highest = max([int(match.group(1)) for match in found if match], default=0)
        return folder / f"{label}_{highest + 1:04d}.avi"

    def drop_if_empty(self, label: str) -> None:
        """Remove the folder of a class that has no clip, after the only one was deleted."""
        with contextlib.suppress(OSError):  # it is not empty, or not there
            (self.root / label).rmdir()

    def overview(self) -> str:
        """Return a table of the classes and, below it, what to do next; one for each side."""
        sides = _sides(self.root)
        if sides:
            parts = [(self.root / side, ClassFolders(self.root / side)) for side in sides]
            return "\n\n".join(f"{path}\n{part.overview()}" for path, part in parts)
        counts = self.counts()
        lines = []
        if counts:
            rows = [[name, str(count)] for name, count in counts.items()]
            lines.append(format_table(["class", "clips"], rows))
        return "\n".join(lines + self._next_steps(counts))

    def _next_steps(self, counts: Dict[str, int]) -> List[str]:
        filled = {name: count for name, count in counts.items() if count}
        folder = shlex.quote(str(self.root))
        record = f"gesture-record --label {{}} --source 0 --output {folder}"
        steps = []
        if not filled:
            return [f"No clips in {self.root} yet. Record some: " + record.format("wave")]
        few = [f"'{name}'" for name, count in filled.items() if count < FEW_CLIPS]
        if few:
            why = ""
            if self._data_set() == self.root:
                why = ": every fifth clip is kept from training, to measure with"
            steps.append(f"Fewer than {FEW_CLIPS} clips: {', '.join(few)}. Record more{why}.")
        if not any(_is_background(name) for name in filled):
            steps.append(
                f"No class '{BACKGROUND}': without one, every moment looks like some gesture. "
                "Record yourself sitting still, talking, scratching your head:\n  "
                + record.format(shlex.quote(BACKGROUND))
            )
        if len(filled) < 2:
            steps.append("One class is not enough to learn from. Record another:\n  "
                         + record.format("NAME"))  # fmt: skip
        else:
            steps.append(
                "Train:\n  train-clips fit --model shufflenetv1 --width 0.5 --data "
                + shlex.quote(str(self._data_set()))
            )
        return steps

    def _data_set(self) -> pathlib.Path:
        """Return what to train on: the folder above, where this is one of its two sides."""
        above = self.root.parent
        return above if self.root.name in _sides(above) else self.root


def _sides(root: pathlib.Path) -> List[str]:
    """Return the folders for training and for validation, where both are there."""
    found = [[name for name in names if (root / name).is_dir()] for names in SIDES]
    return [names[0] for names in found] if all(found) else []


def _problem_of_name(label: str) -> Optional[str]:
    if not label.strip():
        return "it is empty"
    if label != label.strip():
        return "it begins or ends with a blank"
    if label.startswith("."):
        return "it begins with a dot, and hidden folders are not read"
    if any(letter in NO_FOLDER for letter in label):
        return 'none of / \\ : * ? " < > | makes a folder everywhere'
    if not label.isprintable():
        return "it holds what cannot be shown"
    if len(label.encode("utf-8", "replace")) > LONGEST_LABEL:
        return f"it is longer than {LONGEST_LABEL} bytes"
    return None


def _folder_name(label: str) -> str:
    letters = [
        letter if letter.isprintable() and letter not in NO_FOLDER else "_" for letter in label
    ]
    name = "".join(letters).strip().lstrip(".").strip()
    short = name.encode("utf-8", "replace")[:LONGEST_LABEL].decode("utf-8", "ignore").strip()
    return short or "_"


def _key(label: str) -> str:
    """The same for two names that people, or file systems, take for one."""
    text = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(text.replace("_", " ").split())


def _is_background(label: str) -> bool:
    """As the recogniser sees it."""
    return label.replace("_", " ").strip().lower() in BACKGROUND_LABELS


def _is_clip(entry: pathlib.Path) -> bool:
    if entry.name.startswith("."):
        return False
    if entry.is_dir():
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in entry.iterdir())
    return entry.suffix.lower() in VIDEO_SUFFIXES
