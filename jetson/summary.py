"""What a run came to: the lines at its end, in memory that does not grow."""

import array
import time
from typing import List

import numpy as np

from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

KEPT_LATENCIES = 36_000  # the last: 50 minutes at 12 clips a second


class Summary(Output):
    """Counts the steps of a run."""

    name = "the summary"

    def __init__(self, keep_events: bool = False) -> None:
        """Begin to count.

        Args:
            keep_events: all of them, to be compared with what is true; in a run of days they
                would fill the memory.
        """
        self.events: List[GestureEvent] = []
        self.event_count = 0
        self.clips = 0
        self.frames = 0
        self._keep_events = keep_events
        self._latencies_ms = array.array("f")
        self._first_s = 0.0
        self._last_s = 0.0
        self._started_s = time.perf_counter()

    def add(self, step: Step) -> None:
        """Count one step."""
        if step.event is not None:
            self.event_count += 1
            if self._keep_events:
                self.events.append(step.event)
        if step.latency_ms is not None:
            self._count_latency(step.latency_ms)
        if step.frame is not None:
            if self.frames == 0:
                self._first_s = step.frame.timestamp_s
            self.frames += 1
            self._last_s = step.frame.timestamp_s

    @property
    def length_s(self) -> float:
        """Time of the source's clock between the first frame and the last, seconds."""
        return self._last_s - self._first_s

    def __str__(self) -> str:
        took_s = time.perf_counter() - self._started_s
        gestures = "1 gesture" if self.event_count == 1 else f"{self.event_count} gestures"
        text = (
            f"{gestures} in {self.length_s:.1f} s of video "
            f"({self.frames} frames, {self.clips} clips scored) in {took_s:.1f} s"
        )
        if self._latencies_ms:
            median, p95 = np.percentile(self._latencies_ms, [50, 95])
            text += f"; latency median {median:.1f} ms, p95 {p95:.1f} ms"
        return text

    def _count_latency(self, latency_ms: float) -> None:
        if self.clips < KEPT_LATENCIES:
            self._latencies_ms.append(latency_ms)
        else:
            self._latencies_ms[self.clips % KEPT_LATENCIES] = latency_ms
        self.clips += 1
