import errno
import socket
import sys

import pytest

from clipedge.jetson.display import web_address
from clipedge.jetson.display.web import WebDisplay
from clipedge.jetson.display.web_access import Access, choose_token
from clipedge.jetson.display.web_address import (
    Address,
    is_loopback,
    listen,
    page_url,
    parse_address,
)
from clipedge.jetson.errors import UsageError

pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8080", ("::1", 8080)),
        ("tx2.local:65535", ("tx2.local", 65535)),
    ],
)
def test_an_address_is_host_and_port(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", "::1:80",
     "http://127.0.0.1:80", "127.0.0.1:80/", "a b:80", "[localhost]:80", "me@host:80",
     "127.0.0.1:-1"],
)  # fmt: skip
def test_another_form_is_refused_with_the_right_one(text):
    with pytest.raises(UsageError, match=r"Give HOST:PORT, such as"):
        parse_address(text)


def test_a_port_in_use_is_said_with_the_next_step():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} is in use.*--web 127.0.0.1:0"):
            listen(Address("127.0.0.1", port))


def test_an_address_of_another_machine_is_said():
    with pytest.raises(UsageError, match=r"does not have this address.*0.0.0.0"):
        listen(Address("192.0.2.1", 0))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "a..b"])
def test_a_name_of_no_machine_is_said(host):
    with pytest.raises(UsageError, match=r"no such host"):
        listen(Address(host, 0))


def test_a_port_for_the_superuser_is_said(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tornado.netutil.bind_sockets", refuse)
    with pytest.raises(UsageError, match=r"may not open port 80. Choose one above 1023"):
        listen(Address("127.0.0.1", 80))


class Bound:
    """A socket by its address alone, of networks that a test does not open."""

    def __init__(self, *name):
        self.name = name

    def getsockname(self):
        return self.name


@pytest.mark.parametrize(
    ("hosts", "loopback"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.7"], True),
        (["127.0.0.1", "::1"], True),
        (["0.0.0.0"], False),
        (["::"], False),
        (["127.0.0.1", "192.168.1.5"], False),
        (["fe80::1%eth0"], False),
    ],
)
def test_loopback_means_all_of_the_sockets(hosts, loopback):
    assert is_loopback([Bound(host, 80) for host in hosts]) is loopback


def test_the_url_can_be_opened_as_it_is(monkeypatch):
    monkeypatch.setattr(web_address, "_outward_host", lambda: "192.168.1.5")
    sockets = [Bound("127.0.0.1", 4711)]
    assert page_url(Address("127.0.0.1", 0), sockets, None) == "http://127.0.0.1:4711/"
    assert page_url(Address("::1", 0), sockets, None) == "http://[::1]:4711/"
    assert page_url(Address("0.0.0.0", 0), sockets, "a/b") == (
        "http://192.168.1.5:4711/?token=a%2Fb"
    )


def test_the_address_shown_for_the_whole_network_is_one_of_this_machine():
    host = web_address._outward_host()
    with socket.socket() as one:
        one.bind((host, 0))


def test_a_token_is_made_where_others_reach_the_page_and_not_elsewhere():
    made = choose_token(None, loopback=False)
    assert len(made) >= 20 and made != choose_token(None, loopback=False)
    assert choose_token(None, loopback=True) is None
    assert choose_token(" mine ", loopback=True) == choose_token("mine", loopback=False) == "mine"
    with pytest.raises(UsageError, match=r"--token is empty"):
        choose_token(" ", loopback=False)


def test_the_right_token_in_any_form_is_let_in_and_no_other():
    access = Access("löwe?&", loopback=False, port=80)
    right = "löwe?&".encode()

    def refusal(tokens, ticket=""):
        return access.refusal("board:80", None, tokens, ticket)

    assert refusal([right]) is None
    assert refusal([b"x", right]) is None
    assert refusal([], access.ticket) is None
    for tokens, ticket in ([], ""), ([b""], ""), ([right + b"x"], ""), ([b"\xff"], "é"):
        assert refusal(tokens, ticket) == 401
    assert "löwe" not in access.ticket


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:9", "127.0.0.9", "[::1]", "[::1]:8080"]
)
def test_on_loopback_its_names_are_served(host):
    assert Access(None, loopback=True, port=80).refusal(host, None, [], "") is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "0.0.0.0"]
)
def test_on_loopback_no_other_name_is_served(host):
    assert Access(None, loopback=True, port=80).refusal(host, None, [], "") == 403


def test_a_page_from_elsewhere_is_refused():
    access = Access(None, loopback=True, port=80)
    assert access.refusal("localhost:80", "http://localhost:80", [], "") is None
    for origin in ("http://localhost:81", "http://evil.example", "null", ""):
        assert access.refusal("localhost:80", origin, [], "") == 403


def test_no_tornado_or_an_old_one_is_said_with_the_next_step(monkeypatch):
    import tornado

    monkeypatch.setattr(tornado, "version_info", (4, 5, 3, 0))
    with pytest.raises(UsageError, match=r"needs tornado 6 or newer.*pip install"):
        WebDisplay(None, None, "127.0.0.1:0")
    monkeypatch.setitem(sys.modules, "tornado", None)
    with pytest.raises(UsageError, match=r"needs tornado.*pip install 'tornado>=6'"):
        WebDisplay(None, None, "127.0.0.1:0")
