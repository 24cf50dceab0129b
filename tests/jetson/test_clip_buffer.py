import numpy as np
import pytest

from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec

SPEC = ClipSpec(model="m", labels=("a",), frames=16, size=4)  # 16 frames, 1/6 s apart


def frame_of(value):
    return np.full((3, 4, 4), value, np.uint8)


def filled(times_s, spec=SPEC):
    """A buffer whose frames hold their number, modulo 256, as their value."""
    buffer = ClipBuffer(spec)
    for number, time_s in enumerate(times_s):
        buffer.push(frame_of(number % 256), time_s)
    return buffer


@pytest.mark.parametrize("rate_hz", [12, 15, 24, 25, 29.97, 30, 60, 120])
def test_frames_are_a_sixth_of_a_second_apart_at_any_camera_rate(rate_hz):
    times_s = np.arange(int(4 * rate_hz)) / rate_hz
    buffer = filled(times_s)
    wanted_s = times_s[-1] - np.arange(15, -1, -1) / 6.0
    got_s = np.array(buffer.chosen_times_s())
    # Half a frame at slow cameras; at fast ones the thinning adds a twentieth of the spacing.
    assert np.abs(got_s - wanted_s).max() <= 0.5 / rate_hz + 1 / 120.0 + 1e-6
    numbers = np.searchsorted(times_s, got_s)
    assert np.array_equal(buffer.clip()[0, 0, :, 0, 0], numbers % 256)


def test_jitter_and_gaps_do_not_shift_the_clip():
    rng = np.random.RandomState(3)
    times_s = np.cumsum(rng.uniform(0.01, 0.07, 200))
    times_s = times_s[(times_s < 3.0) | (times_s > 3.3)]  # the camera stalls for 0.3 s
    got_s = np.array(filled(times_s).chosen_times_s())
    wanted_s = times_s[-1] - np.arange(15, -1, -1) / 6.0
    nearest_s = np.array([times_s[np.abs(times_s - moment_s).argmin()] for moment_s in wanted_s])
    assert np.abs(got_s - wanted_s).max() <= np.abs(nearest_s - wanted_s).max() + 1 / 60.0


def test_the_newest_frame_ends_the_clip_however_fast_frames_come():
    times_s = np.arange(6000) / 1000.0
    buffer = filled(times_s)
    assert buffer.clip()[0, 0, -1, 0, 0] == 5999 % 256
    assert len(buffer) < 200  # memory is bounded: not 2,500 frames


def test_memory_is_bounded_by_the_clips_span():
    buffer = filled(np.arange(100000) / 30.0)
    assert len(buffer) < 90


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
    buffer.push(frame_of(200), 5.0)
    assert np.array_equal(first, kept)


def test_a_clip_can_be_written_in_place():
    buffer = filled(np.arange(0, 3, 1 / 30.0))
    out = np.empty((1, 3, 16, 4, 4), np.float32)
    assert buffer.clip(out=out) is out
    assert np.array_equal(out, buffer.clip())


def test_a_clip_never_reaches_across_a_long_gap(caplog):
    buffer = filled([*np.arange(0, 3, 1 / 30.0), 60.0, 60.033])
    assert not buffer.ready
    assert "No frame for 57.0 s" in caplog.text
    for time_s in np.arange(60.1, 62.7, 1 / 30.0):
        buffer.push(frame_of(time_s), time_s)
    assert buffer.ready
    assert buffer.chosen_times_s()[0] >= 60.0


def test_time_that_runs_backwards_is_refused():
    buffer = filled([0.0, 1.0])
    with pytest.raises(ClipError, match="Time ran backwards"):
        buffer.push(frame_of(0), 1.0)
    buffer.clear()
    buffer.push(frame_of(0), 0.5)


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
