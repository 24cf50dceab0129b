"""A recorded session as a source: the same frames, the same events."""

import json
import logging
import math
import pathlib
import zlib
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from clipedge.jetson.camera import Frame, Source, quiet_cv2
from clipedge.jetson.errors import SourceError, SpecError, UsageError
from clipedge.jetson.files import PathLike, plain_path, readable_os_error
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.session import (
    END,
    END_FIELDS,
    FORMAT_VERSION,
    FRAME,
    FRAME_FIELDS,
    HEADER,
    MAGIC,
    RECORD,
    SessionFacts,
)
from clipedge.jetson.spec import spec_from_dict

log = logging.getLogger(__name__)

LONGEST_HEADER = 1 << 24  # bytes; a length beyond is damage, and is not read into memory
PNG_EXTRA = 1 << 16  # bytes that a PNG may take more than its pixels


class _Measured(NamedTuple):
    """What does not follow from the frames and is therefore recorded."""

    wall_time_s: Optional[float]
    latency_ms: Optional[float]


class Replay(Source):
    """A session as a source: its frames are the model's views, so preprocessing changes nothing.

    Attributes:
        facts: of the run that was recorded.
    """

    def __init__(self, path: PathLike) -> None:
        """Open a session; see ``open_session``."""
        self.name = str(path)
        self._cv2 = quiet_cv2()
        self._measured = _Measured(None, None)  # of the frame that was yielded last
        self._at_end: Optional[_Measured] = None  # of the event that the end brought, if it did
        self._same = False  # nothing differs from the recorded run
        try:
            self._file: IO[bytes] = pathlib.Path(plain_path(path)).open("rb")  # noqa: SIM115
        except FileNotFoundError:
            raise UsageError(f"--replay {path}: there is no such file.") from None
        except OSError as error:
            raise readable_os_error(error, path) from None
        try:
            self.facts = self._read_facts()
        except BaseException:
            self.close()
            raise

    @property
    def endless(self) -> bool:
        """As the recorded source was: what only cameras or only files do is done again."""
        return self.facts.endless

    @property
    def paced(self) -> bool:
        """False."""
        return False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the recorded frames, (size, size, 3) uint8, RGB, with their own time stamps.

        Raises:
            SourceError: the file is damaged; the frames before the damage were yielded.
        """
        count = 0
        longest = 3 * self.facts.spec.size**2 + PNG_EXTRA
        while True:
            body = self._body(longest, f"after {count} frames")
            if body is None:
                log.warning(
                    "%s: the recording broke off after %d frames, as in a crash or on a full disk.",
                    self.name,
                    count,
                )
                return
            if body[:1] == END:
                self._read_end(body)
                return
            yield self._frame(body, count)
            count += 1

    def differences(self, facts: SessionFacts) -> List[str]:
        """Return what differs from this run, in words; with nothing, the events are the same.

        Raises:
            UsageError: the model takes frames of another size.
        """
        then, now = self.facts, facts
        if now.spec.size != then.spec.size:
            raise UsageError(
                f"--replay {self.name}: it holds frames of {then.spec.size} x {then.spec.size} "
                f"pixels, and the model takes {now.spec.size} x {now.spec.size}. Give the model "
                f"that it was recorded with ({then.spec.file_stem}) or one of its size."
            )
        told = []
        if now.model_sha256 != then.model_sha256:
            told.append(f"the model file ({now.spec.file_stem}, recorded {then.spec.file_stem})")
        recorded = dict(then.settings, clipedge=then.clipedge)
        given = dict(now.settings, clipedge=now.clipedge)
        for name in sorted(set(recorded) | set(given)):
            if recorded.get(name) != given.get(name):
                told.append(f"{name} {_shown(given, name)}, recorded {_shown(recorded, name)}")
        self._same = not told
        return told

    def as_recorded(self, step: Step) -> Step:
        """Return a step of this run with its event's wall time and latency as they were recorded.

        What the end of the source brings is left out where the recorded run was stopped before it,
        unless ``differences`` found that this is another run anyway.
        """
        event, measured = step.event, self._measured
        if event is None:
            return step
        if step.frame is None:
            if self._at_end is None and self._same:
                return step._replace(event=None)
            measured = self._at_end or measured
        event = event._replace(wall_time_s=measured.wall_time_s)
        if measured.latency_ms is not None:  # there was an inference at this frame then, too
            event = event._replace(latency_ms=measured.latency_ms)
        return step._replace(event=event)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_facts(self) -> SessionFacts:
        start = self._read(len(MAGIC))
        if start != MAGIC:
            raise SourceError(f"{self.name}: it is no session; --save-session writes them.")
        body = self._body(LONGEST_HEADER, "in its header")
        if body is None or body[:1] != HEADER:
            raise SourceError(f"{self.name}: the session broke off before its first frame.")
        try:
            fields: Dict[str, Any] = json.loads(body[1:].decode("utf-8"))
            version = fields.pop("format_version")
            if version == FORMAT_VERSION:
                fields["spec"] = spec_from_dict(fields["spec"])
                return SessionFacts(**fields)
        except (ValueError, KeyError, TypeError, SpecError) as error:
            raise SourceError(f"{self.name}: the session's header is damaged: {error}.") from None
        raise SourceError(
            f"{self.name}: the session has format version {version}; this clipedge reads "
            f"{FORMAT_VERSION}. Replay it with the clipedge that recorded it "
            f"({fields.get('clipedge')})."
        )

    def _read(self, length: int) -> bytes:
        try:
            return self._file.read(length)
        except OSError as error:
            raise readable_os_error(error, self.name) from None

    def _body(self, longest: int, where: str) -> Optional[bytes]:
        """Return the next record, or None where the file ends before the record does."""
        fields = self._read(RECORD.size)
        if len(fields) < RECORD.size:
            return None
        length, checksum = RECORD.unpack(fields)
        body = self._read(length) if length <= longest else b""
        if len(body) < length <= longest:
            return None
        if not body or zlib.crc32(body) != checksum:
            raise SourceError(
                f"{self.name}: the session is damaged {where}; what follows cannot be replayed."
            )
        return body

    def _frame(self, body: bytes, count: int) -> Frame:
        head, png = body[1 : 1 + FRAME_FIELDS.size], body[1 + FRAME_FIELDS.size :]
        if body[:1] != FRAME or not png:
            raise SourceError(f"{self.name}: frame {count} of the session is none.")
        timestamp_s, number, wall_time_s, latency_ms = FRAME_FIELDS.unpack(head)
        picture = self._cv2.imdecode(np.frombuffer(png, np.uint8), self._cv2.IMREAD_COLOR)
        if picture is None:
            raise SourceError(f"{self.name}: frame {count} of the session cannot be decoded.")
        self._measured = _measured(wall_time_s, latency_ms)
        return Frame(self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB), timestamp_s, number)

    def _read_end(self, body: bytes) -> None:
        brought_event, wall_time_s, latency_ms = END_FIELDS.unpack(body[1:])
        if brought_event:
            self._at_end = _measured(wall_time_s, latency_ms)


def open_session(path: PathLike) -> Replay:
    """Open a session that ``SessionWriter`` wrote.

    Raises:
        UsageError: there is no such file.
        SourceError: it is no session, a damaged one, or one of another format.
    """
    return Replay(path)


def _measured(wall_time_s: float, latency_ms: float) -> _Measured:
    return _Measured(_present(wall_time_s), _present(latency_ms))


def _present(number: float) -> Optional[float]:
    return None if math.isnan(number) else number


def _shown(settings: Dict[str, Any], name: str) -> str:
    return json.dumps(settings[name]) if name in settings else "not given"
