"""Live pictures: a thread reads them, the newest wins, a lost camera is opened again."""

import abc
import atexit
import collections
import logging
import threading
import time
from typing import Deque, Iterator, List, Optional

import numpy as np

from clipedge.jetson.camera.source import (
    ENDED,
    LIVE,
    LOST,
    OPENING,
    TICK_S,
    Frame,
    Source,
    SourceStatus,
)
from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import SourceError

log = logging.getLogger(__name__)

OPEN_LIMIT_S = 20.0  # until the first picture; a camera in the network takes seconds
STALL_S = 1.25  # without a picture, and it is lost; it shall be noticed within 2 s
GRACE_S = 0.5  # for a lost one to wake by itself, before another reader takes over
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0  # before a lost camera is opened again; it doubles
MOST_STUCK = 3  # readers left behind in a call that does not return
CLOSE_LIMIT_S = 0.5  # Ctrl-C shall end everything within 1 s
RATE_SPAN_S, RATE_LEAST_S = 2.0, 0.5  # the rate is measured over as much, and no less
MOST_UNDECODABLE = 100  # pictures one after the other

NOT_YET = None  # of Reader.grab


class Reader(Closing, abc.ABC):
    """An opened device; one thread opens, reads and closes it."""

    @abc.abstractmethod
    def grab(self) -> Optional[bool]:
        """Wait for the next picture.

        Returns:
            True: ``retrieve`` gives it; False: none comes any more; NOT_YET: ask again.
        """

    @abc.abstractmethod
    def retrieve(self) -> Optional[np.ndarray]:
        """Return the grabbed picture, (H, W, 3) uint8, RGB, or None if it cannot be decoded."""


class Device(abc.ABC):
    """Something that can be opened, and opened again after it was lost.

    Attributes:
        name: as messages name it; it holds no password.
        exclusive: it cannot be opened while another reader has it.
        once: its end is the end; it cannot be opened again.
        advice: what to do when it is lost.
    """

    name = ""
    exclusive = False
    once = False
    advice = ""

    @abc.abstractmethod
    def open(self) -> Reader:
        """Open it.

        Raises:
            SourceError: it cannot be opened; says why, and what to do.
        """


class _Reading(threading.Thread):
    """Opens a device and reads it until it ends, or until nobody listens any more."""

    def __init__(self, device: Device, capture: "Capture") -> None:
        super().__init__(name=f"reader of {device.name}", daemon=True)
        self._device = device
        self._capture = capture
        self.left = False  # nobody listens
        self.ended = False  # the device is closed again
        self.problem = ""  # why it ended
        self.pictures = 0
        self.heard_s = time.monotonic()  # of the last picture, at first of the start

    def run(self) -> None:
        """Read."""
        try:
            with self._device.open() as reader:
                self.problem = self._read(reader)
        except SourceError as error:
            self.problem = str(error)
        except Exception as error:
            log.debug("%s", self._device.name, exc_info=True)
            self.problem = f"{self._device.name}: {type(error).__name__}: {error}"
        finally:
            self._capture.reading_ended(self)

    def _read(self, reader: Reader) -> str:
        undecodable = 0
        while not self.left and undecodable < MOST_UNDECODABLE:
            grabbed = reader.grab()
            now_s = time.monotonic()
            if grabbed is NOT_YET:
                continue
            if not grabbed:
                no_frames = "no more frames" if self.pictures else "no frames"
                return f"{self._device.name} gives {no_frames}. {self._device.advice}"
            image = reader.retrieve()
            undecodable = 0 if image is not None else undecodable + 1
            if image is not None:
                self._capture.arrived(self, image, now_s)
        return f"{self._device.name} gives pictures that cannot be decoded. {self._device.advice}"


class Capture(Source):
    """A live source: the newest frame is handed out, older ones are dropped and counted.

    A device that is lost, or gives nothing for STALL_S, is opened again for ever. A reader that
    is stuck in the driver is left behind; it lets go of its device when it wakes.
    """

    endless = True

    def __init__(self, device: Device, wait: bool = False) -> None:
        """Open a device.

        Args:
            device: what to read.
            wait: do not insist on a picture now; try until there is one.

        Raises:
            SourceError: it cannot be opened, or gives no picture; not with ``wait``.
        """
        self.name = device.name
        self._device = device
        self._changed = threading.Condition()  # guards all below
        self._state, self._detail = OPENING, ""
        self._newest: Optional[Frame] = None
        self._frames = self._dropped = self._losses = 0
        self._arrivals_s: Deque[float] = collections.deque(maxlen=240)
        self._lost_s = 0.0
        self._closing = False
        self._waits = wait
        self._reading: Optional[_Reading] = None
        self._stuck: List[_Reading] = []
        self._keeper = threading.Thread(
            target=self._keep, name=f"keeper of {self.name}", daemon=True
        )
        self._keeper.start()
        # A thread inside OpenCV while the interpreter ends would abort the process.
        atexit.register(self.close)
        if not wait:
            self._await_first_picture()

    def __iter__(self) -> Iterator[Optional[Frame]]:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news, TICK_S)
                frame, self._newest = self._newest, None
                if frame is None and self._state == ENDED:
                    return
            yield frame

    @property
    def status(self) -> SourceStatus:
        """How it is now."""
        with self._changed:
            return SourceStatus(
                self._state,
                self._detail,
                self._frames,
                self._dropped,
                self._losses,
                self._rate_hz() if self._state == LIVE else None,
            )

    def close(self) -> None:
        """Let go of the device; a reader that is stuck in its driver is left behind."""
        with self._changed:
            self._closing = True
            self._state, self._newest = ENDED, None
            reading = self._reading
            if reading is not None:
                reading.left = True
            self._changed.notify_all()
        until_s = time.monotonic() + CLOSE_LIMIT_S
        self._keeper.join(CLOSE_LIMIT_S)
        if reading is not None:
            reading.join(max(0.0, until_s - time.monotonic()))
        atexit.unregister(self.close)

    # --- Called by the reading thread ---

    def arrived(self, reading: _Reading, image: np.ndarray, stamp_s: float) -> None:
        """Take a picture; one of a reader that was left behind is dropped."""
        with self._changed:
            if reading.left:
                return
            if self._newest is not None:
                self._dropped += 1
            self._newest = Frame(image, stamp_s, self._frames)
            self._frames += 1
            reading.pictures += 1
            reading.heard_s = stamp_s
            self._arrivals_s.append(stamp_s)
            if self._state == LOST:
                log.info("%s is back after %.1f s.", self.name, stamp_s - self._lost_s)
            elif self._detail:
                log.info("%s is there.", self.name)
            self._state, self._detail = LIVE, ""
            self._changed.notify_all()

    def reading_ended(self, reading: _Reading) -> None:
        """Hear that a reader has closed its device; ``reading.problem`` says why."""
        with self._changed:
            reading.ended = True
            self._changed.notify_all()

    # --- The keeper's thread ---

    def _keep(self) -> None:
        """Open the device again and again, until it is closed."""
        wait_s = FIRST_WAIT_S
        with self._changed:
            while not self._closing:
                try:
                    reading = self._begin()
                except RuntimeError as error:  # too many threads on this machine, for now
                    self._lose(f"{self.name}: {error}.")
                    self._rest(LONGEST_WAIT_S)
                    continue
                self._watch(reading)
                reading.left = True
                if self._closing:
                    return
                if self._device.once:
                    self._state = ENDED
                    self._detail = "" if self._frames else reading.problem.rstrip()
                    self._changed.notify_all()
                    return
                self._stuck.append(reading)
                wait_s = FIRST_WAIT_S if reading.pictures else min(2 * wait_s, LONGEST_WAIT_S)
                self._rest(wait_s)

    def _begin(self) -> _Reading:
        reading = _Reading(self._device, self)
        reading.start()
        self._reading = reading
        return reading

    def _watch(self, reading: _Reading) -> None:
        """Return when this reader is to be replaced."""
        while not (self._closing or reading.ended):
            limit_s = STALL_S if reading.pictures else OPEN_LIMIT_S
            silent_s = time.monotonic() - reading.heard_s
            if silent_s < limit_s:
                self._changed.wait(limit_s - silent_s)
                continue
            self._lose(f"{self.name} has given no picture for {limit_s:g} s. {self._device.advice}")
            grace_s = limit_s + GRACE_S - silent_s
            if self._device.exclusive:
                self._changed.wait()  # until it wakes: it ends, or goes on as if nothing was
            elif grace_s <= 0:
                return
            else:
                self._changed.wait(grace_s)
        if not (self._closing or self._device.once):
            self._lose(reading.problem)

    def _lose(self, problem: str) -> None:
        """Note why there are no pictures; tell it once for each loss."""
        problem = problem.rstrip()
        if self._state == LIVE:
            self._losses += 1
            self._lost_s = time.monotonic()
            self._state = LOST
            self._arrivals_s.clear()
            if self._device.once:
                log.warning("%s", problem)
            else:
                log.warning("%s It is tried again.", problem)
        elif self._waits and not (self._frames or self._detail):
            log.warning("%s It is waited for.", problem)
        self._detail = problem
        self._changed.notify_all()

    def _rest(self, wait_s: float) -> None:
        """Wait before the next try, longer while too many readers are stuck."""
        until_s = time.monotonic() + wait_s
        while not self._closing:
            self._stuck = [reading for reading in self._stuck if not reading.ended]
            left_s = until_s - time.monotonic()
            if left_s <= 0 and len(self._stuck) < MOST_STUCK:
                return
            self._changed.wait(left_s if left_s > 0 else None)

    # --- Helpers; the lock is held ---

    def _has_news(self) -> bool:
        return self._newest is not None or self._state == ENDED

    def _rate_hz(self) -> Optional[float]:
        stamps_s = self._arrivals_s
        while len(stamps_s) > 2 and stamps_s[-1] - stamps_s[0] > RATE_SPAN_S:
            stamps_s.popleft()
        if len(stamps_s) < 2 or stamps_s[-1] - stamps_s[0] < RATE_LEAST_S:
            return None
        return (len(stamps_s) - 1) / (stamps_s[-1] - stamps_s[0])

    def _await_first_picture(self) -> None:
        problem = ""
        try:
            with self._changed:
                while self._state == OPENING and not self._detail:
                    self._changed.wait(TICK_S)
                if self._state != LIVE and not self._frames:
                    problem = self._detail
        except BaseException:  # Ctrl-C: it takes too long
            self.close()
            raise
        if problem:
            self.close()
            raise SourceError(problem)
