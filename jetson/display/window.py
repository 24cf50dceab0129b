"""``--display window``: picture, scores and timeline in a window of OpenCV."""

from typing import Callable, Optional

from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output
from clipedge.jetson.sensors import Sensors


class WindowDisplay(Output):
    """Shows the run and takes keys; lives in the main thread."""

    name = "--display window"

    def __init__(
        self,
        scoreboard: Scoreboard,
        facts: RunFacts,
        sensors: Optional[Callable[[], Sensors]] = None,
    ) -> None:
        """Open the window.

        Args:
            scoreboard: of this run; it is only read here, the run loop adds the steps to it.
            facts: what does not change.
            sensors: asked about once a second, such as ``SensorWatch().latest``.

        Raises:
            UsageError: no window can open here; it says why and what to do.
        """
        raise NotImplementedError

    def add(self, step: Step) -> None:
        """Show the step, at most 30 times a second, and look after keys."""
        raise NotImplementedError
