"""Files played as a camera would give them: at their own pace, or again and again."""

import math
import time
from typing import Callable, Generator, Iterator, Optional

from clipedge.jetson.camera.source import ENDED, TICK_S, Frame, Source, SourceStatus

FALLBACK_INTERVAL_S = 1.0 / 25  # after the only frame of a file


class Loop(Source):
    """Plays a file again and again; time stamps and numbers go on."""

    endless = True

    def __init__(self, source: Source, again: Callable[[], Source]) -> None:
        """Prepare to play.

        Args:
            source: for the first time.
            again: opens the file once more.
        """
        self.name = source.name
        self._source = source
        self._again = again
        self._frames = 0

    @property
    def paced(self) -> bool:
        """As the file is."""
        return self._source.paced

    def __iter__(self) -> Iterator[Optional[Frame]]:
        offset_s, first_number = 0.0, 0
        while True:
            last_s, interval_s, number = None, FALLBACK_INTERVAL_S, 0
            for frame in self._source.pictures():
                if last_s is not None:
                    interval_s = frame.timestamp_s - last_s
                last_s, number = frame.timestamp_s, frame.number
                self._frames = first_number + number + 1
                yield Frame(frame.image, offset_s + last_s, first_number + number)
            offset_s += (last_s or 0.0) + interval_s
            first_number += number + 1
            self._source.close()
            self._source = self._again()

    @property
    def status(self) -> SourceStatus:
        """How it is now."""
        return SourceStatus(frames=self._frames)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()


class _Paced(Source):
    """A file that is handed out at its own pace."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source

    @property
    def endless(self) -> bool:
        """As the file is."""
        return self._source.endless

    @property
    def paced(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()


class RealTime(_Paced):
    """Hands frames out when their time has come; whoever is late gets the newest of those due.

    Time stamps and numbers stay those of the file.
    """

    def __init__(self, source: Source) -> None:
        """Prepare to play a file."""
        super().__init__(source)
        self._frames = self._dropped = 0
        self._span_s = 0.0
        self._ended = False

    def __iter__(self) -> Iterator[Optional[Frame]]:
        frames = iter(self._source)
        frame = yield from self._next(frames)
        if frame is None:
            return
        first_s = frame.timestamp_s
        start_s = time.monotonic() - first_s
        asked_s, late_before_s = start_s, math.inf
        while frame is not None:
            self._frames += 1
            self._span_s = frame.timestamp_s - first_s
            yield from _wait_for(start_s + frame.timestamp_s)
            following = yield from self._next(frames)
            late_s = time.monotonic() - (start_s + frame.timestamp_s)
            if following is not None and start_s + following.timestamp_s <= asked_s:
                self._dropped += 1
                late_before_s = late_s
            else:
                if late_s >= late_before_s:  # decoding is too slow to catch up: play slower
                    start_s += late_s
                yield frame
                asked_s, late_before_s = time.monotonic(), math.inf
            frame = following
        self._ended = True

    @property
    def status(self) -> SourceStatus:
        """How it is now; the rate is the file's."""
        rate_hz = (self._frames - 1) / self._span_s if self._span_s > 0 else None
        if self._ended:
            return SourceStatus(ENDED, "", self._frames, self._dropped)
        return SourceStatus(frames=self._frames, dropped=self._dropped, rate_hz=rate_hz)

    @staticmethod
    def _next(frames: Iterator[Optional[Frame]]) -> Generator[None, None, Optional[Frame]]:
        """Return the next frame, None at the end; yield None while none comes."""
        for frame in frames:
            if frame is not None:
                return frame
            yield None
        return None


class Unhurried(_Paced):
    """Hands out every frame when its time has come; whoever is late gets the rest later.

    Nothing is read ahead: what the file says of its newest frame is said of the one handed out.
    """

    def __init__(self, source: Source) -> None:
        """Prepare to play a file."""
        super().__init__(source)
        self._frames = 0

    def __iter__(self) -> Iterator[Optional[Frame]]:
        start_s = -math.inf
        for frame in self._source:
            if frame is not None:
                start_s = max(start_s, time.monotonic() - frame.timestamp_s)
                yield from _wait_for(start_s + frame.timestamp_s)
                self._frames += 1
            yield frame

    @property
    def status(self) -> SourceStatus:
        """How it is now."""
        return SourceStatus(frames=self._frames)


def _wait_for(due_s: float) -> Iterator[None]:
    """Return when the time has come; yield None every TICK_S until then."""
    while True:
        left_s = due_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, TICK_S))
        if left_s > TICK_S:
            yield None
