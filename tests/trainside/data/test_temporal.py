"""Which frames a clip takes: those of the board's buffer, by time, looped where there are few."""

import numpy as np
import pytest

from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.temporal import evaluation_clips, nearest, thinned, training_clip

SPEC = ClipSpec("any", ("a", "b"), size=4)  # 16 frames 1/6 s apart: 2.5 s
RATES_HZ = [6.0, 10.0, 12.0, 15.0, 20.0, 24.0, 25.0, 30000 / 1001, 30.0, 60.0, 240.0]


def buffered(times_s, spec):
    """For each frame the numbers of the frames in the board's clip that ends with it."""
    buffer, blank = ClipBuffer(spec), np.zeros((3, spec.size, spec.size), np.uint8)
    clips = {}
    for number, time_s in enumerate(times_s.tolist()):
        buffer.push(blank, time_s)
        if buffer.ready:
            clips[number] = np.searchsorted(times_s, buffer.chosen_times_s()).tolist()
    return clips


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_clips_to_score_are_the_boards_whatever_the_rate(rate_hz):
    times_s = np.arange(round(9.0 * rate_hz)) / rate_hz
    live = buffered(times_s, SPEC)
    clips = evaluation_clips(times_s, SPEC)
    assert len(clips) == 3
    for number, clip in enumerate(clips):
        assert clip.tolist() == live[int(clip[-1])]
        assert times_s[clip[0]] == pytest.approx(number * 16 / 6, abs=1.01 / rate_hz)


def test_clips_to_score_are_the_boards_at_uneven_times():
    rng = np.random.default_rng(0)
    for _ in range(20):
        times_s = np.cumsum(rng.uniform(0.005, 0.12, 300))
        times_s -= times_s[0]
        live = buffered(times_s, SPEC)
        whole = int(times_s[-1] * 6 + 1) // 16
        for clip in evaluation_clips(times_s, SPEC)[:whole]:
            assert clip.tolist() == live[int(clip[-1])]


@pytest.mark.parametrize("stride", [1, 3])
def test_clips_to_score_are_the_boards_at_another_spacing(stride):
    spec = SPEC._replace(stride_frames=stride, frame_rate_hz=25.0, frames=8)
    times_s = np.arange(200) / 30.0
    live = buffered(times_s, spec)
    for clip in evaluation_clips(times_s, spec)[:-1]:
        assert clip.tolist() == live[int(clip[-1])]


@pytest.mark.parametrize(
    ("frames", "firsts"),
    [
        (16, [0]),
        (23, [0]),  # 7 more are less than half a clip
        (24, [0, 16]),  # 8 more are half a clip
        (32, [0, 16]),
        (47, [0, 16, 32]),
    ],
)
def test_clips_follow_one_another_and_half_a_clip_counts(frames, firsts):
    clips = evaluation_clips(np.arange(frames) / 6.0, SPEC)
    assert [int(clip[0]) for clip in clips] == firsts
    rest = frames - firsts[-1]
    assert (clips[-1] - firsts[-1]).tolist() == [number % rest for number in range(16)]


@pytest.mark.parametrize("frames", [1, 2, 5, 15])
def test_a_video_shorter_than_a_clip_is_played_in_a_loop(frames):
    times_s = np.arange(frames) / 6.0
    expected = [number % frames for number in range(16)]
    assert [clip.tolist() for clip in evaluation_clips(times_s, SPEC)] == [expected]
    assert [clip.tolist() for clip in evaluation_clips(times_s, SPEC, count=5)] == [expected]
    for part in (0.0, 0.5, 1.0):
        assert training_clip(times_s, SPEC, part).tolist() == expected


def test_a_few_clips_are_spread_evenly_and_one_is_the_middle():
    times_s = np.arange(61) / 6.0  # room for 45 frames beside a clip
    (middle,) = evaluation_clips(times_s, SPEC, count=1)
    assert middle.tolist() == list(range(22, 38))
    assert [int(clip[0]) for clip in evaluation_clips(times_s, SPEC, count=3)] == [7, 22, 37]


@pytest.mark.parametrize("rate_hz", [6.0, 12.0, 25.0, 30.0])
def test_a_training_clip_lies_inside_the_video_wherever_it_starts(rate_hz):
    times_s = np.arange(round(5 * rate_hz)) / rate_hz
    firsts = []
    for part in np.linspace(0.0, 1.0, 21):
        clip = training_clip(times_s, SPEC, part)
        firsts.append(times_s[clip[0]])
        assert (np.diff(clip) > 0).all()
        np.testing.assert_allclose(
            np.diff(times_s[clip]), SPEC.spacing_s, atol=1.0 / rate_hz + 1e-9
        )
    assert firsts[0] == 0.0
    assert firsts[-1] == pytest.approx(times_s[-1] - SPEC.span_s, abs=0.5 / rate_hz + 1e-9)


def test_a_slow_video_repeats_its_nearest_frame():
    clip = training_clip(np.arange(10) / 3.0, SPEC, 0.0)
    assert clip.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]


def test_far_more_frames_than_the_model_sees_are_thinned_to_a_quarter_of_its_spacing():
    for rate_hz in (12.0, 24.0, 25.0):
        assert len(thinned(np.arange(100) / rate_hz, SPEC)) == 100
    times_s = np.arange(600) / 60.0
    kept = thinned(times_s, SPEC)
    assert len(kept) == pytest.approx(600 * 24 / 60, abs=1)
    assert np.diff(times_s[kept]).max() <= SPEC.spacing_s / 4 + 1 / 60.0
    assert len(thinned(times_s, SPEC._replace(stride_frames=1, frame_rate_hz=25.0))) == 600


def test_of_two_frames_equally_near_the_earlier_is_taken():
    times_s = np.array([0.0, 1.0, 2.0])
    moments_s = np.array([-5.0, 0.5, 0.5 + 1e-9, 0.51, 1.5, 9.0])
    assert nearest(times_s, moments_s).tolist() == [0, 0, 0, 1, 1, 2]
    assert nearest(times_s[:1], moments_s).tolist() == [0] * 6
