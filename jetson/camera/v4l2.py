"""What the kernel says of a video device (Video4Linux): what it can do, and whether it is free."""

import contextlib
import errno
import os
import pathlib
import struct
from typing import Any, Iterator, List, NamedTuple, Optional

# linux/videodev2.h; the numbers are part of the kernel's interface.
QUERYCAP, REQBUFS = 0x80685600, 0xC0145608
ENUM_FMT, ENUM_FRAMESIZES = 0xC0405602, 0xC02C564A
CAPABILITY, FORMAT, FRAME_SIZE, BUFFERS = "16s32s32sIII12x", "III32sI16x", "IIIII24x", "III8x"
VIDEO_CAPTURE, MEMORY_MMAP = 1, 1
CAN_CAPTURE, SAYS_OF_NODE = 0x1, 0x80000000
DISCRETE = 1
MOST_ENTRIES = 64  # of a list; drivers end it themselves


class Format(NamedTuple):
    """A way in which a camera gives pictures."""

    code: str  # four letters, such as MJPG or YUYV
    sizes: List[str]  # 640x480; empty where the driver lists none


class Camera(NamedTuple):
    """What the driver says of a device."""

    name: str
    captures: bool  # pictures; other nodes of the same camera give facts about them
    formats: List[Format]


def ask(node: str) -> Camera:
    """Ask the driver of a device.

    Raises:
        OSError: it cannot be opened, or it is no video device.
    """
    with _opened(node) as device:
        _, card, _, _, can, node_can = _call(device, QUERYCAP, CAPABILITY)
        can = node_can if can & SAYS_OF_NODE else can
        captures = bool(can & CAN_CAPTURE)
        formats = list(_formats(device)) if captures else []
        return Camera(_text(card), captures, formats)


def problem_of(node: str) -> Optional[int]:
    """Return the number of the error that keeps a device from being used, or None.

    A second program may open a camera that another one reads; only its buffers are refused.
    """
    try:
        with _opened(node) as device:
            _call(device, REQBUFS, BUFFERS, 0, VIDEO_CAPTURE, MEMORY_MMAP)  # gives none back
    except OSError as error:
        return error.errno
    return None


def holders(node: str, proc: str = "/proc") -> List[str]:
    """Return the processes that have a device open, as ``vlc (pid 1234)``, as far as one may see.

    Args:
        node: such as ``/dev/video0``.
        proc: where the kernel shows processes.
    """
    found = []
    for process in sorted(pathlib.Path(proc).glob("[0-9]*")):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if any(_leads_to(link, node) for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.append(f"{name} (pid {process.name})")
    return found


def _leads_to(link: pathlib.Path, node: str) -> bool:
    try:
        return os.readlink(str(link)) == node
    except OSError:
        return False


@contextlib.contextmanager
def _opened(node: str) -> Iterator[int]:
    device = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield device
    finally:
        os.close(device)


def _call(device: int, request: int, layout: str, *values: Any) -> Any:
    """Hand a structure to the driver; return what it made of it."""
    import fcntl

    data = bytearray(struct.calcsize(layout))
    blank = list(struct.unpack(layout, data))
    struct.pack_into(layout, data, 0, *values, *blank[len(values) :])
    fcntl.ioctl(device, request, data)
    return struct.unpack(layout, data)


def _formats(device: int) -> Iterator[Format]:
    for index in range(MOST_ENTRIES):
        try:
            *_, code = _call(device, ENUM_FMT, FORMAT, index, VIDEO_CAPTURE)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise
            return
        letters = struct.pack("<I", code).decode("ascii", "replace")
        yield Format(letters.strip(), list(_sizes(device, code)))


def _sizes(device: int, code: int) -> Iterator[str]:
    for index in range(MOST_ENTRIES):
        try:
            _, _, kind, width, height = _call(device, ENUM_FRAMESIZES, FRAME_SIZE, index, code)
        except OSError:
            return
        if kind != DISCRETE:  # a range of sizes: rare, and not listed
            return
        yield f"{width}x{height}"


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
