"""A generated data set in Jester's official layout: what training is timed on by default."""

import pathlib
from typing import List

from clipedge.jetson.files import make_folder, write_whole

# Jester's frames are 100 pixels high and mostly 176 wide; most of its videos have 37 frames.
HEIGHT = 100
WIDTH = 176
FRAMES = 37
JPEG_QUALITY = 90
_SEED = 0


def write_tree(folder: pathlib.Path, recordings: int, frames: int = FRAMES) -> None:
    """Write drawn gestures as folders of JPEG frames, with Jester's lists beside them.

    Args:
        folder: gets ``20bn-jester-v1/`` and the CSV files.
        recordings: of the training part; the validation part has one more.
        frames: of each.
    """
    import cv2
    import numpy as np

    from clipedge.trainside.data.gestures import LABELS
    from clipedge.trainside.data.jester import FRAME_RATE_HZ, FRAMES_FOLDER, LABELS_FILE, LISTS
    from clipedge.trainside.data.takes import Take

    times_s = np.arange(frames) / FRAME_RATE_HZ
    lines: List[str] = []
    for number in range(recordings + 1):
        label = LABELS[number % len(LABELS)]
        take = Take(np.random.default_rng((_SEED, number)), "training", [label])
        video = make_folder(folder / FRAMES_FOLDER / str(number + 1))
        for place, picture in enumerate(take.pictures(times_s, HEIGHT, WIDTH), 1):
            path = str(video / f"{place:05}.jpg")
            cv2.imwrite(path, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        lines.append(f"{number + 1};{label}\n")
    write_whole(folder / LABELS_FILE, "".join(f"{label}\n" for label in LABELS))
    write_whole(folder / LISTS["training"], "".join(lines[:-1]))
    write_whole(folder / LISTS["validation"], lines[-1])
