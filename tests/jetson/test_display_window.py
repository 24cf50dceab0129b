"""The window of gesture-demo, on stand-ins for OpenCV's functions."""

import types

import numpy as np
import pytest

from clipedge.jetson.camera import Frame
from clipedge.jetson.camera.source import SourceStatus
from clipedge.jetson.display import window as window_module
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.window import WindowDisplay
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.live import Step
from clipedge.jetson.sensors import Sensors

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

FACTS = RunFacts("tiny", "4 frames in 0.5 s", "onnxruntime", "camera 0", ("wave", "swipe"))
SENSORS = Sensors(None, "no monitor", 43.0, "GPU-therm", None, "no alert", {}, {})


class Screen:
    """Stands in for OpenCV's window: pictures it was given, keys to give, a cross to click."""

    def __init__(self):
        self.pictures, self.keys, self.visible, self.open = [], [], 1.0, False
        self.now_s, self.slow_s = 100.0, 0.0

    def show(self, title, picture):
        self.now_s += self.slow_s
        self.pictures.append(picture.copy())

    def property_of(self, title, which):
        return self.visible if which == cv2.WND_PROP_VISIBLE else 0.0

    def close(self):
        self.open = False


@pytest.fixture
def screen(monkeypatch):
    screen = Screen()
    stand_ins = {
        "namedWindow": lambda *_: setattr(screen, "open", True),
        "resizeWindow": lambda *_: None,
        "imshow": screen.show,
        "waitKeyEx": lambda wait_ms: screen.keys.pop(0) if screen.keys else -1,
        "getWindowProperty": screen.property_of,
        "destroyAllWindows": screen.close,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(cv2, name, stand_in, raising=False)
    monkeypatch.setattr(window_module, "why_no_window", lambda: None)
    clock = types.SimpleNamespace(monotonic=lambda: screen.now_s, strftime=lambda form: "shot.png")
    monkeypatch.setattr(window_module, "time", clock)
    return screen


@pytest.fixture
def display(screen):
    with WindowDisplay(Scoreboard(FACTS.labels, SourceStatus), FACTS, lambda: SENSORS) as display:
        yield display


def step(level=0, number=0):
    image = np.full((480, 640, 3), level, np.uint8)
    image[:, :100] = 255 - level
    return Step(Frame(image, number / 30.0, number), None, None, None)


TICK = Step(None, None, None, None)


def press(screen, display, key, then=TICK):
    """Press a key and let the window draw twice: it shows what the key did."""
    screen.keys.append(ord(key))
    for one in (then, then):
        screen.now_s += 0.1
        display.add(one)


@pytest.mark.parametrize("key", ["q", "\x1b", "Q"])
def test_a_key_ends_the_run(screen, display, key):
    display.add(step())
    assert not display.stop_requested
    press(screen, display, key)
    assert display.stop_requested


def test_a_window_that_is_closed_ends_the_run_and_does_not_come_back(screen, display):
    display.add(step())
    screen.visible = 0.0
    screen.now_s += 0.1
    display.add(step())
    assert display.stop_requested
    before = len(screen.pictures)
    screen.now_s += 0.1
    display.add(step())
    assert len(screen.pictures) == before


def test_the_picture_is_held_and_goes_on(screen, display):
    display.add(step(level=10))
    press(screen, display, " ", then=step(level=50))
    held = screen.pictures[-1][200, 300].tolist()
    screen.now_s += 0.1
    display.add(step(level=90))
    assert screen.pictures[-1][200, 300].tolist() == held == [50, 50, 50]
    press(screen, display, " ", then=step(level=130))
    assert screen.pictures[-1][200, 300].tolist() == [130, 130, 130]


def test_the_picture_is_mirrored(screen, display):
    display.add(step(level=10))
    assert screen.pictures[-1][200, 20].tolist() == [245, 245, 245]
    press(screen, display, "m")
    assert screen.pictures[-1][200, 20].tolist() == [10, 10, 10]
    assert screen.pictures[-1][200, 620].tolist() == [245, 245, 245]


def test_help_comes_and_goes(screen, display):
    display.add(step(level=200))
    plain = screen.pictures[-1]
    press(screen, display, "h")
    assert screen.pictures[-1][:480, :640].mean() < 60
    press(screen, display, "h")
    np.testing.assert_array_equal(screen.pictures[-1][:480, :640], plain[:480, :640])


def test_what_is_shown_is_saved_and_said(screen, display, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    display.add(step(level=70))
    press(screen, display, "s")
    saved = cv2.imread(str(tmp_path / "shot.png"))
    np.testing.assert_array_equal(saved[:400], screen.pictures[-2][:400])
    assert "shot.png" in caplog.text
    said = screen.pictures[-1][400:480, :640]
    assert (said != screen.pictures[-2][400:480, :640]).any()
    screen.now_s += 10.0
    display.add(TICK)
    np.testing.assert_array_equal(
        screen.pictures[-1][400:480, :640], screen.pictures[0][400:480, :640]
    )


def test_a_picture_that_cannot_be_saved_is_said_and_the_run_goes_on(
    screen, display, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shot.png").mkdir()
    display.add(step())
    press(screen, display, "s")
    assert "it is a folder" in caplog.text
    assert not display.stop_requested


@pytest.mark.parametrize(("rate_hz", "least", "most"), [(30, 29, 30), (200, 25, 36), (5, 5, 5)])
def test_a_camera_of_any_rate_is_drawn_at_30_pictures_a_second_at_most(
    screen, display, rate_hz, least, most
):
    jitter = np.random.RandomState(0).uniform(-0.1, 0.1, rate_hz)
    for number in range(rate_hz):
        screen.now_s = 200.0 + (number + jitter[number]) / rate_hz
        display.add(step(number=number))
    assert least <= len(screen.pictures) <= most


def test_a_slow_screen_leaves_the_time_to_the_recogniser(screen, display):
    screen.slow_s = 0.05
    spent_s = 0.0
    while screen.now_s < 110.0:
        began_s = screen.now_s
        display.add(step())
        spent_s += screen.now_s - began_s
        screen.now_s += 0.005
    assert spent_s < 2.2  # of 10 s
    assert len(screen.pictures) > 20


def test_sensors_are_asked_once_a_second(screen):
    asked = []
    board = Scoreboard(FACTS.labels, SourceStatus)
    with WindowDisplay(board, FACTS, lambda: asked.append(1) or SENSORS) as display:
        for _ in range(100):
            screen.now_s += 0.05
            display.add(TICK)
    assert 5 <= len(asked) <= 6


def test_a_window_system_that_fails_is_told_in_a_line(screen, display, monkeypatch):
    def broken(title, picture):
        raise cv2.error("gtk is gone")

    monkeypatch.setattr(cv2, "imshow", broken)
    with pytest.raises(ClipedgeError, match="--display window: OpenCV cannot draw"):
        display.add(step())


def test_the_window_is_closed_at_the_end(screen):
    with WindowDisplay(Scoreboard(FACTS.labels, SourceStatus), FACTS) as display:
        display.add(step())
        assert screen.open
    assert not screen.open
    display.close()


def test_no_display_is_told_with_the_way_out(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match=r"there is no display.*--display web"):
        WindowDisplay(Scoreboard(FACTS.labels, SourceStatus), FACTS)
