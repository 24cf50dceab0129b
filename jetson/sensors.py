"""Power and temperature of the board, from the files the kernel shows them in."""

from typing import NamedTuple, Optional

from clipedge.jetson.closing import Closing
from clipedge.jetson.files import PathLike


class Sensors(NamedTuple):
    """One reading. A sensor that is missing is None, and its ``..._from`` says why."""

    power_w: Optional[float]  # of the whole board
    power_from: str  # "VDD_IN", or why there is none
    temperature_c: Optional[float]  # of the hottest zone
    temperature_from: str  # "GPU-therm", or why there is none
    throttled: Optional[bool]  # the kernel slows processor or GPU down because they are hot
    throttled_from: str  # "cpu-throttle", or why it is not known


class SensorReader:
    """Finds the sensors once; each call reads them."""

    def __init__(self, root: PathLike = "/") -> None:
        """Look for sensors below ``root``/sys."""
        raise NotImplementedError

    def __call__(self) -> Sensors:
        """Read all of them."""
        raise NotImplementedError


def read_sensors(root: PathLike = "/") -> Sensors:
    """Find the sensors below ``root``/sys and read them once."""
    return SensorReader(root)()


class SensorWatch(Closing):
    """Reads the sensors once a second in a thread of its own; some take milliseconds to answer."""

    def __init__(self, root: PathLike = "/") -> None:
        """Read once and start the thread."""
        raise NotImplementedError

    def latest(self) -> Sensors:
        """Return the last reading; it takes no time."""
        raise NotImplementedError

    def close(self) -> None:
        """End the thread; a second call does nothing."""
