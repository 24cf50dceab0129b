"""Generated recordings of several gestures in a row, with the times at which they happen."""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, whole_file, write_whole
from clipedge.jetson.truth import TrueGesture
from clipedge.trainside.data.gestures import BACKGROUND_LABELS, DISTRACTORS, LABELS
from clipedge.trainside.data.scene import Style
from clipedge.trainside.data.takes import Take

REST_S = (1.5, 3.0)  # shortest and longest rest between two gestures
# Of a session: short, usual and long rests, and how often each comes.
SESSION_RESTS_S = ((0.5, 1.2), (1.5, 3.0), (3.0, 6.0))
SESSION_RESTS_SHARE = (0.25, 0.5, 0.25)
TWICE_SHARE = 0.15  # of a session's gestures that are made again at once
DISTRACTED_SHARE = 0.25  # of a session's gestures before which the hand does something else
TRUTH_SUFFIX = ".truth.jsonl"
_STREAM_KEY = 2  # keeps a stream's random numbers apart from those of clips (0 and 1)


class Stream(NamedTuple):
    """A recording.

    Attributes:
        frames: yields (height, width, 3) uint8, RGB, ``len(times_s)`` times, once.
        times_s: (T,) capture times.
        truth: from the hand's coming to its going, for each gesture.
    """

    frames: Iterator[np.ndarray]
    times_s: np.ndarray
    truth: list[TrueGesture]


def choose_gestures(count: int, seed: int) -> list[str]:
    """Choose ``count`` gestures in random order; none comes twice before all came once."""
    rng = np.random.default_rng((seed, _STREAM_KEY))
    gestures = [label for label in LABELS if label not in BACKGROUND_LABELS]
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += [gestures[place] for place in rng.permutation(len(gestures))]
    return chosen[:count]


def plan_session(count: int, seed: int) -> tuple[list[str], list[float]]:
    """Plan what somebody does before a camera: ``count`` gestures, and other things between them.

    Some gestures are made twice in a row, and rests are short, usual or long.

    Returns:
        labels of gestures and distractors, in order; rests in seconds, before each and after the
        last.
    """
    rng = np.random.default_rng((seed, _STREAM_KEY, 2))
    gestures = choose_gestures(count, seed)
    labels: list[str] = []
    made = 0
    while made < count:
        label = gestures[made]
        if rng.uniform() < DISTRACTED_SHARE:
            labels.append(DISTRACTORS[rng.integers(len(DISTRACTORS))])
        if made + 1 < count and rng.uniform() < TWICE_SHARE:
            gestures[made + 1] = label
            labels.append(label)
            made += 1
        labels.append(label)
        made += 1
    kinds = rng.choice(len(SESSION_RESTS_S), len(labels) + 1, p=SESSION_RESTS_SHARE)
    return labels, [float(rng.uniform(*SESSION_RESTS_S[kind])) for kind in kinds]


def render_stream(
    labels: Sequence[str],
    seed: int = 0,
    style: Style = "validation",
    frame_rate_hz: float = 24.0,
    height: int = 240,
    width: int = 320,
    rests_s: Sequence[float] | None = None,
) -> Stream:
    """Plan a recording of one hand in one scene; the pictures are drawn as they are taken.

    Args:
        labels: of the gestures, in order; distractors are shown and are not in the truth.
        seed: another seed, another hand, scene and times.
        style: looks of training or of validation.
        frame_rate_hz: frames a second.
        height: of the picture, pixels.
        width: of the picture, pixels.
        rests_s: before each of ``labels``, and after the last; REST_S where None.
    """
    rng = np.random.default_rng((seed, _STREAM_KEY, 1))
    take = Take(rng, style, labels)
    gestures = take.performances
    if rests_s is None:
        rests_s = rng.uniform(*REST_S, len(gestures) + 1).tolist()
    for order in range(len(gestures)):
        take.move(order, rests_s[order])
    end_s = (gestures[-1].gone_s if gestures else 0.0) + rests_s[-1]
    times_s = np.arange(int(end_s * frame_rate_hz)) / frame_rate_hz
    truth = [
        TrueGesture(one.enter_s, one.gone_s, one.label)
        for one in gestures
        if one.label not in DISTRACTORS
    ]
    return Stream(take.pictures(times_s, height, width), times_s, truth)


def truth_path(video: PathLike) -> pathlib.Path:
    """Where the times of ``video`` are written: ``gestures.truth.jsonl`` for ``gestures.mp4``."""
    return pathlib.Path(video).with_suffix(TRUTH_SUFFIX)


def write_stream(stream: Stream, video: PathLike, frame_rate_hz: float) -> pathlib.Path:
    """Write the video, then the true times beside it; return the path of the times.

    Raises:
        ClipedgeError: one of them cannot be written, or OpenCV cannot encode the video.
    """
    import cv2

    first = next(stream.frames, None)
    if first is None:
        raise UsageError(f"At {frame_rate_hz:g} frames a second the video has none; choose more.")
    size = (first.shape[1], first.shape[0])
    code = cv2.VideoWriter.fourcc(*"mp4v")
    with whole_file(video) as temporary:
        writer = cv2.VideoWriter(str(temporary), code, frame_rate_hz, size)
        if not writer.isOpened():
            raise ClipedgeError(f"{video}: OpenCV cannot write such a video. Name it *.mp4.")
        try:
            writer.write(cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
            for frame in stream.frames:
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
        _require_frames(temporary, video, len(stream.times_s))
    lines = [
        json.dumps({"start_s": round(start, 3), "end_s": round(end, 3), "label": label})
        for start, end, label in stream.truth
    ]
    return write_whole(truth_path(video), "\n".join(lines) + "\n")


def _require_frames(written: pathlib.Path, video: PathLike, frames: int) -> None:
    """OpenCV reports no error on a full disk: count what can be read back."""
    import cv2

    capture = cv2.VideoCapture(str(written))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if count < frames:
        raise ClipedgeError(
            f"{video}: only {count} of {frames} frames could be written. Is the disk full?"
        )
