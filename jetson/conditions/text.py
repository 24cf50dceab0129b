"""The conditions for the terminal, in a few lines."""

from typing import Any, Dict, List, Optional

_SOFTWARE = (("cuda", "CUDA"), ("cudnn", "cuDNN"), ("tensorrt", "TensorRT"))
MOST_TOLD = 3  # changes of clocks, and events of throttling, in words


def conditions_text(facts: Dict[str, Any]) -> str:
    """Return the lines of what ``read_conditions`` found; blanks come with their reasons.

    What every PC lacks, such as a power mode, is left out.
    """
    lines = [
        _line(
            "software",
            [
                _jetson(facts["board"]),
                *[
                    f"{title} {facts['software'][key]}"
                    for key, title in (
                        ("cuda", "CUDA"),
                        ("cudnn", "cuDNN"),
                        ("tensorrt", "TensorRT"),
                    )
                    if facts["software"][key]
                ],
            ],
        ),
        *[_card(card) for card in facts["cards"] or []],
        _line("power mode", [_mode(facts)]),
        _line("clocks", _clocks(facts)),
        _line("state", _state(facts)),
        _line("memory", [_memory(facts["memory"])]),
        *_reasons(facts),
    ]
    return "\n".join(line for line in lines if line)


def span_text(facts: Dict[str, Any]) -> str:
    """Return the lines of what a ``summary`` of a Sampler found."""
    lines = []
    missing = facts["missing"]
    if facts["power_w"] is None:
        lines.append(f"power: unknown: {missing['power_w']}")
    else:
        lines.append(f"power: {_span(facts['power_w'], 'W', 2)} ({facts['power_from']})")
    if facts["energy_per_clip_j"] is not None:
        lines.append(
            f"energy: {facts['energy_per_clip_j']:.4g} J a clip, "
            f"{facts['clips_per_j']:.4g} clips a joule"
        )
    if facts["temperature_c"] is not None:
        hottest = _span(facts["temperature_c"], "C", 1)
        lines.append(f"hottest: {hottest} ({facts['temperature_from']})")
    clocks = [
        f"{title} {_span(facts[key], 'MHz', 0)}"
        for key, title in (("gpu_mhz", "GPU"), ("cpu_mhz", "CPU"), ("emc_mhz", "EMC"))
        if facts[key] is not None
    ]
    if clocks:
        lines.append(f"clocks: {', '.join(clocks)}")
    return "\n".join([*lines, *_throttles(facts), *_changes(facts)])


def _jetson(board: Dict[str, Optional[str]]) -> str:
    if not board["module"] and not board["l4t"]:
        return ""
    jetpack = f" (JetPack {board['jetpack']})" if board["jetpack"] else ""
    return f"{board['module'] or board['name']}, L4T {board['l4t']}{jetpack}"


def _card(card: Dict[str, Any]) -> str:
    parts = [
        f"{card['name']}, driver {card['driver']}",
        _part(card["power_w"], card["power_limit_w"], "W"),
        _part(card["graphics_mhz"], card["max_graphics_mhz"], "MHz"),
        _part(card["temperature_c"], None, "C"),
        f"slowed by {', '.join(card['slowed_by'])}" if card["slowed_by"] else "",
    ]
    return _line(f"GPU {card['index']}", parts)


def _mode(facts: Dict[str, Any]) -> str:
    mode = facts["power_mode"]
    if mode["id"] is None:
        return ""
    text = f"{mode['id']} {mode['name'] or ''}".rstrip()
    if facts["jetson_clocks"] is None:
        return text
    state = "on" if facts["jetson_clocks"] else "off"
    return f"{text}, jetson_clocks {state} ({facts['jetson_clocks_from']})"


def _clocks(facts: Dict[str, Any]) -> List[str]:
    clocks = facts["clocks"]
    told = [*(clocks["cpu"] or [])[:MOST_TOLD], clocks["gpu"], clocks["emc"]]
    return [
        f"{clock['name']} {_part(clock['now_mhz'], clock['max_mhz'], 'MHz')}"
        for clock in told
        if clock is not None and clock["now_mhz"] is not None
    ]


def _state(facts: Dict[str, Any]) -> List[str]:
    zones = facts["temperatures_c"] or {}
    hottest = max(zones, key=zones.__getitem__) if zones else None
    throttled = {True: f"throttled ({facts['throttled_from']})", False: "not throttled", None: ""}
    load = facts["load_average"]
    return [
        f"{zones[hottest]:.1f} C ({hottest})" if hottest else "",
        f"{facts['power_w']:.2f} W ({facts['power_from']})" if facts["power_w"] else "",
        throttled[facts["throttled"]],
        "" if load is None else f"load average {load:g}",
    ]


def _memory(memory: Dict[str, Optional[int]]) -> str:
    parts = [
        f"{memory[key]} MiB {title}"
        for key, title in (("available_mb", "free"), ("total_mb", "in all"))
        if memory[key] is not None
    ]
    return ", ".join(parts)


def _reasons(facts: Dict[str, Any]) -> List[str]:
    """Return why what matters most is blank."""
    told = ["clocks.emc", "power_w", "throttled"] if facts["board"]["l4t"] else ["power_w"]
    return [f"{key}: unknown: {facts['missing'][key]}" for key in told if key in facts["missing"]]


def _throttles(facts: Dict[str, Any]) -> List[str]:
    events = facts["throttle_events"]
    if not events:
        return [] if facts["throttled"]["during"] is None else ["throttling: none"]
    lines = []
    for event in events[:MOST_TOLD]:
        until = "the end" if event["until_s"] is None else f"{event['until_s']:.1f} s"
        lines.append(f"throttled from {event['t_s']:.1f} s to {until}: {event['by']}")
    return [*lines, *_more(len(events), "times throttled")]


def _changes(facts: Dict[str, Any]) -> List[str]:
    changes = facts["clock_changes"]
    lines = [
        f"the clock of {change['clock']} changed from {change['from_mhz']:.0f} to "
        f"{change['to_mhz']:.0f} MHz at {change['t_s']:.1f} s"
        for change in changes[:MOST_TOLD]
    ]
    return [*lines, *_more(len(changes), "changes of clocks")]


def _more(count: int, what: str) -> List[str]:
    return [f"{count} {what} in all"] if count > MOST_TOLD else []


def _span(spread: Dict[str, float], unit: str, digits: int) -> str:
    low, mean, high = (f"{spread[key]:.{digits}f}" for key in ("min", "mean", "max"))
    return f"{mean} {unit}" if low == high else f"{mean} {unit} ({low} to {high})"


def _line(title: str, parts: List[str]) -> str:
    filled = [part for part in parts if part]
    return f"{title}: {', '.join(filled)}" if filled else ""


def _part(value: Optional[float], most: Optional[float], unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.0f} {unit}" if most is None else f"{value:.0f} of {most:.0f} {unit}"
