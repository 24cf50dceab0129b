"""One reading of all that changes during a measurement."""

import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from clipedge.jetson.closing import Closing
from clipedge.jetson.conditions.card_watch import CardWatch
from clipedge.jetson.conditions.cards import Card
from clipedge.jetson.conditions.clocks import (
    NO_CPUFREQ,
    Clock,
    cpu_clocks,
    emc_clock,
    gpu_clock,
)
from clipedge.jetson.conditions.heat import Counters, ProcessorHeat, throttling
from clipedge.jetson.conditions.rapl import Rapl
from clipedge.jetson.conditions.software import is_jetson
from clipedge.jetson.conditions.tools import Run, run_tool
from clipedge.jetson.conditions.tree import MissingError, Report, Tree
from clipedge.jetson.files import PathLike
from clipedge.jetson.sensors import SensorReader, Sensors

# A server has one for each of its cores.
MOST_CPU_CLOCKS = 8


class Reading(NamedTuple):
    """What was read at one moment; what could not be read is None or not there."""

    t_s: float  # by the probe's clock
    power_w: Optional[float]
    power_from: str  # what it is the power of, or why there is none
    rails_w: Dict[str, float]
    mean_part_w: float  # of power_w: what is the mean since the reading before (RAPL)
    temperature_c: Optional[float]  # the hottest
    temperature_from: str
    clocks_mhz: Dict[str, float]  # "GPU", "EMC", "CPU 0,3-5"
    throttled: Optional[bool]
    throttled_from: str


class Probe(Closing):
    """Finds the sensors once; each call reads them.

    On a Jetson that are the module's; elsewhere those of the graphics cards by nvidia-smi, which
    keeps running, of the processors by RAPL, and the thermal zones.

    Attributes:
        missing: why there is no ``gpu_mhz``, ``cpu_mhz``, ``emc_mhz``, or no ``cards`` or ``rapl``
            on a PC.
    """

    def __init__(
        self,
        root: PathLike = "/",
        every_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        run: Run = run_tool,
    ) -> None:
        """Look for the sensors below ``root``; cards tell theirs every ``every_s``."""
        self._tree = Tree(root)
        self._clock = clock
        self._sensors = SensorReader(root)
        self._heat = ProcessorHeat(self._tree)
        self._counters = Counters(self._tree)
        report = Report()
        self._clocks = _clocks(self._tree, report)
        self._rapl: Optional[Rapl] = None
        self._cards: Optional[CardWatch] = None
        if not is_jetson(self._tree):
            self._rapl = report.take("rapl", lambda: Rapl(self._tree))
            self._cards = report.take("cards", lambda: CardWatch(run, every_s))
            if self._cards is not None:
                report.missing.pop("gpu_mhz", None)
        self.missing = report.missing

    def __call__(self) -> Reading:
        """Read all of them; it takes less than a millisecond, a few where rails answer slowly."""
        now_s = self._clock()
        sensors = self._sensors()
        cards = self._cards.latest() if self._cards is not None else []
        power_w, power_from, rails_w, mean_part_w = self._power(sensors, cards, now_s)
        throttled, throttled_from = self._throttling(sensors, cards)
        zones_c = dict(sensors.zones_c, **self._heat.read_c())
        for card in cards:
            if card.facts["temperature_c"] is not None:
                zones_c[card.label] = card.facts["temperature_c"]
        hottest = max(zones_c, key=zones_c.__getitem__) if zones_c else None
        return Reading(
            t_s=now_s,
            power_w=power_w,
            power_from=power_from,
            rails_w=rails_w,
            mean_part_w=mean_part_w,
            temperature_c=None if hottest is None else zones_c[hottest],
            temperature_from=hottest or sensors.temperature_from,
            clocks_mhz=self._read_clocks(cards),
            throttled=throttled,
            throttled_from=throttled_from,
        )

    def close(self) -> None:
        """End nvidia-smi; a second call does nothing."""
        if self._cards is not None:
            self._cards.close()

    def _power(
        self, sensors: Sensors, cards: List[Card], now_s: float
    ) -> Tuple[Optional[float], str, Dict[str, float], float]:
        """Return the first fields of a Reading; a PC's power is that of cards and processors."""
        if self._cards is None and self._rapl is None:
            reasons = [self.missing[part] for part in ("cards", "rapl") if part in self.missing]
            return sensors.power_w, "; ".join(reasons) or sensors.power_from, sensors.rails_w, 0.0
        rails_w: Dict[str, float] = {}
        for card in cards:
            if card.facts["power_w"] is not None:
                rails_w[card.label] = card.facts["power_w"]
        if self._cards is not None and not rails_w:
            return None, "nvidia-smi tells no power", {}, 0.0
        counted_w: Dict[str, float] = {}
        if self._rapl is not None:
            try:
                counted_w = self._rapl.read_w(now_s)
            except MissingError as reason:
                return None, str(reason), rails_w, 0.0
        rails_w.update(counted_w)
        return sum(rails_w.values()), " + ".join(rails_w), rails_w, sum(counted_w.values())

    def _throttling(self, sensors: Sensors, cards: List[Card]) -> Tuple[Optional[bool], str]:
        throttled, throttled_from = throttling(sensors, cards)
        risen = self._counters.risen()
        if risen:
            return True, ", ".join(risen)
        if throttled is None and self._counters.known:
            return False, "the counters of throttling"
        return throttled, throttled_from

    def _read_clocks(self, cards: List[Card]) -> Dict[str, float]:
        clocks_mhz = {}
        for clock in self._clocks:
            try:
                clocks_mhz[clock.name] = clock.now_mhz(self._tree)
            except MissingError:  # switched off while it idles
                continue
        for card in cards:
            if card.facts["graphics_mhz"] is not None:
                clocks_mhz[card.label] = card.facts["graphics_mhz"]
        return clocks_mhz


def _clocks(tree: Tree, report: Report) -> List[Clock]:
    cpus = cpu_clocks(tree)
    if not cpus:
        report.miss("cpu_mhz", NO_CPUFREQ)
    gpu = report.take("gpu_mhz", lambda: gpu_clock(tree))
    emc = report.take("emc_mhz", lambda: emc_clock(tree))
    step = -(-len(cpus) // MOST_CPU_CLOCKS) or 1
    return [*cpus[::step], *[clock for clock in (gpu, emc) if clock is not None]]
