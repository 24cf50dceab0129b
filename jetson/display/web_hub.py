"""All who look at the page: what each of them is sent, and when."""

import asyncio
import secrets
import time
from typing import Any, Callable, Iterable, List, Optional, Set, Tuple

from tornado.websocket import WebSocketClosedError

from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard, Snapshot
from clipedge.jetson.display.web_picture import PictureBox
from clipedge.jetson.display.web_state import Fields, Seen, facts_fields, state_fields, to_text
from clipedge.jetson.sensors import Sensors

VIEWERS = 16  # at once
STATES_HZ = 5.0
PICTURES_HZ = 20.0  # at most; made once for all viewers
LOOK_S = 0.015  # between two looks whether a picture that was asked for is there
SENSORS_S = 1.0  # between two readings

Sending = Optional["asyncio.Future[None]"]


class Viewer:
    """One page. A slow one skips: at most one state and one picture are on their way to it."""

    def __init__(self, connection: Any) -> None:
        """Begin with one who has seen nothing.

        Args:
            connection: has tornado's ``write_message`` and ``close``, and an ``abort``.
        """
        self.connection = connection
        self.seen: Optional[Seen] = None
        self.waits = False  # has drawn the last picture
        self._state: Sending = None
        self._picture: Sending = None

    @property
    def takes_state(self) -> bool:
        """The last state has left."""
        return self._state is None or self._state.done()

    @property
    def takes_picture(self) -> bool:
        """It waits for a picture, and the last one has left."""
        return self.waits and (self._picture is None or self._picture.done())

    def send_state(self, text: str) -> Sending:
        """Send a state; the future is done when it has left."""
        self._state = self._send(text)
        return self._state

    def send_picture(self, jpeg: bytes) -> None:
        """Send a picture; no other one before it is asked for."""
        self.waits = False
        self._picture = self._send(jpeg, binary=True)

    def _send(self, message: Any, binary: bool = False) -> Sending:
        try:
            sending: asyncio.Future[None] = self.connection.write_message(message, binary)
        except WebSocketClosedError:  # it is leaving
            return None
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at
        return sending


class Hub:
    """The viewers of a run; all of it happens in the thread of the server's event loop."""

    def __init__(
        self,
        scoreboard: Scoreboard,
        facts: RunFacts,
        box: PictureBox,
        sensors: Optional[Callable[[], Sensors]],
    ) -> None:
        self.viewers: Set[Viewer] = set()
        self._scoreboard = scoreboard
        self._facts = facts_fields(facts, run=secrets.token_hex(8))
        self._box = box
        self._sensors = sensors
        self._reading: Optional[Sensors] = None
        self._read_s = 0.0
        self._ended = False
        self._asking = False  # for a picture
        self._pictured_s = 0.0
        self._ticking = False

    @property
    def full(self) -> bool:
        """No further viewer is let in."""
        return self._ended or len(self.viewers) >= VIEWERS

    def join(self, viewer: Viewer) -> None:
        """Tell a new viewer all there is, and go on telling."""
        self._tell([viewer])
        self.viewers.add(viewer)
        if not self._ticking:
            self._ticking = True
            self._later(1.0 / STATES_HZ, self._tick)

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        self.viewers.discard(viewer)

    def whole_state(self) -> Fields:
        """Return all there is to tell, for who asks once."""
        return self._state(self._scoreboard.snapshot(), None)[0]

    def tell_all(self) -> None:
        """Send the state to all who can take it."""
        self._tell([viewer for viewer in self.viewers if viewer.takes_state])

    def end(self) -> List["asyncio.Future[None]"]:
        """Tell all viewers that the run is over; the futures are done when they were told."""
        self._ended = True
        return self._tell(self.viewers)

    def want_picture(self) -> None:
        """Ask for a picture where a viewer waits for one, at no more than PICTURES_HZ."""
        if self._asking or not any(viewer.takes_picture for viewer in self.viewers):
            return
        self._asking = True
        due_s = self._pictured_s + 1.0 / PICTURES_HZ - time.monotonic()
        self._later(max(due_s, 0.0), self._ask_for_picture)

    def _ask_for_picture(self) -> None:
        self._box.ask()
        self._look_for_picture()

    def _look_for_picture(self) -> None:
        """Look again and again: to wake this thread would cost the recogniser's more than this."""
        if not self.viewers:
            self._asking = False
        elif self._box.asked:
            self._later(LOOK_S, self._look_for_picture)
        else:
            self._send_picture()

    def _send_picture(self) -> None:
        self._asking = False
        self._pictured_s = time.monotonic()
        takers = [viewer for viewer in self.viewers if viewer.takes_picture]
        if takers:
            jpeg = self._box.jpeg()
            for viewer in takers:
                viewer.send_picture(jpeg)

    def _tick(self) -> None:
        if not self.viewers or self._ended:
            self._ticking = False
            return
        self._later(1.0 / STATES_HZ, self._tick)
        self.tell_all()
        self.want_picture()  # for who asked while the last picture had not left

    def _tell(self, viewers: Iterable[Viewer]) -> List["asyncio.Future[None]"]:
        told = []
        snapshot = self._scoreboard.snapshot()
        for viewer in tuple(viewers):
            fields, seen = self._state(snapshot, viewer.seen)
            sending = viewer.send_state(to_text(fields))
            if sending is not None:
                viewer.seen = seen
                told.append(sending)
        return told

    def _state(self, snapshot: Snapshot, seen: Optional[Seen]) -> Tuple[Fields, Seen]:
        fields, now_seen = state_fields(snapshot, seen or Seen(), self._read(), self._ended)
        if seen is None:
            fields["facts"] = self._facts
        return fields, now_seen

    def _read(self) -> Optional[Sensors]:
        if self._sensors is not None and time.monotonic() - self._read_s > SENSORS_S:
            self._reading, self._read_s = self._sensors(), time.monotonic()
        return self._reading

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        asyncio.get_event_loop().call_later(delay_s, call)
