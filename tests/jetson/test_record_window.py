"""The window of gesture-record, on stand-ins for OpenCV's functions."""

import numpy as np
import pytest

from clipedge.jetson import record_screen
from clipedge.jetson.camera import Frame
from clipedge.jetson.display.gui import why_no_window
from clipedge.jetson.errors import UsageError
from clipedge.jetson.record_screen import ContactSheet, Screen, Terminal, Window
from clipedge.jetson.take import Encoder

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture
def shown(monkeypatch):
    """OpenCV with a window, where it has none: the pictures it was given, and keys to give."""
    pictures, keys = [], []
    stand_ins = {
        "namedWindow": lambda *_: None,
        "destroyAllWindows": lambda: None,
        "imshow": lambda title, picture: pictures.append(picture),
        "resizeWindow": lambda *_: None,
        "waitKeyEx": lambda wait_ms: keys.pop(0) if keys else -1,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(cv2, name, stand_in, raising=False)
    return pictures, keys


def test_the_window_is_a_mirror_with_the_text_below(shown):
    pictures, _ = shown
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60, :80] = (200, 0, 0)
    with Window() as window:
        window.show(image, "wave 1 of 20: 3")
    assert pictures[0][10, 150].tolist() == [0, 0, 200]  # the other side, and blue first
    assert pictures[0][10, 10].tolist() == [0, 0, 0]
    assert pictures[0][90:].max() == 255


def test_keys_of_the_window_count(shown):
    _, keys = shown
    with Window() as window:
        screen = Screen(Terminal(None), window, None)
        keys += [13, ord("A") | 0x100000]  # with NumLock
        screen.show(np.zeros((48, 64, 3), np.uint8), "")
        screen.show(np.zeros((48, 64, 3), np.uint8), "")
        screen.show(np.zeros((48, 64, 3), np.uint8), "")
        assert [screen.key(), screen.key(), screen.key()] == ["\n", "a", None]


def test_an_arrow_is_no_letter(shown):
    _, keys = shown
    with Window() as window:
        keys += [0xFF51, 0xFF53, ord("k")]  # left and right; their lower halves are Q and S
        for _ in range(3):
            window.show(np.zeros((48, 64, 3), np.uint8), "")
        assert [window.key(), window.key()] == ["k", None]


def test_a_clip_is_played_back_in_the_window_until_a_key(shown, tmp_path):
    pictures, keys = shown
    encoder = Encoder()
    frames = [Frame(np.full((48, 64, 3), n, np.uint8), n / 200.0, n) for n in range(20)]
    take = encoder.take([encoder(frame) for frame in frames])
    with Window() as window, ContactSheet(tmp_path) as sheet:
        screen = Screen(Terminal(None), window, sheet)
        screen.play(take)
        assert len(pictures) == 20
        keys += [-1, -1, ord("x")]
        screen.play(take)
        assert len(pictures) == 23
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_must_be_and_cannot_is_refused(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match="there is no display"):
        record_screen.open_window("window").__enter__()
    with record_screen.open_window("auto") as window:
        assert window is None


def test_a_display_that_does_not_answer_is_no_window_and_no_crash(monkeypatch):
    monkeypatch.setenv("DISPLAY", "127.0.0.1:97")
    assert why_no_window() is not None
