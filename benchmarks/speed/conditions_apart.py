"""What differed between two runs that may explain why one is faster: machine, clocks, versions."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from clipedge.benchmarks.speed.document import Document

_Paths = Sequence[Tuple[Sequence[str], str]]  # where a value stands, and its title

_CLOCKS_APART = 0.02  # of the mean clock, above which it explains a change
_BUSY_APART = 0.10  # of the cores' time at the start
_PATHS = (  # of what lasts
    (("machine", "board"), "board"),
    (("machine", "cpu"), "CPU"),
    (("machine", "logical_cores"), "cores"),
    (("machine", "memory_mb"), "memory in MiB"),
    (("machine", "os"), "system"),
    (("machine", "kernel"), "kernel"),
    (("machine", "python"), "Python"),
    (("clipedge",), "clipedge"),
    (("conditions", "board", "l4t"), "L4T"),
    (("conditions", "software", "cuda"), "CUDA"),
    (("conditions", "software", "cudnn"), "cuDNN"),
    (("conditions", "software", "tensorrt"), "TensorRT"),
    (("conditions", "power_mode", "name"), "power mode"),
    (("conditions", "jetson_clocks"), "jetson_clocks"),
    (("conditions", "clocks", "gpu", "max_mhz"), "highest clock of the GPU"),
    (("conditions", "clocks", "emc", "max_mhz"), "highest clock of the EMC"),
)
_PATHS_OF_A_RUN = (
    (("conditions", "throttled"), "throttled at the start"),
    (("settings", "threads"), "threads asked for"),
    (("settings", "precision"), "precision asked for"),
    (("settings", "warmup_s"), "warm-up in s"),
)


def condition_differences(document: Document, baseline: Document) -> List[str]:
    """Return what the runs do not have in common, such as ``power mode MAXN, was MAXQ``."""
    return [
        *lasting_differences(document, baseline),
        *_differences(document, baseline, _PATHS_OF_A_RUN),
        *_busy(document, baseline),
    ]


def lasting_differences(document: Document, baseline: Document) -> List[str]:
    """Return those that stay until somebody changes them: machine, power mode, versions."""
    found = _differences(document, baseline, _PATHS)
    packages, before = document.get("packages", {}), baseline.get("packages", {})
    found += [
        _said(name, packages[name], before[name])
        for name in sorted(set(packages) & set(before))
        if packages[name] != before[name]
    ]
    return found + _cpu_clocks(document, baseline) + _cards(document, baseline)


def row_differences(row: Dict[str, Any], was: Dict[str, Any]) -> List[str]:
    """Return what two rows do not have in common that may explain their ratio."""
    found = [
        _said(title, row[key], was[key])
        for key, title in (
            ("backend", "auto chose"),
            ("backend_version", "version"),
            ("device", "device"),
            ("threads", "threads"),
        )
        if row[key] != was[key]
    ]
    if row["sha256"] != was["sha256"]:
        found.append("the file is another")
    for key, title in (("gpu_mhz", "GPU"), ("cpu_mhz", "CPU"), ("emc_mhz", "EMC")):
        now, before = row["span"][key], was["span"][key]
        if now is None or before is None:
            continue
        if abs(now["mean"] - before["mean"]) > _CLOCKS_APART * before["mean"]:
            clocks = [f"{one['mean']:.0f} MHz" for one in (now, before)]
            found.append(_said(f"{title} clock", *clocks))
    for which, one in (("now", row), ("before", was)):
        if any(one["span"]["throttled"].values()):
            found.append(f"throttled {which}")
    return found


def _differences(document: Document, baseline: Document, paths: _Paths) -> List[str]:
    return [
        _said(title, _at(document, path), _at(baseline, path))
        for path, title in paths
        if _at(document, path) != _at(baseline, path)
    ]


def _cpu_clocks(document: Document, baseline: Document) -> List[str]:
    highest = []
    for one in (document, baseline):
        clocks = _at(one, ("conditions", "clocks", "cpu")) or []
        known = [clock["max_mhz"] for clock in clocks if clock["max_mhz"] is not None]
        highest.append(max(known) if known else None)
    return [] if highest[0] == highest[1] else [_said("highest clock of the CPU", *highest)]


def _busy(document: Document, baseline: Document) -> List[str]:
    now, before = document.get("busy_share_at_start"), baseline.get("busy_share_at_start")
    if now is None or before is None or abs(now - before) <= _BUSY_APART:
        return []
    return [_said("cores busy at the start", f"{100 * now:.0f} %", f"{100 * before:.0f} %")]


def _cards(document: Document, baseline: Document) -> List[str]:
    found = []
    pairs = zip(
        _at(document, ("conditions", "cards")) or [], _at(baseline, ("conditions", "cards")) or []
    )
    for now, before in pairs:
        found += [
            _said(f"GPU {now['index']} {title}", now.get(key), before.get(key))
            for key, title in (
                ("name", "name"),
                ("driver", "driver"),
                ("power_limit_w", "power limit in W"),
                ("max_graphics_mhz", "highest clock in MHz"),
            )
            if now.get(key) != before.get(key)
        ]
    return found


def _at(document: Document, path: Sequence[str]) -> Any:
    found: Any = document
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def _said(title: str, now: Any, before: Any) -> str:
    return f"{title} {_text(now)}, was {_text(before)}"


def _text(value: Optional[Any]) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
