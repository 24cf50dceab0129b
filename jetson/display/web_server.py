"""The page's server: a few files, the state as JSON, and a websocket for each viewer."""

import asyncio
import logging
import pathlib
import socket
import time
from typing import Any, List, Optional, Tuple

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from clipedge.jetson.display.web_access import UNKNOWN, Access
from clipedge.jetson.display.web_hub import Hub, Viewer
from clipedge.jetson.display.web_state import to_text

log = logging.getLogger(__name__)

PAGE = pathlib.Path(__file__).parent / "page"
# Everything that is served, by its address: no name in a request becomes the name of a file.
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/timeline.js": ("timeline.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASK_FOR_TOKEN = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Token needed</title>
<h1>Token needed</h1>
<p>Open the address that the program printed, or enter its token.</p>
<form action="/" method="get">
<label>Token <input name="token" type="password" autocomplete="off" autofocus></label>
<button>Open</button>
</form></html>
"""

FULL = 503
GOING_AWAY = 1001  # of RFC 6455
CONNECTIONS = 64  # of HTTP at once; a websocket counts no longer once it is open
IDLE_S = 20.0  # a connection that asks for nothing, or has not asked to the end, is closed
BODY_S = 5.0
LARGEST_HEADER = 16 << 10  # bytes, as of all the following
LARGEST_BODY = 1 << 10  # nothing that is served takes one
LARGEST_BUFFER = 64 << 10
LARGEST_MESSAGE = 1 << 10  # of a viewer, which says no more than NEXT
PING_S = 10.0  # a viewer that does not answer is let go within 10 to 30 s, as tornado has it
NEXT = "next"  # a viewer's word for: the last picture is drawn

LAST_STATE_S = 0.6  # for the viewers to be told of the end
GOODBYE_S = 0.3  # for them to close


class _Guarded(RequestHandler):
    """Answers only who may look, and tells others nothing."""

    def initialize(self, access: Access, **_: Any) -> None:
        self.access = access

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        headers = self.request.headers
        status = self.access.refusal(
            headers.get("Host", ""), headers.get("Origin"), self._tokens(), self._ticket()
        )
        if status is not None:
            raise HTTPError(status)

    def write_error(self, status_code: int, **_: Any) -> None:
        if status_code == UNKNOWN:
            self.set_header("WWW-Authenticate", "Bearer")
            self.finish(ASK_FOR_TOKEN)
        else:
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{status_code} {self._reason}\n")

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Log what is no answer to a wrong request; tornado would log its address and token."""
        if not isinstance(error, HTTPError):
            log.error("The page's server failed", exc_info=(kind, error, trace))

    def _tokens(self) -> List[bytes]:
        tokens: List[bytes] = list(self.request.query_arguments.get("token", []))
        scheme, _, bearer = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            tokens.append(bearer.strip().encode("latin-1", "replace"))  # as tornado decodes it
        return tokens

    def _ticket(self) -> str:
        return self.get_cookie(self.access.cookie) or ""


class _File(_Guarded):
    """One of FILES; on the page's own address a token becomes a cookie and leaves the address."""

    def initialize(self, access: Access, content: bytes = b"", kind: str = "", **_: Any) -> None:
        super().initialize(access)
        self._content, self._kind = content, kind

    def get(self) -> None:
        if self.request.path == "/" and "token" in self.request.query_arguments:
            # By hand: http.cookies of Python 3.6 does not know SameSite.
            self.set_header(
                "Set-Cookie",
                f"{self.access.cookie}={self.access.ticket}; Path=/; HttpOnly; SameSite=Lax",
            )
            self.redirect("/", status=303)
            return
        self.set_header("Content-Type", self._kind)
        self.finish(self._content)

    head = get


class _State(_Guarded):
    """The run as it is, for scripts."""

    def initialize(self, access: Access, hub: Optional[Hub] = None, **_: Any) -> None:
        super().initialize(access)
        assert hub is not None
        self._hub = hub

    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(to_text(self._hub.whole_state()) + "\n")


class _Nothing(_Guarded):
    """Any other address."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404)


class _Live(_Guarded, WebSocketHandler):
    """What a page listens to: states as text, pictures as JPEG."""

    def initialize(self, access: Access, hub: Optional[Hub] = None, **_: Any) -> None:
        super().initialize(access)
        assert hub is not None
        self._hub = hub
        self._viewer = Viewer(self)
        self._line: Optional[IOStream] = None

    def prepare(self) -> None:
        super().prepare()
        if self._hub.full:
            raise HTTPError(FULL)

    def check_origin(self, origin: str) -> bool:
        """Return True: ``prepare`` has looked at it."""
        return True

    def open(self, *_: str, **__: str) -> None:
        assert self.ws_connection is not None
        self._line = self.ws_connection.stream  # which close() forgets
        self.set_nodelay(True)
        self._hub.join(self._viewer)

    def on_message(self, message: Any) -> None:
        if message == NEXT:
            self._viewer.waits = True
            self._hub.want_picture()

    def on_close(self) -> None:
        self._hub.leave(self._viewer)

    def abort(self) -> None:
        """Let go of a viewer that does not answer."""
        if self._line is not None:
            self._line.close()


class _Server(HTTPServer):
    """Takes so many connections and no more."""

    def initialize(self, *arguments: Any, **options: Any) -> None:
        super().initialize(*arguments, **options)
        self._open = 0

    def handle_stream(self, stream: IOStream, address: Tuple[Any, ...]) -> None:
        if self._open >= CONNECTIONS:
            stream.close()
            return
        self._open += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        self._open -= 1
        super().on_close(server_conn)


async def serve(
    sockets: List[socket.socket], access: Access, hub: Hub, stop: "asyncio.Future[None]"
) -> None:
    """Serve the page until ``stop`` is done, then tell all viewers and let them go."""
    server = _Server(
        _application(access, hub),
        idle_connection_timeout=IDLE_S,
        body_timeout=BODY_S,
        max_header_size=LARGEST_HEADER,
        max_body_size=LARGEST_BODY,
        max_buffer_size=LARGEST_BUFFER,
    )
    server.add_sockets(sockets)
    try:
        await stop
    finally:
        server.stop()
        await _say_goodbye(hub)
        await server.close_all_connections()


async def _say_goodbye(hub: Hub) -> None:
    """Tell all viewers that the run is over; cut off those who do not take it."""
    told = hub.end()
    if told:
        await asyncio.wait(told, timeout=LAST_STATE_S)
    for viewer in tuple(hub.viewers):
        viewer.connection.close(GOING_AWAY, "the run has ended")
    await _all_gone(hub)
    for viewer in tuple(hub.viewers):
        viewer.connection.abort()
    await _all_gone(hub)


async def _all_gone(hub: Hub) -> None:
    until_s = time.monotonic() + GOODBYE_S
    while hub.viewers and time.monotonic() < until_s:
        await asyncio.sleep(0.01)


def _application(access: Access, hub: Hub) -> Application:
    routes: List[Any] = [
        (path, _File, {"access": access, "content": (PAGE / name).read_bytes(), "kind": kind})
        for path, (name, kind) in FILES.items()
    ]
    routes.append(("/state.json", _State, {"access": access, "hub": hub}))
    routes.append(("/live", _Live, {"access": access, "hub": hub}))
    return Application(
        routes,
        default_handler_class=_Nothing,
        default_handler_args={"access": access},
        log_function=_log_request,
        websocket_ping_interval=PING_S,
        websocket_max_message_size=LARGEST_MESSAGE,
    )


def _log_request(handler: RequestHandler) -> None:
    """Log without the query, which may hold the token."""
    log.debug("%d %s %s", handler.get_status(), handler.request.method, handler.request.path)
