"""The live path: source -> preprocessing -> clip buffer -> runner -> recogniser -> events."""

import logging
import time
from typing import Iterator, NamedTuple, Optional

import numpy as np

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.clip_buffer import TIE_S, ClipBuffer
from clipedge.jetson.detector import Detector
from clipedge.jetson.events import EARLY, FULL, GestureEvent
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.recogniser import Activation, Recogniser
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.stem_reuse import StemReuse

log = logging.getLogger(__name__)


class Step(NamedTuple):
    """What one frame led to. Its arrays are good until the next step: who keeps one copies it."""

    # None: the source gave nothing new, and its status says why; or it has ended, and the step has
    # what could only be told then.
    frame: Optional[Frame]
    scores: Optional[np.ndarray]  # (classes,) float32, smoothed; None before the first clip
    event: Optional[GestureEvent]
    latency_ms: Optional[float]  # of the inference this frame caused, None where it caused none
    presence: Optional[float] = None  # of any gesture, 0 to 1
    # What the model sees of the frame: (size, size, 3) uint8, RGB; planes, so not contiguous.
    view: Optional[np.ndarray] = None
    complaint: Optional[str] = None  # frames come too seldom, or there was a gap: a sentence


def recognise(
    source: Source,
    runner: Runner,
    recogniser: Recogniser,
    interval_s: float = 0.0,
    hop: int = 1,
    detector: Optional[Runner] = None,
    stem_reuse: Optional[StemReuse] = None,
) -> Iterator[Step]:
    """Yield one Step for each frame of ``source``, and one more where its end has something to say.

    Which frames are scored depends on their number and time stamps alone, not on how long anything
    takes: the same frames give the same events.

    Args:
        source: gives frames with time stamps.
        runner: scores clips of its own ClipSpec.
        recogniser: made for the labels of that ClipSpec.
        interval_s: least time of the source's clock between two inferences, seconds.
        hop: every so many-th frame may be scored; 1: each.
        detector: tells whether there is any gesture; ``runner`` rests while there is none.
        stem_reuse: of the same model as ``runner``; scores clips in its place.

    Raises:
        ClipError: a model file does not take single clips.
        UsageError: the detector does not fit the model.
    """
    schedule = _Schedule(interval_s, hop)
    path = _LivePath(source, runner, recogniser, schedule, detector, stem_reuse)
    for frame in source:
        yield path.idle() if frame is None else path.step(frame)
    last = path.finish()
    if last is not None:
        yield last


class _Schedule:
    """Chooses the frames that are scored."""

    def __init__(self, interval_s: float, hop: int) -> None:
        self._interval_s = interval_s
        self._hop = hop
        self.restart()

    def restart(self) -> None:
        """Let the next frame be scored."""
        self._passed = 0
        self._due_s: Optional[float] = None

    def due(self, time_s: float) -> bool:
        """Tell whether a frame is scored; asked once for each that ends a clip."""
        counts = self._passed % self._hop == 0
        self._passed += 1
        if not counts or (self._due_s is not None and time_s < self._due_s - TIE_S):
            return False
        # Counted from the last due time, so that frame times do not stretch the interval.
        if self._due_s is None or time_s - self._due_s > self._interval_s:
            self._due_s = time_s  # the first clip, or frames came too seldom
        self._due_s += self._interval_s
        return True


class _LivePath:
    """Takes frame after frame from picture to event. All that it writes to is made once."""

    def __init__(
        self,
        source: Source,
        runner: Runner,
        recogniser: Recogniser,
        schedule: _Schedule,
        detector: Optional[Runner],
        stem_reuse: Optional[StemReuse],
    ) -> None:
        runner.check_batch(1)  # not after the seconds that the first clip takes
        spec = runner.spec
        self._source = source
        self._runner = runner
        self._recogniser = recogniser
        self._schedule = schedule
        self._stem_reuse = stem_reuse
        self._detector: Optional[Detector] = None
        if detector is not None:
            self._detector = Detector(detector, spec, recogniser.settings.background)
        self._preprocess, self._buffer = Preprocessor(spec), ClipBuffer(spec)
        self._planes = np.empty((3, spec.size, spec.size), np.uint8)
        self._view = self._planes.transpose(1, 2, 0)
        self._clip = np.empty((1, *spec.clip_shape), np.float32)
        self._newest: Optional[Frame] = None
        self._scored = False

    def step(self, frame: Frame) -> Step:
        """Take one frame."""
        started_s = time.perf_counter()
        self._newest = frame
        self._push(frame)
        event, latency_ms = None, None
        if self._ready and self._schedule.due(frame.timestamp_s):
            self._scored = True
            activation = self._score(frame.timestamp_s)
            latency_ms = (time.perf_counter() - started_s) * 1000.0
            if activation is not None:
                event = self._event(activation, frame, latency_ms)
        return self._step(frame, event, latency_ms, self._view)

    def idle(self) -> Step:
        """Say how things are while no frame comes."""
        return self._step(None, None, None, None)

    def finish(self) -> Optional[Step]:
        """Say what could not be said before the source ended; None: nothing."""
        frame, started_s = self._newest, time.perf_counter()
        if frame is None or (self._source.endless and not self._scored):
            return None
        activation = self._recogniser.finish() if self._scored else self._score_short(frame)
        if self._scored and activation is None:
            return None
        took_ms = (time.perf_counter() - started_s) * 1000.0
        event = None
        if activation is not None:
            event = self._event(activation._replace(early=False), frame, took_ms)
        return self._step(None, event, None if self._scored else took_ms, None)

    @property
    def _ready(self) -> bool:
        return self._buffer.ready and (self._detector is None or self._detector.ready)

    def _push(self, frame: Frame) -> None:
        self._preprocess(frame.image, out=self._planes)
        anew = self._buffer.push(self._planes, frame.timestamp_s)
        if self._detector is not None:
            anew = self._detector.push(self._view, frame.timestamp_s) or anew
        if anew:  # what came before the gap is another scene
            self._recogniser.reset()
            self._schedule.restart()

    def _score(self, time_s: float) -> Optional[Activation]:
        """Score the clip that ends now."""
        presence, logits = None, None
        if self._detector is not None:
            presence = self._detector.presence()
        if presence is None or self._maybe_gesture(presence):
            logits = self._logits()
        return self._recogniser.update(logits, time_s, presence)

    def _logits(self) -> np.ndarray:
        if self._stem_reuse is not None:
            return self._stem_reuse.logits(*self._buffer.chosen())
        logits: np.ndarray = self._runner.infer(self._buffer.clip(out=self._clip))[0]
        return logits

    def _maybe_gesture(self, presence: float) -> bool:
        """The detector sees a gesture, or the recogniser does not hold it to be over yet."""
        off = self._recogniser.settings.presence_off
        return presence >= off or (self._recogniser.presence or 0.0) >= off

    def _score_short(self, frame: Frame) -> Optional[Activation]:
        """Score a recording that is shorter than a clip, as evaluation does: played in a loop."""
        spec = self._runner.spec
        log.warning(
            "The recording is shorter than the %.1f s of one clip: it is played in a loop and "
            "scored once, at its end.",
            spec.span_s,
        )
        logits = self._runner.infer(self._buffer.looped_clip(out=self._clip))[0]
        # The recogniser goes by time: the scores stand for as long as a clip lasts.
        for position in range(spec.frames):
            time_s = frame.timestamp_s + position * spec.spacing_s
            activation = self._recogniser.update(logits, time_s)
            if activation is not None:
                return activation
        return self._recogniser.finish()

    def _event(self, activation: Activation, frame: Frame, latency_ms: float) -> GestureEvent:
        return GestureEvent(
            time_s=frame.timestamp_s,
            label=activation.label,
            score=activation.score,
            latency_ms=latency_ms,
            kind=EARLY if activation.early else FULL,
            frame=frame.number,
            wall_time_s=time.time() if self._source.paced else None,
        )

    def _step(
        self,
        frame: Optional[Frame],
        event: Optional[GestureEvent],
        latency_ms: Optional[float],
        view: Optional[np.ndarray],
    ) -> Step:
        recogniser, complaint = self._recogniser, self._buffer.complaint
        return Step(
            frame, recogniser.scores, event, latency_ms, recogniser.presence, view, complaint
        )
