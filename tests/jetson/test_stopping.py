import os
import signal

import pytest

from clipedge.jetson import stopping
from clipedge.jetson.stopping import StopRequests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_noted_and_a_second_one_interrupts(number, monkeypatch):
    monkeypatch.setattr(stopping, "SAME_S", 0.0)
    with StopRequests() as stop:
        assert not stop.heard
        os.kill(os.getpid(), number)
        assert stop.heard
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_a_request_that_comes_twice_at_once_is_one():
    with StopRequests() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.heard


def test_afterwards_signals_mean_what_they_meant():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequests():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.heard
    finally:
        signal.signal(signal.SIGHUP, before)
