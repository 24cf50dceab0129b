"""Steps as a run makes them, without a camera and a model, for the tests of the page."""

import contextlib
import threading
import time

import numpy as np

from clipedge.jetson.camera.source import Frame, SourceStatus
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.web import WebDisplay
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step

LABELS = ("wave", "swipe", "no gesture")
FACTS = RunFacts("tiny_1.0x_test", "4 frames in 0.7 s", "onnxruntime, fp32", "a test", LABELS, 0.7)
WAIT_S = 25.0  # the machine may be busy with other tests


class PageRun:
    """A WebDisplay and the run it shows."""

    def __init__(self, labels=LABELS, size=(48, 64), playing=False, **options):
        options.setdefault("address", "127.0.0.1:0")
        self.status = SourceStatus()
        self.labels = labels
        self.size = size
        self.board = Scoreboard(labels, lambda: self.status)
        facts = FACTS._replace(labels=tuple(labels), playing=playing)
        self.display = WebDisplay(self.board, facts, **options)
        self.port = int(self.display.url.split("?")[0].rstrip("/").rsplit(":", 1)[1])
        self.number = 0

    def step(self, label=None, image=None, score=0.9, frame=True):
        """Go one frame on; with a label: and score a clip that makes an event."""
        if image is None:
            image = np.full(self.size + (3,), self.number % 200, np.uint8)
        taken = Frame(image, self.number / 25.0, self.number) if frame else None
        scores = event = latency_ms = None
        if label is not None:
            scores = np.full(len(self.labels), 0.1, np.float32)
            scores[self.labels.index(label)] = score
            latency_ms = 8.0
            event = GestureEvent(self.number / 25.0, label, score, 8.0, frame=self.number)
        step = Step(taken, scores, event, latency_ms, None if scores is None else 0.8)
        self.board.add(step)
        self.display.add(step)
        self.number += 1
        return event

    @contextlib.contextmanager
    def going(self, rate_hz=100.0):
        """Make frames in a thread, as a source does."""
        over = threading.Event()

        def go():
            while not over.wait(1.0 / rate_hz):
                self.step()

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join(WAIT_S)

    def close(self):
        self.display.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wait_for(condition, what):
    """Return the first true value of ``condition()``; say what it was that did not come."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"in {WAIT_S:.0f} s there was not: {what}")
