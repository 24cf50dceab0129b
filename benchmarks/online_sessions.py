"""Generated sessions before a camera, and the scores that the live path gives for them."""

import sys
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.errors import UsageError
from clipedge.jetson.live import recognise
from clipedge.jetson.recogniser import Activation, Recogniser
from clipedge.jetson.runners import Runner
from clipedge.jetson.truth import TrueGesture

GESTURES = 6  # of a session: many looks make a fair test
RENDERED_HZ = 60.0  # several camera rates are taken out of one recording, by time
HEIGHT, WIDTH = 120, 160


class Scored(NamedTuple):
    """A recording as a recogniser meets it: the logits of every clip that was scored."""

    truth: List[TrueGesture]
    times_s: List[float]  # of the clips' newest frames
    logits: np.ndarray  # (clips, classes) float32
    seconds: float = 0.0  # that the recording lasts


class Tap(Recogniser):
    """Stands where the recogniser does and keeps what comes."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.times_s: List[float] = []
        self.rows: List[np.ndarray] = []

    def update(
        self, logits: Optional[np.ndarray], time_s: float, presence: Optional[float] = None
    ) -> Optional[Activation]:
        """Keep a copy; name nothing."""
        assert logits is not None
        self.times_s.append(time_s)
        self.rows.append(np.array(logits, np.float32))
        return None

    def finish(self) -> Optional[Activation]:
        """Name nothing."""
        return None

    def scored(self, truth: List[TrueGesture], seconds: float) -> Scored:
        """Return what came."""
        logits = np.zeros((0, len(self._labels)), np.float32)
        if self.rows:
            logits = np.stack(self.rows)
        return Scored(truth, self.times_s, logits, seconds)


class _Feed(Source):
    """A source that is handed one frame after the other."""

    frame: Optional[Frame] = None

    def __iter__(self) -> Iterator[Optional[Frame]]:
        while self.frame is not None:
            yield self.frame


class _Camera:
    """The live path at one camera rate, up to the logits."""

    def __init__(self, runner: Runner, rate_hz: float, clips_hz: float, rendered_hz: float) -> None:
        self._rate_hz = rate_hz
        self._rendered_hz = rendered_hz
        self._feed = _Feed()
        self.tap = Tap(runner.spec.labels)
        self._steps = recognise(self._feed, runner, self.tap, 1.0 / clips_hz)
        self._number = 0

    def see(self, number: int, image: np.ndarray) -> None:
        """Take the frame ``number`` of the recording, if this camera takes it."""
        if number != round(self._number * self._rendered_hz / self._rate_hz):
            return
        self._feed.frame = Frame(image, number / self._rendered_hz, self._number)
        self._number += 1
        next(self._steps)

    def close(self) -> None:
        """End the recording."""
        self._feed.frame = None
        for _ in self._steps:
            pass


def score_session(
    runner: Runner, seed: int, rates_hz: Sequence[float], clips_hz: float
) -> Dict[float, Scored]:
    """Render one session and score it as cameras of several rates would see it.

    Args:
        runner: of a model with Jester's labels.
        seed: another seed, another hand, scene, gestures and rests.
        rates_hz: frames a second of the cameras, up to RENDERED_HZ.
        clips_hz: clips scored a second at most.

    Returns:
        The scored recording by camera rate.
    """
    from clipedge.trainside.data.streams import plan_session, render_stream

    labels, rests_s = plan_session(GESTURES, seed)
    rendered_hz = rates_hz[0] if len(rates_hz) == 1 else RENDERED_HZ
    stream = render_stream(labels, seed, "validation", rendered_hz, HEIGHT, WIDTH, rests_s=rests_s)
    cameras = [_Camera(runner, rate_hz, clips_hz, rendered_hz) for rate_hz in rates_hz]
    for number, image in enumerate(stream.frames):
        for camera in cameras:
            camera.see(number, image)
    seconds = len(stream.times_s) / rendered_hz
    for camera in cameras:
        camera.close()
    return {
        rate_hz: camera.tap.scored(stream.truth, seconds)
        for rate_hz, camera in zip(rates_hz, cameras)
    }


def score_recording(
    runner: Runner, source: Source, truth: List[TrueGesture], clips_hz: float
) -> Scored:
    """Score a recording that is there already."""
    tap, seconds = Tap(runner.spec.labels), 0.0
    for step in recognise(source, runner, tap, 1.0 / clips_hz):
        if step.frame is not None:
            seconds = step.frame.timestamp_s
    return tap.scored(truth, seconds)


def seeds_of(first: int, gestures: int) -> range:
    """Return the seeds of as many sessions as hold ``gestures``."""
    return range(first, first + -(-gestures // GESTURES))


def labels_of_sessions() -> Tuple[str, ...]:
    """Return the labels that a model for generated sessions has.

    Raises:
        UsageError: this Python is too old to draw them.
    """
    if sys.version_info < (3, 10):
        raise UsageError("Sessions are drawn with Python 3.10 or newer; run this on a workstation.")
    from clipedge.trainside.data.gestures import LABELS

    return LABELS


def facts(recordings: Sequence[Scored]) -> Dict[str, Any]:
    """Return plain JSON types: how much there was to recognise."""
    return {
        "recordings": len(recordings),
        "gestures": sum(len(one.truth) for one in recordings),
        "seconds": round(sum(one.seconds for one in recordings), 1),
        "clips": sum(len(one.times_s) for one in recordings),
    }
