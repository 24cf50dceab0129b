"""What a figure was measured under: software, power mode, clocks, heat, power and memory.

``read_conditions`` gives the state at one moment, ``Sampler`` follows it during a measurement.
Everything is read, never guessed: what is missing is None, and its reason stands under its key in
``missing``.
"""

from typing import Any, Dict, List, Mapping, Optional

from clipedge.jetson.conditions.cards import Card, card_facts, read_cards
from clipedge.jetson.conditions.clocks import clock_facts, jetson_clocks
from clipedge.jetson.conditions.heat import ProcessorHeat, throttling
from clipedge.jetson.conditions.memory import load_average, memory_facts
from clipedge.jetson.conditions.power_mode import power_mode
from clipedge.jetson.conditions.rapl import Rapl
from clipedge.jetson.conditions.recording import Recording
from clipedge.jetson.conditions.sampler import Sampler
from clipedge.jetson.conditions.software import board_facts, is_jetson, software_facts
from clipedge.jetson.conditions.text import conditions_text, span_text
from clipedge.jetson.conditions.tools import Run, run_tool
from clipedge.jetson.conditions.tree import MissingError, Report, Tree
from clipedge.jetson.files import PathLike
from clipedge.jetson.sensors import Sensors, read_sensors

__all__ = ["Recording", "Sampler", "conditions_text", "read_conditions", "span_text"]

_COUNTED = "RAPL counts energy: power is known during a measurement only"


def read_conditions(
    root: PathLike = "/", run: Run = run_tool, loaded: Optional[Mapping[str, Any]] = None
) -> Dict[str, Any]:
    """Return the machine's state as plain JSON types. It takes some tens of milliseconds.

    Keys:
        board: ``name``, ``module``, ``l4t``, ``jetpack`` of a Jetson.
        software: versions of ``cuda``, ``cudnn``, ``tensorrt``.
        power_mode: ``id``, ``name``.
        jetson_clocks, jetson_clocks_from: whether it is on (bool), and what shows it.
        clocks: ``cpu`` (a list, one for each group of cores), ``gpu``, ``emc``, each with ``name``,
            ``now_mhz``, ``min_mhz``, ``max_mhz``, ``governor``.
        cards: a list, one for each graphics card, with the keys of ``cards.py``.
        temperatures_c: of every thermal zone, by name.
        throttled, throttled_from: whether heat or current slow it down (bool), and what says so.
        power_w, power_from, rails_w: of the module or the cards, what it is the power of, and every
            rail by name.
        memory: ``total_mb``, ``available_mb``, ``swap_used_mb``, ``process_mb``,
            ``process_peak_mb``.
        load_average: processes that wanted a core, over the last minute.
        missing: for every None above, by its key with dots (``clocks.emc``), the reason.

    Args:
        root: where the machine's files lie.
        run: starts nvpmodel and nvidia-smi.
        loaded: imported modules by name; those of this process by default.
    """
    tree, report = Tree(root), Report()
    sensors = read_sensors(root)
    cards = [] if is_jetson(tree) else report.take("cards", lambda: read_cards(run)[0])
    facts: Dict[str, Any] = {
        "board": board_facts(tree, report),
        "software": software_facts(tree, report, loaded),
        "power_mode": power_mode(tree, run, report),
    }
    clocks = report.take("jetson_clocks", lambda: jetson_clocks(tree))
    facts["jetson_clocks"], facts["jetson_clocks_from"] = clocks or (None, None)
    if clocks is None:
        report.miss("jetson_clocks_from", report.missing["jetson_clocks"])
    facts["clocks"] = clock_facts(tree, report)
    facts["cards"] = None if cards is None else card_facts(cards, report)
    facts.update(_heat(tree, sensors, cards or [], report))
    facts.update(_power(tree, sensors, cards or [], report))
    facts["memory"] = memory_facts(tree, report)
    facts["load_average"] = report.take("load_average", lambda: load_average(tree))
    facts["missing"] = report.missing
    return facts


def _heat(tree: Tree, sensors: Sensors, cards: List[Card], report: Report) -> Dict[str, Any]:
    zones_c = dict(sensors.zones_c, **ProcessorHeat(tree).read_c())
    temperatures_c = {name: round(value, 3) for name, value in zones_c.items()}
    for card in cards:
        if card.facts["temperature_c"] is not None:
            temperatures_c[card.label] = card.facts["temperature_c"]
    throttled, throttled_from = throttling(sensors, cards)
    if not temperatures_c:
        report.miss("temperatures_c", sensors.temperature_from)
    if throttled is None:
        report.miss("throttled", throttled_from)
    return {
        "temperatures_c": temperatures_c or None,
        "throttled": throttled,
        "throttled_from": throttled_from,
    }


def _power(tree: Tree, sensors: Sensors, cards: List[Card], report: Report) -> Dict[str, Any]:
    rails_w = {name: round(watts, 3) for name, watts in sensors.rails_w.items()}
    power_w, power_from = sensors.power_w, sensors.power_from
    if not rails_w and not is_jetson(tree):
        known = [card for card in cards if card.facts["power_w"] is not None]
        rails_w = {card.label: card.facts["power_w"] for card in known}
        power_w = sum(rails_w.values()) if known else None
        power_from = " + ".join(rails_w) or _no_power(tree, report)
    if power_w is None:
        report.miss("power_w", power_from)
    if not rails_w:
        report.miss("rails_w", power_from)
    return {
        "power_w": None if power_w is None else round(power_w, 3),
        "power_from": power_from,
        "rails_w": rails_w or None,
    }


def _no_power(tree: Tree, report: Report) -> str:
    """Return why a PC tells no power at this moment."""
    try:
        Rapl(tree)
    except MissingError as reason:
        no_cards = report.missing.get("cards", "nvidia-smi tells no power")
        return f"{no_cards}; {reason}"
    return _COUNTED
