"""The power mode of a Jetson, which caps cores and clocks: by nvpmodel, or the files it keeps.

Sources: the Jetson Linux Developer Guide, "nvpmodel"; the tool's output as JetBot's issue 49 and
jetson_stats show it. Without root it adds errors to its answer and may exit with another status.
"""

import re
from typing import Any, Dict

from clipedge.jetson.conditions.software import is_jetson
from clipedge.jetson.conditions.tools import Run
from clipedge.jetson.conditions.tree import MissingError, Report, Tree

STATUS = "/var/lib/nvpmodel/status"  # "pmode:0003"
MODES = "/etc/nvpmodel.conf"  # "< POWER_MODEL ID=3 NAME=MODE_10W_DESKTOP >"


def power_mode(tree: Tree, run: Run, report: Report) -> Dict[str, Any]:
    """Return ``id`` (int) and ``name`` of the power mode in force."""
    try:
        if not is_jetson(tree):
            raise MissingError("only a Jetson has power modes")
        try:
            return _by_tool(run)
        except MissingError as reason:
            return _by_files(tree, str(reason), report)
    except MissingError as reason:
        report.miss("power_mode.id", str(reason))
        report.miss("power_mode.name", str(reason))
        return {"id": None, "name": None}


def _by_tool(run: Run) -> Dict[str, Any]:
    text = run(["nvpmodel", "-q"]).text
    match = re.search(r"NV Power Mode: *(\S+) *\n *(\d+)", text)
    if match is None:
        raise MissingError(f"nvpmodel -q says {' '.join(text.split())[:80]!r}")
    return {"id": int(match.group(2)), "name": match.group(1)}


def _by_files(tree: Tree, no_tool: str, report: Report) -> Dict[str, Any]:
    match = re.search(r"pmode:(\d+)", tree.optional_text(STATUS))
    if match is None:
        raise MissingError(f"{no_tool}, and {STATUS} tells no mode")
    number = int(match.group(1))
    name = re.search(
        rf"^<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+)", tree.optional_text(MODES), re.MULTILINE
    )
    if name is None:
        report.miss("power_mode.name", f"{MODES} names no mode {number}")
    return {"id": number, "name": name.group(1) if name else None}
