"""What gesture-record does: labelled clips from a camera or a video into a folder of classes."""

import argparse
import contextlib
import logging
import math
import pathlib
import sys
from typing import Iterator, List, NamedTuple, Optional

from clipedge.jetson.camera import Frame, Source, open_source
from clipedge.jetson.camera.source import LOST
from clipedge.jetson.class_folders import ClassFolders
from clipedge.jetson.command_line import DONE
from clipedge.jetson.display.gui import ENTER
from clipedge.jetson.errors import SourceError, UsageError
from clipedge.jetson.files import readable_os_error, writable_folder
from clipedge.jetson.record_screen import (
    QUIT,
    ContactSheet,
    Screen,
    open_terminal,
    open_window,
)
from clipedge.jetson.source_options import DEFAULT_RATE_HZ, source_options
from clipedge.jetson.take import TOLERANCE_S, Encoder, Take, cut_takes

log = logging.getLogger(__name__)

KEEP, AGAIN, PLAY, DELETE = ENTER, "a", "p", "d"  # the keys of a review, and QUIT
LEAST_RATE_HZ = 10.0  # a model's frames are 1/6 s apart; below this many are the same one
SHORT_CLIP = 0.9  # of the seconds asked for
# A camera's driver keeps a few pictures from before; they come first and all at once.
SETTLE_S = 0.3


class Plan(NamedTuple):
    """What shall be recorded."""

    label: str
    clips: int
    seconds: float
    countdown_s: float
    ask: bool


def run(arguments: argparse.Namespace) -> int:
    """Run gesture-record with parsed arguments; return its exit status."""
    folders = ClassFolders(arguments.output)
    if arguments.list:
        if not folders.root.is_dir():
            raise UsageError(f"{folders.root}: there is no such folder.")
        _print(folders.overview())
        return DONE
    for flag in ("label", "source"):
        if getattr(arguments, flag) is None:
            raise UsageError(f"--{flag} is missing; it is needed to record. See --help.")
    folders.check_label(arguments.label)
    kept: List[pathlib.Path] = []
    try:
        with open_source(arguments.source, source_options(arguments, DEFAULT_RATE_HZ)) as source:
            if source.endless:
                _from_camera(source, arguments, folders, kept)
            else:
                _from_video(source, arguments, folders, kept)
    finally:  # also after Ctrl-C, a full disk, a pulled cable: what was kept stays
        if kept:
            _print(folders.overview())
    return DONE


def _from_video(
    source: Source, arguments: argparse.Namespace, folders: ClassFolders, kept: List[pathlib.Path]
) -> None:
    """Cut clips one after the other, until there are enough or the video ends."""
    every_s = arguments.every or arguments.seconds
    for take in cut_takes(source.pictures(), Encoder(), arguments.seconds, every_s):
        kept.append(_save(take, folders, arguments.label))
        _warn_of(take, arguments.seconds)
        if len(kept) == arguments.count:
            return
    log.info("The source ended: %d of %d clips.", len(kept), arguments.count)


def _from_camera(
    source: Source, arguments: argparse.Namespace, folders: ClassFolders, kept: List[pathlib.Path]
) -> None:
    if arguments.every is not None:
        raise UsageError("--every is for a video; from a camera, clips follow the countdown.")
    writable_folder(folders.root)  # heard of before anyone waves
    plan = Plan(arguments.label, arguments.count, arguments.seconds, arguments.countdown,
                not arguments.yes)  # fmt: skip
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(open_terminal(plan.ask))
        window = stack.enter_context(open_window(arguments.preview))
        sheet = stack.enter_context(ContactSheet(folders.root))
        _Session(source, plan, folders, Screen(terminal, window, sheet), kept).run()


class _LostError(Exception):
    """It is tried again; what was recorded of this clip has a hole."""


class _Session:
    """Records from a camera until there are enough clips, or the user stops."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        folders: ClassFolders,
        screen: Screen,
        kept: List[pathlib.Path],
    ) -> None:
        """Prepare to add to ``kept``, which holds what is kept whatever ends the session."""
        self._kept = kept
        self._source = source
        self._frames = iter(source)
        self._plan = plan
        self._folders = folders
        self._screen = screen

    def run(self) -> None:
        """Record clip after clip."""
        plan = self._plan
        if plan.ask:
            self._screen.terminal.say(
                f"{plan.clips} clips of '{plan.label}', {plan.seconds:g} s each. q quits."
            )
        while len(self._kept) < plan.clips:
            try:
                if self._count_down() == QUIT:
                    break
                take = self._record()
            except _LostError:
                if self._wait_for_camera() == QUIT:
                    break
                continue
            answer = self._review(take) if plan.ask else KEEP
            self._screen.terminal.status("")
            if answer == QUIT:
                break
            if answer == KEEP:
                self._kept.append(_save(take, self._folders, plan.label))
            if not plan.ask:
                _warn_of(take, plan.seconds)
        self._screen.terminal.status("")

    @property
    def _title(self) -> str:
        return f"{self._plan.label} {len(self._kept) + 1} of {self._plan.clips}"

    def _poll(self) -> Optional[Frame]:
        """Return a frame, or None where none came for a moment."""
        try:
            return next(self._frames)
        except StopIteration:
            raise SourceError("The camera gives no more frames. Was it unplugged?") from None

    def _next_frame(self) -> Frame:
        while True:
            frame = self._poll()
            if frame is not None:
                return frame
            if self._source.status.state == LOST:
                raise _LostError

    def _wait_for_camera(self) -> Optional[str]:
        """Return when the camera is back; QUIT: the user does not want to wait."""
        self._screen.terminal.say(f"{self._title}: begins anew when the camera is back. q quits.")
        while self._poll() is None:
            if self._screen.key() == QUIT:
                return QUIT
        return None

    def _count_down(self) -> Optional[str]:
        """Show whole seconds until it begins, by the camera's clock; QUIT: it shall not."""
        self._screen.forget_keys()
        frame = self._next_frame()
        end_s = frame.timestamp_s + max(self._plan.countdown_s, SETTLE_S)
        while frame.timestamp_s < end_s:
            left = math.ceil(min(end_s - frame.timestamp_s, self._plan.countdown_s))
            self._screen.show(frame.image, f"{self._title}: {left}" if left else self._title)
            if self._screen.key() == QUIT:
                return QUIT
            frame = self._next_frame()
        self._screen.terminal.ring()
        return None

    def _record(self) -> Take:
        encoder, shots = Encoder(), []
        frame = self._next_frame()
        began_s = frame.timestamp_s
        while frame.timestamp_s - began_s < self._plan.seconds - TOLERANCE_S:
            shots.append(encoder(frame))
            done_s = frame.timestamp_s - began_s
            self._screen.show(
                frame.image, f"{self._title}: go  {done_s:.1f} of {self._plan.seconds:g} s"
            )
            frame = self._next_frame()
        self._screen.terminal.ring()
        return encoder.take(shots)

    def _review(self, take: Take) -> str:
        """Ask until the answer is KEEP, AGAIN or QUIT."""
        screen = self._screen
        for doubt in _doubts(take, self._plan.seconds):
            screen.terminal.say(f"  {doubt}")
        while True:
            screen.terminal.say(f"{self._title}: {_describe(take)}")
            key = self._ask()
            if key in (KEEP, AGAIN, QUIT):
                return key
            if key == PLAY:
                screen.play(take)
            else:
                self._delete_last()

    def _ask(self) -> str:
        """Return the key of an answer; the camera is read on, so that its pictures stay new."""
        keys = [KEEP, AGAIN, PLAY, QUIT]
        question = "Enter keep, a again, p play back, q quit"
        if self._kept:
            keys.append(DELETE)
            question += f", d delete {self._kept[-1].name}"
        self._screen.forget_keys()
        while True:
            frame = self._poll()
            if frame is not None:
                self._screen.show(frame.image, question)
            key = self._screen.key()
            if key in keys:
                return key

    def _delete_last(self) -> None:
        path = self._kept.pop()
        try:
            path.unlink()
        except OSError as error:
            raise readable_os_error(error, path) from None
        self._folders.drop_if_empty(self._plan.label)
        self._screen.terminal.say(f"  deleted {path}")


def _save(take: Take, folders: ClassFolders, label: str) -> pathlib.Path:
    path = folders.free_path(label)
    try:
        take.save(path)
    finally:
        folders.drop_if_empty(label)  # of a class whose first clip could not be written
    _print(f"{path}: {_describe(take)}")
    return path


def _describe(take: Take) -> str:
    count = len(take.shots)
    return f"{count} frames at {take.rate_hz:.1f} Hz, {count / take.rate_hz:.1f} s"


def _doubts(take: Take, seconds: float) -> Iterator[str]:
    """Yield what may be wrong with a take."""
    if take.rate_hz < LEAST_RATE_HZ:
        yield (
            f"Only {take.rate_hz:.1f} frames a second: a model wants {LEAST_RATE_HZ:g} or more. "
            "In the dark, cameras slow down."
        )
    if take.longest_gap_s:
        yield f"No picture for {take.longest_gap_s:.2f} s: the one before stands in its place."
    length_s = take.shots[-1].timestamp_s - take.shots[0].timestamp_s + 1.0 / take.rate_hz
    if length_s < SHORT_CLIP * seconds:
        yield f"Only {length_s:.1f} s of {seconds:g} s: the source ended or paused."


def _warn_of(take: Take, seconds: float) -> None:
    for doubt in _doubts(take, seconds):
        log.warning("%s", doubt)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
