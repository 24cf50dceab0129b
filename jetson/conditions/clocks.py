"""The clocks of CPU, GPU and memory: where the kernel shows them, and whether they are fixed.

========  ====================================================================================
CPU       ``/sys/devices/system/cpu/cpu*/cpufreq``, kHz (kernel documentation, "cpufreq")
GPU       ``/sys/class/devfreq/17000000.gp10b`` (TX2), ``57000000.gpu`` (Nano, TX1),
          ``17000000.gv11b`` (Xavier), ``17000000.ga10b`` or ``.gpu`` (Orin), ``gpu-gpc-0``
          (Thor), Hz
EMC       ``/sys/kernel/debug/bpmp/debug/clk/emc`` (TX2 and later),
          ``/sys/kernel/debug/clk/override.emc`` (Nano, TX1), Hz; for root only
========  ====================================================================================

Source: NVIDIA's jetson_clocks, which reads and writes these files: it raises each lowest clock to
the highest, and locks the EMC at its own.
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from clipedge.jetson.conditions.software import is_jetson
from clipedge.jetson.conditions.tree import DEBUG, MissingError, Report, Tree

KHZ, HZ = 1e-3, 1e-6  # in MHz
_CPUS = "/sys/devices/system/cpu/cpu*/cpufreq"
_GPUS = "/sys/class/devfreq/*"
_GPU_NAMES = ("gp10b", "gv11b", "ga10b", "gpu", "gpu-gpc-0")
# now, lowest, highest, locked
_EMCS = (
    (
        f"{DEBUG}/bpmp/debug/clk/emc/rate",
        f"{DEBUG}/bpmp/debug/clk/emc/min_rate",
        f"{DEBUG}/bpmp/debug/clk/emc/max_rate",
        f"{DEBUG}/bpmp/debug/clk/emc/mrq_rate_locked",
    ),
    (
        f"{DEBUG}/clk/override.emc/clk_rate",
        f"{DEBUG}/tegra_bwmgr/emc_min_rate",
        f"{DEBUG}/tegra_bwmgr/emc_max_rate",
        f"{DEBUG}/clk/override.emc/clk_state",
    ),
)
NO_CPUFREQ = "the kernel shows no cpufreq (a virtual machine, or no driver)"
FIXED_WITHIN = 0.001  # of a clock; the EMC's highest and current differ by a rounding


class Clock(NamedTuple):
    """Where one clock shows itself."""

    name: str  # "GPU", "EMC", "CPU 0,3-5"
    now: str  # paths
    low: str
    high: str
    unit_mhz: float  # of the numbers in the files
    governor: str = ""
    locked: str = ""

    def now_mhz(self, tree: Tree) -> float:
        """Return the clock.

        Raises:
            MissingError: it cannot be read, or is 0: the part is switched off.
        """
        return self._mhz(tree, self.now)

    def facts(self, tree: Tree, report: Report, key: str) -> Dict[str, Any]:
        """Return ``name``, ``now_mhz``, ``min_mhz``, ``max_mhz`` and ``governor``."""
        facts: Dict[str, Any] = {"name": self.name}
        facts["now_mhz"] = report.take(f"{key}.now_mhz", lambda: self.now_mhz(tree))
        facts["min_mhz"] = report.take(f"{key}.min_mhz", lambda: self._mhz(tree, self.low))
        facts["max_mhz"] = report.take(f"{key}.max_mhz", lambda: self._mhz(tree, self.high))
        facts["governor"] = report.take(f"{key}.governor", lambda: self._governor(tree))
        return facts

    def _governor(self, tree: Tree) -> str:
        if not self.governor:
            raise MissingError(f"the {self.name} has none")
        return tree.text(self.governor)

    def _mhz(self, tree: Tree, path: str) -> float:
        value = tree.number(path)
        if value <= 0:
            raise MissingError(f"{path} says {value:g}: it is switched off")
        return round(value * self.unit_mhz, 3)


def cpu_clocks(tree: Tree) -> List[Clock]:
    """Return one clock for each group of cores that share one, those that are online."""
    clocks: Dict[str, Clock] = {}
    for folder in tree.find(_CPUS):
        number = folder.split("/")[-2][len("cpu") :]
        cores = tree.optional_text(f"{folder}/related_cpus").split() or [number]
        name = f"CPU {_ranges([int(core) for core in cores if core.isdigit()])}"
        if name not in clocks:
            files = [f"{folder}/scaling_{kind}" for kind in ("cur_freq", "min_freq", "max_freq")]
            clocks[name] = Clock(name, files[0], files[1], files[2], KHZ)
            governor = f"{folder}/scaling_governor"
            clocks[name] = clocks[name]._replace(governor=governor)
    return list(clocks.values())


def gpu_clock(tree: Tree) -> Clock:
    """Return the clock of a Jetson's GPU.

    Raises:
        MissingError: there is none.
    """
    for folder in tree.find(_GPUS):
        device = folder.rsplit("/", 1)[-1].rsplit(".", 1)[-1]
        if device in _GPU_NAMES or tree.optional_text(f"{folder}/device/of_node/name") in (
            _GPU_NAMES
        ):
            files = [f"{folder}/{kind}_freq" for kind in ("cur", "min", "max")]
            return Clock("GPU", files[0], files[1], files[2], HZ, f"{folder}/governor")
    raise MissingError("the kernel shows no GPU in /sys/class/devfreq, as a Jetson's does")


def emc_clock(tree: Tree) -> Clock:
    """Return the clock of a Jetson's memory controller.

    Raises:
        MissingError: this is no Jetson, or only root may read it.
    """
    if not is_jetson(tree):
        raise MissingError("only a Jetson tells the clock of its memory")
    for now, low, high, locked in _EMCS:
        try:
            tree.number(now)
        except MissingError:
            continue
        return Clock("EMC", now, low, high, HZ, locked=locked)
    try:
        tree.path(DEBUG).iterdir().__next__()
    except PermissionError:
        raise MissingError(f"only root may read {DEBUG}") from None
    except (OSError, StopIteration):
        pass
    raise MissingError(f"{DEBUG} shows no clock of the EMC")


def clock_facts(tree: Tree, report: Report) -> Dict[str, Any]:
    """Return ``cpu`` (one for each group of cores), ``gpu`` and ``emc``; see ``Clock.facts``."""
    cpus = cpu_clocks(tree)
    if not cpus:
        report.miss("clocks.cpu", NO_CPUFREQ)
    gpu = report.take("clocks.gpu", lambda: gpu_clock(tree))
    emc = report.take("clocks.emc", lambda: emc_clock(tree))
    return {
        "cpu": [
            clock.facts(tree, report, f"clocks.cpu.{index}") for index, clock in enumerate(cpus)
        ]
        or None,
        "gpu": None if gpu is None else gpu.facts(tree, report, "clocks.gpu"),
        "emc": None if emc is None else emc.facts(tree, report, "clocks.emc"),
    }


def jetson_clocks(tree: Tree) -> Tuple[bool, str]:
    """Tell whether jetson_clocks is on, and what shows it.

    It leaves no other trace than its effect: the lowest clock is the highest, and the EMC's is
    locked. Where the EMC cannot be read, CPU and GPU decide.

    Raises:
        MissingError: this is no Jetson, or a clock of CPU or GPU cannot be read.
    """
    if not is_jetson(tree):
        raise MissingError("only a Jetson has jetson_clocks")
    clocks = [*cpu_clocks(tree), gpu_clock(tree)]
    if len(clocks) == 1:
        raise MissingError(NO_CPUFREQ)
    for clock in clocks:
        low, high = (tree.number(path) * clock.unit_mhz for path in (clock.low, clock.high))
        if low < high * (1.0 - FIXED_WITHIN):
            return False, f"{clock.name} may run at {low:.0f} to {high:.0f} MHz"
    locked = _emc_is_locked(tree)
    if locked is None:
        return True, "CPU and GPU are fixed at their highest clocks; the EMC cannot be read"
    if locked:
        return True, "CPU, GPU and EMC are fixed at their highest clocks"
    return False, "the clock of the EMC is not locked"


def _emc_is_locked(tree: Tree) -> Optional[bool]:
    try:
        return tree.number(emc_clock(tree).locked) != 0
    except MissingError:
        return None


def _ranges(cores: List[int]) -> str:
    """Write core numbers short: ``0,3-5`` of 0, 3, 4, 5."""
    parts: List[List[int]] = []
    for core in sorted(cores):
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return re.sub(r"\b(\d+)-\1\b", r"\1", ",".join(f"{low}-{high}" for low, high in parts))
