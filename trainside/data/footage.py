"""Opened recordings: the frames of a video file or a folder of pictures, and their times.

Frames and times are those that the board's sources give (``clipedge.jetson.camera``), bit for bit;
here they are reached in any place without decoding what lies far before.
"""

import abc
import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np

from clipedge.jetson.camera.stills import list_pictures, read_picture
from clipedge.jetson.camera.video import FALLBACK_RATE_HZ, WHOLE_PART
from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import SourceError
from clipedge.jetson.files import plain_path, readable_os_error
from clipedge.trainside.data.catalog import Recording

T = TypeVar("T")

# Other formats are lists of files and addresses, text, or sound.
_FORMATS = "asf,avi,flv,gif,m4v,matroska,mov,mp4,mpeg,mpegts,mpegvideo,ogg,webm"
# Formats that can be entered at any key frame; others claim it and are a few pictures off.
_SEEKABLE = ("avi", "matroska", "mov", "mp4", "webm")


class Footage(Closing, abc.ABC):
    """An opened recording.

    Attributes:
        times_s: (K,) float64, K >= 1, when each frame was taken, rising, from 0.
        problem: what is wrong with a recording that can be used all the same, else empty.
    """

    times_s: np.ndarray
    problem = ""

    @abc.abstractmethod
    def read(self, picks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8, RGB.

        Args:
            picks: (N,) int, their numbers, rising, none twice.

        Raises:
            SourceError: one of them cannot be decoded.
        """

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""


def with_footage(recording: Recording, rate_hz: float, work: Callable[[Footage], T]) -> T:
    """Open ``recording`` and return what ``work`` makes of it.

    A file whose own table of contents does not hold is decoded from its start, and ``work`` called
    again.

    Args:
        recording: what to open.
        rate_hz: of a folder of frames whose recording does not say.
        work: what to do; it must not keep the footage.

    Raises:
        ClipedgeError: nothing of it can be decoded, or a picture in its folder cannot.
    """
    if recording.path.is_dir():
        with PictureFolder(recording.path, recording.frame_rate_hz or rate_hz) as pictures:
            return work(pictures)
    try:
        with VideoFootage(recording.path) as video:
            return work(video)
    except _ContentsError:
        with VideoFootage(recording.path, from_start=True) as video:
            return work(video)


class PictureFolder(Footage):
    """A folder of numbered pictures at a given rate, as the board's ``FrameFolder``."""

    def __init__(self, folder: pathlib.Path, rate_hz: float) -> None:
        """List the pictures; raise SourceError where there are none."""
        try:
            self._paths = list_pictures(folder)
        except OSError as error:
            raise SourceError(str(readable_os_error(error, folder))) from None
        self.times_s = np.arange(len(self._paths)) / rate_hz

    def read(self, picks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the pictures of these numbers."""
        for pick in picks.tolist():
            yield read_picture(self._paths[pick])


class _ContentsError(SourceError):
    """What a file's packets promise is not what decoding them gives."""


class _Contents(NamedTuple):
    """The packets of a video, which say what can be decoded before anything is.

    Attributes:
        stamps: (K,) int64, presentation times in units of the stream's time base, rising.
        key_stamps: (J,) int64, those of the key frames, rising; decoding can start at each.
    """

    stamps: np.ndarray
    key_stamps: np.ndarray


class VideoFootage(Footage):
    """A video file; times are its own, so that variable rates are right too."""

    def __init__(self, path: pathlib.Path, from_start: bool = False) -> None:
        """Find out which frames the file holds.

        Args:
            path: of the file.
            from_start: decode it once to see, and from its start whenever frames are read.

        Raises:
            SourceError: it is no video, or nothing of it can be decoded.
        """
        from av.video.reformatter import Interpolation, VideoReformatter

        self._path = path
        self._reformatter = VideoReformatter()
        self._interpolation = Interpolation.BICUBIC  # OpenCV's choice; it counts for odd widths
        self._container, self._stream = _open_container(path)
        try:
            self._time_base = Fraction(self._stream.time_base or 1)
            rate = self._stream.average_rate or self._stream.guessed_rate
            self._gap_s = 1.0 / (float(rate) if rate and 0 < rate < 1000 else FALLBACK_RATE_HZ)
            self._contents = None if from_start else self._list_packets()
            if self._contents is not None:
                times_s = self._contents.stamps * float(self._time_base)
            else:
                times_s = self._decode_times()
            self.times_s = times_s - times_s[0]
            self.problem = self._missing_part(float(times_s[-1]))
        except BaseException:
            self.close()
            raise

    def read(self, picks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the frames of these numbers."""
        frames = self._pick_counted(picks) if self._contents is None else self._pick(picks)
        for frame in frames:
            picture: np.ndarray = self._reformatter.reformat(
                frame, format="bgr24", interpolation=self._interpolation, threads=1
            ).to_ndarray()
            yield _turned(picture, frame.rotation)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _list_packets(self) -> _Contents | None:
        """Return what the file's packets say, or None where they do not say enough."""
        from av.error import FFmpegError

        if not set(self._container.format.name.split(",")) & set(_SEEKABLE):
            return None
        stamps: list[int] = []
        keys: list[int] = []
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                stamps.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except FFmpegError:
            return None
        rising = np.unique(np.array(stamps, np.int64))
        if not keys or len(rising) < len(stamps) or min(keys) > rising[0]:
            return None
        if self._stream.codec_context.has_b_frames and rising.tolist() == stamps:
            return None  # AVI: frames are decoded in another order than shown, stamps do not tell
        return _Contents(rising, np.unique(np.array(keys, np.int64)))

    def _pick(self, picks: np.ndarray) -> Iterator[Any]:
        """Yield the decoded frames of these numbers, starting at the key frame before them."""
        contents = self._contents
        assert contents is not None
        wanted = contents.stamps[picks].tolist()
        self._seek(contents, wanted[0])
        all_keys = len(contents.key_stamps) == len(contents.stamps)
        last, found = -(2**63), 0
        for frame in self._decode(set(wanted), all_keys):
            if frame.pts is None or frame.pts <= last:
                break
            last = frame.pts
            if last > wanted[found]:
                break
            if last == wanted[found]:
                yield frame
                found += 1
                if found == len(wanted):
                    return
        raise _ContentsError(f"{self._path}: a frame of this video cannot be decoded.")

    def _seek(self, contents: _Contents, stamp: int) -> None:
        from av.error import FFmpegError

        key = np.searchsorted(contents.key_stamps, stamp, side="right") - 1
        try:
            self._container.seek(int(contents.key_stamps[key]), stream=self._stream)
        except FFmpegError as error:
            raise _ContentsError(f"{self._path}: {error.strerror}.") from None

    def _decode(self, shown: set[int], all_keys: bool) -> Iterator[Any]:
        """Decode from where the file stands what is needed to show the frames of these stamps."""
        from av.error import FFmpegError

        codec = self._stream.codec_context
        started = False
        try:
            for packet in self._container.demux(self._stream):
                if not started and not packet.is_keyframe:
                    break
                started = True
                wanted = packet.size == 0 or packet.pts in shown
                if wanted or not all_keys:
                    # Pictures that no other refers to need not be decoded to decode the others.
                    codec.skip_frame = "DEFAULT" if wanted else "NONREF"
                    yield from packet.decode()
        except FFmpegError as error:
            raise _ContentsError(f"{self._path}: {error.strerror}.") from None

    def _pick_counted(self, picks: np.ndarray) -> Iterator[Any]:
        wanted = set(picks.tolist())
        for number, frame in enumerate(self._decode_all()):
            if number in wanted:
                yield frame
                wanted.remove(number)
            if not wanted:
                return
        raise SourceError(f"{self._path}: a frame of this video cannot be decoded a second time.")

    def _decode_all(self) -> Iterator[Any]:
        """Decode from the start to the end; what cannot be decoded is left out, as on the board."""
        from av.error import FFmpegError

        self._container.close()
        self._container, self._stream = _open_container(self._path)
        try:
            for packet in self._container.demux(self._stream):
                with contextlib.suppress(FFmpegError):
                    yield from packet.decode()
        except FFmpegError:
            return

    def _decode_times(self) -> np.ndarray:
        """Decode the whole file for the times of its frames, by its own clock."""
        presented: list[int | None] = []
        decoded: list[int | None] = []
        for frame in self._decode_all():
            presented.append(frame.pts)
            decoded.append(frame.dts)
        if not presented:
            raise SourceError(
                f"{self._path}: no frame of this video can be decoded. Is the file whole? "
                "Copy it again, or take it out of the data set."
            )
        # Of MPEG-4 in AVI, decoders only guess when a frame is shown; it was decoded in this order.
        stamps = presented if _rises(presented) else decoded
        times_s: list[float] = []
        for stamp in stamps:
            known_s = -1.0 if stamp is None else float(stamp * self._time_base)
            late = not times_s or known_s > times_s[-1]
            times_s.append(known_s if late else times_s[-1] + self._gap_s)
        return np.array(times_s)

    def _missing_part(self, last_s: float) -> str:
        """Say how much of a file that ends early is there."""
        if self._stream.duration is not None:
            declared_s = float(self._stream.duration * self._time_base)
        else:
            declared_s = (self._container.duration or 0) / 1e6
        if self._container.format.name == "avi":  # of a cut file, only the header's count is right
            declared_s = max(declared_s, self._stream.frames * self._gap_s)
        held_s = float(self.times_s[-1]) + self._gap_s
        # Some formats count the duration from their clock's 0, others from the first frame.
        if max(held_s, last_s + self._gap_s) >= WHOLE_PART * declared_s:
            return ""
        return (
            f"{self._path}: only {held_s:.1f} of {declared_s:.1f} s could be decoded; "
            "the file is damaged."
        )


def _rises(stamps: Sequence[int | None]) -> bool:
    known = [stamp for stamp in stamps if stamp is not None]
    return len(known) == len(stamps) and all(np.diff(known) > 0)


def _open_container(path: pathlib.Path) -> tuple[Any, Any]:
    """Return a PyAV container and its video stream, which decodes in one thread."""
    import av
    from av.error import FFmpegError

    av.logging.set_level(None)  # our errors say what is wrong
    name = plain_path(path.absolute())  # absolute, so that no part of it is taken for a protocol
    container = None
    try:
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        # Titles may be in any encoding.
        container = av.open(name, metadata_errors="replace", options=options)
        stream = container.streams.video[0]
    except (FFmpegError, IndexError) as error:
        if container is not None:
            container.close()
        if isinstance(error, OSError) and error.errno and not isinstance(error, ValueError):
            raise SourceError(str(readable_os_error(error, path))) from None
        raise SourceError(
            f"{path}: not a video that can be decoded. Is the file whole? "
            f"Try to convert it: ffmpeg -i {path.name} converted.mp4"
        ) from None
    stream.codec_context.thread_count = 1  # workers share the cores already
    return container, stream


def _turned(picture: np.ndarray, rotation: int) -> np.ndarray:
    """Return the upright picture in RGB of one in BGR, as OpenCV does of a camera held sideways.

    Args:
        picture: (H, W, 3) uint8, BGR.
        rotation: degrees counterclockwise, of the stream's display matrix.
    """
    import cv2

    quarters = round(rotation / 90) % 4
    if quarters:
        turns = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        picture = cv2.rotate(picture, turns[quarters - 1])
    result: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return result
