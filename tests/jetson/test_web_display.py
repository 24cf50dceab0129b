import contextlib
import os
import socket
import threading
import time

import numpy as np
import pytest
from stand_ins.page_run import WAIT_S, PageRun, wait_for
from stand_ins.page_viewer import Page, Silent, ask

from clipedge.jetson.camera.source import LOST, SourceStatus
from clipedge.jetson.errors import ClipedgeError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")

from clipedge.jetson.display import web_hub, web_server  # noqa: E402


@pytest.fixture
def run():
    with PageRun() as one:
        yield one


def test_a_viewer_gets_the_facts_then_events_as_they_happen(run):
    with Page(run) as page:
        first = page.read()
        assert first["facts"]["model"] == "tiny_1.0x_test" and first["events"] == []
        run.step("swipe")
        told = page.read_until(lambda state: state["events"])
        assert told["events"][0]["label"] == "swipe"
        assert told["top"][0] == ["swipe", 0.9]
        assert "facts" not in told


def test_who_comes_late_is_told_of_what_was(run):
    run.step("swipe")
    run.step("wave")
    with Page(run) as page:
        assert [event["label"] for event in page.read()["events"]] == ["swipe", "wave"]


def test_a_lost_source_is_told_and_that_it_is_found(run):
    with Page(run) as page:
        run.status = SourceStatus(LOST, "pulled out")
        lost = page.read_until(lambda state: state["source"]["state"] == "lost")
        assert lost["source"]["detail"] == "pulled out"
        run.status = SourceStatus()
        assert page.read_until(lambda state: state["source"]["state"] == "live")


def test_each_picture_is_asked_for(run):
    with run.going(), Page(run) as page:
        for _ in range(3):
            page.read()
        assert not page.pictures
        assert page.picture().shape == (48, 64, 3)
        for _ in range(3):
            page.read()
        assert len(page.pictures) == 1
        assert page.picture() is not None and len(page.pictures) == 2


def test_several_viewers_see_the_same_pictures_made_once(run, monkeypatch):
    made = []
    jpeg = run.display._box.jpeg
    monkeypatch.setattr(run.display._box, "jpeg", lambda: made.append(jpeg()) or made[-1])
    with Page(run) as one, Page(run) as two:
        for page in (one, two):
            page.say()
        wait_for(
            lambda: sum(viewer.waits for viewer in run.display._hub.viewers) == 2, "two who wait"
        )
        with run.going():
            for page in (one, two):
                page.read_until(lambda message: isinstance(message, bytes))
    assert one.pictures == two.pictures == made


def test_pictures_come_no_oftener_than_a_screen_needs(run):
    with run.going(rate_hz=500.0), Page(run) as page:
        page.picture()
        began_s = time.monotonic()
        for _ in range(10):
            page.picture()
        assert time.monotonic() - began_s > 8 / web_hub.PICTURES_HZ


def test_without_viewers_no_picture_is_copied(run, monkeypatch):
    monkeypatch.setattr(np, "copyto", None)
    for _ in range(10):
        run.step()
    run.step("wave")


@pytest.mark.parametrize("message", ["", "NEXT", "[]", "next next", "ä"])
def test_other_words_of_a_viewer_do_nothing(run, message):
    with run.going(), Page(run) as page:
        page.say(message)
        for _ in range(3):
            assert isinstance(page.read(), dict)


def test_a_viewer_that_says_too_much_is_cut_off(run):
    with Page(run) as page:
        page.say("x" * 5000)
        assert page.read_until(lambda _: False) is None
    with Page(run) as page:
        assert page.read()


def test_all_viewers_are_told_of_the_end(run):
    with Page(run) as one, Page(run) as two:
        one.read(), two.read()
        closer = threading.Thread(target=run.close)
        closer.start()
        for page in (one, two):
            last = page.read_until(lambda state: state["source"]["state"] == "ended")
            assert last is not None
            assert page.read() is None
        closer.join(WAIT_S)


def test_it_ends_within_two_seconds_also_with_viewers_that_are_stuck(monkeypatch):
    monkeypatch.setattr(web_hub, "PICTURES_HZ", 1000.0)
    noise = np.random.RandomState(0).randint(0, 256, (480, 640, 3)).astype(np.uint8)
    descriptors = set(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as stack:
        run = PageRun()
        stuck = [stack.enter_context(Silent(run)) for _ in range(3)]
        stack.enter_context(socket.create_connection(("127.0.0.1", run.port), WAIT_S))
        hub = run.display._hub

        def all_stuck():
            run.step(image=noise)
            for one in stuck:
                one.say()
            sending = [viewer._picture for viewer in hub.viewers]
            return len(sending) == 3 and not any(one is None or one.done() for one in sending)

        seen = 0
        while seen < 20:  # what is on its way does not leave
            seen = seen + 1 if all_stuck() else 0
            time.sleep(0.005)
        began_s = time.monotonic()
        run.close()
        took_s = time.monotonic() - began_s
        run.close()  # a second one does nothing
    assert took_s < 2.0
    assert not run.display._thread.is_alive()
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_the_port_is_free_after_the_end():
    with PageRun() as first:
        port = first.port
        with pytest.raises(UsageError, match=f"port {port} is in use"):
            PageRun(address=f"127.0.0.1:{port}")
    with PageRun(address=f"127.0.0.1:{port}") as second:
        assert ask(second)[0] == 200


def test_it_ends_with_the_exception_of_a_run():
    with pytest.raises(ZeroDivisionError), PageRun() as run:
        raise ZeroDivisionError
    assert not run.display._thread.is_alive()


def test_a_server_that_stopped_is_said_at_the_next_step(monkeypatch):
    async def fail(*_):
        raise RuntimeError("no more descriptors")

    monkeypatch.setattr(web_server, "serve", fail)
    with PageRun() as run:
        run.display._thread.join(WAIT_S)
        with pytest.raises(ClipedgeError, match=r"server has stopped.*no more descriptors"):
            run.step("wave")
