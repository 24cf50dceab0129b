"""Raw frames on standard input."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from clipedge.jetson.camera import SourceOptions, open_source
from clipedge.jetson.camera.source import ENDED, LIVE, LOST
from clipedge.jetson.errors import SourceError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

WIDTH, HEIGHT = 8, 6
SIZE = SourceOptions(raw_size=(WIDTH, HEIGHT))
LIMIT_S = 30.0


@pytest.fixture
def pipe(monkeypatch):
    """The end of a pipe that is written to; standard input is the other."""
    reading, writing = os.pipe()
    with open(reading) as stdin, open(writing, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writer


def bgr(*values):
    return b"".join(bytes([value, 20, 30]) * (WIDTH * HEIGHT) for value in values)


def wait_until(condition):
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_frames_at_a_given_rate_are_all_there_and_their_times_are_exact(pipe):
    options = SIZE._replace(frame_rate_hz=12.5)

    def write():  # in pieces that end within frames
        for start in range(0, len(data), 100):
            pipe.write(data[start : start + 100])
        pipe.close()

    data = bgr(*range(40))
    writer = threading.Thread(target=write)
    writer.start()
    with open_source("-", options) as source:
        assert not source.endless
        frames = list(source.pictures())
    writer.join()
    assert [frame.timestamp_s for frame in frames] == [index / 12.5 for index in range(40)]
    assert [frame.image[0, 0].tolist() for frame in frames] == [[30, 20, n] for n in range(40)]


@pytest.mark.parametrize(("count", "told"), [(60, 1), (5, 0)])
def test_a_recording_that_comes_faster_than_any_camera_is_told(pipe, caplog, count, told):
    pipe.write(bgr(*range(count)))
    pipe.close()
    with open_source("-", SIZE) as source:
        list(source)
    assert caplog.text.count("a recording? Give its --frame-rate") == told


def test_without_a_rate_it_is_a_camera_and_frames_are_stamped_when_they_come(pipe):
    pipe.write(bgr(1))
    with open_source("-", SIZE) as source:
        assert source.endless
        frames = source.pictures()
        first = next(frames)
        time.sleep(0.2)
        pipe.write(bgr(2, 3, 4))
        wait_until(lambda: source.status.frames == 4)
        newest = next(frames)
        assert newest.number == 3 and newest.timestamp_s - first.timestamp_s >= 0.2
        wait_until(lambda: source.status.state == LOST)  # nothing comes for a while
        pipe.write(bgr(5))
        wait_until(lambda: source.status.state == LIVE)
        pipe.close()
        assert [int(frame.image[0, 0, 2]) for frame in frames] == [5]
        assert source.status.state == ENDED


def test_each_format_gives_the_same_colours(pipe):
    red = {
        "bgr24": bytes([0, 0, 255]) * (WIDTH * HEIGHT),
        "rgb24": bytes([255, 0, 0]) * (WIDTH * HEIGHT),
        "yuyv": bytes([81, 90, 81, 240]) * (WIDTH * HEIGHT // 2),  # BT.601
    }
    for name, data in red.items():
        pipe.write(data)
        options = SIZE._replace(raw_format=name, frame_rate_hz=10.0)
        with open_source("-", options) as source:
            image = next(source.pictures()).image
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 3, name
    pipe.write(bytes([77]) * (WIDTH * HEIGHT))
    with open_source("-", SIZE._replace(raw_format="gray", frame_rate_hz=10.0)) as source:
        assert (next(source.pictures()).image == 77).all()


def test_a_frame_cut_by_the_end_is_said(pipe, caplog):
    pipe.write(bgr(1) + bgr(2)[:100])
    pipe.close()
    with open_source("-", SIZE._replace(frame_rate_hz=10.0)) as source:
        assert len(list(source.pictures())) == 1
    assert "ended within a frame: 100 of 144 bytes" in caplog.text
    assert "--raw-size" in caplog.text


@pytest.mark.parametrize("rate_hz", [None, 10.0])
def test_input_that_ends_at_once_is_an_error_with_an_example(pipe, rate_hz):
    pipe.close()
    with pytest.raises(SourceError, match=r"(?i)standard input.*ffmpeg -i INPUT"):
        list(open_source("-", SIZE._replace(frame_rate_hz=rate_hz)))


def test_input_that_is_closed_or_a_file_without_a_rate_is_a_wrong_call(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        open_source("-", SIZE)
    path = tmp_path / "frames.raw"
    path.write_bytes(bgr(1, 2))
    with path.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UsageError, match="give its --frame-rate"):
            open_source("-", SIZE)
        with open_source("-", SIZE._replace(frame_rate_hz=5.0)) as source:
            assert len(list(source)) == 2


def test_what_cannot_be_is_a_wrong_call(pipe):
    with pytest.raises(UsageError, match="cannot be played again"):
        open_source("-", SIZE._replace(loop=True))
    with pytest.raises(UsageError, match="even width, not 7"):
        open_source("-", SourceOptions(raw_size=(7, 6), raw_format="yuyv"))


def test_at_its_own_pace_too_it_ticks_while_no_frame_comes(pipe):
    options = SIZE._replace(frame_rate_hz=50.0, realtime=True)
    with open_source("-", options) as source:
        frames = iter(source)
        assert next(frames) is None
        pipe.write(bgr(1, 2))
        assert next(frame for frame in frames if frame is not None).number == 0
        assert next(frames) is None
        pipe.close()
        assert [frame.number for frame in frames if frame is not None] == [1]


def test_an_interrupt_ends_who_waits_for_frames_that_never_come():
    code = (
        "import sys, _thread, threading\n"
        "from clipedge.jetson.camera import open_source, SourceOptions\n"
        "threading.Timer(0.3, _thread.interrupt_main).start()\n"
        "try:\n    open_source('-')\n"
        "except KeyboardInterrupt:\n    sys.exit(7)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=LIMIT_S) == 7
