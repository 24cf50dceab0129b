"""A command that is run for each gesture."""

from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output

EVERY_S = 0.5
AT_ONCE = 4


class OnEvent(Output):
    """``--on-event 'command {label}'``: started without a shell, never waited for."""

    def __init__(self, command: str, every_s: float = EVERY_S, at_once: int = AT_ONCE) -> None:
        """Parse the command; nothing is started yet.

        Args:
            command: program and arguments as a shell splits them, with the placeholders {label},
                {score}, {time_s}, {kind} and {frame} inside arguments.
            every_s: events that follow one that was acted on within this time are skipped.
            at_once: so many may run at a time; events beyond are skipped.

        Raises:
            UsageError: the command cannot be split, its program is not there, or a placeholder is
                not known.
        """
        raise NotImplementedError

    def add(self, step: Step) -> None:
        """Start the command for the step's event, if it has one; look after those that run."""
        raise NotImplementedError
