"""The live path: source -> preprocessing -> clip buffer -> runner -> recogniser -> events."""

import time
from typing import Iterator, NamedTuple, Optional

import numpy as np

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.events import EARLY, FULL, GestureEvent
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners.base import Runner


class Step(NamedTuple):
    """What one frame led to. Arrays are good until the next step: who keeps one copies it."""

    # None: the source gave nothing new, and its status says why; or it has ended, and the step
    # carries what could only be told then, such as the event of a gesture that was under way.
    frame: Optional[Frame]
    scores: Optional[np.ndarray]  # (classes,) float32, smoothed; None before the first clip
    event: Optional[GestureEvent]
    latency_ms: Optional[float]  # of the inference this frame caused, None where it caused none
    presence: Optional[float] = None  # of any gesture, 0 to 1
    # What the model sees of the frame: (size, size, 3) uint8, RGB, in planes (not contiguous).
    view: Optional[np.ndarray] = None
    complaint: Optional[str] = None  # frames come too seldom, or there was a gap; for a person


def recognise(
    source: Source,
    runner: Runner,
    recogniser: Recogniser,
    interval_s: float = 0.0,
    hop: int = 1,
    detector: Optional[Runner] = None,
) -> Iterator[Step]:
    """Yield one Step for each frame of ``source``.

    Which frames are scored depends on their time stamps alone, not on how long anything takes.

    Args:
        source: gives frames with time stamps.
        runner: scores clips of its own ClipSpec.
        recogniser: made for the labels of that ClipSpec.
        interval_s: least time of the source's clock between two inferences, seconds.
        hop: of the frames that come, every so many-th is scored; 1: each.
        detector: tells whether there is any gesture; while there is none, ``runner`` rests.

    Raises:
        ClipError: the model file does not take single clips.
        UsageError: the detector does not fit the model.
    """
    runner.check_batch(1)  # not after the seconds that the first clip takes
    preprocess, buffer = Preprocessor(runner.spec), ClipBuffer(runner.spec)
    clip = np.empty((1, *runner.spec.clip_shape), np.float32)  # filled anew for each inference
    view = np.empty((3, runner.spec.size, runner.spec.size), np.uint8)
    due_s: Optional[float] = None
    for frame in source:
        if frame is None:
            yield Step(None, recogniser.scores, None, None, recogniser.presence)
            continue
        started_s = time.perf_counter()
        preprocess(frame.image, out=view)
        if buffer.push(view, frame.timestamp_s):
            recogniser.reset()
        event, latency_ms = None, None
        if buffer.ready and (due_s is None or frame.timestamp_s >= due_s):
            # Counted from the last due time, so that frame times do not stretch the interval.
            due_s = _next_due_s(due_s, frame.timestamp_s, interval_s)
            logits = runner.infer(buffer.clip(out=clip))[0]
            activation = recogniser.update(logits, frame.timestamp_s)
            latency_ms = (time.perf_counter() - started_s) * 1000.0
            if activation is not None:
                event = GestureEvent(
                    time_s=frame.timestamp_s,
                    label=activation.label,
                    score=activation.score,
                    latency_ms=latency_ms,
                    kind=EARLY if activation.early else FULL,
                    frame=frame.number,
                    wall_time_s=time.time() if source.endless else None,
                )
        yield Step(
            frame,
            recogniser.scores,
            event,
            latency_ms,
            recogniser.presence,
            view.transpose(1, 2, 0),
            buffer.complaint,
        )


def _next_due_s(due_s: Optional[float], now_s: float, interval_s: float) -> float:
    if due_s is None or now_s - due_s > interval_s:  # the first clip, or frames came too seldom
        return now_s + interval_s
    return due_s + interval_s
