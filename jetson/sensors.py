"""Power and temperature of the board, from the files the kernel shows them in.

Where a Jetson has them, after NVIDIA's Jetson Linux Developer Guide ("Platform Power and
Performance") and the kernel's documentation of the driver ina3221:

=====================  ==========================================================================
JetPack 4              ``/sys/bus/i2c/drivers/ina3221x/*/iio:device*``: ``rail_name_0``,
                       ``in_power0_input`` (mW)
JetPack 5 and later    ``/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*``: ``in1_label``,
                       ``in1_input`` (mV), ``curr1_input`` (mA)
all                    ``/sys/devices/virtual/thermal/thermal_zone*``: ``type``, ``temp`` (1/1000 C)
                       ``/sys/devices/virtual/thermal/cooling_device*``: ``type``, ``cur_state``
=====================  ==========================================================================
"""

import pathlib
import threading
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.jetson.closing import Closing
from clipedge.jetson.files import PathLike
from clipedge.jetson.kernel_files import read_kernel_file

WATCH_EVERY_S = 1.0
# The rail that feeds the whole module: TX1, TX2, Xavier NX, Orin NX and Nano; Nano. An AGX has none
# and is the sum of its rails.
INPUT_RAILS = ("VDD_IN", "POM_5V_IN")
UNCONNECTED = "NC"  # AGX Orin labels channels so that lead nowhere
FIRST_CHANNELS = (1, 2, 3)  # of hwmon; those above are sums
# The PMIC has one fixed value, 100 C; the fan's estimate is made of the other zones.
NO_TEMPERATURES = ("PMIC-Die", "thermal-fan-est")
POSSIBLE_C = (-60.0, 150.0)  # a zone that is switched off says -256
THROTTLE = "throttle-alert"  # cpu-throttle-alert, gpu-throttle-alert, ...; the others are fans


class Sensors(NamedTuple):
    """One reading. A sensor that is missing is None, and its ``..._from`` says why."""

    power_w: Optional[float]  # of the module, without the carrier board
    power_from: str  # "VDD_IN", or why there is none
    temperature_c: Optional[float]  # of the hottest zone
    temperature_from: str  # "GPU-therm", or why there is none
    throttled: Optional[bool]  # the kernel slows processor or GPU down because they are hot
    throttled_from: str  # "cpu-throttle-alert", or why it is not known
    rails_w: Dict[str, float]  # every rail that could be read, by its name
    zones_c: Dict[str, float]  # every thermal zone that could be read


class _Rail(NamedTuple):
    name: str
    paths: Tuple[pathlib.Path, ...]  # mW; or mV and mA

    def read_w(self) -> Optional[float]:
        product = 1.0
        for path in self.paths:
            value = _number(path)
            if value is None:
                return None
            product *= value / 1000.0
        return product


class SensorReader:
    """Finds the sensors once; each call reads them, in about a millisecond."""

    def __init__(self, root: PathLike = "/") -> None:
        """Look for sensors below ``root``/sys."""
        system = pathlib.Path(str(root)) / "sys"
        drivers = system / "bus" / "i2c" / "drivers"
        thermal = system / "devices" / "virtual" / "thermal"
        self._rails = _iio_rails(drivers) + _hwmon_rails(drivers)
        self._zones = [
            (name, path)
            for name, path in _typed(thermal, "thermal_zone*", "temp")
            if name not in NO_TEMPERATURES
        ]
        self._throttles = [
            (name, path)
            for name, path in _typed(thermal, "cooling_device*", "cur_state")
            if THROTTLE in name
        ]

    def __call__(self) -> Sensors:
        """Read all of them."""
        read_w = {rail.name: rail.read_w() for rail in self._rails}
        zones_c = self._read_zones()
        power_w, power_from = _whole_power(read_w)
        throttled, throttled_from = self._read_throttles()
        hottest = max(zones_c, key=zones_c.__getitem__) if zones_c else None
        return Sensors(
            power_w=power_w,
            power_from=power_from,
            temperature_c=None if hottest is None else zones_c[hottest],
            temperature_from=hottest or self._no_temperature(),
            throttled=throttled,
            throttled_from=throttled_from,
            rails_w={name: watts for name, watts in read_w.items() if watts is not None},
            zones_c=zones_c,
        )

    def _read_zones(self) -> Dict[str, float]:
        zones_c: Dict[str, float] = {}
        for name, path in self._zones:
            value = _number(path)
            if value is not None and POSSIBLE_C[0] < value / 1000.0 < POSSIBLE_C[1]:
                zones_c[name] = max(value / 1000.0, zones_c.get(name, POSSIBLE_C[0]))
        return zones_c

    def _no_temperature(self) -> str:
        if not self._zones:
            return "this machine shows no thermal zone"
        return "no thermal zone answers"

    def _read_throttles(self) -> Tuple[Optional[bool], str]:
        states = [(name, _number(path)) for name, path in self._throttles]
        active = [name for name, state in states if state]
        if active:
            return True, ", ".join(active)
        if not states:
            return None, f"this machine has no {THROTTLE}"
        silent = [name for name, state in states if state is None]
        if silent:
            return None, f"{silent[0]} cannot be read"
        return False, states[0][0] if len(states) == 1 else f"{len(states)} {THROTTLE}s"


def read_sensors(root: PathLike = "/") -> Sensors:
    """Find the sensors below ``root``/sys and read them once."""
    return SensorReader(root)()


class SensorWatch(Closing):
    """Reads the sensors once a second in a thread of its own; some take milliseconds to answer."""

    def __init__(self, root: PathLike = "/", every_s: float = WATCH_EVERY_S) -> None:
        """Read once and start the thread."""
        self._read = SensorReader(root)
        self._every_s = every_s
        self._latest = self._read()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sensors", daemon=True)
        self._thread.start()

    def latest(self) -> Sensors:
        """Return the last reading; it takes no time."""
        return self._latest

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._latest = self._read()


def _iio_rails(drivers: pathlib.Path) -> List[_Rail]:
    """The rails that JetPack 4 shows."""
    rails = []
    for path in sorted(drivers.glob("ina3221*/*/iio?device*/rail_name_*")):
        number = path.name[len("rail_name_") :]
        rails.append((_text(path), (path.parent / f"in_power{number}_input",)))
    return _connected(rails)


def _hwmon_rails(drivers: pathlib.Path) -> List[_Rail]:
    """The rails that JetPack 5 and later show."""
    rails = []
    for folder in sorted(drivers.glob("ina3221*/*/hwmon/hwmon*")):
        for number in FIRST_CHANNELS:
            files = (folder / f"in{number}_input", folder / f"curr{number}_input")
            rails.append((_text(folder / f"in{number}_label"), files))
    return _connected(rails)


def _connected(rails: Sequence[Tuple[str, Tuple[pathlib.Path, ...]]]) -> List[_Rail]:
    return [_Rail(name, paths) for name, paths in rails if name and name != UNCONNECTED]


def _whole_power(read_w: Dict[str, Optional[float]]) -> Tuple[Optional[float], str]:
    """Return the module's power in watts and the rails it is from, or None and the reason."""
    if not read_w:
        return None, "this machine has no INA3221 power monitor, as most Jetsons have"
    names = [name for name in INPUT_RAILS if name in read_w] or sorted(read_w)
    total_w = 0.0
    for name in names:
        watts = read_w[name]
        if watts is None:
            return None, f"the rail {name} cannot be read"
        total_w += watts
    return total_w, " + ".join(names)


def _typed(folder: pathlib.Path, pattern: str, file: str) -> List[Tuple[str, pathlib.Path]]:
    """Return the type of each device in a folder and the file that holds its value."""
    found = ((_text(path / "type"), path / file) for path in sorted(folder.glob(pattern)))
    return [(name, path) for name, path in found if name]


def _text(path: pathlib.Path) -> str:
    try:
        return read_kernel_file(path)
    except OSError:  # EAGAIN too: a part of the chip that is switched off
        return ""


def _number(path: pathlib.Path) -> Optional[float]:
    try:
        return float(_text(path).split()[0])
    except (ValueError, IndexError):
        return None
