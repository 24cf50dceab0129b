"""Facts about the machine: what a figure was measured on. Everything here is read, never guessed.

A fact that cannot be read is None; nothing here takes noticeable time.
"""

import os
import pathlib
import platform
import re
import sys
import time
from typing import Any, Dict, List, Optional, Set, Tuple

from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import PathLike

ROOT = "/"
_CPU_INFO = "proc/cpuinfo"
_MEMORY_INFO = "proc/meminfo"
_PROCESSOR_TIMES = "proc/stat"
_OS_RELEASE = "etc/os-release"
_BOARD_MODEL = "proc/device-tree/model"
_L4T_RELEASE = "etc/nv_tegra_release"


def machine_facts(root: PathLike = ROOT) -> Dict[str, Any]:
    """Return the machine's facts as plain JSON types; its files lie below ``root``.

    Keys: ``board`` and ``l4t`` (a Jetson's; None elsewhere), ``cpu``, ``physical_cores``,
    ``logical_cores`` (those this process may use), ``memory_mb``, ``os``, ``kernel``,
    ``architecture``, ``python``.
    """
    return {
        "board": _read_text(root, _BOARD_MODEL) or None,
        "l4t": l4t_release(root),
        "cpu": cpu_model(root),
        "physical_cores": physical_cores(root),
        "logical_cores": logical_cores(),
        "memory_mb": memory_mb(root),
        "os": _operating_system(root),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def logical_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_cores(root: PathLike = ROOT) -> int:
    """Return how many cores without their hyper-threads; at most ``logical_cores``.

    It is the number of threads at which convolutions run fastest, and so the runners' default.
    """
    cores: Set[Tuple[str, str]] = set()
    for processor in _processors(_read_text(root, _CPU_INFO)):
        if "core id" in processor:
            cores.add((processor.get("physical id", "0"), processor["core id"]))
    # ARM kernels list no core ids: there every processor is a core.
    return min(len(cores) or logical_cores(), logical_cores())


def cpu_model(root: PathLike = ROOT) -> Optional[str]:
    """Return the processor's name, such as ``AMD EPYC 7763``."""
    for processor in _processors(_read_text(root, _CPU_INFO)):
        for key in ("model name", "Hardware", "Processor"):
            if processor.get(key):
                return processor[key]
    return platform.processor() or None


def memory_mb(root: PathLike = ROOT) -> Optional[int]:
    """Return the machine's memory in MiB."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", _read_text(root, _MEMORY_INFO), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else None


def available_memory_mb(root: PathLike = ROOT) -> Optional[int]:
    """Return how much memory a process can still take without swapping, in MiB."""
    match = re.search(r"^MemAvailable:\s*(\d+) kB", _read_text(root, _MEMORY_INFO), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else None


def require_memory(needed_mb: float, purpose: str) -> None:
    """Raise UsageError where more memory is needed than is left: the kernel would end it."""
    left_mb = available_memory_mb()
    if left_mb is not None and needed_mb > left_mb:
        raise UsageError(
            f"{purpose} needs about {needed_mb:.0f} MiB of memory and {left_mb} MiB are left; "
            "choose less."
        )


def l4t_release(root: PathLike = ROOT) -> Optional[str]:
    """Return the release of a Jetson's Linux for Tegra, such as ``32.7.1``; None elsewhere."""
    return parse_l4t(_read_text(root, _L4T_RELEASE))


def parse_l4t(text: str) -> Optional[str]:
    """Return the release that the text of nv_tegra_release tells; None where it tells none."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return "{}.{}".format(*match.groups()) if match else None


def load_average() -> Optional[float]:
    """Return how many processes wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy_share(over_s: float = 0.3) -> Optional[float]:
    """Return the share of all cores' time, 0 to 1, that is used while this process sleeps."""
    before = processor_times()
    time.sleep(over_s)
    after = processor_times()
    if before is None or after is None or after[1] <= before[1]:
        return None
    return 1.0 - (after[0] - before[0]) / (after[1] - before[1])


def package_versions() -> Dict[str, str]:
    """Return the versions of the packages that are loaded already: importing some takes seconds."""
    names = ("numpy", "onnxruntime", "openvino", "tensorrt")
    loaded = {name: sys.modules.get(name) for name in names}
    return {
        name: str(getattr(module, "__version__", "unknown")).split("-")[0]
        for name, module in loaded.items()
        if module is not None
    }


def processor_times(root: PathLike = ROOT) -> Optional[Tuple[int, int]]:
    """Return idle and all ticks since the machine started, None where unknown.

    They are of the cores that this process may use: in a container on a server, what runs on the
    others does not matter, and would hide what does.
    """
    text = _read_text(root, _PROCESSOR_TIMES)
    cores = {int(core): ticks for core, ticks in re.findall(r"^cpu(\d+) ([\d ]+)", text, re.M)}
    if hasattr(os, "sched_getaffinity") and os.sched_getaffinity(0) <= set(cores):
        counted = [cores[core] for core in os.sched_getaffinity(0)]
    else:  # a sandbox that shows the sum alone
        counted = re.findall(r"^cpu +([\d ]+)", text, re.M)
    if not counted:
        return None
    ticks = [[int(part) for part in line.split()] for line in counted]
    # Idle is waiting for disks too; guests, behind the first eight, are counted in them already.
    return sum(one[3] + one[4] for one in ticks), sum(sum(one[:8]) for one in ticks)


def _operating_system(root: PathLike) -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', _read_text(root, _OS_RELEASE), re.MULTILINE)
    return match.group(1) if match else platform.system()


def _processors(text: str) -> List[Dict[str, str]]:
    """Split /proc/cpuinfo into one dict for each block."""
    processors = []
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        processors.append({key.strip(): value.strip() for key, _, value in pairs})
    return processors


def _read_text(root: PathLike, name: str) -> str:
    try:
        # The device tree ends its strings with a zero byte.
        return (
            pathlib.Path(str(root), name)
            .read_text(encoding="utf-8", errors="replace")
            .strip()
            .strip("\0")
        )
    except OSError:
        return ""
