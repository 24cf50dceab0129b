"""Power of a PC's processors and memory, from the counters of their energy (RAPL).

Source: the kernel's documentation, "Power Capping Framework". AMD's processors show theirs under
the same name. Since 5.10 only root may read them (CVE-2020-8694).
"""

from typing import Dict, List, NamedTuple, Optional, Tuple

from clipedge.jetson.conditions.tree import MissingError, Tree

# Processors, and the memory beside them; a package already counts its cores and its graphics, and
# "psys" (the platform) counts the packages.
_PACKAGES = "/sys/class/powercap/intel-rapl:*"
_WHOLE = "package-"
_BESIDE = "dram"
SHORTEST_S = 0.05  # the counters move about once a millisecond
LONGEST_S = 60.0  # a counter of 65 kJ passes its end twice in less than this at over 2 kW


class _Counter(NamedTuple):
    name: str
    path: str
    range_uj: float


class Rapl:
    """Counts energy; each call of ``read_w`` gives the power since the one before.

    Attributes:
        names: of the counters: ``package-0``, ``package-0 dram``.

    Raises:
        MissingError: this machine has no such counters, or only root may read them.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._counters = _counters(tree)
        for counter in self._counters:
            tree.number(counter.path)
        self._before: Optional[Tuple[float, List[float]]] = None
        self.names = tuple(counter.name for counter in self._counters)

    def read_w(self, now_s: float) -> Dict[str, float]:
        """Return the power of each counter in watts, since the call before.

        Raises:
            MissingError: it is the first call, or too long since the one before, or so short that
                the next call shall count this time too.
        """
        before = self._before
        if before is not None and 0.0 <= now_s - before[0] < SHORTEST_S:
            raise MissingError("RAPL was read a moment before")
        values = [self._tree.number(counter.path) for counter in self._counters]
        self._before = now_s, values
        if before is None:
            raise MissingError("RAPL counts energy: power is known from the second reading on")
        passed_s = now_s - before[0]
        if not 0.0 < passed_s <= LONGEST_S:
            raise MissingError(f"RAPL was last read {passed_s:.0f} s ago")
        watts = {}
        for counter, old, new in zip(self._counters, before[1], values):
            used_uj = new - old if new >= old else new - old + counter.range_uj
            watts[counter.name] = used_uj * 1e-6 / passed_s
        return watts


def _counters(tree: Tree) -> List[_Counter]:
    found = []
    for folder in tree.find(_PACKAGES):
        name = tree.optional_text(f"{folder}/name")
        parent = folder.rsplit(":", 1)[0]
        if name == _BESIDE:
            name = f"{tree.optional_text(f'{parent}/name')} {name}"
        elif not name.startswith(_WHOLE):
            continue
        range_uj = tree.number(f"{folder}/max_energy_range_uj")
        found.append(_Counter(name, f"{folder}/energy_uj", range_uj))
    if not found:
        raise MissingError("the kernel shows no RAPL counters (a virtual machine, or no driver)")
    return found
