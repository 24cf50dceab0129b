"""Motion JPEG in an AVI file: pictures at a constant rate, each a JPEG of its own.

OpenCV reads such a file everywhere, but its writers are not enough here: its own one rounds the
rate to whole numbers, FFmpeg's takes no quality, and neither tells when the disk is full.
"""

import struct
from typing import IO, List, NamedTuple, Sequence, Tuple

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.files import PathLike, whole_file

# The format counts bytes in 32 bits, and old readers take the highest as a sign.
LARGEST_BYTES = 1 << 30
RATE_SCALE = 1000  # rates are kept in thousandths of a hertz
RATES_HZ = (0.01, 10000.0)
HAS_INDEX, KEY_FRAME = 0x10, 0x10
PICTURE = b"00dc"  # a compressed picture of stream 0


class Stream(NamedTuple):
    """What the headers say of the pictures."""

    pictures: int
    rate_hz: float
    size: Tuple[int, int]  # width and height, pixels
    largest: int  # bytes of the largest picture


def write_avi(
    path: PathLike, pictures: Sequence[bytes], rate_hz: float, size: Tuple[int, int]
) -> None:
    """Write pictures as a video, whole or not at all.

    Args:
        path: ends in ``.avi``.
        pictures: JPEG files, all of this size.
        rate_hz: pictures a second.
        size: width and height, pixels.

    Raises:
        ClipedgeError: the disk is full, the folder cannot be written, or the pictures are larger
            than the format holds, or come at a rate that is none of a camera.
    """
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise ClipedgeError(
            f"{path}: {rate_hz:g} pictures a second; expected {RATES_HZ[0]:g} to {RATES_HZ[1]:g}."
        )
    total = sum(len(picture) for picture in pictures)
    if total > LARGEST_BYTES:
        raise ClipedgeError(
            f"{path}: {total >> 20} MiB are more than an AVI file holds "
            f"({LARGEST_BYTES >> 20} MiB); record shorter clips or smaller pictures."
        )
    stream = Stream(len(pictures), rate_hz, size, max(len(picture) for picture in pictures))
    with whole_file(path) as temporary, temporary.open("wb") as file:
        _write(file, pictures, stream)


def _write(file: IO[bytes], pictures: Sequence[bytes], stream: Stream) -> None:
    headers = _list(b"hdrl", _main_header(stream) + _stream_headers(stream))
    index: List[bytes] = []
    offset = 4  # counted from the name of the list
    for picture in pictures:
        index.append(struct.pack("<4s3I", PICTURE, KEY_FRAME, offset, len(picture)))
        offset += 8 + len(picture) + len(picture) % 2
    index_chunk = _chunk(b"idx1", b"".join(index))
    file.write(struct.pack("<4sI4s", b"RIFF", 4 + len(headers) + 8 + offset + len(index_chunk),
                           b"AVI "))  # fmt: skip
    file.write(headers)
    file.write(struct.pack("<4sI4s", b"LIST", offset, b"movi"))
    for picture in pictures:
        file.write(_chunk(PICTURE, picture))
    file.write(index_chunk)


def _main_header(stream: Stream) -> bytes:
    period_us = round(1e6 / stream.rate_hz)
    bytes_a_second = min(round(stream.largest * stream.rate_hz), 0xFFFFFFFF)
    numbers = [period_us, bytes_a_second, 0, HAS_INDEX, stream.pictures, 0, 1, stream.largest]
    return _chunk(b"avih", struct.pack("<14I", *numbers, *stream.size, 0, 0, 0, 0))


def _stream_headers(stream: Stream) -> bytes:
    width, height = stream.size
    rate = round(stream.rate_hz * RATE_SCALE)
    kind = struct.pack("<4s4sI2H", b"vids", b"MJPG", 0, 0, 0)
    # Initial frames, scale, rate, start, length, buffer, quality (unknown), sample size.
    numbers = [0, RATE_SCALE, rate, 0, stream.pictures, stream.largest, 0xFFFFFFFF, 0]
    header = kind + struct.pack("<8I4H", *numbers, 0, 0, width, height)
    picture = struct.pack("<3I2H4s5I", 40, width, height, 1, 24, b"MJPG",
                          width * height * 3, 0, 0, 0, 0)  # fmt: skip
    return _list(b"strl", _chunk(b"strh", header) + _chunk(b"strf", picture))


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)


def _chunk(name: bytes, content: bytes) -> bytes:
    """Name, length and content, filled up to an even length."""
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
