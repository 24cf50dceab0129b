"""The folder of one training: what it can be resumed from, and what it has come to so far."""

import csv
import fcntl
import io
import json
import os
import pathlib
import shlex
import shutil
from collections.abc import Iterable
from typing import Any

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, writable_folder, write_whole

SUFFIX = ".training"
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt")
_SETTINGS = "settings.json"
_FORMAT_VERSION = 1


def folder_for(output: pathlib.Path) -> pathlib.Path:
    """Return the folder of the training that ends in the checkpoint ``output``."""
    if output.suffix in CHECKPOINT_SUFFIXES:
        return output.with_suffix(SUFFIX)
    return output.with_name(output.name + SUFFIX)


class RunFolder:
    """``NAME.training`` beside the checkpoint ``NAME.pt`` that the training will end in.

    Attributes:
        path: the folder.
        last: Lightning's checkpoint of where the training is; gone once it is done.
        best: Lightning's checkpoint of the best weights so far.
        metrics: the figures of each epoch, one a line.
        confusion: the picture of what is taken for what.
        damaged: the recordings that could not be read.
        cache: decoded frames; gone once the training ends.
    """

    def __init__(self, path: PathLike) -> None:
        """Name the files; none is touched."""
        self.path = pathlib.Path(path)
        self.last = self.path / "last.ckpt"
        self.best = self.path / "best.ckpt"
        self.metrics = self.path / "metrics.csv"
        self.confusion = self.path / "confusion.png"
        self.damaged = self.path / "damaged.txt"
        self.cache = self.path / "cache"
        self._held: int | None = None  # an open handle, which the system closes in the end

    def start(self, settings: dict[str, Any]) -> None:
        """Make the folder for a new training, without what an earlier one left.

        Raises:
            UsageError: the training in it has not ended.
            ClipedgeError: the folder cannot be written.
        """
        if self.last.exists():
            raise UsageError(
                f"{self.path} holds a training that has not ended. Continue it: train-clips fit "
                f"--resume {shlex.quote(str(self.path))}; or delete that folder, or choose another "
                "--output."
            )
        self.hold()
        content = {"format_version": _FORMAT_VERSION, **settings}
        write_whole(self.path / _SETTINGS, json.dumps(content, indent=2) + "\n")
        self.clean()
        for old in (self.best, self.metrics, self.confusion, self.damaged):
            old.unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)

    def hold(self) -> None:
        """Keep the folder to this process for as long as it lives.

        Raises:
            UsageError: another training runs in it.
            ClipedgeError: the folder cannot be written.
        """
        writable_folder(self.path)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            message = f"A training runs in {self.path} already. Choose another --output."
            raise UsageError(message) from None
        except OSError:  # some network file systems lock no folders
            os.close(handle)
            return
        self._held = handle

    def settings(self) -> dict[str, Any]:
        """Read what ``start`` wrote.

        Raises:
            UsageError: the folder holds no training that can be resumed.
            ClipedgeError: the file is damaged.
        """
        if not self.last.exists():
            if not self.path.is_dir():
                raise UsageError(f"{self.path}: there is no such folder.")
            if self.metrics.exists():
                raise UsageError(
                    f"{self.path}: this training has ended. To train on from its weights: "
                    f"train-clips fit --init-from {shlex.quote(str(self.path.with_suffix('.pt')))}"
                )
            raise UsageError(
                f"{self.path} holds no training that can be resumed: {self.last.name} is not there."
            )
        try:
            settings = json.loads((self.path / _SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClipedgeError(f"{self.path / _SETTINGS} cannot be read: {error}.") from None
        if not isinstance(settings, dict) or settings.pop("format_version", 0) != _FORMAT_VERSION:
            raise ClipedgeError(f"{self.path / _SETTINGS} is of another version of clipedge.")
        return settings

    def output(self, began: str) -> pathlib.Path:
        """Return the checkpoint that the training ends in, wherever the folder is by now.

        Args:
            began: its path when the training began.
        """
        path, before = self.path.resolve(), pathlib.Path(began)
        if path.name == folder_for(before).name:
            return path.with_name(before.name)
        return path.with_name(path.name.removesuffix(SUFFIX) + CHECKPOINT_SUFFIXES[0])

    def add_metrics(self, row: dict[str, float]) -> None:
        """Add one epoch's figures to ``metrics.csv``, in the place of those it already has."""
        rows = [old for old in self.read_metrics() if int(old["epoch"]) < row["epoch"]]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*rows, row])
        write_whole(self.metrics, text.getvalue())

    def read_metrics(self) -> list[dict[str, str]]:
        """Return the epochs so far."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def note_damaged(self, problems: Iterable[str]) -> None:
        """List the recordings that could not be read, where there are any."""
        text = "".join(f"{problem}\n" for problem in problems)
        if text:
            write_whole(self.damaged, text)

    def clean(self) -> None:
        """Remove what is of no use once the training has ended."""
        shutil.rmtree(self.cache, ignore_errors=True)

    def give_up(self) -> None:
        """Leave nothing of a training that came to nothing."""
        if not self.last.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        self.clean()
        self._let_go()

    def finish(self) -> None:
        """Note that the training has ended: it can no longer be resumed."""
        self.clean()
        self.last.unlink(missing_ok=True)
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None
