"""Events as MQTT messages."""

import logging
import sys
import threading
import time
import urllib.parse
import uuid
from typing import Any, NamedTuple, Optional, Set

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

log = logging.getLogger(__name__)

EXPECTED = "expected mqtt://[user:password@]host[:1883]/topic."
ESCAPES = "write # as %23, / as %2F and ? as %3F"
PORTS = {"mqtt": 1883, "mqtts": 8883}
# Events that wait for a broker, about 2 MB; paho counts messages in 16 bits.
LONGEST_QUEUE = 10000
AT_LEAST_ONCE = 1  # quality of service
KEEP_ALIVE_S = 20  # a network that is gone is noticed after one and a half times this
RETRY_S = (1, 10)  # the pauses double from the first to the second
CLOSE_S = 3.0  # for what is under way at the end, and again for the connection's thread
POLL_S = 0.02
LONGEST_TOPIC = 65535  # bytes


class Address(NamedTuple):
    """What an MQTT URL says."""

    host: str
    port: int
    topic: str
    secure: bool = False  # TLS
    user: Optional[str] = None
    password: Optional[str] = None

    def __str__(self) -> str:
        """The URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.secure else ''}://{host}:{self.port}/{self.topic}"


def parse_url(url: str) -> Address:
    """Take an MQTT URL apart; user, password and topic may hold ``%23`` for ``#`` and so on.

    Raises:
        UsageError: it is malformed; the message does not repeat the password.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host.encode("idna")
        secret = parts.username is not None
    except ValueError:  # it may hold the password in another place: nothing is shown
        raise UsageError(
            f"--mqtt: host or port cannot be read; {EXPECTED} In user and password {ESCAPES}."
        ) from None
    if parts.scheme not in PORTS:
        raise _wrong_url(url, "it does not begin with mqtt:// or mqtts://")
    if not host:
        raise _wrong_url(url, "it names no host")
    if "#" in url or "?" in url:  # also with nothing behind it
        raise _wrong_url(url, ESCAPES + (" in user and password" if secret else ""))
    topic = urllib.parse.unquote(parts.path[1:])
    if not topic or set(topic) & set("#+\0") or len(topic.encode("utf-8")) > LONGEST_TOPIC - 7:
        raise _wrong_url(url, "it needs a topic after the host, without # and +")
    if topic.endswith("/"):
        raise _wrong_url(url, "the topic ends in /, which makes an empty last level; leave it out")
    user, password = (
        None if text is None else urllib.parse.unquote(text)
        for text in (parts.username, parts.password)
    )
    return Address(
        host, port or PORTS[parts.scheme], topic, parts.scheme == "mqtts", user, password
    )


class Mqtt(Output):
    """``--mqtt mqtt://[user:password@]host[:1883]/topic``: one message for each event.

    The payload is the event's JSON line. ``topic/status`` says ``online`` or ``offline``, retained;
    the broker itself says ``offline`` where this end dies. Every event arrives at least once,
    unless the broker stays away for more than ``LONGEST_QUEUE`` events, or at the end.
    """

    def __init__(self, url: str) -> None:
        """Begin to connect, in a thread of its own; the broker need not be there yet.

        Args:
            url: ``mqtt://``, or ``mqtts://`` for TLS.

        Raises:
            UsageError: the URL is malformed, or paho-mqtt is not installed.
        """
        self._address = parse_url(url)
        self.name = f"--mqtt {self._address}"
        self._lock = threading.Lock()
        self._queued = self._arrived = 0  # messages; _arrived changes in the connection's thread
        self._greetings: Set[int] = set()  # numbers of the messages "online" that are under way
        self._lost = 0
        self._trouble = ""  # why there is no connection, as last said
        self._connected = threading.Event()
        self._closed = False
        self._client = self._start()

    def add(self, step: Step) -> None:
        """Queue the step's event, if it has one; never waits."""
        if step.event is None:
            return
        if self._waiting >= LONGEST_QUEUE:
            if not self._lost:
                log.error("%s: %d events wait; further ones are lost.", self.name, self._waiting)
            self._lost += 1
            return
        self._publish(self._address.topic, step.event.to_json())

    def close(self) -> None:
        """Wait a moment for what is under way, say ``offline`` and disconnect.

        Raises:
            ClipedgeError: events did not arrive.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._wait_for_arrivals()
            lost = self._lost + self._waiting - len(self._greetings)
            if self._connected.is_set():
                self._publish(self._status_topic, "offline", retain=True)
                self._wait_for_arrivals()
        finally:
            self._stop()
        if lost:
            events = "1 event" if lost == 1 else f"{lost} events"
            reason = f" ({self._trouble})" if self._trouble else ""
            raise ClipedgeError(
                f"{events} did not reach the broker{reason}. Is it there, and does it let you in?"
            )

    @property
    def _waiting(self) -> int:
        """Messages that the broker has not confirmed."""
        with self._lock:
            return self._queued - self._arrived

    @property
    def _status_topic(self) -> str:
        return f"{self._address.topic}/status"

    def _start(self) -> Any:
        client = _new_client()
        address = self._address
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.secure:
            import ssl

            client.tls_set_context(ssl.create_default_context())
        client.reconnect_delay_set(*RETRY_S)
        client.will_set(self._status_topic, "offline", AT_LEAST_ONCE, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._client = client  # the callbacks may come before this function returns
        client.connect_async(address.host, address.port, KEEP_ALIVE_S)
        client.loop_start()
        return client

    def _publish(self, topic: str, text: str, retain: bool = False) -> Any:
        with self._lock:
            self._queued += 1
        # Queued where it cannot be sent.
        return self._client.publish(topic, text, AT_LEAST_ONCE, retain)

    def _wait_for_arrivals(self) -> None:
        end_s = time.monotonic() + CLOSE_S
        while self._waiting and time.monotonic() < end_s:
            time.sleep(POLL_S)

    def _stop(self) -> None:
        self._client.disconnect()
        # It joins the connection's thread, which may hang in a host that does not answer.
        stopper = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopper.start()
        stopper.join(CLOSE_S)

    # What follows runs in the connection's thread. paho 1 and 2 differ in the arguments.

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, *rest: Any) -> None:
        refusal = _refusal(code)
        if refusal:
            self._say_trouble(refusal)
            return
        self._trouble = ""
        self._connected.set()
        log.info("%s: connected.", self.name)
        self._greetings.add(self._publish(self._status_topic, "online", retain=True).mid)

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it handles the error
        self._say_trouble((getattr(error, "strerror", None) or str(error)) + self._tls_hint(error))

    def _tls_hint(self, error: Optional[BaseException]) -> str:
        """Return what to try where the other end seems not to speak TLS."""
        import ssl

        if not self._address.secure or not isinstance(error, (ConnectionResetError, ssl.SSLError)):
            return ""
        if "certificate" in str(error).lower():  # it does
            return ""
        return f" (port {self._address.port} may not speak TLS; without it: mqtt://)"

    def _on_disconnect(self, *details: Any) -> None:
        if self._connected.is_set() and not self._closed:
            self._say_trouble("the connection is lost")
        self._connected.clear()

    def _on_publish(self, client: Any, data: Any, number: int, *rest: Any) -> None:
        with self._lock:
            self._arrived += 1
            self._greetings.discard(number)

    def _say_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            log.warning("%s: %s. Trying again; events wait meanwhile.", self.name, reason)
        self._trouble = reason


def _wrong_url(url: str, problem: str) -> UsageError:
    scheme, separator, rest = url.partition("://")
    shown = scheme + separator + rest.rpartition("@")[2] if separator else url.rpartition("@")[2]
    return UsageError(f"--mqtt {shown}: {problem}; {EXPECTED}")


def _new_client() -> Any:
    """Return a client of paho-mqtt 1.6, the last for Python 3.6, or 2."""
    try:
        from paho.mqtt import client as mqtt
    except ImportError as error:
        raise UsageError(
            f"--mqtt needs paho-mqtt, which does not load ({error}): pip install paho-mqtt"
        ) from None
    name = f"clipedge-{uuid.uuid4().hex[:12]}"  # brokers must take 23 letters
    if hasattr(mqtt, "CallbackAPIVersion"):
        return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
    return mqtt.Client(client_id=name)


def _refusal(code: Any) -> str:
    """Say why the broker refused, from paho 1's number or paho 2's ReasonCode; "" if it did not."""
    if isinstance(code, int):
        from paho.mqtt.client import connack_string

        return str(connack_string(code)).rstrip(".") if code else ""
    return f"the broker refuses: {code}" if code.is_failure else ""
