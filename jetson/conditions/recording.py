"""What a measurement ran under, from readings: energy, spreads, throttling, changes of clocks."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from clipedge.jetson.conditions.probe import Reading

MOST_POINTS = 4096  # 34 minutes at two readings a second; then every second one goes
MOST_EVENTS = 200  # of each kind; the rest are counted
# Of a clock. A Jetson's steps are 4 % and more; a PC's clock is itself a mean, and trembles.
CHANGED_BY = 0.03
# Power is taken as going straight from one reading to the next, over gaps no longer than this.
LONGEST_GAP_S = 2.0
LONGEST_GAP = 4  # intervals
_NOTHING = "nothing was read"
_SERIES = ("t_s", "power_w", "temp_c", "gpu_mhz", "cpu_mhz", "emc_mhz")


class _Point(NamedTuple):
    """A reading as it is kept; ``energy_j`` counts from the first one with a power."""

    t_s: float
    power_w: Optional[float]
    energy_j: Optional[float]
    temp_c: Optional[float]
    gpu_mhz: Optional[float]
    cpu_mhz: Optional[float]
    emc_mhz: Optional[float]
    throttled: Optional[bool]


class Recording:
    """Keeps readings in bounded memory.

    Energy, throttling and changes of clocks are counted as the readings come, so that thinning
    them out loses none.
    """

    def __init__(self, every_s: float, reasons: Optional[Mapping[str, str]] = None) -> None:
        """Expect a reading every ``every_s`` seconds.

        ``reasons`` says why there is no ``gpu_mhz``, ``cpu_mhz`` or ``emc_mhz``.
        """
        self._interval_s = every_s
        self._reasons = dict(reasons or {})
        self._points: List[_Point] = []
        self._last: Optional[Reading] = None
        self._last_powered: Optional[Reading] = None
        self._energy_j = 0.0
        self._gaps: List[Tuple[float, float]] = []
        self._clocks_mhz: Dict[str, float] = {}
        self._changes: List[Dict[str, Any]] = []
        self._throttles: List[Dict[str, Any]] = []
        self._dropped = 0

    def add(self, reading: Reading) -> None:
        """Take a reading; the readings come in the order of their times."""
        self._count_energy(reading)
        self._note_changes(reading)
        self._note_throttling(reading)
        self._last = reading
        powered = reading.power_w is not None
        self._points.append(
            _Point(
                reading.t_s,
                reading.power_w,
                self._energy_j if powered else None,
                reading.temperature_c,
                _fastest(reading.clocks_mhz, "GPU"),
                _fastest(reading.clocks_mhz, "CPU"),
                reading.clocks_mhz.get("EMC"),
                reading.throttled,
            )
        )
        if len(self._points) > MOST_POINTS:
            # The newest stays: marks are made of it.
            self._points = self._points[:-1:2] + self._points[-1:]
            self._interval_s *= 2

    def series(self, start_s: float, end_s: float) -> Dict[str, List[Optional[float]]]:
        """Return the readings of a span, for a chart: ``t_s`` counts from its start.

        Keys: ``t_s``, ``power_w``, ``temp_c``, ``gpu_mhz``, ``cpu_mhz``, ``emc_mhz``; lists of one
        length, None where something could not be read.
        """
        points = self._between(start_s, end_s)
        columns: Dict[str, List[Optional[float]]] = {
            name: [getattr(point, name) for point in points] for name in _SERIES
        }
        columns["t_s"] = [round(point.t_s - start_s, 3) for point in points]
        return columns

    def summary(
        self, start_s: float, end_s: float, clips: Optional[float] = None
    ) -> Dict[str, Any]:
        """Return what a span ran under, as plain JSON types.

        Keys:
            span_s, readings: its length, and how many readings lie in it.
            power_w: ``min``, ``mean``, ``max``; power_from: what it is the power of.
            rails_w: of each rail or card, at the end.
            energy_j, energy_per_clip_j, clips_per_j.
            temperature_c: ``min``, ``mean``, ``max`` of the hottest zone; temperature_from: which
                it was at the end.
            gpu_mhz, cpu_mhz, emc_mhz: ``min``, ``mean``, ``max``; the fastest of each kind.
            throttled: ``before``, ``during`` and ``after``, each a bool or None.
            throttle_events: ``t_s`` and ``until_s`` (None where it went on) in seconds from the
                span's start, ``by``.
            clock_changes: ``t_s``, ``clock``, ``from_mhz``, ``to_mhz``.
            events_dropped: how many of either were not kept, all in all.
            missing: the reason of each None above, by its key with dots.

        Args:
            start_s: by the clock of the readings.
            end_s: the same.
            clips: how many were inferred in the span.
        """
        points = self._between(start_s, end_s)
        missing: Dict[str, str] = {}
        facts: Dict[str, Any] = {"span_s": round(end_s - start_s, 6), "readings": len(points)}
        facts.update(self._energy_facts(start_s, end_s, clips, points, missing))
        for key, name in (("temperature_c", "temp_c"), *((key, key) for key in _SERIES[3:])):
            facts[key] = _spread([getattr(point, name) for point in points])
            if facts[key] is None:
                missing[key] = self._reasons.get(key, "it was switched off" if points else _NOTHING)
        last = self._last
        facts["temperature_from"] = last.temperature_from if last else None
        if facts["temperature_c"] is None:
            missing["temperature_c"] = last.temperature_from if last else _NOTHING
            missing["temperature_from"] = missing["temperature_c"]
            facts["temperature_from"] = None
        facts.update(self._throttle_facts(start_s, end_s, points, missing))
        facts["clock_changes"] = [
            dict(change, t_s=round(change["t_s"] - start_s, 3))
            for change in self._changes
            if start_s < change["t_s"] <= end_s
        ]
        facts["events_dropped"] = self._dropped
        facts["missing"] = missing
        return facts

    def _between(self, start_s: float, end_s: float) -> List[_Point]:
        return [point for point in self._points if start_s <= point.t_s <= end_s]

    def _count_energy(self, reading: Reading) -> None:
        if reading.power_w is None:
            return
        before = self._last_powered
        if before is not None and before.power_w is not None:
            passed_s = reading.t_s - before.t_s
            straight_w = (before.power_w - before.mean_part_w) + (
                reading.power_w - reading.mean_part_w
            )
            self._energy_j += passed_s * (straight_w / 2.0 + reading.mean_part_w)
            if passed_s > max(LONGEST_GAP_S, LONGEST_GAP * self._interval_s):
                self._gaps = [*self._gaps[-MOST_EVENTS:], (before.t_s, reading.t_s)]
        self._last_powered = reading

    def _note_changes(self, reading: Reading) -> None:
        for name, new_mhz in reading.clocks_mhz.items():
            # Against the last one told of: many small steps are a change too.
            old_mhz = self._clocks_mhz.setdefault(name, new_mhz)
            if abs(new_mhz - old_mhz) <= CHANGED_BY * old_mhz:
                continue
            self._clocks_mhz[name] = new_mhz
            change = {"t_s": reading.t_s, "clock": name, "from_mhz": old_mhz, "to_mhz": new_mhz}
            self._keep(self._changes, change)

    def _note_throttling(self, reading: Reading) -> None:
        going_on = self._last is not None and self._last.throttled
        if reading.throttled and not going_on:
            event = {"t_s": reading.t_s, "until_s": None, "by": reading.throttled_from}
            self._keep(self._throttles, event)
        elif going_on and reading.throttled is False and self._throttles:
            self._throttles[-1]["until_s"] = reading.t_s

    def _keep(self, events: List[Dict[str, Any]], event: Dict[str, Any]) -> None:
        events.append(event)
        if len(events) > MOST_EVENTS:
            del events[0]
            self._dropped += 1

    def _energy_facts(
        self,
        start_s: float,
        end_s: float,
        clips: Optional[float],
        points: Sequence[_Point],
        missing: Dict[str, str],
    ) -> Dict[str, Any]:
        energy_j, why = self._energy_between(start_s, end_s)
        power_w = _spread([point.power_w for point in points])
        if power_w is not None and energy_j is not None and end_s > start_s:
            power_w["mean"] = round(energy_j / (end_s - start_s), 4)
        facts = {
            "power_w": power_w,
            "power_from": self._last_powered.power_from if self._last_powered else None,
            "rails_w": self._last_powered.rails_w if self._last_powered else None,
            "energy_j": None if energy_j is None else round(energy_j, 4),
            "energy_per_clip_j": None,
            "clips_per_j": None,
        }
        if energy_j is not None and clips:
            facts["energy_per_clip_j"] = round(energy_j / clips, 6)
            facts["clips_per_j"] = round(clips / energy_j, 6) if energy_j else None
        for key in ("power_w", "power_from", "rails_w", "energy_j"):
            if facts[key] is None:
                missing[key] = why or self._no_power()
        for key in ("energy_per_clip_j", "clips_per_j"):
            if facts[key] is None:
                missing[key] = why or "no clips were counted"
        return facts

    def _energy_between(self, start_s: float, end_s: float) -> Tuple[Optional[float], str]:
        """Return the energy, or None and the reason."""
        known = [
            (point.t_s, point.energy_j) for point in self._points if point.energy_j is not None
        ]
        if len(known) < 2:
            return None, self._no_power()
        allowed_s = max(LONGEST_GAP_S, LONGEST_GAP * self._interval_s)
        if start_s < known[0][0] - allowed_s or end_s > known[-1][0] + allowed_s:
            return None, "power was not read during all of the span"
        for gap_start_s, gap_end_s in self._gaps:
            if gap_start_s < end_s and gap_end_s > start_s:
                return None, f"power was not read for {gap_end_s - gap_start_s:.1f} s"
        return _at(known, end_s) - _at(known, start_s), ""

    def _no_power(self) -> str:
        return self._last.power_from if self._last else _NOTHING

    def _throttle_facts(
        self, start_s: float, end_s: float, points: Sequence[_Point], missing: Dict[str, str]
    ) -> Dict[str, Any]:
        before = [point.throttled for point in self._points if point.t_s <= start_s]
        after = [point.throttled for point in self._points if point.t_s >= end_s]
        events = [
            {
                "t_s": round(max(0.0, event["t_s"] - start_s), 3),
                "until_s": _ended(event["until_s"], start_s, end_s),
                "by": event["by"],
            }
            for event in self._throttles
            if event["t_s"] <= end_s and (event["until_s"] is None or event["until_s"] > start_s)
        ]
        during = [point.throttled for point in points if point.throttled is not None]
        throttled = {
            "before": before[-1] if before else None,
            "during": True if events else (False if during else None),
            "after": after[0] if after else None,
        }
        for name, value in throttled.items():
            if value is None:
                missing[f"throttled.{name}"] = (
                    self._last.throttled_from
                    if self._last is not None and self._last.throttled is None
                    else f"nothing was read {name} the span"
                )
        return {"throttled": throttled, "throttle_events": events}


def _at(known: Sequence[Tuple[float, float]], t_s: float) -> float:
    """Return the energy at a moment, on straight lines between those that are known."""
    (left_s, left_j), (right_s, right_j) = known[0], known[1]
    for index in range(1, len(known)):
        (left_s, left_j), (right_s, right_j) = known[index - 1], known[index]
        if t_s <= right_s:
            break
    if right_s <= left_s:
        return right_j
    return left_j + (right_j - left_j) * (t_s - left_s) / (right_s - left_s)


def _fastest(clocks_mhz: Dict[str, float], kind: str) -> Optional[float]:
    return max((mhz for name, mhz in clocks_mhz.items() if name.startswith(kind)), default=None)


def _spread(values: Sequence[Optional[float]]) -> Optional[Dict[str, float]]:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return {"min": round(min(known), 4), "mean": round(mean, 4), "max": round(max(known), 4)}


def _ended(until_s: Optional[float], start_s: float, end_s: float) -> Optional[float]:
    return None if until_s is None or until_s > end_s else round(until_s - start_s, 3)
