"""Events as JSON lines, in a file or on standard output, each there as soon as it happened."""

from typing import Optional

from clipedge.jetson.files import PathLike
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output


class EventLines(Output):
    """``--events FILE``: the lines go to the file, and a word for people to standard output."""

    def __init__(self, path: Optional[PathLike] = None) -> None:
        """Open the file, which is emptied, or write to standard output.

        Args:
            path: of the file; None: standard output.

        Raises:
            ClipedgeError: the file cannot be written.
        """
        raise NotImplementedError

    def add(self, step: Step) -> None:
        """Write the step's event, if it has one."""
        raise NotImplementedError
