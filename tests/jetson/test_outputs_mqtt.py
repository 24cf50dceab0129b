"""The broker is a real mosquitto, on a free port of this machine."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs import mqtt
from clipedge.jetson.outputs.mqtt import Address, Mqtt, parse_url

PATIENCE_S = 30
SOON_S = (0.1, 0.1)
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
PASSWORD = "s3cret#/@x"
QUOTED = "s3cret%23%2F%40x"

needs_broker = pytest.mark.skipif(
    MOSQUITTO is None, reason="no MQTT broker: apt-get install mosquitto"
)


def step(number):
    return Step(None, None, GestureEvent(float(number), "wave", 0.9, 5.0, frame=number), 5.0)


def wait_until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it took too long"
        time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """A mosquitto that can be stopped and started again on its port, and remembers its sessions."""

    def __init__(self, folder, settings):
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", "user root"]
        lines += [f"persistence_location {folder}/", *settings]
        self._config.write_text("\n".join(lines) + "\n")
        self.process = None

    def start(self):
        command = [MOSQUITTO, "-c", str(self._config)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._listens)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()  # it saves its sessions
            self.process.wait()
            self.process = None

    def _listens(self):
        assert self.process.poll() is None, "mosquitto ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def broker(tmp_path, monkeypatch):
    """`broker(settings, start)`: a broker that ends with the test."""
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    monkeypatch.setattr(mqtt, "CLOSE_S", PATIENCE_S)  # of a run whose events arrive
    with contextlib.ExitStack() as stack:

        def make(*settings, start=True):
            one = Broker(tmp_path, settings or ["allow_anonymous true"])
            stack.callback(one.stop)
            if start:
                one.start()
            return one

        yield make


def lasting_client(name):
    """A client for which the broker keeps what comes while it is away."""
    from paho.mqtt import client

    options = {"client_id": name, "clean_session": False}
    if hasattr(client, "CallbackAPIVersion"):
        options["callback_api_version"] = client.CallbackAPIVersion.VERSION2
    return client.Client(**options)


class Listener:
    """Notes all that is published, also while it was not connected."""

    def __init__(self, port, name="listener", user=None, password=None, authority=None):
        self.messages = []
        listening = threading.Event()
        self._client = lasting_client(name)
        if user is not None:
            self._client.username_pw_set(user, password)
        if authority is not None:
            self._client.tls_set(str(authority))
        self._client.on_connect = lambda client, *rest: client.subscribe("home/#", 1)
        self._client.on_subscribe = lambda *rest: listening.set()
        self._client.on_message = lambda client, data, message: self.messages.append(message)
        self._client.reconnect_delay_set(*SOON_S)
        self._client.connect_async("localhost", port)
        self._client.loop_start()
        assert listening.wait(PATIENCE_S)

    def frames(self):
        """Each once: they are delivered at least once."""
        events = [one for one in tuple(self.messages) if one.topic == "home/hall"]
        return sorted({json.loads(one.payload.decode())["frame"] for one in events})

    def status(self):
        told = [one for one in tuple(self.messages) if one.topic == "home/hall/status"]
        return [one.payload.decode() for one in told]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listen():
    """`listen(port, name, ...)`: a listener that ends with the test."""
    with contextlib.ExitStack() as stack:

        def make(*arguments, **options):
            listener = Listener(*arguments, **options)
            stack.callback(listener.close)
            return listener

        yield make


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://box/a/b", Address("box", 1883, "a/b")),
        ("mqtts://box/a", Address("box", 8883, "a", secure=True)),
        ("mqtt://[::1]:99/a%20b", Address("::1", 99, "a b")),
        (f"mqtt://me:{QUOTED}@box/a", Address("box", 1883, "a", False, "me", PASSWORD)),
        ("mqtt://me@box/a", Address("box", 1883, "a", False, "me", None)),
    ],
)
def test_an_address_is_taken_apart(url, address):
    assert parse_url(url) == address
    assert str(parse_url(str(address)))  # what is shown is a URL itself
    assert "me" not in str(address) and PASSWORD not in str(address)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("box/topic", "does not begin with mqtt://"),
        ("http://u:hidden@box/topic", "--mqtt http://box/topic: it does not begin"),
        ("mqtt:///topic", "names no host"),
        ("mqtt://box", "needs a topic"),
        ("mqtt://box/", "needs a topic"),
        ("mqtt://box/a/+/b", "needs a topic"),
        ("mqtt://box/a%23", "needs a topic"),
        ("mqtt://u:hidden@box/a?b", "write # as %23"),
        ("mqtt://box/a#", "write # as %23"),
        ("mqtt://box/a/#", "write # as %23"),
        ("mqtt://box/a?", "and [?] as %3F"),
        ("mqtt://box/a/", "ends in /"),
        ("mqtt://box/a%2F", "ends in /"),
        ("mqtt://u:hidden#x@box/a", "cannot be read|write # as %23"),
        ("mqtt://u:hidden@box:port/a", "cannot be read"),
        ("mqtt://u:hidden/x@box/a", "cannot be read.* / as %2F"),
        ("mqtt://u:hidden@box:99999/a", "cannot be read"),
        ("mqtt://[::1/a", "cannot be read"),
        ("mqtt://u:hidden@a..b/a", "cannot be read"),
    ],
)
def test_a_malformed_address_is_told_without_the_password(url, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_url(url)
    assert "hidden" not in str(caught.value)
    assert "expected mqtt://[user:password@]host[:1883]/topic" in str(caught.value)


def test_without_paho_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt", None)
    with pytest.raises(UsageError, match="pip install paho-mqtt"):
        Mqtt("mqtt://localhost/a")


@needs_broker
def test_an_event_arrives_as_its_line_and_the_status_says_who_is_there(broker, listen):
    port = broker().port
    listener = listen(port)
    with Mqtt(f"mqtt://localhost:{port}/home/hall") as out:
        wait_until(lambda: listener.status() == ["online"])
        out.add(step(7))
        wait_until(lambda: listener.frames() == [7])
        message = next(one for one in listener.messages if one.topic == "home/hall")
        assert message.payload.decode() == step(7).event.to_json()
        assert message.qos == 1 and not message.retain
    wait_until(lambda: listener.status() == ["online", "offline"])
    late = listen(port, "late")
    wait_until(lambda: late.status() == ["offline"])
    assert late.messages[0].retain and late.frames() == []


@needs_broker
def test_the_broker_says_offline_where_this_end_dies(broker, listen):
    port = broker().port
    listener = listen(port)
    with Mqtt(f"mqtt://localhost:{port}/home/hall") as out:
        wait_until(lambda: listener.status() == ["online"])
        out._client.socket().shutdown(socket.SHUT_RDWR)
        wait_until(lambda: listener.status()[1:2] == ["offline"])
        wait_until(lambda: listener.status()[2:3] == ["online"])  # it connects again


@needs_broker
def test_a_run_that_ends_at_once_delivers_its_events(broker, listen):
    port = broker().port
    listener = listen(port)
    with Mqtt(f"mqtt://localhost:{port}/home/hall") as out:
        for number in range(50):
            out.add(step(number))
    wait_until(lambda: listener.frames() == list(range(50)))
    wait_until(lambda: listener.status()[-1] == "offline")


@needs_broker
def test_no_event_is_missed_where_the_broker_comes_late_or_goes_and_comes_back(
    broker, listen, monkeypatch, caplog
):
    monkeypatch.setattr(mqtt, "RETRY_S", SOON_S)
    one = broker()
    listener = listen(one.port)
    one.stop()
    with Mqtt(f"mqtt://localhost:{one.port}/home/hall") as out:
        for number in range(30):
            out.add(step(number))
        wait_until(lambda: "refused" in caplog.text)
        one.start()
        wait_until(lambda: listener.frames() == list(range(30)))
        one.stop()
        wait_until(lambda: "the connection is lost" in caplog.text)
        for number in range(30, 60):
            out.add(step(number))
        one.start()
        wait_until(lambda: listener.frames() == list(range(60)))
        wait_until(lambda: listener.status()[-1] == "online")


def test_a_broker_that_is_not_there_is_told_once_and_not_with_every_attempt(monkeypatch, caplog):
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    monkeypatch.setattr(mqtt, "RETRY_S", SOON_S)
    attempts, on_connect_fail = [], Mqtt._on_connect_fail

    def note(self, client, data):
        on_connect_fail(self, client, data)
        attempts.append(client)

    monkeypatch.setattr(Mqtt, "_on_connect_fail", note)
    with Mqtt(f"mqtt://localhost:{free_port()}/home/hall"):
        wait_until(lambda: len(attempts) > 2)
    assert caplog.text.count("refused. Trying again; events wait meanwhile") == 1


@needs_broker
def test_a_wrong_password_is_told_once_and_never_shown(
    broker, listen, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(mqtt, "RETRY_S", SOON_S)
    caplog.set_level("INFO")
    users = tmp_path / "users"
    users.write_text("")
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("no mosquitto_passwd: apt-get install mosquitto")
    subprocess.check_call([tool, "-b", str(users), "me", PASSWORD])
    port = broker("allow_anonymous false", f"password_file {users}").port
    listener = listen(port, user="me", password=PASSWORD)
    with Mqtt(f"mqtt://me:{QUOTED}@localhost:{port}/home/hall") as out:
        out.add(step(1))
        wait_until(lambda: listener.frames() == [1])
    refused = Mqtt(f"mqtt://me:{QUOTED}x@localhost:{port}/home/hall")
    refused.add(step(2))
    wait_until(lambda: "uthori" in caplog.text)  # paho 1 and 2 spell it in two ways
    monkeypatch.setattr(mqtt, "CLOSE_S", 0.5)
    with pytest.raises(ClipedgeError, match=r"1 event did not reach the broker \(.*uthori"):
        refused.close()
    refused.close()
    assert listener.frames() == [1]
    assert PASSWORD not in caplog.text and QUOTED not in caplog.text
    assert "me:" not in caplog.text


@needs_broker
def test_tls_takes_only_a_certificate_that_is_trusted(
    broker, listen, tmp_path, monkeypatch, caplog
):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with: apt-get install openssl")
    key, authority = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(authority)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    port = broker("allow_anonymous true", f"certfile {authority}", f"keyfile {key}").port
    listener = listen(port, authority=authority)
    url = f"mqtts://localhost:{port}/home/hall"
    refusing = Mqtt(url)
    refusing.add(step(1))
    wait_until(lambda: "certificate" in caplog.text)
    assert "may not speak TLS" not in caplog.text
    monkeypatch.setattr(mqtt, "CLOSE_S", 0.5)
    with pytest.raises(ClipedgeError, match="did not reach"):
        refusing.close()
    monkeypatch.setattr(mqtt, "CLOSE_S", PATIENCE_S)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with Mqtt(url) as out:
        out.add(step(2))
        wait_until(lambda: listener.frames() == [2])


@needs_broker
def test_a_broker_that_hangs_does_not_hold_up_the_end(broker, monkeypatch):
    one = broker()
    monkeypatch.setattr(mqtt, "CLOSE_S", 0.3)
    out = Mqtt(f"mqtt://localhost:{one.port}/home/hall")
    assert out._connected.wait(PATIENCE_S)
    wait_until(lambda: out._waiting == 0)
    one.process.send_signal(signal.SIGSTOP)
    out.add(step(1))
    began_s = time.monotonic()
    with pytest.raises(ClipedgeError, match="1 event did not reach the broker"):
        out.close()
    assert time.monotonic() - began_s < PATIENCE_S / 2


@needs_broker
def test_tls_to_a_port_without_it_is_told(broker, monkeypatch, caplog):
    port = broker().port
    out = Mqtt(f"mqtts://localhost:{port}/home/hall")
    wait_until(lambda: f"port {port} may not speak TLS; without it: mqtt://" in caplog.text)
    out.close()


@needs_broker
def test_a_greeting_that_did_not_arrive_is_no_lost_event(broker, monkeypatch):
    one = broker()
    monkeypatch.setattr(mqtt, "CLOSE_S", 0.3)
    monkeypatch.setattr(Mqtt, "_on_publish", lambda *_: None)  # nothing is confirmed
    out = Mqtt(f"mqtt://localhost:{one.port}/home/hall")
    wait_until(lambda: out._greetings)
    out.add(step(1))
    with pytest.raises(ClipedgeError, match="1 event did not reach the broker"):
        out.close()


def test_a_connection_that_cannot_be_stopped_does_not_hold_up_the_end(monkeypatch):
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    monkeypatch.setattr(mqtt, "CLOSE_S", 0.1)
    out, never = Mqtt(f"mqtt://localhost:{free_port()}/home/hall"), threading.Event()
    loop_stop = out._client.loop_stop
    monkeypatch.setattr(out._client, "loop_stop", lambda: never.wait(PATIENCE_S))
    began_s = time.monotonic()
    out.close()
    assert time.monotonic() - began_s < PATIENCE_S / 2
    never.set()
    loop_stop()


def test_what_waits_is_bounded_and_what_is_lost_is_counted(monkeypatch, caplog):
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    monkeypatch.setattr(mqtt, "LONGEST_QUEUE", 3)
    monkeypatch.setattr(mqtt, "CLOSE_S", 0.1)
    out = Mqtt(f"mqtt://localhost:{free_port()}/home/hall")
    for number in range(8):
        out.add(step(number))
    assert caplog.text.count("3 events wait; further ones are lost") == 1
    with pytest.raises(ClipedgeError, match="8 events did not reach the broker"):
        out.close()
    assert not [one for one in threading.enumerate() if "paho" in one.name and not one.daemon]
