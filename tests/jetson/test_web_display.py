import asyncio
import contextlib
import http.client
import json
import logging
import os
import re
import socket
import threading
import time
import tracemalloc

import numpy as np
import pytest
from stand_ins.page_run import LABELS, WAIT_S, PageRun, wait_for

from clipedge.jetson.camera.source import LOST, SourceStatus
from clipedge.jetson.errors import ClipedgeError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
tornado = pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")

from clipedge.jetson.display import web_address, web_hub, web_server  # noqa: E402

PATHS = ("/", "/page.css", "/page.js", "/timeline.js", "/icon.svg", "/state.json")
TOKEN = "correct-horse"


@pytest.fixture
def run():
    with PageRun() as one:
        yield one


@pytest.fixture
def guarded():
    with PageRun(token=TOKEN) as one:
        yield one


def ask(run, path="/", method="GET", **headers):
    """One request; its status, headers in lower case, and body."""
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=WAIT_S)
    with contextlib.closing(connection):
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, fields, answer.read()


class Page:
    """A viewer as a browser is one, with tornado's own client."""

    def __init__(self, run, query="", **headers):
        from tornado.httpclient import HTTPRequest
        from tornado.websocket import websocket_connect

        self.states, self.pictures = [], []
        headers.setdefault("Origin", f"http://127.0.0.1:{run.port}")
        request = HTTPRequest(f"ws://127.0.0.1:{run.port}/live{query}", headers=headers)
        self._connection = wait(lambda: websocket_connect(request))
        self._over = False

    def read(self):
        """The next message: a dict, bytes, or None at the end; states and pictures are kept."""
        got = wait(self._connection.read_message)
        if got is None:
            self._over = True
        elif isinstance(got, bytes):
            self.pictures.append(got)
        else:
            got = json.loads(got)
            self.states.append(got)
        return got

    def read_until(self, condition):
        """Read up to the message that meets the condition, or the end."""
        while True:
            message = self.read()
            if message is None or condition(message):
                return message

    def say(self, text="next"):
        wait(lambda: self._connection.write_message(text))

    def picture(self):
        """Ask for a picture and return it, (H, W, 3) uint8, BGR."""
        self.say()
        coded = self.read_until(lambda message: isinstance(message, bytes))
        return cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        async def close():
            self._connection.close()

        if not self._over:
            wait(close)
            self.read_until(lambda _: False)


@pytest.fixture(autouse=True)
def loop():
    """An event loop for the viewers of a test."""
    one = asyncio.new_event_loop()
    asyncio.set_event_loop(one)
    yield
    asyncio.set_event_loop(None)
    one.close()


def wait(call):
    """What ``call()`` promises, when it is there."""

    async def waited():
        return await call()

    loop = asyncio.get_event_loop()
    return loop.run_until_complete(asyncio.wait_for(waited(), WAIT_S))


class Silent:
    """A viewer by hand: it says what it is told to, and reads nothing."""

    def __init__(self, run):
        self.socket = socket.create_connection(("127.0.0.1", run.port), timeout=WAIT_S)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.sendall(
            b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b"101" in self.socket.recv(12)

    def say(self, text=b"next"):
        self.socket.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


# --- What is served ---


@pytest.mark.parametrize("path", PATHS)
def test_the_page_and_its_parts_are_served_with_strict_headers(run, path):
    status, headers, body = ask(run, path)
    assert status == 200 and body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers and "server" not in headers


def test_the_page_has_no_inline_code_and_names_no_other_place(run):
    for path in PATHS[:5]:
        text = ask(run, path)[2].decode()
        assert not re.search(r"(?<!xmlns=\")https?://|[\"'(]//[a-z]", text), path
    page = ask(run)[2].decode()
    assert not re.search(r"<[^>]* (on\w+|style)=|<style|<script>|javascript:", page)


@pytest.mark.parametrize(
    "path",
    ["/page", "/page/", "/index.html", "/page/index.html", "/web_server.py", "/../pyproject.toml",
     "/%2e%2e/%2e%2e/pyproject.toml", "//etc/passwd", "/page.js/", "/page.js%00", "/.git/config",
     "/live/", "/STATE.JSON", "/x" * 500],
)  # fmt: skip
def test_nothing_else_is_served(run, path):
    status, _, body = ask(run, path)
    assert (status, body) == (404, b"404 Not Found\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(run, method):
    assert ask(run, "/", method)[0] == 405
    assert ask(run, "/state.json", method)[0] == 405


def test_scripts_get_the_state_as_json(run):
    run.step("wave")
    status, headers, body = ask(run, "/state.json")
    state = json.loads(body.decode())
    assert status == 200 and headers["content-type"].startswith("application/json")
    assert state["facts"]["labels"] == list(LABELS)
    assert state["events"][0]["label"] == state["top"][0][0] == "wave"


# --- What a viewer is told ---


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


# --- Slow and many viewers ---


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
    from clipedge.jetson.camera.source import Frame
    from clipedge.jetson.live import Step

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


# --- Who may look ---


@pytest.mark.parametrize("path", [*PATHS, "/live", "/nothing", "/../etc/passwd"])
@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%ff%00"])
def test_without_the_token_everything_is_401_and_the_same(guarded, path, query):
    status, headers, body = ask(guarded, path + query)
    assert status == 401
    assert body == ask(guarded)[2] and b"tiny" not in body and b"clipedge" not in body
    assert "set-cookie" not in headers and headers["www-authenticate"] == "Bearer"


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(guarded):
    assert guarded.display.url == f"http://127.0.0.1:{guarded.port}/?token={TOKEN}"
    status, headers, body = ask(guarded, f"/?token={TOKEN}")
    assert (status, headers["location"], body) == (303, "/", b"")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and TOKEN not in cookie
    held = cookie.split(";")[0]
    for path in PATHS:
        status, _, body = ask(guarded, path, Cookie=held)
        assert status == 200 and TOKEN.encode() not in body
    assert ask(guarded, "/nothing", Cookie=held)[0] == 404
    assert ask(guarded, "/", Cookie=held + "x")[0] == 401
    with Page(guarded, Cookie=held) as page:
        assert page.read()["facts"]


def test_scripts_bring_the_token_as_bearer_or_in_the_address(guarded):
    assert ask(guarded, "/state.json", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(guarded, "/state.json", Authorization=f"bearer  {TOKEN}")[0] == 200
    assert ask(guarded, "/state.json", Authorization="Bearer wrong")[0] == 401
    assert ask(guarded, "/state.json", Authorization=f"Basic {TOKEN}")[0] == 401
    assert ask(guarded, f"/state.json?token={TOKEN}")[0] == 200
    with Page(guarded, f"?token={TOKEN}") as page:
        assert page.read()["facts"]


def test_a_viewer_without_the_token_gets_no_websocket(guarded):
    from tornado.httpclient import HTTPClientError

    for query in ("", "?token=wrong"):
        with pytest.raises(HTTPClientError) as refused:
            Page(guarded, query)
        assert refused.value.code == 401


def test_the_token_is_in_no_log(guarded, caplog):
    caplog.set_level(logging.DEBUG)
    ask(guarded, f"/?token={TOKEN}")
    ask(guarded, f"/nothing?token={TOKEN}")
    ask(guarded, "/state.json", Authorization=f"Bearer {TOKEN}")
    with Page(guarded, f"?token={TOKEN}") as page:
        page.read()
    wait_for(lambda: "GET /live" in caplog.text, "the log of the last request")
    ours = [record for record in caplog.records if record.name.startswith(("clipedge", "tornado"))]
    assert not [record for record in ours if TOKEN in record.getMessage()]


def test_other_machines_need_the_token_that_is_made(monkeypatch):
    monkeypatch.setattr(web_address, "is_loopback", lambda sockets: False)
    with PageRun() as run:
        token = run.display.url.split("?token=")[1]
        assert len(token) >= 20
        assert ask(run)[0] == 401
        assert ask(run, "/state.json", Authorization=f"Bearer {token}", Host="tx2.local")[0] == 200


@pytest.mark.parametrize("path", [*PATHS, "/live", "/nothing"])
def test_a_foreign_name_or_page_is_refused_on_loopback(run, path):
    assert ask(run, path, Host="evil.example")[0] == 403
    assert ask(run, path, Host=f"evil.example:{run.port}")[0] == 403
    assert ask(run, path, Origin="http://evil.example")[0] == 403
    assert ask(run, path, Origin="null")[0] == 403


def test_a_foreign_page_gets_no_websocket(run):
    from tornado.httpclient import HTTPClientError

    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        with pytest.raises(HTTPClientError) as refused:
            Page(run, Origin=origin)
        assert refused.value.code == 403


# --- The end ---


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


def test_it_ends_within_two_seconds_also_with_viewers_that_are_stuck():
    descriptors = set(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as stack:
        run = PageRun()
        for _ in range(3):
            stack.enter_context(Silent(run)).say()
        stack.enter_context(socket.create_connection(("127.0.0.1", run.port), WAIT_S))
        wait_for(lambda: len(run.display._hub.viewers) == 3, "three viewers")
        noise = np.random.RandomState(0).randint(0, 256, (480, 640, 3)).astype(np.uint8)
        run.step(image=noise)
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
