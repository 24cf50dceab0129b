"""Cameras in the network: real servers of RTSP and of motion JPEG over HTTP, on loopback."""

import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from clipedge.jetson.camera import open_source
from clipedge.jetson.camera.naming import without_passwords
from clipedge.jetson.camera.source import LIVE, LOST
from clipedge.jetson.errors import SourceError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

SERVERS = pathlib.Path(__file__).resolve().parent / "camera_servers"
LIMIT_S = 30.0
DEBIAN_PYTHON = "/usr/bin/python3"
GST_SERVER = "import gi; gi.require_version('GstRtspServer', '1.0')"
NO_RTSP = (
    "no GStreamer RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi "
    "gstreamer1.0-plugins-ugly"
)


class Server:
    """A camera's process; it can be killed, and started again on the same port."""

    def __init__(self, *command):
        self._command = command
        self.port = 0
        self._process = None
        self.start()

    def start(self):
        script, arguments = self._command[:2], self._command[2:]
        self._process = subprocess.Popen(
            [str(part) for part in (*script, self.port, *arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        self.port = int(self._process.stdout.readline())

    def tell(self, order):
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def http_camera(tmp_path):
    names = []
    for value in (60, 120, 180):
        names.append(tmp_path / f"{value}.jpg")
        cv2.imwrite(str(names[-1]), np.full((48, 64, 3), (20, 20, value), np.uint8))
    server = Server(sys.executable, SERVERS / "http_camera.py", *names)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def rtsp_server():
    """`rtsp_server(*arguments)`: such a Server."""
    if not os.path.exists(DEBIAN_PYTHON):
        pytest.skip(NO_RTSP)
    probe = subprocess.run(
        [DEBIAN_PYTHON, "-c", GST_SERVER], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if probe.returncode != 0:
        pytest.skip(NO_RTSP)
    servers = []

    def start(*arguments):
        servers.append(Server(DEBIAN_PYTHON, SERVERS / "rtsp_camera.py", *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def until(frames, source, state):
    """Iterate until the source is in this state; return how long it took, seconds."""
    began_s = time.monotonic()
    while source.status.state != state:
        next(frames)
        assert time.monotonic() - began_s < LIMIT_S, source.status
    return time.monotonic() - began_s


def some_frames(source, count):
    pictures = source.pictures()
    return [next(pictures) for _ in range(count)]


def test_motion_jpeg_over_http_gives_frames_with_times_of_arrival(http_camera):
    before_s = time.monotonic()
    with open_source(f"http://127.0.0.1:{http_camera.port}/stream") as source:
        frames = some_frames(source, 20)
    stamps_s = [frame.timestamp_s for frame in frames]
    assert all(np.diff(stamps_s) > 0)
    assert before_s < stamps_s[0] < stamps_s[-1] <= time.monotonic()
    image = frames[-1].image
    assert image.shape == (48, 64, 3)
    assert image[..., 0].mean() > 50 > image[..., 2].mean()  # red first


def test_an_http_camera_is_lost_when_it_stalls_and_when_it_dies_and_found_again(
    http_camera, caplog
):
    caplog.set_level(logging.INFO)
    with open_source(f"http://127.0.0.1:{http_camera.port}/stream") as source:
        some_frames(source, 5)
        frames = iter(source)
        http_camera.tell("stall")
        assert until(frames, source, LOST) < 2.0
        http_camera.tell("go")
        until(frames, source, LIVE)
        http_camera.kill()
        assert until(frames, source, LOST) < 2.0
        time.sleep(0.1)
        http_camera.start()
        until(frames, source, LIVE)
        some_frames(source, 5)
        assert source.status.losses >= 2
    assert caplog.text.count("It is tried again") == caplog.text.count("is back after")


FOLLOWER = """
import sys
from clipedge.jetson.camera import open_source
try:
    with open_source(sys.argv[1]) as source:
        shown = ""
        for frame in source:
            if source.status.state != shown:
                shown = source.status.state
                print(shown, flush=True)
except KeyboardInterrupt:
    sys.exit(7)
"""


def test_an_interrupt_ends_a_program_whose_camera_is_stuck(http_camera):
    url = f"http://127.0.0.1:{http_camera.port}/stream"
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"live\n"
        http_camera.tell("stall")
        assert process.stdout.readline() == b"lost\n"
        interrupted_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=LIMIT_S)
        assert time.monotonic() - interrupted_s < 4.0  # FFmpeg would be stuck for longer
    assert (process.returncode, talk.count(b"terminate")) == (7, 0)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/page", "that is no video but text/html"),
        ("/nothing", "nothing at this path"),
        ("/private", "wants a user and a password"),
    ],
)
def test_why_an_http_address_gives_no_video_is_told_apart(http_camera, path, message):
    with pytest.raises(SourceError, match=message):
        open_source(f"http://127.0.0.1:{http_camera.port}{path}")


def test_an_address_in_capitals_is_one_too(http_camera):
    with open_source(f"HTTP://127.0.0.1:{http_camera.port}/stream") as source:
        assert len(some_frames(source, 2)) == 2


def test_a_password_is_used_and_shown_nowhere(http_camera, caplog):
    caplog.set_level(logging.DEBUG)
    address = f"127.0.0.1:{http_camera.port}/private"
    with open_source(f"http://me:secret@{address}?token=secret2") as source:
        frames = iter(source)
        some_frames(source, 2)
        http_camera.kill()
        until(frames, source, LOST)
        shown = f"{source.name} {source.status}"
    with pytest.raises(SourceError, match="no connection on port") as error:
        open_source(f"http://me:secret@{address}?token=secret2")
    assert "secret" not in shown + caplog.text + str(error.value)
    assert address in source.name
    http_camera.start()
    with pytest.raises(SourceError, match="not accepted") as error:
        open_source(f"http://me:secre@{address}")
    assert "secre" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:s:e@c@10.0.0.2:554/a", "rtsp://10.0.0.2:554/a"),
        ("http://h/v?user=me&pwd=secret&n=1", "http://h/v?user=***&pwd=***&n=1"),
        ("src location=rtsp://me:x@h/a user-pw=x ! b", "src location=rtsp://h/a user-pw=*** ! b"),
        ("src user-pw=\"a b\" user-id='c d' ! b", "src user-pw=*** user-id=*** ! b"),
    ],
)  # fmt: skip
def test_no_password_is_in_a_shown_address(text, shown):
    assert without_passwords(text) == shown


@pytest.mark.parametrize("text", ["rtsp://", "http:///video", "rtsp://host:port/a", "http://[/"])
def test_what_is_no_address_is_a_wrong_call(text):
    with pytest.raises(UsageError, match="no address of a camera"):
        open_source(text)


@pytest.mark.parametrize(
    "text", ["rtps://me:secret@box/a", "rtsp://me:sec/ret@box/a", "RTSP://me:secret@box:x/a"]
)
def test_no_password_is_in_the_message_of_a_wrong_address(text):
    with pytest.raises(UsageError, match="//box") as error:
        open_source(text)
    assert "ret" not in str(error.value)


def test_a_machine_that_takes_no_connection_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        for scheme in ("http", "rtsp"):
            with pytest.raises(SourceError, match=f"takes no connection on port {port}"):
                open_source(f"{scheme}://127.0.0.1:{port}/a")


def test_an_rtsp_camera_gives_frames_is_lost_and_found_again(rtsp_server):
    """The server speaks RTSP over TCP alone."""
    server = rtsp_server()
    with open_source(f"rtsp://127.0.0.1:{server.port}/stream") as source:
        images = [frame.image for frame in some_frames(source, 10)]
        assert images[0].shape == (240, 320, 3)
        assert any((images[0] != image).any() for image in images)  # a ball that moves
        frames = iter(source)
        server.kill()
        assert until(frames, source, LOST) < 2.0
        server.start()
        until(frames, source, LIVE)
        some_frames(source, 5)
        assert source.status.losses >= 1


def test_why_an_rtsp_address_gives_no_video_is_told_apart(rtsp_server):
    server = rtsp_server("me", "secret")
    address = f"127.0.0.1:{server.port}/stream"
    with pytest.raises(SourceError, match="wants a user and a password"):
        open_source(f"rtsp://{address}")
    with pytest.raises(SourceError, match="not accepted") as error:
        open_source(f"rtsp://me:wrong@{address}")
    assert "wrong" not in str(error.value)
    with open_source(f"rtsp://me:secret@{address}") as source:
        some_frames(source, 2)
    with pytest.raises(SourceError, match="nothing at this path"):
        open_source(f"rtsp://127.0.0.1:{rtsp_server().port}/nothing")
