"""``--display web``: a page with the live picture, the scores and the events."""

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Callable, List, Optional

from clipedge.jetson.display import web_address
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.web_access import Access, choose_token
from clipedge.jetson.display.web_picture import PictureBox
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.sensors import Sensors

log = logging.getLogger(__name__)

OLDEST_TORNADO = (6, 0)  # Ubuntu 18.04, below JetPack 4, brings 4.5
CLOSE_S = 2.0  # at most, until the server has ended


class WebDisplay(Output):
    """Serves the page from a thread of its own; closes it at the end of a ``with`` block.

    Attributes:
        url: what to open in a browser; with the token, where there is one.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        facts: RunFacts,
        address: str = web_address.DEFAULT_ADDRESS,
        token: Optional[str] = None,
        sensors: Optional[Callable[[], Sensors]] = None,
    ) -> None:
        """Begin to serve.

        Args:
            scoreboard: what is shown; who runs the recogniser gives it the steps.
            facts: of the run.
            address: HOST:PORT; port 0 is any that is free.
            token: who knows it may look. None: nobody is asked on a loopback address, and one is
                made on any other.
            sensors: returns the last reading; called once a second while somebody looks.

        Raises:
            UsageError: tornado is not installed, the address is none of this machine's, its port
                is taken, or the token is empty.
        """
        self.name = f"--display web, --web {address}"
        _need_tornado()
        from clipedge.jetson.display.web_hub import Hub

        where = web_address.parse_address(address)
        self._box = PictureBox()
        sockets = web_address.listen(where)
        try:
            loopback = web_address.is_loopback(sockets)
            chosen = choose_token(token, loopback)
            self.url = web_address.page_url(where, sockets, chosen)
            access = Access(chosen, loopback, sockets[0].getsockname()[1])
        except BaseException:
            for one in sockets:
                one.close()
            raise
        self._hub = Hub(scoreboard, facts, self._box, sensors)
        self._failure: Optional[Exception] = None
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(sockets, access), name="page", daemon=True
        )
        self._thread.start()

    def add(self, step: Step) -> None:
        """Take one step; the picture is copied only when a viewer waits for one.

        Raises:
            ClipedgeError: the server has stopped.
        """
        if step.frame is not None:
            self._box.offer(step.frame.image)
        if step.event is not None:
            self._call(self._hub.tell_all)
        if self._failure is not None:
            raise ClipedgeError(f"the page's server has stopped ({self._failure!r}).")

    def close(self) -> None:
        """Tell all viewers that the run is over, and end the server, within CLOSE_S."""
        self._call(self._set_stop)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("The page's server does not end; it goes when the program does.")

    def _call(self, function: Callable[[], None]) -> None:
        """Call in the server's thread; after its end nothing happens."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def _set_stop(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    def _run(self, sockets: List[socket.socket], access: Access) -> None:
        from clipedge.jetson.display.web_server import serve

        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(serve(sockets, access, self._hub, self._stop))
        except Exception as error:
            self._failure = error
        finally:
            self._loop.close()


def _need_tornado() -> None:
    try:
        import tornado
    except ImportError as error:
        raise UsageError(
            f"--display web needs tornado, which does not load ({error}): "
            "pip install 'tornado>=6' (or clipedge[web])."
        ) from None
    if tornado.version_info < OLDEST_TORNADO:
        raise UsageError(
            f"--display web needs tornado 6 or newer; here is {tornado.version}: "
            "pip install --upgrade 'tornado>=6'."
        )
