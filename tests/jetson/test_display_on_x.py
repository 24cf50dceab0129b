"""The window of gesture-demo, opened for real on an X server without a screen."""

import ctypes
import os
import pathlib
import select
import shutil
import subprocess
import time

import numpy as np
import pytest

from clipedge.jetson.display import window

# Debian's Python has an OpenCV with windows; pip's, which the tests run with, has none.
PYTHON = "/usr/bin/python3"
LIMIT_S = 30.0
COLOUR = [20, 180, 90]  # blue, green, red

# Shows a run until the window wants it to end: a picture of one colour with a dark left half.
SCRIPT = """
import sys, time
import numpy as np
from clipedge.jetson.camera import Frame
from clipedge.jetson.camera.source import SourceStatus
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.window import WindowDisplay
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step

labels = ("wave", "swipe")
image = np.empty((480, 640, 3), np.uint8)
image[:] = (90, 180, 20)
image[:, :320] //= 4
board = Scoreboard(labels, SourceStatus)
with WindowDisplay(board, RunFacts("tiny", "4 frames", "none", "camera 0", labels)) as display:
    number = 0
    while not display.stop_requested:
        event = GestureEvent(number / 30.0, "wave", 0.9, 8.0) if number == 10 else None
        scores = np.array([0.9, 0.1], np.float32)
        step = Step(Frame(image, number / 30.0, number), scores, event, 8.0)
        board.add(step)
        display.add(step)
        number += 1
        time.sleep(0.01)
        if number == 20:
            print("shown", flush=True)
"""


@pytest.fixture(scope="module")
def x_server(tmp_path_factory):
    """(display, file of its pixels); skips where a package is missing."""
    for program, package in (("Xvfb", "xvfb"), ("xdotool", "xdotool")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    probe = [PYTHON, "-c", "import cv2, numpy; print(cv2.getBuildInformation())"]
    built = subprocess.run(probe, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if built.returncode != 0 or not any(name in built.stdout for name in (b"QT5", b"GTK", b"QT6")):
        pytest.skip(f"{PYTHON} has no OpenCV with windows: apt-get install python3-opencv")
    folder = tmp_path_factory.mktemp("x")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp",
         "-fbdir", str(folder)],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    try:
        assert select.select([read], [], [], LIMIT_S)[0], "Xvfb did not start"
        number = os.read(read, 16).decode().strip()
        yield f":{number}", folder / "Xvfb_screen0"
    finally:
        os.close(read)
        server.terminate()
        server.wait(LIMIT_S)


@pytest.fixture
def run(x_server, tmp_path):
    """A run with its window open: the process."""
    (tmp_path / "clipedge").mkdir()
    package = pathlib.Path(window.__file__).resolve().parents[1]
    (tmp_path / "clipedge" / "jetson").symlink_to(package)
    environment = dict(os.environ, DISPLAY=x_server[0], PYTHONPATH=str(tmp_path))
    environment.pop("WAYLAND_DISPLAY", None)
    told = tmp_path / "told.txt"
    with told.open("wb") as out:
        process = subprocess.Popen(
            [PYTHON, "-c", SCRIPT], env=environment, cwd=str(tmp_path), stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(lambda: "shown" in told.read_text() or process.poll() is not None, "the window")
        assert "shown" in told.read_text(), told.read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def pixels(path):
    """(H, W, 3) uint8, BGR, of an X server's screen, from its file in the format XWD."""
    raw = path.read_bytes()
    header = np.frombuffer(raw[:100], ">u4").astype(int)
    start, width, height, line, colours = header[0], header[4], header[5], header[12], header[19]
    data = np.frombuffer(raw, np.uint8, int(height * line), int(start + 12 * colours))
    return data.reshape(height, line)[:, : 4 * width].reshape(height, width, 4)[:, :, :3]


def where_is(x_server, colour):
    """The middle column of a colour on the screen, or None."""
    found = (np.abs(pixels(x_server[1]).astype(int) - colour) < 6).all(axis=2)
    return float(np.nonzero(found)[1].mean()) if found.sum() > 5000 else None


def wait_for(condition, what):
    limit_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s, f"waited in vain for {what}"
        time.sleep(0.02)


def window_number(x_server):
    command = ["xdotool", "search", "--name", "^gesture-demo$"]
    environment = dict(os.environ, DISPLAY=x_server[0])
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=LIMIT_S)
    return found.stdout.split()[-1].decode()


def press(x_server, key):
    environment = dict(os.environ, DISPLAY=x_server[0])
    command = ["xdotool", "windowfocus", "--sync", window_number(x_server), "key", key]
    subprocess.run(command, env=environment, check=True, timeout=LIMIT_S)


def test_the_window_shows_the_run_and_obeys_keys(x_server, run, tmp_path):
    wait_for(lambda: where_is(x_server, COLOUR), "the picture")
    wait_for(lambda: where_is(x_server, [31, 27, 25]), "the panel beside it")
    before = where_is(x_server, COLOUR)
    press(x_server, "m")
    wait_for(lambda: (where_is(x_server, COLOUR) or before) < before - 200, "the mirrored picture")
    press(x_server, "s")
    wait_for(lambda: list(tmp_path.glob("gesture-demo-*.png")), "the saved picture")
    press(x_server, "Left")  # no letter, though its code ends like that of Q
    press(x_server, "h")
    wait_for(lambda: where_is(x_server, COLOUR) is None, "the help")
    assert run.poll() is None
    press(x_server, "q")
    assert run.wait(LIMIT_S) == 0


def test_a_click_on_the_cross_ends_the_run(x_server, run):
    ask_to_close(x_server[0], int(window_number(x_server)))
    assert run.wait(LIMIT_S) == 0


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest_of_the_union", ctypes.c_long * 24),
    ]


def ask_to_close(display, number):
    """Send what a window manager sends when a window's cross is clicked; xdotool cannot."""
    xlib = ctypes.CDLL("libX11.so.6")
    xlib.XOpenDisplay.restype = ctypes.c_void_p
    xlib.XInternAtom.restype = ctypes.c_ulong
    handle = ctypes.c_void_p(xlib.XOpenDisplay(display.encode()))
    message = ClientMessage(type=33, window=number, format=32)
    message.message_type = xlib.XInternAtom(handle, b"WM_PROTOCOLS", 0)
    message.data[0] = xlib.XInternAtom(handle, b"WM_DELETE_WINDOW", 0)
    xlib.XSendEvent(handle, ctypes.c_ulong(number), 0, ctypes.c_long(0), ctypes.byref(message))
    xlib.XCloseDisplay(handle)
