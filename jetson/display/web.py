"""``--display web``: a page with the live picture, the scores and the events."""

import logging
from typing import Any, Callable, Optional

from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.web_address import DEFAULT_ADDRESS, parse_address
from clipedge.jetson.errors import UsageError
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

log = logging.getLogger(__name__)


class WebDisplay(Output):
    """Serves the page from a thread of its own; closes it at the end of a ``with`` block.

    Attributes:
        url: what to open in a browser; with the token, where one was made.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        facts: RunFacts,
        address: str = DEFAULT_ADDRESS,
        token: Optional[str] = None,
        sensors: Optional[Callable[[], Any]] = None,
    ) -> None:
        """Begin to serve.

        Args:
            scoreboard: what is shown; who runs the recogniser gives it the steps.
            facts: of the run.
            address: HOST:PORT; port 0 is any that is free.
            token: who knows it may look. None: nobody is asked on a loopback address, and one is
                made on any other.
            sensors: asked once a second, while somebody looks, for what has ``power_w`` and
                ``temperature_c``, either of them perhaps None.

        Raises:
            UsageError: tornado is not installed, the address is none of this machine's, its port
                is taken, or the token is empty.
        """
        self.name = f"--display web, --web {address}"
        parse_address(address)
        self.url = ""
        raise UsageError("--display web is not there yet; leave it out.")

    def add(self, step: Step) -> None:
        """Take one step; the picture is copied only when a viewer waits for one.

        Raises:
            ClipedgeError: the server has stopped.
        """
