"""Who looks at a page in the tests: requests, a viewer as a browser is one, and a silent one."""

import asyncio
import contextlib
import http.client
import json
import socket

import numpy as np

from stand_ins.page_run import WAIT_S


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

        self._loop = asyncio.new_event_loop()
        self.states, self.pictures = [], []
        headers.setdefault("Origin", f"http://127.0.0.1:{run.port}")
        request = HTTPRequest(f"ws://127.0.0.1:{run.port}/live{query}", headers=headers)
        self._over = True
        try:
            self._connection = self._wait(lambda: websocket_connect(request))
        except BaseException:
            self._loop.close()
            raise
        self._over = False

    def _wait(self, call):
        """What ``call()`` promises, when it is there."""

        async def waited():
            return await call()

        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(asyncio.wait_for(waited(), WAIT_S))
        finally:
            asyncio.set_event_loop(None)

    def read(self):
        """The next message: a dict, bytes, or None at the end; states and pictures are kept."""
        got = self._wait(self._connection.read_message)
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
        self._wait(lambda: self._connection.write_message(text))

    def picture(self):
        """Ask for a picture and return it, (H, W, 3) uint8, BGR."""
        self.say()
        coded = self.read_until(lambda message: isinstance(message, bytes))
        import cv2

        return cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        async def close():
            self._connection.close()

        if not self._over:
            self._wait(close)
            self.read_until(lambda _: False)
        self._loop.close()


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
