import json

import numpy as np
import pytest

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.live import recognise
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec
from clipedge.jetson.summary import Summary

pytest.importorskip("cv2", reason="OpenCV is not installed")

SPEC = ClipSpec(model="m", labels=("Red", "Green", "No gesture"), size=8)


class ColourRunner(Runner):
    """Stands in for a model: scores a clip by the colour of its newer half."""

    backend = "colour"

    def __init__(self):
        super().__init__(SPEC)
        self.seen = 0

    def _infer(self, clips):
        self.seen += 1
        red, green, _ = clips[0, :, SPEC.frames // 2 :].mean(axis=(1, 2, 3)) / 25.0
        return np.array([[red, green, 4.0]], np.float32)

    def describe(self):
        return {"backend": self.backend}


class Recording(Source):
    """Grey, then one colour a second long, then grey: at any rate, from any start."""

    def __init__(self, rate_hz, colours, start_s=0.0):
        self.rate_hz, self.colours, self.start_s = rate_hz, colours, start_s

    def __iter__(self):
        for number in range(int(self.rate_hz * 5 * len(self.colours))):
            time_s = number / float(self.rate_hz)
            image = np.zeros((10, 12, 3), np.uint8)
            if time_s % 5.0 > 3.0:
                image[..., self.colours[int(time_s // 5.0)]] = 255
            yield Frame(image, self.start_s + time_s, number)


def run(rate_hz, colours=(0, 1), **recording):
    runner = ColourRunner()
    recogniser = Recogniser(SPEC.labels)
    steps = list(recognise(Recording(rate_hz, colours, **recording), runner, recogniser, 1 / 12.0))
    return runner, steps


@pytest.mark.parametrize("rate_hz", [12, 15, 25, 30, 60])
def test_the_same_recording_gives_the_same_gestures_at_any_rate(rate_hz):
    events = [step.event for step in run(rate_hz)[1] if step.event]
    slowest = [step.event for step in run(12)[1] if step.event]
    assert [event.label for event in events] == ["Red", "Green"]
    for event, same in zip(events, slowest):
        assert event.time_s == pytest.approx(same.time_s, abs=0.25)


def test_scores_start_once_a_clip_is_full_and_keep_the_rate():
    runner, steps = run(30)
    scored = [step for step in steps if step.latency_ms is not None]
    assert scored[0].frame.timestamp_s == pytest.approx(SPEC.span_s, abs=0.1)
    assert runner.seen == len(scored) == pytest.approx(12 * (10 - SPEC.span_s), abs=3)


def test_a_clock_that_starts_late_changes_nothing():
    early = [step.event.time_s for step in run(30)[1] if step.event]
    late = [step.event.time_s - 1e6 for step in run(30, start_s=1e6)[1] if step.event]
    assert np.allclose(early, late, atol=1e-3)


def test_every_frame_gives_a_step():
    _, steps = run(15, colours=(0,))
    assert [step.frame.number for step in steps] == list(range(75))
    assert steps[0].scores is None
    assert steps[-1].scores.shape == (3,)


def test_the_summary_counts_what_happened():
    summary = Summary()
    for step in run(30)[1]:
        summary.add(step)
    assert "2 gestures in 10.0 s of video (300 frames" in str(summary)
    assert "latency median" in str(summary)


def test_a_short_recording_gives_steps_and_no_scores():
    steps = [step for step in run(30, colours=(0,))[1] if step.frame.timestamp_s < 2.0]
    assert all(step.latency_ms is None and step.event is None for step in steps)


def test_events_are_json():
    events = [step.event for step in run(30)[1] if step.event]
    assert [json.loads(event.to_json())["label"] for event in events] == ["Red", "Green"]
