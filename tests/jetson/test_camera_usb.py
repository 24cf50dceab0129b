"""USB cameras, which stand-ins of OpenCV's capture and of the kernel's answers play."""

import errno
import logging
import threading
import time

import pytest
from stand_ins.video_capture import Camera, video_capture

from clipedge.jetson.camera import SourceOptions, open_source, usb, v4l2
from clipedge.jetson.camera.source import LIVE, LOST
from clipedge.jetson.errors import SourceError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

LIMIT_S = 30.0


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """A camera that is plugged in as number 0."""
    cameras = {0: Camera()}
    monkeypatch.setattr(cv2, "VideoCapture", video_capture(cv2, cameras))
    monkeypatch.setattr(usb, "DEV", str(tmp_path))
    monkeypatch.setattr(usb.sys, "platform", "linux")
    (tmp_path / "video0").write_bytes(b"")

    def problem_of(node):  # the driver's answer; of the node itself it is the real one
        return None if cameras[0].plugged else errno.ENOENT

    monkeypatch.setattr(v4l2, "problem_of", problem_of)
    return cameras[0]


def frames_until(source, condition):
    """Iterate until it holds; return the frames seen."""
    frames, end_s = [], time.monotonic() + LIMIT_S
    for frame in source:
        if frame is not None:
            frames.append(frame)
        if condition():
            return frames
        assert time.monotonic() < end_s, source.status
    raise AssertionError("the source ended")


def test_the_stand_in_has_no_member_that_the_real_class_lacks():
    real = {name for name in dir(cv2.VideoCapture) if not name.startswith("_")}
    own = {name for name in dir(video_capture(cv2, {})) if not name.startswith("_")}
    assert own - {"cameras", "cv2"} <= real


def test_motion_jpeg_is_asked_for_before_size_and_rate(plugged):
    with open_source("0", SourceOptions(size=(1280, 720), rate_hz=60.0)) as source:
        frame = next(source.pictures())
    assert frame.image.shape == (720, 1280, 3)
    assert frame.image[0, 0, 1:].tolist() == [20, 10]  # RGB
    asked = plugged.asked
    assert asked.index(cv2.CAP_PROP_FOURCC) < asked.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert asked.index(cv2.CAP_PROP_FOURCC) < asked.index(cv2.CAP_PROP_FPS)
    assert plugged.holders == 0


def test_what_the_camera_gives_instead_is_said(plugged, caplog):
    caplog.set_level(logging.INFO)
    with open_source("0", SourceOptions(size=(800, 600))) as source:
        assert next(source.pictures()).image.shape == (480, 640, 3)
    assert "640 x 480 at 30 Hz where 800 x 600 at 30 Hz was asked for" in caplog.text


def test_a_pulled_camera_is_lost_and_found_again(plugged, caplog):
    caplog.set_level(logging.INFO)
    with open_source("0") as source:
        assert source.endless
        frames = frames_until(source, lambda: source.status.frames > 3)
        plugged.plugged = False
        frames += frames_until(source, lambda: source.status.state == LOST)
        frames_until(source, lambda: "there is no" in source.status.detail.lower())
        assert "--list-cameras" in source.status.detail
        assert source.status.rate_hz is None
        plugged.plugged = True
        frames += frames_until(source, lambda: source.status.state == LIVE)
        frames.append(next(source.pictures()))
        assert source.status.losses == 1
    stamps_s = [frame.timestamp_s for frame in frames]
    numbers = [frame.number for frame in frames]
    assert stamps_s == sorted(stamps_s) and numbers == sorted(set(numbers))
    assert caplog.text.count("gives no more frames") == caplog.text.count("is back after") == 1


def test_a_silent_camera_is_noticed_in_time_and_not_opened_twice(plugged):
    with open_source("0") as source:
        frames_until(source, lambda: source.status.frames > 3)
        plugged.going.clear()
        began_s = time.monotonic()
        frames_until(source, lambda: source.status.state == LOST)
        noticed_s = time.monotonic() - began_s
        time.sleep(0.7)  # more than the wait before a second opening
        assert plugged.opened == plugged.most_holders == 1
        plugged.going.set()
        frames_until(source, lambda: source.status.state == LIVE)
        assert plugged.opened == 1  # the reader that was stuck goes on
    assert 1.0 < noticed_s < 2.0
    assert plugged.holders == 0


def test_closing_does_not_wait_for_a_silent_camera(plugged):
    source = open_source("0")
    plugged.going.clear()
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 1.0
    assert list(source) == []
    plugged.going.set()
    end_s = time.monotonic() + LIMIT_S
    while plugged.holders and time.monotonic() < end_s:
        time.sleep(0.01)
    assert plugged.holders == 0  # it let go when it woke
    source.close()


def test_nothing_is_left_running(plugged):
    before = threading.active_count()
    for _ in range(3):
        open_source("0").close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (errno.ENOENT, "is it plugged in"),
        (errno.EBUSY, r"is busy: vlc \(pid 12\) uses it"),
        (errno.EACCES, "group video"),
        (None, "does not open, though it is there"),
    ],
)
def test_why_a_camera_does_not_open_is_told_apart(plugged, monkeypatch, problem, message):
    plugged.plugged = False
    monkeypatch.setattr(v4l2, "problem_of", lambda node: problem)
    monkeypatch.setattr(v4l2, "holders", lambda node: ["vlc (pid 12)"])
    began_s = time.monotonic()
    with pytest.raises(SourceError, match="(?i)" + message):
        open_source("0")
    assert time.monotonic() - began_s < 5.0


def test_a_camera_that_is_not_there_yet_can_be_waited_for(plugged):
    plugged.plugged = False
    with open_source("0", SourceOptions(wait=True)) as source:
        assert frames_until(source, lambda: source.status.detail) == []
        assert "there is no" in source.status.detail
        plugged.plugged = True
        frames_until(source, lambda: source.status.state == LIVE)
        assert source.status.losses == 0


def test_a_link_to_a_camera_is_followed_at_each_opening(plugged, tmp_path):
    (tmp_path / "by-id").symlink_to(tmp_path / "video0")
    assert usb.UsbCamera(str(tmp_path / "by-id"))._target() == 0
    (tmp_path / "by-id").unlink()
    (tmp_path / "by-id").symlink_to(tmp_path / "video2")
    assert usb.UsbCamera(str(tmp_path / "by-id"))._target() == 2
