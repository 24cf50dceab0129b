import json
import logging
import re

import pytest
from stand_ins.page_run import LABELS, PageRun, wait_for
from stand_ins.page_viewer import Page, ask

from clipedge.jetson.display import web_address

pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")

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
    caplog.set_level(logging.DEBUG, logger="clipedge")  # a command that ran before sets its own
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
