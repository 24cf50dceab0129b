import contextlib
import http.client
import socket
import threading
import time
import tracemalloc

import numpy as np
import pytest
from stand_ins.page_run import WAIT_S, PageRun, wait_for
from stand_ins.page_viewer import Page, Silent, ask

from clipedge.jetson.camera.source import Frame
from clipedge.jetson.live import Step

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
tornado = pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")

from clipedge.jetson.display import web_hub, web_server  # noqa: E402


@pytest.fixture
def run():
    with PageRun() as one:
        yield one


def test_a_step_costs_the_recogniser_next_to_nothing(run):
    image = np.zeros((480, 640, 3), np.uint8)
    costs_s = []
    with Page(run) as page, Silent(run) as silent:
        silent.say()
        for number in range(150):
            if number % 5 == 0:
                page.say()
            began_s = time.perf_counter()
            run.display.add(web_step(image))
            costs_s.append(time.perf_counter() - began_s)
    assert np.median(costs_s) < 1e-4


def web_step(image):
    return Step(Frame(image, 0.0, 0), None, None, None)


def test_one_who_reads_nothing_takes_no_memory_and_stops_nobody(run, monkeypatch):
    monkeypatch.setattr(web_hub, "PICTURES_HZ", 1000.0)
    noise = np.random.RandomState(0).randint(0, 256, (480, 640, 3)).astype(np.uint8)
    with Page(run) as page, Silent(run) as silent:
        page.read()
        over = threading.Event()
        feeder = threading.Thread(
            target=lambda: [run.step(image=noise) for _ in iter(lambda: over.wait(0.004), True)]
        )
        feeder.start()
        biggest = 0
        tracemalloc.start()
        try:
            for _ in range(60):
                silent.say()
                page.picture()
                biggest = max(len(page.pictures.pop()), biggest)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            over.set()
            feeder.join(WAIT_S)
    assert biggest > 150000
    assert peak < 25 * biggest  # 60 were sent to one, and asked for by the other too


def test_no_more_viewers_than_the_board_can_serve(run, monkeypatch):
    monkeypatch.setattr(web_hub, "VIEWERS", 2)
    from tornado.httpclient import HTTPClientError

    with Page(run) as one:
        with Page(run) as two:
            two.read()
            with pytest.raises(HTTPClientError) as refused:
                Page(run)
            assert refused.value.code == 503
            assert ask(run)[0] == 200
        wait_for(lambda: not run.display._hub.full, "a free place")
        with Page(run) as three:
            assert three.read()["facts"] and one.read()


def test_a_connection_that_never_asks_is_closed(monkeypatch):
    monkeypatch.setattr(web_server, "IDLE_S", 0.2)
    with PageRun() as run, socket.create_connection(("127.0.0.1", run.port), WAIT_S) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert slow.recv(100) == b""


def test_connections_beyond_the_limit_are_closed_at_once(monkeypatch):
    monkeypatch.setattr(web_server, "CONNECTIONS", 3)
    monkeypatch.setattr(web_server, "IDLE_S", 600.0)
    with PageRun() as run, contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", run.port), WAIT_S))
            for _ in range(4)
        ]
        assert idle[-1].recv(1) == b""
        idle[0].close()

        def served():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return ask(run)[0] == 200

        for _ in range(10):  # those that ended are counted no more
            wait_for(served, "a free connection")


def test_a_header_without_end_is_refused(run):
    with socket.create_connection(("127.0.0.1", run.port), WAIT_S) as one:
        with contextlib.suppress(ConnectionError):
            one.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 200000)
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in one.recv(1000)
    assert ask(run)[0] == 200


@pytest.mark.skipif(
    tornado.version_info < (6, 5), reason="tornado 6.1 waits at least 30 s for an answer to a ping"
)
def test_a_viewer_that_does_not_answer_is_let_go(monkeypatch):
    monkeypatch.setattr(web_server, "PING_S", 0.2)
    with PageRun() as run, Silent(run):
        wait_for(lambda: run.display._hub.viewers, "a viewer")
        wait_for(lambda: not run.display._hub.viewers, "nobody")
