"""Memory of the machine and of this process, and how busy the machine is."""

import re
from typing import Dict, Optional

from clipedge.jetson.conditions.tree import MissingError, Report, Tree

_MACHINE = "/proc/meminfo"
_PROCESS = "/proc/self/status"
_LOAD = "/proc/loadavg"


def memory_facts(tree: Tree, report: Report) -> Dict[str, Optional[int]]:
    """Return MiB of the machine, and of this process now and at the most; keys in the code."""
    return {
        "total_mb": report.take("memory.total_mb", lambda: _mb(tree, _MACHINE, "MemTotal")),
        "available_mb": report.take(
            "memory.available_mb", lambda: _mb(tree, _MACHINE, "MemAvailable")
        ),
        "swap_used_mb": report.take(
            "memory.swap_used_mb",
            lambda: _mb(tree, _MACHINE, "SwapTotal") - _mb(tree, _MACHINE, "SwapFree"),
        ),
        "process_mb": report.take("memory.process_mb", lambda: _mb(tree, _PROCESS, "VmRSS")),
        "process_peak_mb": report.take(
            "memory.process_peak_mb", lambda: _mb(tree, _PROCESS, "VmHWM")
        ),
    }


def load_average(tree: Tree) -> float:
    """Return how many processes wanted a core, on average over the last minute."""
    return tree.number(_LOAD)


def _mb(tree: Tree, path: str, name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB", tree.text(path), re.MULTILINE)
    if match is None:
        raise MissingError(f"{path} has no {name}")
    return int(match.group(1)) // 1024
