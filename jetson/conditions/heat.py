"""Whether heat or current slow the machine down: states that hold, and counters that went up."""

from typing import Dict, List, Optional, Sequence, Tuple

from clipedge.jetson.conditions.cards import Card
from clipedge.jetson.conditions.tree import MissingError, Tree
from clipedge.jetson.sensors import Sensors

# An Orin's, of its driver soctherm_oc (Jetson Linux Developer Guide, "Platform Power and
# Performance"); an x86's, of heat (the kernel's therm_throt.c).
_COUNTERS = (
    "/sys/class/hwmon/hwmon*/oc*_event_cnt",
    "/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count",
)
_NAMES = {
    "oc1_event_cnt": "under-voltage",
    "oc2_event_cnt": "average over-current",
    "oc3_event_cnt": "instantaneous over-current",
    "package_throttle_count": "heat of the processor",
}
_HEAT = "/sys/class/hwmon/hwmon*"
_AMD_HEAT = ("k10temp", "zenpower")


def throttling(sensors: Sensors, cards: Sequence[Card]) -> Tuple[Optional[bool], str]:
    """Return whether a Jetson or a card is slowed down, and what says so or why it is not known."""
    known = [card for card in cards if card.throttled is not None]
    if sensors.throttled is not None or not known:
        return sensors.throttled, sensors.throttled_from
    slowed = [card for card in known if card.throttled]
    if not slowed:
        return False, "nvidia-smi"
    return True, "; ".join(f"{card.label}: {', '.join(card.facts['slowed_by'])}" for card in slowed)


class ProcessorHeat:
    """The temperature of AMD's processors, which is no thermal zone as Intel's is."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        names = {path: tree.optional_text(f"{path}/name") for path in tree.find(_HEAT)}
        self._paths = {names[path]: path for path in names if names[path] in _AMD_HEAT}

    def read_c(self) -> Dict[str, float]:
        """Return the temperature of each kind of processor."""
        zones_c = {}
        for name, path in self._paths.items():
            try:
                zones_c[name] = self._tree.number(f"{path}/temp1_input") / 1000.0
            except MissingError:
                continue
        return zones_c


class Counters:
    """Counts of how often the hardware slowed itself down, too short for a state to be seen."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._paths = [path for pattern in _COUNTERS for path in tree.find(pattern)]
        self._before: Dict[str, float] = {}
        self.risen()

    @property
    def known(self) -> bool:
        """Whether this machine has any."""
        return bool(self._before)

    def risen(self) -> List[str]:
        """Return what went up since the last call: ``under-voltage (oc1_event_cnt)``."""
        names = []
        for path in self._paths:
            try:
                value = self._tree.number(path)
            except MissingError:
                continue
            if value > self._before.get(path, value):
                file = path.rsplit("/", 1)[-1]
                names.append(f"{_NAMES.get(file, 'throttling')} ({file})")
            self._before[path] = value
        return names
