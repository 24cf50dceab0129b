"""Raw frames on standard input, as ``ffmpeg -f rawvideo -`` or one's own program gives them."""

import logging
import os
import select
import stat
import sys
import time
from typing import Dict, Iterator, Optional, Tuple

import numpy as np

from clipedge.jetson.camera.buffers import Buffers
from clipedge.jetson.camera.capture import NOT_YET, Capture, Device, Reader
from clipedge.jetson.camera.opencv import quiet_cv2
from clipedge.jetson.camera.playback import RealTime
from clipedge.jetson.camera.source import TICK_S, Frame, Source, SourceStatus
from clipedge.jetson.errors import SourceError, UsageError
from clipedge.jetson.source_options import RAW_FORMATS, RAW_SIZE, SourceOptions

log = logging.getLogger(__name__)

NAME = "standard input"
CHANNELS: Dict[str, int] = {"bgr24": 3, "rgb24": 3, "yuyv": 2, "gray": 1}  # bytes a pixel
EXAMPLE = (
    "ffmpeg -i INPUT -r 30 -f rawvideo -pix_fmt bgr24 -s 640x480 - | gesture-demo --source - "
    "--raw-size 640x480 --frame-rate 30"
)
NO_CAMERA_HZ = 200.0  # frames that come faster are those of a recording
WATCHED_S = 1.0  # from the first frame on
LEAST_WATCHED = 10  # frames; a few at once say nothing


def check_raw(options: SourceOptions) -> None:
    """Raise UsageError where nothing that can be meant is connected to standard input."""
    if options.loop:
        raise UsageError("--loop: standard input cannot be played again.")
    if options.realtime and options.frame_rate_hz is None:
        raise UsageError("--realtime: raw frames have a pace of their own with --frame-rate alone.")
    if sys.stdin is None:
        raise UsageError("--source -: standard input is closed. Example: " + EXAMPLE)
    number = sys.stdin.fileno()
    if os.isatty(number):
        raise UsageError("--source -: standard input is a terminal. Example: " + EXAMPLE)
    if options.frame_rate_hz is None and stat.S_ISREG(os.fstat(number).st_mode):
        raise UsageError(
            "--source -: standard input is a file, which says no times: give its --frame-rate."
        )


def open_raw(options: SourceOptions) -> Source:
    """Open standard input: as a file at a given frame rate, else as a camera.

    Raises:
        UsageError: nothing that can be meant is connected to it.
        SourceError: it ends before a frame is whole.
    """
    check_raw(options)
    layout = (
        sys.stdin.fileno(), options.raw_size or RAW_SIZE, options.raw_format or RAW_FORMATS[0],
    )  # fmt: skip
    if options.frame_rate_hz is not None:
        raw = RawFile(RawReader(*layout), options.frame_rate_hz)
        return RealTime(raw) if options.realtime or options.watched else raw
    return Capture(_StandardInput(_AsTheyCome(*layout)))


class RawReader(Reader):
    """Reads frames of one size from a file descriptor, which it leaves open."""

    def __init__(self, number: int, size: Tuple[int, int], pixels: str) -> None:
        """Prepare to read.

        Args:
            number: the file descriptor.
            size: width and height, pixels.
            pixels: one of RAW_FORMATS.

        Raises:
            UsageError: pixels of this format come in pairs, and the width is odd.
        """
        if pixels == "yuyv" and size[0] % 2:
            raise UsageError(f"--raw-size: frames of yuyv have an even width, not {size[0]}.")
        self._number = number
        self._raw = np.empty((size[1], size[0], CHANNELS[pixels]), np.uint8)
        self._bytes = memoryview(self._raw.reshape(-1))  # type: ignore[arg-type]
        self._filled = 0
        self._buffers = Buffers()
        self._cv2 = quiet_cv2()
        codes = {
            "bgr24": self._cv2.COLOR_BGR2RGB,
            "yuyv": self._cv2.COLOR_YUV2RGB_YUYV,
            "gray": self._cv2.COLOR_GRAY2RGB,
        }
        self._code = codes.get(pixels)

    def grab(self) -> Optional[bool]:
        """Read on for TICK_S at most: True: a frame is whole; False: the end; NOT_YET."""
        if self._filled == len(self._bytes):
            self._filled = 0
        while self._filled < len(self._bytes):
            if not select.select([self._number], [], [], TICK_S)[0]:
                return NOT_YET
            count = os.readv(self._number, [self._bytes[self._filled :]])
            if count == 0:
                self._tell_rest()
                return False
            self._filled += count
        return True

    def retrieve(self) -> np.ndarray:
        """Return the frame, (H, W, 3) uint8, RGB."""
        rgb = self._buffers.take((*self._raw.shape[:2], 3))
        if self._code is None:
            np.copyto(rgb, self._raw)
        else:
            self._cv2.cvtColor(self._raw, self._code, rgb)
        return rgb

    def close(self) -> None:
        """Do nothing: standard input stays open."""

    def _tell_rest(self) -> None:
        if self._filled:
            log.warning(
                "%s ended within a frame: %d of %d bytes. Are --raw-size and --raw-format right?",
                NAME, self._filled, len(self._bytes),
            )  # fmt: skip
        self._filled = 0


class _AsTheyCome(RawReader):
    """Raw frames that get their times when they come; says where they come too fast for that."""

    _count = 0
    _first_s = 0.0
    _watched = True

    def grab(self) -> Optional[bool]:
        """Read on as RawReader does."""
        grabbed = super().grab()
        if self._watched and grabbed is not NOT_YET:
            self._watch(bool(grabbed), time.monotonic())
        return grabbed

    def _watch(self, came: bool, now_s: float) -> None:
        if not self._count:
            self._first_s = now_s
        self._count += came
        passed_s = now_s - self._first_s
        if came and passed_s < WATCHED_S:
            return
        self._watched = False
        rate_hz = (self._count - 1) / max(passed_s, 1e-3)
        if rate_hz > NO_CAMERA_HZ and self._count >= LEAST_WATCHED:
            log.warning(
                "%s: frames came at %.0f a second: a recording? Give its --frame-rate, "
                "or its gestures are not recognised.", NAME, rate_hz,
            )  # fmt: skip


class RawFile(Source):
    """Raw frames at a given rate: time stamps do not depend on when they come."""

    name = NAME

    def __init__(self, reader: RawReader, rate_hz: float) -> None:
        self._reader = reader
        self._rate_hz = rate_hz
        self._frames = 0

    def __iter__(self) -> Iterator[Optional[Frame]]:
        while True:
            grabbed = self._reader.grab()
            if grabbed is NOT_YET:
                yield None
            elif grabbed:
                index = self._frames
                self._frames += 1
                yield Frame(self._reader.retrieve(), index / self._rate_hz, index)
            else:
                break
        if not self._frames:
            raise SourceError(f"No frame came on {NAME}. Example: {EXAMPLE}")

    @property
    def status(self) -> SourceStatus:
        """How it is now."""
        return SourceStatus(frames=self._frames)


class _StandardInput(Device):
    name = NAME
    exclusive = True
    once = True
    advice = f"Example: {EXAMPLE}"

    def __init__(self, reader: RawReader) -> None:
        self._reader = reader

    def open(self) -> Reader:
        return self._reader
