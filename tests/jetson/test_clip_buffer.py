import logging

import numpy as np
import pytest

from clipedge.jetson.clip_buffer import CALM_S, ClipBuffer
from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec

SPEC = ClipSpec(model="m", labels=("a",), frames=16, size=4)  # 16 frames, 1/6 s apart
RATES_HZ = (5, 6, 7.5, 10, 12, 15, 20, 24, 25, 29.97, 30, 50, 60, 90, 120)


def frame_of(value):
    return np.full((3, 4, 4), value, np.uint8)


def filled(times_s, spec=SPEC):
    """A buffer whose frames hold their number, modulo 256, as their value."""
    buffer = ClipBuffer(spec)
    for number, time_s in enumerate(times_s):
        buffer.push(frame_of(number % 256), time_s)
    return buffer


def camera(rate_hz, seconds, jitter, seed=0):
    """Times of a camera's frames, each off by up to ``jitter`` of the time between two."""
    rng = np.random.RandomState(seed)
    regular_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return regular_s + rng.uniform(-jitter, jitter, len(regular_s)) / rate_hz


def nearest_of_all(times_s, spec=SPEC):
    """The frames nearest to the clip's moments, searched for among all that ever came."""
    moments_s = times_s[-1] - np.arange(spec.frames - 1, -1, -1) * spec.spacing_s
    return np.array([times_s[np.abs(times_s - moment_s).argmin()] for moment_s in moments_s])


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3, 0.45])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_clip_has_the_frames_nearest_to_its_moments_at_any_rate(rate_hz, jitter):
    buffer, times_s = ClipBuffer(SPEC), camera(rate_hz, 6.0, jitter, seed=int(rate_hz))
    moments_back_s = np.arange(15, -1, -1) / 6.0
    compared = 0
    for number, time_s in enumerate(times_s):
        buffer.push(frame_of(number % 256), time_s)
        if not buffer.ready:
            continue
        got_s = np.array(buffer.chosen_times_s())
        moments_s = time_s - moments_back_s
        best_s = nearest_of_all(times_s[: number + 1])
        np.testing.assert_allclose(
            np.abs(got_s - moments_s), np.abs(best_s - moments_s), rtol=0, atol=2e-6
        )
        numbers = np.searchsorted(times_s, got_s)
        assert np.array_equal(buffer.clip()[0, 0, :, 0, 0], numbers % 256)
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("seed", range(5))
def test_gaps_and_bursts_do_not_shift_the_clip(seed):
    rng = np.random.RandomState(seed)
    # 12 ms and more apart: nothing is thinned; twice the camera stalls for a while.
    times_s = np.cumsum(rng.uniform(0.012, 0.07, 260))
    for stall_s in (3.0, 5.1):
        times_s = times_s[(times_s < stall_s) | (times_s > stall_s + rng.uniform(0.1, 0.6))]
    for end in range(120, len(times_s)):
        got_s = np.array(filled(times_s[end - 110 : end]).chosen_times_s())
        np.testing.assert_allclose(got_s, nearest_of_all(times_s[end - 110 : end]), atol=0)


@pytest.mark.parametrize("rate_hz", [12, 15, 25, 30, 60])
def test_the_same_recording_gives_the_same_moments_at_any_rate(rate_hz):
    """Of one recording, frames are taken at several rates: clips differ by half a frame at most."""
    clip_s = np.array(filled(np.arange(int(4 * rate_hz) + 1) / rate_hz).chosen_times_s())
    assert clip_s[-1] == pytest.approx(4.0)
    assert np.abs(clip_s - (4.0 - np.arange(15, -1, -1) / 6.0)).max() <= 0.5 / rate_hz + 1e-9


def test_the_newest_frame_ends_the_clip_however_fast_frames_come():
    times_s = np.arange(6000) / 1000.0
    buffer = filled(times_s)
    assert buffer.clip()[0, 0, -1, 0, 0] == 5999 % 256
    off_s = np.array(buffer.chosen_times_s()) - (5.999 - np.arange(15, -1, -1) / 6.0)
    assert np.abs(off_s).max() <= 0.0005 + 0.025 / 6
    assert len(buffer) < 640  # memory is bounded: not 2,500 frames


def test_memory_is_bounded_by_the_clips_span():
    assert len(filled(np.arange(20000) / 30.0)) < 90


def test_the_memory_of_frames_let_go_is_used_again():
    buffer = filled(np.arange(100) / 30.0)
    held = {frame.ctypes.data for frame in buffer._frames + buffer._unused}
    for number in range(100, 1000):
        buffer.push(frame_of(0), number / 30.0)
        if number == 500:
            buffer.clear()
    assert {frame.ctypes.data for frame in buffer._frames + buffer._unused} == held


@pytest.mark.parametrize("rate_hz", [30, 1000])
def test_a_frame_keeps_its_number_and_no_other_gets_it(rate_hz):
    buffer, seen = ClipBuffer(SPEC), {}
    for count in range(int(3.2 * rate_hz)):
        value = count * 61 % 251
        buffer.push(frame_of(value), count / float(rate_hz))
        if buffer.ready:
            frames, numbers = buffer.chosen()
            assert numbers == sorted(numbers)
            assert [frame[0, 0, 0] for frame in frames] == buffer.clip()[0, 0, :, 0, 0].tolist()
            for frame, number in zip(frames, numbers):
                assert seen.setdefault(number, frame[0, 0, 0]) == frame[0, 0, 0]
    assert len(seen) > 16


def test_it_is_not_ready_before_the_clips_span():
    assert not ClipBuffer(SPEC).ready
    early = filled(np.arange(0, 2.3, 1 / 30.0))
    assert not early.ready
    with pytest.raises(ClipError, match=r"needs 2.50 s"):
        early.clip()
    assert filled(np.arange(0, 2.6, 1 / 30.0)).ready


def test_a_clip_has_the_specs_shape_and_is_the_callers_own():
    buffer = filled(np.arange(0, 3, 1 / 30.0))
    first = buffer.clip()
    assert first.shape == (1, 3, 16, 4, 4)
    assert first.dtype == np.float32
    kept = first.copy()
    buffer.push(frame_of(200), 3.5)
    assert np.array_equal(first, kept)


def test_a_frame_may_be_written_over_once_it_was_pushed():
    buffer, frame = ClipBuffer(SPEC), frame_of(0)
    for number in range(16):
        frame[:] = number
        buffer.push(frame, number / 6.0)
    assert buffer.clip()[0, 2, :, 3, 1].tolist() == list(range(16))


def test_a_clip_can_be_written_in_place():
    buffer = filled(np.arange(0, 3, 1 / 30.0))
    out = np.empty((1, 3, 16, 4, 4), np.float32)
    assert buffer.clip(out=out) is out
    assert np.array_equal(out, buffer.clip())


@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.0, 2.0])
def test_a_recording_shorter_than_a_clip_is_played_in_a_loop(seconds):
    buffer = filled(5.0 + np.arange(int(seconds * 12) + 1) / 12.0)
    assert not buffer.ready
    moments = max(1, int(np.ceil((seconds + 1 / 24.0) * 6 - 1e-6))) if seconds else 1
    expected = [2 * (position % moments) for position in range(16)]
    assert buffer.looped_clip()[0, 0, :, 0, 0].tolist() == expected


def test_nothing_at_all_has_no_clip():
    with pytest.raises(ClipError, match="needs a frame"):
        ClipBuffer(SPEC).looped_clip()


def test_a_clip_never_reaches_across_a_long_gap(caplog):
    buffer = filled(np.arange(0, 3, 1 / 30.0))
    assert buffer.push(frame_of(0), 60.0)
    assert not buffer.push(frame_of(0), 60.033)
    assert not buffer.ready
    assert "No frame came for 57.0 s" in caplog.text
    assert "No frame came for 57.0 s" in buffer.complaint
    for time_s in np.arange(60.1, 62.7, 1 / 30.0):
        buffer.push(frame_of(time_s), time_s)
    assert buffer.ready
    assert buffer.chosen_times_s()[0] >= 60.0
    assert buffer.complaint is None


@pytest.mark.parametrize("rate_hz", [6, 7.5, 12, 15, 30, 60, 120])
def test_a_camera_that_is_fast_enough_is_no_complaint(rate_hz, caplog):
    caplog.set_level(logging.INFO)
    assert filled(np.round(np.arange(int(5 * rate_hz)) / rate_hz, 3)).complaint is None
    assert caplog.text == ""


@pytest.mark.parametrize("rate_hz", [2, 3, 5])
def test_a_camera_that_is_too_slow_is_told_of_once_and_shown_all_the_time(rate_hz, caplog):
    buffer = filled(np.arange(100 * rate_hz) / float(rate_hz))
    assert f"Frames come {1 / rate_hz:.2f} s apart" in buffer.complaint
    assert "wants one every 0.17 s" in buffer.complaint
    assert len(caplog.records) == 1


def test_frames_that_are_all_gaps_are_told_of_once(caplog):
    buffer = filled(np.arange(100) * 1.0)
    assert "No frame came for 1.0 s" in buffer.complaint
    assert len(caplog.records) == 1


def test_each_gap_in_a_good_stream_is_told_of(caplog):
    times_s = np.arange(0, 3, 1 / 15.0)
    filled(np.concatenate([times_s, 10 + times_s, 20 + times_s]))
    assert len(caplog.records) == 2


def test_a_stall_is_over_once_it_left_the_clip_and_told_again_after_a_calm_time(caplog):
    caplog.set_level(logging.INFO)
    buffer, last_s = filled(np.arange(0, 3, 1 / 15.0)), 3.0
    for length_s in (1.0, 3.0, CALM_S + 1.0):
        times_s = last_s + 0.3 + np.arange(0, length_s, 1 / 15.0)  # a stall, less than a gap
        for time_s in times_s:
            buffer.push(frame_of(0), time_s)
        assert (buffer.complaint is not None) == (length_s < 2.4)
        last_s = times_s[-1]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    buffer.push(frame_of(0), last_s + 0.4)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


def test_time_that_runs_backwards_is_refused():
    buffer = filled([0.0, 0.5])
    with pytest.raises(ClipError, match="Time ran backwards"):
        buffer.push(frame_of(0), 0.5)
    buffer.clear()
    buffer.push(frame_of(0), 0.25)


@pytest.mark.parametrize("frame", [np.zeros((3, 5, 4), np.uint8), np.zeros((3, 4, 4), np.float32)])
def test_a_frame_of_another_shape_or_type_is_refused(frame):
    with pytest.raises(ClipError, match=r"\(3, 4, 4\) uint8"):
        ClipBuffer(SPEC).push(frame, 0.0)


@pytest.mark.parametrize("began_s", [0.0, 0.7, 1234.5678])
def test_of_two_frames_equally_near_the_earlier_is_taken_whenever_it_began(began_s):
    """15 Hz and 6 frames a second: every second moment lies half-way between two frames."""
    times_s = began_s + np.arange(41) / 15.0
    chosen = [(time_s - began_s) * 15.0 for time_s in filled(times_s).chosen_times_s()]
    expected = [np.ceil(40 - 2.5 * back - 0.5 - 1e-3) for back in reversed(range(16))]
    np.testing.assert_allclose(chosen, expected, atol=1e-3)
