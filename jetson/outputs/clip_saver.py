"""The clip behind each event, kept for labelling."""

from clipedge.jetson.files import PathLike
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.spec import ClipSpec


class ClipSaver(Output):
    """``--save-clips DIR``: writes DIR/LABEL/LABEL_...avi, as ``train-clips fit --data`` reads it."""

    def __init__(self, folder: PathLike, spec: ClipSpec) -> None:
        """Prepare to write into ``folder``, which is made.

        Args:
            folder: may hold clips already; none is overwritten.
            spec: of the model, for the length of its clips.

        Raises:
            UsageError: the name is not UTF-8.
            ClipedgeError: the folder cannot be written.
        """
        raise NotImplementedError

    def add(self, step: Step) -> None:
        """Keep the frame for a while; write what lies behind an event."""
        raise NotImplementedError
