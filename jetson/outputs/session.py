"""What the model saw, frame by frame, in a file that a run can be repeated from exactly.

The file is ``MAGIC`` and records: length and CRC-32 of the body, then the body, whose first byte
says what it is. The first is the header, JSON; one for each frame follows; the last says that the
run ended as it should.
"""

import contextlib
import json
import logging
import math
import os
import pathlib
import struct
import time
import zlib
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.camera import Source, quiet_cv2
from clipedge.jetson.camera.naming import without_passwords
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.files import PathLike, make_folder, readable_os_error
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.recogniser_settings import RecogniserSettings
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec
from clipedge.jetson.version import own_version

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
MAGIC = b"clipedge session\n"
RECORD = struct.Struct("<II")  # length of the body, its CRC-32
HEADER, FRAME, END = b"H", b"F", b"E"
# Time stamp, number, wall time, latency; the model's view as a PNG follows.
FRAME_FIELDS = struct.Struct("<dqdd")
# Wall time and latency of an event that the end of the source brought.
END_FIELDS = struct.Struct("<?dd")
NOTHING = math.nan  # a wall time or a latency that there is not


class SessionFacts(NamedTuple):
    """What decides which events a recording gives.

    Attributes:
        spec: of the model.
        model_sha256: of the model file.
        settings: JSON types by name: of the recogniser, the schedule and the backend.
        source: the source's name, without credentials.
        endless: whether it was a camera.
        clipedge: version.
    """

    spec: ClipSpec
    model_sha256: str
    settings: Dict[str, Any]
    source: str = ""
    endless: bool = False
    clipedge: str = ""


def session_facts(
    runner: Runner,
    model_path: PathLike,
    recogniser: RecogniserSettings,
    source: Source,
    interval_s: float = 0.0,
    hop: int = 1,
    detector_path: Optional[PathLike] = None,
) -> SessionFacts:
    """Gather the facts of a run.

    Args:
        runner: of the model, opened.
        model_path: the file it was opened from.
        recogniser: the settings in use, with what the command line changed.
        source: the camera or file.
        interval_s: as in ``recognise``.
        hop: as in ``recognise``.
        detector_path: the file of the detector, where there is one.

    Raises:
        ClipedgeError: a model file cannot be read.
    """
    named = json.loads(recogniser.to_json())
    for about_the_file in ("format_version", "tuned_on"):
        named.pop(about_the_file, None)
    named["interval_s"], named["hop"] = interval_s, hop
    named["detector"] = None if detector_path is None else sha256_of(detector_path)
    for name, value in runner.describe().items():
        named[name if name == "backend" else f"backend {name}"] = value
    return SessionFacts(
        spec=runner.spec,
        model_sha256=sha256_of(model_path),
        settings=json.loads(json.dumps(named, default=str)),
        source=without_passwords(source.name),
        endless=source.endless,
        clipedge=own_version(),
    )


class SessionWriter(Output):
    """``--save-session FILE``; what is in the file survives a crash, up to the last whole frame."""

    def __init__(self, path: PathLike, facts: SessionFacts) -> None:
        """Begin the file, which is emptied.

        Raises:
            ClipedgeError: it cannot be written.
        """
        self.name = f"--save-session {path}"
        self._path = path
        self._endless = facts.endless
        self._cv2 = quiet_cv2()
        # Run lengths at the lowest level: half a millisecond at 112 x 112, and as small as others.
        run_lengths = self._cv2.IMWRITE_PNG_STRATEGY_RLE
        self._png = [self._cv2.IMWRITE_PNG_COMPRESSION, 1,
                     self._cv2.IMWRITE_PNG_STRATEGY, run_lengths]  # fmt: skip
        self._frames = self._bytes = 0
        self._end = END_FIELDS.pack(False, NOTHING, NOTHING)
        make_folder(pathlib.Path(path).parent)
        try:
            self._handle: Optional[int] = os.open(
                str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666
            )
        except OSError as error:
            raise readable_os_error(error, path) from None
        try:
            self._write(MAGIC)
            self._record(HEADER + _header_json(facts).encode("utf-8"))
        except BaseException:
            self._let_go()
            raise

    def add(self, step: Step) -> None:
        """Append the step's frame.

        Raises:
            ClipedgeError: the disk is full; the frames before it are in the file.
        """
        wall_time_s, latency_ms = self._measured(step)
        if step.frame is None:
            if step.event is not None:  # of a gesture that was under way when the source ended
                self._end = END_FIELDS.pack(True, wall_time_s, latency_ms)
            return
        assert step.view is not None
        fields = FRAME_FIELDS.pack(
            step.frame.timestamp_s, step.frame.number, wall_time_s, latency_ms
        )
        picture = np.ascontiguousarray(step.view[:, :, ::-1])  # as OpenCV wants it
        done, png = self._cv2.imencode(".png", picture, self._png)
        if not done:
            raise ClipedgeError(f"{self._path}: OpenCV cannot make a PNG.")
        self._record(FRAME + fields + png.tobytes())
        self._frames += 1

    def close(self) -> None:
        """Mark the file as whole.

        Raises:
            ClipedgeError: the disk is full.
        """
        if self._handle is None:
            return
        try:
            self._record(END + self._end)
            log.info("%s: %d frames, %.1f MB.", self._path, self._frames, self._bytes / 1e6)
        finally:
            self._let_go()

    def _measured(self, step: Step) -> Tuple[float, float]:
        """Return wall time and latency, exactly those of the step's event if it has one."""
        if step.event is not None:
            wall_time_s = step.event.wall_time_s
            return NOTHING if wall_time_s is None else wall_time_s, step.event.latency_ms
        latency_ms = NOTHING if step.latency_ms is None else step.latency_ms
        return time.time() if self._endless else NOTHING, latency_ms

    def _record(self, body: bytes) -> None:
        self._write(RECORD.pack(len(body), zlib.crc32(body)) + body)

    def _write(self, data: bytes) -> None:
        """Append all of it, or nothing: then the file is closed, so that it ends where it is."""
        assert self._handle is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._bytes)
            self._let_go()
            raise readable_os_error(error, self._path) from None
        self._bytes += len(data)

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _header_json(facts: SessionFacts) -> str:
    fields = facts._asdict()
    fields["spec"] = facts.spec.to_dict()
    return json.dumps({"format_version": FORMAT_VERSION, **fields})
