"""What the model saw, frame by frame, so that a run can be repeated exactly."""

from typing import Any, Dict, Iterator, List, NamedTuple

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.files import PathLike
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.spec import ClipSpec


class SessionFacts(NamedTuple):
    """What decides which events a recording gives.

    Attributes:
        spec: of the model.
        model_sha256: of the model file.
        settings: JSON types by name: the recogniser's settings, the interval or hop of inference,
            backend and precision, the detector's file: whatever changes events.
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


class SessionWriter(Output):
    """``--save-session FILE``."""

    def __init__(self, path: PathLike, facts: SessionFacts) -> None:
        """Begin the file.

        Raises:
            ClipedgeError: it cannot be written.
        """
        raise NotImplementedError

    def add(self, step: Step) -> None:
        """Append the step's frame."""
        raise NotImplementedError


class Replay(Source):
    """A session as a source: its frames are the model's views, so preprocessing changes nothing."""

    facts: SessionFacts

    def __iter__(self) -> Iterator[Frame]:
        """Yield the recorded frames, (size, size, 3) uint8, RGB, with their own time stamps."""
        raise NotImplementedError

    def differences(self, facts: SessionFacts) -> List[str]:
        """Return what differs from this run in words, for a warning; empty: events are the same.

        Raises:
            UsageError: the model takes frames of another size.
        """
        raise NotImplementedError

    def as_recorded(self, event: GestureEvent) -> GestureEvent:
        """Return the event with wall time and latency as they were when its frame was recorded."""
        raise NotImplementedError


def open_session(path: PathLike) -> Replay:
    """Open a session that ``SessionWriter`` wrote.

    Raises:
        UsageError: there is no such file.
        SourceError: it is no session, or one of a newer format.
    """
    raise NotImplementedError
