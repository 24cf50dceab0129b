"""What live.py decides itself: which frames are scored, gaps, ends, the detector, its memory."""

import itertools
import tracemalloc

import numpy as np
import pytest

from clipedge.jetson import live
from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.errors import ClipError, UsageError
from clipedge.jetson.events import FULL
from clipedge.jetson.live import recognise
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec

pytest.importorskip("cv2", reason="OpenCV is not installed")

SPEC = ClipSpec(model="m", labels=("Red", "Green", "No gesture"), size=8)  # 2.5 s
DETECTOR_SPEC = ClipSpec(model="d", labels=("no gesture", "gesture"), size=8, frames=4)


class FixedRunner(Runner):
    """Stands in for a model: the same logits for every clip, or those of a function of the clip."""

    backend = "fixed"

    def __init__(self, spec=SPEC, logits=(0.0, 0.0, 9.0)):
        super().__init__(spec)
        self.clips, self.keeps = [], True
        self._logits = logits if callable(logits) else lambda clips: logits

    def _infer(self, clips):
        if self.keeps:
            self.clips.append(clips.copy())
        return np.array([self._logits(clips)], np.float32)

    def describe(self):
        return {"backend": self.backend}


class Frames(Source):
    """Frames at these times; None where a time is None. Their grey is their number."""

    def __init__(self, times_s, endless=False, image=None):
        self.times_s, self._endless, self._image = times_s, endless, image

    @property
    def endless(self):
        return self._endless

    def __iter__(self):
        for number, time_s in enumerate(self.times_s):
            if time_s is None:
                yield None
                continue
            image = self._image
            if image is None:
                image = np.full((10, 12, 3), number % 256, np.uint8)
            yield Frame(image, float(time_s), number)


class Watched(Recogniser):
    """A recogniser that notes what it is told."""

    def __init__(self, labels=SPEC.labels):
        self.calls = []
        super().__init__(labels)
        self.times_s, self.presences, self.calls = [], [], []

    def update(self, logits, time_s, presence=None):
        self.times_s.append(time_s)
        self.presences.append(presence)
        self.calls.append("rest" if logits is None else "update")
        return super().update(logits, time_s, presence)

    def reset(self):
        self.calls.append("reset")
        super().reset()

    def finish(self):
        self.calls.append("finish")
        return super().finish()


def scored(times_s, **how):
    """Return the times of the frames that were scored."""
    recogniser = Watched()
    for _ in recognise(Frames(times_s, endless=True), FixedRunner(), recogniser, **how):
        pass
    return np.array(recogniser.times_s)


def test_every_new_frame_is_scored_unless_told_otherwise():
    times_s = np.arange(120) / 30.0
    got_s = scored(times_s)
    assert np.array_equal(got_s, times_s[-len(got_s) :])
    assert len(got_s) == pytest.approx(30 * 1.5, abs=3)


@pytest.mark.parametrize("hop", [1, 2, 3, 5])
def test_a_hop_scores_every_so_many_th_frame_that_comes_however_it_comes(hop):
    times_s = np.cumsum(np.random.RandomState(hop).uniform(0.01, 0.1, 150))
    every_s = scored(times_s)
    assert np.array_equal(scored(times_s, hop=hop), every_s[::hop])


def test_a_rate_holds_for_frames_that_the_hop_leaves_too():
    times_s = np.arange(300) / 30.0
    got_s = scored(times_s, interval_s=0.25, hop=2)
    assert np.allclose(np.diff(got_s).mean(), 0.25, atol=0.01)
    assert np.diff(got_s).min() > 0.19
    assert np.allclose(np.rint((got_s - got_s[0]) * 30) % 2, 0)


def test_the_same_time_stamps_score_the_same_frames_however_long_anything_takes(monkeypatch):
    times_s = np.cumsum(np.random.RandomState(1).uniform(0.02, 0.09, 150))
    quick_s = scored(times_s, interval_s=1 / 12.0)
    clock_s = itertools.count(0.0, 3.3)  # three seconds from one look at it to the next
    monkeypatch.setattr(live.time, "perf_counter", lambda: next(clock_s))
    assert np.array_equal(scored(times_s, interval_s=1 / 12.0), quick_s)


def test_ticks_without_a_frame_change_nothing_and_are_handed_on():
    times_s = np.arange(120) / 30.0
    ticking = [one for time_s in times_s for one in (None, time_s)]
    assert np.array_equal(scored(ticking), scored(times_s))
    steps = list(recognise(Frames(ticking, endless=True), FixedRunner(), Watched()))
    assert len(steps) == 240
    assert steps[-2].frame is None
    assert steps[-2].view is None
    assert steps[-2].scores is not None


def test_a_step_has_the_models_view_of_its_frame():
    for step in recognise(Frames(np.arange(5) / 30.0), FixedRunner(), Watched()):
        if step.frame is not None:
            assert step.view.shape == (8, 8, 3)
            assert step.view.dtype == np.uint8
            assert (step.view == step.frame.number).all()


def test_views_fed_in_as_frames_give_the_same_clips():
    """A replay: the pictures it hands in already are the model's views."""
    rng = np.random.RandomState(0)
    pictures = [rng.randint(0, 256, (30, 44, 3)).astype(np.uint8) for _ in range(90)]

    class Pictures(Source):
        endless = True

        def __init__(self, pictures):
            self.pictures = pictures

        def __iter__(self):
            for number, picture in enumerate(self.pictures):
                yield Frame(picture, number / 30.0, number)

    live, again = FixedRunner(), FixedRunner()
    views = [step.view.copy() for step in recognise(Pictures(pictures), live, Watched())]
    list(recognise(Pictures(views), again, Watched()))
    assert len(live.clips) > 10
    for one, other in zip(live.clips, again.clips):
        assert np.array_equal(one, other)


def test_a_gap_starts_clip_and_recogniser_anew_and_is_shown():
    recogniser = Watched()
    times_s = np.concatenate([np.arange(100) / 30.0, 10.0 + np.arange(100) / 30.0])
    steps = list(recognise(Frames(times_s, endless=True), FixedRunner(), recogniser))
    assert recogniser.calls.count("reset") == 1
    assert not any(steps[number].latency_ms for number in range(100, 170))
    assert "No frame came for 6.7 s" in steps[110].complaint
    assert steps[-1].complaint is None
    assert steps[-1].latency_ms is not None


def test_a_camera_that_is_too_slow_is_shown():
    steps = list(recognise(Frames(np.arange(40) / 4.0), FixedRunner(), Watched()))
    assert "Frames come 0.25 s apart" in steps[-1].complaint


class TestEnds:
    def test_a_file_shorter_than_a_clip_is_scored_once_in_a_loop(self, caplog):
        runner = FixedRunner(logits=(9.0, 0.0, 0.0))
        steps = list(recognise(Frames(np.arange(12) / 12.0), runner, Recogniser(SPEC.labels)))
        assert len(runner.clips) == 1
        assert runner.clips[0][0, 0, :, 0, 0].tolist() == [2 * (one % 6) for one in range(16)]
        assert [step.frame is None for step in steps] == [False] * 12 + [True]
        event = steps[-1].event
        assert (event.label, event.kind, event.frame) == ("Red", FULL, 11)
        assert event.time_s == pytest.approx(11 / 12.0)
        assert steps[-1].latency_ms is not None
        assert "shorter than the 2.5 s of one clip" in caplog.text

    def test_one_without_a_gesture_is_scored_all_the_same(self):
        steps = list(recognise(Frames([0.0]), FixedRunner(), Recogniser(SPEC.labels)))
        assert steps[-1].event is None
        assert steps[-1].latency_ms is not None

    def test_a_camera_that_ends_early_is_not(self):
        runner = FixedRunner()
        steps = list(recognise(Frames(np.arange(12) / 12.0, endless=True), runner, Watched()))
        assert len(steps) == 12
        assert runner.clips == []

    def test_no_frame_at_all_gives_no_step(self):
        assert list(recognise(Frames([]), FixedRunner(), Watched())) == []

    @pytest.mark.parametrize("endless", [False, True])  # True: a stream on standard input
    def test_a_source_that_ends_ends_what_is_under_way(self, endless):
        recogniser = Watched()
        list(recognise(Frames(np.arange(90) / 30.0, endless), FixedRunner(), recogniser))
        assert "finish" in recogniser.calls

    def test_a_run_that_is_stopped_does_not_end_what_is_under_way(self):
        recogniser = Watched()
        steps = recognise(Frames(np.arange(90) / 30.0), FixedRunner(), recogniser)
        list(itertools.islice(steps, 80))
        steps.close()
        assert "update" in recogniser.calls and "finish" not in recogniser.calls


class TestDetector:
    def detector(self, **spec):
        """Sees a gesture while the newest frame is bright."""
        return FixedRunner(
            DETECTOR_SPEC._replace(**spec),
            lambda clips: (0.0, 9.0) if clips[0, 0, -1].mean() > 100 else (9.0, 0.0),
        )

    @pytest.mark.parametrize("size", [4, 8])
    def test_the_classifier_rests_while_it_sees_nothing(self, size):
        recogniser, runner = Watched(), FixedRunner(logits=(9.0, 0.0, 0.0))
        times_s = np.arange(240) / 30.0  # bright from frame 101 on
        detector = self.detector(size=size)
        steps = list(recognise(Frames(times_s, True), runner, recogniser, detector=detector))
        calls = dict(zip(recogniser.times_s, recogniser.calls))
        assert set(calls[time_s] for time_s in calls if time_s < 3.3) == {"rest"}
        assert calls[times_s[102]] == "update"
        assert len(runner.clips) < len(detector.clips)
        assert recogniser.presences[0] < 0.1 < 0.9 < recogniser.presences[-1]
        assert steps[-1].event or any(step.event for step in steps)
        # The frames before it saw anything are in the first clip that is classified.
        assert runner.clips[0][0, 0, 0, 0, 0] < 100 < runner.clips[0][0, 0, -1, 0, 0]

    def test_nothing_is_scored_before_both_have_a_clip(self):
        recogniser = Watched()
        detector = self.detector(frames=32)  # 5.2 s
        list(recognise(Frames(np.arange(240) / 30.0), FixedRunner(), recogniser, detector=detector))
        assert recogniser.times_s[0] == pytest.approx(31 / 6.0, abs=0.1)

    def test_labels_that_are_no_gesture_tell_too(self):
        recogniser = Watched()
        detector = FixedRunner(SPEC._replace(frames=4), (0.0, 0.0, 2.0))
        list(recognise(Frames(np.arange(99) / 30.0), FixedRunner(), recogniser, detector=detector))
        assert recogniser.presences[0] == pytest.approx(2 / (2 + np.exp(2.0)), abs=1e-5)

    def test_one_that_cannot_tell_is_refused(self):
        detector = FixedRunner(DETECTOR_SPEC._replace(labels=("a", "b")))
        with pytest.raises(UsageError, match="do not tell what is a gesture; expected 'gesture'"):
            next(recognise(Frames([0.0]), FixedRunner(), Watched(), detector=detector))

    def test_one_that_wants_larger_pictures_is_refused(self):
        with pytest.raises(
            UsageError, match=r"takes pictures of 16 pixels and the model m_.* of 8"
        ):
            detector = self.detector(size=16)
            next(recognise(Frames([0.0]), FixedRunner(), Watched(), detector=detector))

    def test_one_without_single_clips_is_refused_before_a_frame_is_read(self):
        detector = self.detector()
        detector.batch_sizes = (4,)
        with pytest.raises(ClipError, match="a batch of 1"):
            next(recognise(None, FixedRunner(), Watched(), detector=detector))


def warmed_up(frames):
    """Steps of the live path after 300 frames; what they cost is not the model's."""
    spec = SPEC._replace(size=48)
    image = np.random.RandomState(0).randint(0, 256, (240, 320, 3)).astype(np.uint8)
    source = Frames(np.arange(300 + frames) / 30.0, endless=True, image=image)
    runner = FixedRunner(spec)
    runner.keeps = False
    steps = recognise(source, runner, Recogniser(spec.labels))
    for _ in range(300):
        next(steps)
    return steps


def test_a_thousand_frames_leave_nothing_behind():
    steps, held = warmed_up(1000), []
    tracemalloc.start()
    try:
        for number, step in enumerate(steps):
            assert step.latency_ms is not None
            if number % 100 == 99:
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[0] < 4096  # bytes


def test_no_frame_allocates_a_picture():
    steps, most = warmed_up(100), 0
    tracemalloc.start()
    try:
        for step in steps:
            assert step.latency_ms is not None
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.clear_traces()  # the peak too
    finally:
        tracemalloc.stop()
    assert most < 5000  # bytes; the model's view has 6912
