"""The clip behind each event, kept for labelling."""

import collections
import json
import logging
import math
import pathlib
import queue
import threading
import time
from typing import Any, Deque, Dict, List, Optional, Union

from clipedge.jetson.camera import Frame
from clipedge.jetson.class_folders import ClassFolders
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.files import PathLike, readable_os_error, writable_folder
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.lines_file import LinesFile
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.spec import ClipSpec
from clipedge.jetson.take import Encoder, Shot

log = logging.getLogger(__name__)

LIST_NAME = "clips.jsonl"
BEFORE_S = 0.5  # kept before the clip that the model saw
AFTER_S = 0.5  # and after the event: one that is named early is not over
# Of the pictures that are kept; a model's are 1/6 s apart, and training wants some to choose from.
RATE_HZ = 15.0
LEAST_RATE_HZ = 12.0  # no picture is left out where fewer would remain
TOLERANCE = 0.9  # of the interval, as frame times are not exact
LONGEST_QUEUE = 8  # pictures that wait to be compressed


class ClipSaver(Output):
    """``--save-clips DIR``: writes DIR/LABEL/LABEL_...avi, as ``train-clips fit --data`` reads it.

    A line of ``DIR/clips.jsonl`` tells of each clip what was recognised, and when. Pictures are
    compressed and written in a thread of its own.
    """

    def __init__(self, folder: PathLike, spec: ClipSpec, live: bool = True) -> None:
        """Prepare to write into ``folder``, which is made.

        Args:
            folder: may hold clips already; none is overwritten.
            spec: of the model, for the length of its clips.
            live: rather leave a picture out than let recognition wait; False for files, which
                can wait.

        Raises:
            UsageError: the name of the folder or a label is not UTF-8.
            ClipedgeError: the folder cannot be written.
        """
        self.name = f"--save-clips {folder}"
        self._live = live
        self._thinning = _Thinning(spec)
        self._left_out = 0
        self._failed: List[Exception] = []
        self._told = False
        self._writer = _Writer(ClassFolders(folder), spec, self._thinning.least_s)
        # Pictures, events, and at the end None.
        self._waiting = queue.Queue()  # type: queue.Queue[Union[Frame, GestureEvent, None]]
        self._room = threading.Semaphore(LONGEST_QUEUE)  # for pictures alone: no event is left out
        self._thread: Optional[threading.Thread] = threading.Thread(
            target=self._run, name="clip saver", daemon=True
        )
        self._thread.start()

    def add(self, step: Step) -> None:
        """Keep the frame for a while, and in the end what lies behind an event.

        Raises:
            ClipedgeError: an earlier clip could not be written.
        """
        self._tell_failure()
        if step.frame is not None:
            self._keep(step.frame)
        if step.event is not None:
            self._waiting.put(step.event)

    def close(self) -> None:
        """Write the clips that still wait.

        Raises:
            ClipedgeError: one of them could not be written.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._waiting.put(None)
        thread.join()
        if self._left_out:
            log.warning(
                "%s: %d pictures were left out, as compressing and writing took too long.",
                self.name,
                self._left_out,
            )
        log.info("%s: clips kept: %d.", self.name, self._writer.count)
        self._tell_failure()

    def _keep(self, frame: Frame) -> None:
        if not self._thinning.wants(frame.timestamp_s):
            return
        if not self._room.acquire(blocking=not self._live):
            self._left_out += 1
            return
        self._thinning.kept(frame.timestamp_s)
        self._waiting.put(frame)

    def _tell_failure(self) -> None:
        if self._failed and not self._told:
            self._told = True
            raise self._failed[0]

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if isinstance(item, Frame):
                self._room.release()
            try:
                if item is None:
                    self._writer.close(whole=not self._failed)
                elif not self._failed:
                    self._writer.take_in(item)
            except Exception as error:  # also one of ours: add() and close() raise it
                self._failed.append(error)
            if item is None:
                return


class _Thinning:
    """Which pictures are kept: about RATE_HZ, or all where less would be left than training wants.

    Attributes:
        least_s: between two pictures that are kept.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._interval_s = min(1.0 / RATE_HZ, spec.spacing_s / 2) * TOLERANCE
        self._most_s = 1.02 / max(LEAST_RATE_HZ, spec.frame_rate_hz)  # half of 24 is enough
        self.least_s = min(self._interval_s, self._most_s / 2)
        self._came_s = self._kept_s = -math.inf  # the last picture, and the last that was kept

    def wants(self, time_s: float) -> bool:
        """Tell whether to keep a picture; the next is expected to come as this one did."""
        came_s, self._came_s = self._came_s, time_s
        since_s = time_s - self._kept_s
        return not (0 <= since_s < self._interval_s and since_s + time_s - came_s <= self._most_s)

    def kept(self, time_s: float) -> None:
        self._kept_s = time_s


class _Writer:
    """What the thread does: compresses pictures, keeps the last of them, writes clips."""

    def __init__(self, folders: ClassFolders, spec: ClipSpec, least_s: float) -> None:
        self._folders = folders
        writable_folder(folders.root)
        self._folder_of = {label: folders.folder_of(label) for label in spec.labels}
        self._list: Optional[LinesFile] = None
        self._encoder = Encoder()
        self._before_s = spec.span_s + BEFORE_S
        pictures = int((self._before_s + AFTER_S) / least_s) + 2
        self._shots: Deque[Shot] = collections.deque(maxlen=pictures)
        self._due: List[GestureEvent] = []  # whose clips are not over
        self._stamp = time.strftime("%Y%m%d-%H%M%S")
        self.count = 0

    def take_in(self, item: Union[Frame, GestureEvent]) -> None:
        if isinstance(item, GestureEvent):
            self._due.append(item)
        else:
            self._picture(item)

    def close(self, whole: bool) -> None:
        """Write the clips that wait, if those before could be written."""
        try:
            if whole:
                self._write_all()
        finally:
            if self._list is not None:
                self._list.close()

    def _picture(self, frame: Frame) -> None:
        if self._shots and frame.timestamp_s <= self._shots[-1].timestamp_s:
            self._write_all()  # the source began anew
            self._shots.clear()
        while self._due and frame.timestamp_s > self._due[0].time_s + AFTER_S:
            self._write(self._due.pop(0))
        self._shots.append(self._encoder(frame))

    def _write_all(self) -> None:
        while self._due:
            self._write(self._due.pop(0))

    def _write(self, event: GestureEvent) -> None:
        from_s, to_s = event.time_s - self._before_s, event.time_s + AFTER_S
        shots = [shot for shot in self._shots if from_s <= shot.timestamp_s <= to_s]
        if len(shots) < 2:
            log.warning("No clip of '%s': the source gave too few pictures.", event.label)
            return
        path = self._free_path(event.label)
        take = self._encoder.take(shots)
        try:
            take.save(path)
        finally:
            self._folders.drop_if_empty(path.parent.name)  # where the first could not be written
        self.count += 1
        self._note(path, event, shots)

    def _free_path(self, label: str) -> pathlib.Path:
        """Never a name of before: clips are moved between folders, and one must not hide another.

        So a number above those that lie there, as recordings get it, will not do.
        """
        folder = self._folder_of[label]
        number = self.count
        while True:
            number += 1
            path = folder / f"{folder.name}_{self._stamp}_{number:04d}.avi"
            if not path.exists():
                return path

    def _note(self, path: pathlib.Path, event: GestureEvent, shots: List[Shot]) -> None:
        fields: Dict[str, Any] = {"file": f"{path.parent.name}/{path.name}"}
        fields.update(json.loads(event.to_json()))
        fields["from_s"] = round(shots[0].timestamp_s, 3)
        fields["to_s"] = round(shots[-1].timestamp_s, 3)
        name = self._folders.root / LIST_NAME
        if self._list is None:
            self._list = LinesFile(name, keep=True)
        try:
            self._list.append(json.dumps(fields))
        except OSError as error:
            raise readable_os_error(error, name) from None
