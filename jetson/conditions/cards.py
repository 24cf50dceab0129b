"""Graphics cards, as nvidia-smi tells: versions, clocks, power, and what holds the clocks down.

Sources: ``nvidia-smi --help-query-gpu``; the bits of the reasons: nvml.h. Driver 535 calls the
reasons ``clocks_event_reasons``; the older name still works there, but may go away.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.jetson.conditions.tools import Run
from clipedge.jetson.conditions.tree import MissingError, Report

_REASON_FIELDS = ("clocks_throttle_reasons.active", "clocks_event_reasons.active")
# Field of nvidia-smi: key here; the reasons come after these.
_FIELDS = (
    ("index", "index"),
    ("name", "name"),
    ("driver_version", "driver"),
    ("pstate", "pstate"),
    ("power.draw", "power_w"),
    ("power.limit", "power_limit_w"),
    ("temperature.gpu", "temperature_c"),
    ("clocks.current.graphics", "graphics_mhz"),
    ("clocks.max.graphics", "max_graphics_mhz"),
    ("clocks.current.memory", "memory_mhz"),
    ("clocks.max.memory", "max_memory_mhz"),
    ("memory.used", "memory_used_mb"),
    ("memory.total", "memory_total_mb"),
)
_TEXTS = ("name", "driver", "pstate")
_REASONS = (
    (0x002, "clocks set by the user"),
    (0x004, "power cap"),
    (0x008, "hardware slowdown"),
    (0x010, "sync boost"),
    (0x020, "thermal slowdown by the driver"),
    (0x040, "thermal slowdown by the hardware"),
    (0x080, "power brake"),
    (0x100, "display clock"),
)
# The power cap is where a card under load always runs; these are not.
_THROTTLES = 0x008 | 0x020 | 0x040 | 0x080


class Card(NamedTuple):
    """One reading of one card; ``facts`` has the keys of ``card_facts``."""

    facts: Dict[str, Any]
    throttled: Optional[bool]
    missing: Tuple[str, ...]  # keys that nvidia-smi gave no number for

    @property
    def label(self) -> str:
        """Return what a person knows it by, with the index for machines with several."""
        return f"GPU {self.facts['index']}"


def query(reason_field: str = _REASON_FIELDS[0]) -> List[str]:
    """Return nvidia-smi's command line; lines come as ``parse`` reads them."""
    fields = ",".join([field for field, _ in _FIELDS] + [reason_field])
    return ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]


def read_cards(run: Run) -> Tuple[List[Card], List[str]]:
    """Return the cards and the command line that works on this driver.

    Raises:
        MissingError: nvidia-smi is not there, or fails: it has no driver or no card.
    """
    for field in _REASON_FIELDS:
        command = query(field)
        status, text = run(command)
        if status == 0:
            return [parse(line) for line in text.splitlines() if line.strip()], command
    first = next((line for line in text.splitlines() if line.strip()), "nothing")
    raise MissingError(f"nvidia-smi fails (status {status}): {first.strip()[:120]}")


def card_facts(cards: Sequence[Card], report: Report) -> List[Dict[str, Any]]:
    """Return the facts of all cards, those that are missing with their reasons."""
    for place, card in enumerate(cards):
        for key in card.missing:
            report.miss(f"cards.{place}.{key}", "nvidia-smi says that it is not available")
    return [card.facts for card in cards]


def parse(line: str) -> Card:
    """Read one line of nvidia-smi's answer to ``query``.

    Raises:
        MissingError: it has other fields.
    """
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(_FIELDS) + 1:
        raise MissingError(f"nvidia-smi says {line[:80]!r}, which has other fields than asked for")
    facts: Dict[str, Any] = {}
    for (_, key), cell in zip(_FIELDS, cells):
        facts[key] = _available(cell) if key in _TEXTS else _number(cell)
    if facts["index"] is not None:
        facts["index"] = int(facts["index"])
    bits = _bits(cells[-1])
    facts["slowed_by"] = None
    if bits is not None:
        facts["slowed_by"] = [name for bit, name in _REASONS if bits & bit]
    missing = tuple(key for key in facts if facts[key] is None)
    return Card(facts, None if bits is None else bool(bits & _THROTTLES), missing)


def _available(cell: str) -> Optional[str]:
    # "[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[GPU requires reset]"
    return None if not cell or cell.startswith("[") or cell == "N/A" else cell


def _number(cell: str) -> Optional[float]:
    try:
        return float(_available(cell) or "")
    except ValueError:
        return None


def _bits(cell: str) -> Optional[int]:
    try:
        return int(_available(cell) or "", 16)
    except ValueError:
        return None
