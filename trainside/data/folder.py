"""A folder of classes: DIR/<class>/<video file, or folder of frames>.

A window holds the frames nearest to the times a ClipSpec asks for, whatever the video's rate. A
long video gives windows one after the other, a video shorter than a window is played in a loop.
A folder of frames is taken to have the ClipSpec's frame rate, as Jester's has.
"""

import pathlib
from typing import Literal

import numpy as np

from clipedge.jetson.camera import IMAGE_SUFFIXES, Frame, FrameFolder, Source, VideoFile
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, plain_path
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.windows import Batch

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm")
VALIDATION_EVERY = 5  # of a class's files, in the order of their names

Part = Literal["all", "training", "validation"]


class FolderClips:
    """Windows of the videos under a folder of classes; one job a video."""

    def __init__(self, root: PathLike, part: Part = "all") -> None:
        """List the videos; none is opened yet.

        Args:
            root: the folder; each folder in it is a class.
            part: all videos, or those for training or validation. Every fifth video of a class is
                for validation; of a class with two to four videos, the last one is.

        Raises:
            UsageError: there is no such folder, or it holds fewer than two classes with videos.
        """
        self.root = pathlib.Path(root)
        by_class = _list_classes(self.root)
        self.labels = tuple(by_class)
        self._items = [
            (path, target, number)
            for target, paths in enumerate(by_class.values())
            for number, path in enumerate(paths)
            if part == "all" or _is_validation(number, len(paths)) == (part == "validation")
        ]
        self._overlap = 2 if part == "training" else 1

    @property
    def jobs(self) -> int:
        """Number of videos."""
        return len(self._items)

    @property
    def paths(self) -> list[pathlib.Path]:
        """The videos, class after class."""
        return [path for path, _, _ in self._items]

    def load(self, job: int, spec: ClipSpec) -> Batch:
        """Read one video's windows: for training overlapping by half, else one after the other."""
        path, target, _ = self._items[job]
        try:
            grid = read_on_grid(path, spec)
        except ClipedgeError as error:
            return _batch(np.empty((0, *spec.clip_shape), np.uint8), target, job, str(error))
        step = max(1, spec.frames // self._overlap)
        starts = range(0, max(1, len(grid) - spec.frames + 1), step)
        picks = [(start + np.arange(spec.frames)) % len(grid) for start in starts]
        frames = np.stack([grid[pick].transpose(1, 0, 2, 3) for pick in picks])
        return _batch(frames, target, job)


def read_on_grid(path: pathlib.Path, spec: ClipSpec) -> np.ndarray:
    """Read the frames nearest to the times 0, ``spacing_s``, 2 ``spacing_s`` ...

    Returns:
        (K, 3, size, size) uint8, RGB, K >= 1.

    Raises:
        ClipedgeError: the video, or a picture of the folder, cannot be decoded.
    """
    preprocess = Preprocessor(spec)
    kept: list[np.ndarray] = []
    seen: Frame | None = None
    start_s = gap_s = 0.0
    with _open(path, spec) as source:
        for frame in source:
            if seen is None:
                start_s = frame.timestamp_s
            else:
                gap_s = frame.timestamp_s - seen.timestamp_s
                _keep(kept, seen, seen.timestamp_s + gap_s / 2 - start_s, preprocess, spec)
            seen = frame
    if seen is not None:
        _keep(kept, seen, seen.timestamp_s + gap_s / 2 - start_s, preprocess, spec)
    return np.stack(kept)


def _open(path: pathlib.Path, spec: ClipSpec) -> Source:
    """Open a video as the live path does, which gives the same frames and time stamps."""
    return FrameFolder(path, spec.frame_rate_hz) if path.is_dir() else VideoFile(path)


def _keep(
    kept: list[np.ndarray], frame: Frame, until_s: float, preprocess: Preprocessor, spec: ClipSpec
) -> None:
    """Append the frame for every time of the grid before ``until_s``: it is the nearest there.

    Where the video is slower than the grid, one frame is the nearest to several times.
    """
    image: np.ndarray | None = None
    # The first frame is always kept, also of a video with a single one.
    while not kept or len(kept) * spec.spacing_s < until_s:
        if image is None:
            image = np.rint(preprocess(frame.image)).astype(np.uint8)
        kept.append(image)


def _list_classes(root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder; expected one that holds classes.")
    found = {}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if folder.name.startswith("."):  # .cache, .ipynb_checkpoints
            continue
        videos = sorted(entry for entry in folder.iterdir() if _is_video(entry))
        for video in videos:
            plain_path(video)
        if videos:
            found[folder.name] = videos
    if len(found) < 2:
        held = f"only the class '{next(iter(found))}'" if found else "no videos in class folders"
        raise UsageError(
            f"{root} holds {held}; expected {root.name}/CLASS/VIDEO with at least two classes "
            "(a video is a file or a folder of frames)."
        )
    return found


def _is_video(entry: pathlib.Path) -> bool:
    if entry.name.startswith("."):
        return False
    if entry.is_dir():
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in entry.iterdir())
    return entry.suffix.lower() in VIDEO_SUFFIXES


def _is_validation(number: int, count: int) -> bool:
    if count < VALIDATION_EVERY:
        return count > 1 and number == count - 1
    return number % VALIDATION_EVERY == VALIDATION_EVERY - 1


def _batch(frames: np.ndarray, target: int, video: int, problem: str = "") -> Batch:
    count = len(frames)
    targets, videos = np.full(count, target, np.int64), np.full(count, video, np.int64)
    return Batch(frames, targets, videos, np.empty((count, 0), np.float32), problem)
