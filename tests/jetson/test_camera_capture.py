"""What every live source keeps: newest frame first, counts, stalls, waits, memory."""

import logging
import threading
import time

import numpy as np
import pytest

from clipedge.jetson.camera import capture as module
from clipedge.jetson.camera.buffers import Buffers
from clipedge.jetson.camera.capture import NOT_YET, Capture, Device, Reader
from clipedge.jetson.camera.source import ENDED, LIVE, LOST, OPENING, TICK_S
from clipedge.jetson.errors import SourceError

LIMIT_S = 30.0
LATE = 99  # on the picture of a reader that wakes


class Scripted(Device):
    """A device that gives a picture for each number put into it."""

    name = "scripted"

    def __init__(self, **options):
        self.__dict__.update(options)
        self.changed = threading.Condition()
        self.given = []
        self.problem = ""  # of opening
        self.hang = False  # in grab, whatever is given
        self.hung = 0  # readers that did
        self.end = False
        self.openings = []
        self.readers = []

    def give(self, *numbers):
        with self.changed:
            self.given += numbers
            self.changed.notify_all()

    def set(self, **values):
        with self.changed:
            self.__dict__.update(values)
            self.changed.notify_all()

    def open(self):
        self.openings.append(time.monotonic())
        if self.problem:
            raise SourceError(self.problem)
        return ScriptedReader(self)


class ScriptedReader(Reader):
    def __init__(self, device):
        self.device = device
        self.buffers = Buffers()
        self.closed = False
        self.number = None
        device.readers.append(self)

    def grab(self):
        device = self.device
        with device.changed:
            device.changed.wait_for(
                lambda: not device.hang and (device.end or device.given), TICK_S
            )
            if device.hang:
                device.hung += 1
                device.changed.wait_for(lambda: not device.hang)
                self.number = LATE
                return True
            if device.end:
                return False
            if not device.given:
                return NOT_YET
            self.number = device.given.pop(0)
            return True

    def retrieve(self):
        if self.number == "broken":
            return None
        image = self.buffers.take((4, 6, 3))
        image[:] = self.number
        return image

    def close(self):
        self.closed = True


def wait_until(condition):
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


@pytest.fixture
def device():
    made = Scripted()
    made.give(0)
    return made


def test_a_slow_consumer_gets_the_newest_frame_and_the_others_are_counted(device):
    with Capture(device) as source:
        frames = source.pictures()
        first = next(frames)
        device.give(*range(1, 100))
        wait_until(lambda: source.status.frames == 100)
        newest = next(frames)
        device.give(100)
        last = next(frames)
        assert [frame.number for frame in (first, newest, last)] == [0, 99, 100]
        assert [int(frame.image[0, 0, 0]) for frame in (first, newest, last)] == [0, 99, 100]
        assert source.status[2:5] == (101, 98, 0)


def test_frames_are_stamped_when_they_come_not_when_they_are_taken(device):
    with Capture(device) as source:
        next(source.pictures())
        before_s = time.monotonic()
        device.give(1)
        wait_until(lambda: source.status.frames == 2)
        after_s = time.monotonic()
        time.sleep(0.1)
        assert before_s <= next(source.pictures()).timestamp_s <= after_s


def test_a_machine_that_starts_no_thread_now_may_do_so_later(device, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.05)
    with Capture(device) as source:

        def refuse(self):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(module._Reading, "start", refuse)
            device.set(end=True)
            wait_until(lambda: "can't start new thread" in source.status.detail)
        device.set(end=False)
        device.give(1)
        wait_until(lambda: source.status.state == LIVE)


def test_jitter_shows_in_the_stamps_as_it_is(device):
    with Capture(device) as source:
        frames = source.pictures()
        next(frames)
        last_s = 0.0
        for number, pause_s in enumerate((0.0, 0.05, 0.002, 0.12, 0.0, 0.03), 1):
            time.sleep(pause_s)
            before_s = time.monotonic()
            device.give(number)
            frame = next(frames)
            assert before_s <= frame.timestamp_s <= time.monotonic()
            assert frame.timestamp_s > last_s and frame.number == number
            last_s = frame.timestamp_s


def test_a_frame_that_is_held_is_never_overwritten_and_memory_is_used_again(device):
    with Capture(device) as source:
        frames = source.pictures()
        held = [next(frames)]
        for number in range(1, 40):
            device.give(number)
            held.append(next(frames))
        assert [int(frame.image.max()) for frame in held] == list(range(40))
        view = held[7].image[1:3, :, 0]  # part of a frame counts as the frame
        del held
        seen = set()
        for number in range(40, 80):
            device.give(number)
            frame = next(frames)
            seen.add(frame.image.__array_interface__["data"][0])
        assert (view == 7).all()
        assert len(seen) < 10


def test_the_rate_is_measured(device):
    with Capture(device) as source:
        for number in range(1, 40):
            time.sleep(0.02)
            device.give(number)
        wait_until(lambda: source.status.frames == 40)
        assert 20 < source.status.rate_hz <= 51


def test_nothing_new_yields_none_at_every_tick(device):
    with Capture(device) as source:
        iterator = iter(source)
        assert next(iterator) is not None
        began_s = time.monotonic()
        assert [next(iterator) for _ in range(3)] == [None] * 3
        assert time.monotonic() - began_s >= 2.9 * TICK_S


def test_a_device_that_ends_is_opened_again_and_waits_grow(device, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.2)
    with Capture(device) as source:
        device.set(end=True, problem="scripted is out.")
        wait_until(lambda: len(device.openings) == 7)
        assert source.status[:2] == (LOST, "scripted is out.")
        gaps_s = np.diff(device.openings[1:])
        assert all(gap_s >= least for gap_s, least in zip(gaps_s, (0.1, 0.2, 0.2, 0.2)))
        device.set(end=False, problem="")
        device.give(1)
        wait_until(lambda: source.status.state == LIVE)
        assert source.status.losses == 1
        device.set(end=True)
        before = len(device.openings)
        wait_until(lambda: len(device.openings) > before)
    assert all(reader.closed for reader in device.readers)


def test_a_stall_is_noticed_within_two_seconds_and_another_reader_takes_over(device, caplog):
    with Capture(device) as source:
        next(source.pictures())
        device.set(hang=True)
        stalled_s = time.monotonic()
        wait_until(lambda: source.status.state == LOST)
        assert time.monotonic() - stalled_s < 2.0
        assert "no picture for 1.25 s" in source.status.detail
        wait_until(lambda: device.hung == 2)
        device.set(hang=False)
        device.give(*range(1, 9))
        wait_until(lambda: device.readers[0].closed)  # it let go when it woke
        wait_until(lambda: not device.given)
        wait_until(lambda: source.status.frames >= 10)
        assert source.status.state == LIVE
        assert source.status.frames == 10  # without the late one of the reader that was left
    assert device.readers[1].closed
    assert caplog.text.count("It is tried again") == 1


def test_few_stuck_readers_are_left_behind(device, monkeypatch):
    monkeypatch.setattr(module, "STALL_S", 0.1)
    monkeypatch.setattr(module, "OPEN_LIMIT_S", 0.1)
    monkeypatch.setattr(module, "GRACE_S", 0.01)
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.02)
    with Capture(device) as source:
        device.set(hang=True)
        wait_until(lambda: len(device.openings) == module.MOST_STUCK)
        time.sleep(0.5)
        assert len(device.openings) == module.MOST_STUCK
        device.set(hang=False)
        device.give(*range(1, 200))
        wait_until(lambda: source.status.state == LIVE)
    wait_until(lambda: all(reader.closed for reader in device.readers))


def test_one_that_cannot_be_opened_twice_is_waited_for(device):
    device.exclusive = True
    with Capture(device) as source:
        device.set(hang=True)
        wait_until(lambda: source.status.state == LOST)
        time.sleep(0.7)
        device.set(hang=False)
        device.give(1)
        wait_until(lambda: source.status.state == LIVE)
        assert len(device.openings) == 1


def test_closing_takes_less_than_a_second_whatever_the_reader_does(device):
    source = Capture(device)
    device.set(hang=True)
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 1.0
    assert source.status.state == ENDED
    device.set(hang=False)
    wait_until(lambda: device.readers[0].closed)


def test_a_failed_first_opening_is_an_error_at_once(device):
    device.problem = "scripted: there is none. Plug one in."
    with pytest.raises(SourceError, match="Plug one in"):
        Capture(device)
    assert len(device.openings) == 1


def test_an_opening_that_takes_for_ever_is_an_error(device, monkeypatch):
    monkeypatch.setattr(module, "OPEN_LIMIT_S", 0.2)
    device.set(hang=True)
    with pytest.raises(SourceError, match=r"no picture for 0\.2 s"):
        Capture(device)
    device.set(hang=False)


def test_who_waits_for_a_camera_sees_why_it_is_not_there(device, caplog):
    caplog.set_level(logging.INFO)
    device.problem = "there is none."
    with Capture(device, wait=True) as source:
        assert next(iter(source)) is None
        wait_until(lambda: source.status.detail)
        assert source.status[:2] == (OPENING, "there is none.")
        device.set(problem="")
        wait_until(lambda: source.status.state == LIVE)
        assert source.status.losses == 0
    assert [record.getMessage() for record in caplog.records] == [
        "there is none. It is waited for.",
        "scripted is there.",
    ]


def test_pictures_that_cannot_be_decoded_are_skipped(device):
    with Capture(device) as source:
        frames = source.pictures()
        next(frames)
        device.give("broken", 1, *["broken"] * 30, 2)
        wait_until(lambda: source.status.frames == 3)
        assert int(next(frames).image.max()) == 2
        device.give(*["broken"] * module.MOST_UNDECODABLE)
        wait_until(lambda: source.status.state == LOST)
        assert "cannot be decoded" in source.status.detail


def test_an_error_of_the_library_is_a_loss_not_the_end(device):
    with Capture(device) as source:
        ScriptedReader.retrieve, kept = lambda self: 1 / 0, ScriptedReader.retrieve
        try:
            device.give(1)
            wait_until(lambda: "ZeroDivisionError" in source.status.detail)
        finally:
            ScriptedReader.retrieve = kept
        device.give(1)
        wait_until(lambda: source.status.state == LIVE)


def test_one_that_ends_for_good_hands_out_its_last_frame_first():
    device = Scripted(once=True)
    device.give(0)
    with Capture(device) as source:
        device.give(1, 2)
        wait_until(lambda: source.status.frames == 3)
        device.set(end=True)
        wait_until(lambda: source.status.state == ENDED)
        assert [frame.number for frame in source.pictures()] == [2]
    assert len(device.openings) == 1
