"""Events as MQTT messages."""

from clipedge.jetson.live import Step
from clipedge.jetson.outputs.output import Output


class Mqtt(Output):
    """``--mqtt mqtt://[user:password@]host[:1883]/topic``: one message for each event.

    ``topic/status`` says ``online`` or ``offline``, retained.
    """

    def __init__(self, url: str) -> None:
        """Begin to connect, in a thread of its own; the broker need not be there yet.

        Args:
            url: ``mqtt://``, or ``mqtts://`` for TLS.

        Raises:
            UsageError: the URL is malformed, or paho-mqtt is not installed.
        """
        raise NotImplementedError

    def add(self, step: Step) -> None:
        """Queue the step's event, if it has one; never waits."""
        raise NotImplementedError
