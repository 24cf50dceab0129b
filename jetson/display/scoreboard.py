"""What the window and the page show of a run, gathered step by step."""

import collections
import threading
import time
from typing import Callable, Deque, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.jetson.camera.source import SourceStatus
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

TOP = 5  # scores shown
TIMELINE_S = 10.0
KEPT_EVENTS = 50
RATE_OVER_S = 2.0  # frames and inferences a second are counted over this time


class RunFacts(NamedTuple):
    """What does not change during a run."""

    model: str  # shufflenetv1_0.5x_jester
    clip: str  # 16 frames in 2.5 s, 112 x 112 pixels
    backend: str  # openvino, fp32
    source: str
    labels: Tuple[str, ...]
    span_s: Optional[float] = None  # of one clip: nothing is scored before
    playing: bool = False  # a file or a session, no camera: it is not called live


class Moment(NamedTuple):
    """One scored clip on the timeline."""

    at_s: float  # this machine's monotonic clock
    label: str  # with the best score
    score: float
    presence: Optional[float]  # of any gesture, 0 to 1


class Snapshot(NamedTuple):
    """The run as it is now."""

    top: List[Tuple[str, float]]  # best first; empty before the first clip
    timeline: List[Moment]  # the last TIMELINE_S, oldest first
    events: List[Tuple[float, GestureEvent]]  # with the monotonic time they came, newest last
    event_count: int  # of the run; events holds the last of them
    frame_rate_hz: float
    inference_rate_hz: float
    latency_ms: Optional[float]  # median over RATE_OVER_S
    source: SourceStatus
    at_s: float  # when this was made, monotonic
    complaint: Optional[str] = None  # what is wrong with the frames; None: nothing


class Scoreboard(Output):
    """Gathers steps in the recogniser's thread; any thread may ask for a snapshot."""

    name = "the scoreboard"

    def __init__(
        self,
        labels: Sequence[str],
        status: Callable[[], SourceStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin an empty board.

        Args:
            labels: of the scores.
            status: asks the source how it is.
            clock: of what ``at_s`` counts; a recording of a file takes the time in the file.
        """
        self._labels = list(labels)
        self._status = status
        self._clock = clock
        self._lock = threading.Lock()
        self._scores: Optional[np.ndarray] = None
        self._complaint: Optional[str] = None
        self._timeline: Deque[Moment] = collections.deque()
        self._events: Deque[Tuple[float, GestureEvent]] = collections.deque(maxlen=KEPT_EVENTS)
        self._event_count = 0
        self._frames_s: Deque[float] = collections.deque()
        self._inferences: Deque[Tuple[float, float]] = collections.deque()  # (when, latency)

    def add(self, step: Step) -> None:
        """Take one step."""
        now_s = self._clock()
        with self._lock:
            self._complaint = step.complaint
            if step.frame is not None:
                self._frames_s.append(now_s)
            if step.latency_ms is not None and step.scores is not None:
                self._inferences.append((now_s, step.latency_ms))
                self._scores = step.scores.copy()  # the next step overwrites them
                best = int(step.scores.argmax())
                self._timeline.append(
                    Moment(now_s, self._labels[best], float(step.scores[best]), step.presence)
                )
            if step.event is not None:
                self._events.append((now_s, step.event))
                self._event_count += 1
            self._forget(now_s)

    def snapshot(self) -> Snapshot:
        """Return the run as it is now."""
        now_s = self._clock()
        with self._lock:
            self._forget(now_s)
            scores = self._scores
            latencies_ms = [latency_ms for _, latency_ms in self._inferences]
            return Snapshot(
                top=[] if scores is None else self._best(scores),
                timeline=list(self._timeline),
                events=list(self._events),
                event_count=self._event_count,
                frame_rate_hz=len(self._frames_s) / RATE_OVER_S,
                inference_rate_hz=len(self._inferences) / RATE_OVER_S,
                latency_ms=float(np.median(latencies_ms)) if latencies_ms else None,
                source=self._status(),
                at_s=now_s,
                complaint=self._complaint,
            )

    def _best(self, scores: np.ndarray) -> List[Tuple[str, float]]:
        order = np.argsort(scores)[::-1][:TOP]
        return [(self._labels[index], float(scores[index])) for index in order]

    def _forget(self, now_s: float) -> None:
        while self._timeline and self._timeline[0].at_s < now_s - TIMELINE_S:
            self._timeline.popleft()
        while self._frames_s and self._frames_s[0] <= now_s - RATE_OVER_S:
            self._frames_s.popleft()
        while self._inferences and self._inferences[0][0] <= now_s - RATE_OVER_S:
            self._inferences.popleft()
