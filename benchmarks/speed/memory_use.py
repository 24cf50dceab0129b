"""Memory that a model takes: of the process that runs it, and on the GPU."""

import pathlib
import re
import resource
from typing import Any, Dict, Optional, Sequence

RESIDENT, PEAK = "VmRSS", "VmHWM"

_STATUS = pathlib.Path("/proc/self/status")
_UNKNOWN = f"{_STATUS} does not tell what the process has"
_NO_GPU = "it runs on the CPU"


def process_mb(name: str) -> Optional[float]:
    """Return what this process has, or has had at the most, in MiB; None where Linux is not."""
    match = None
    if _STATUS.exists():
        match = re.search(rf"^{name}:\s*(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.M)
    return round(int(match.group(1)) / 1024, 1) if match else None


def peak_mb() -> float:
    """Return the most memory that this process has had, in MiB."""
    # getrusage counts what the process had before it became this program: its parent's memory.
    return process_mb(PEAK) or round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def growth_mb(before_mb: Optional[float], without_bytes: int) -> Optional[float]:
    """Return how much this process grew, in MiB, without some bytes that are not counted."""
    now_mb = process_mb(RESIDENT)
    if now_mb is None or before_mb is None:
        return None
    return round(max(0.0, now_mb - before_mb - without_bytes / 2**20), 1)


def row_memory(warmed: Dict[str, Any], repeats: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Return a row's ``memory``, in MiB.

    Args:
        warmed: what the worker said when it was warm; ``model_mb`` is how much its process grew by
            opening the model and warming up: the backend's libraries, weights and buffers.
        repeats: what it said of each measurement, with ``peak_mb``.
    """
    model_mb = warmed.get("model_mb")
    on_gpu_mb = warmed["facts"].get("gpu_memory_mb")
    missing = {}
    if model_mb is None:
        missing["model_mb"] = _UNKNOWN
    if on_gpu_mb is None:
        missing["gpu_mb"] = _NO_GPU
    return {
        "process_peak_mb": max(one["peak_mb"] for one in repeats),
        "model_mb": model_mb,
        "gpu_mb": None if on_gpu_mb is None else round(sum(on_gpu_mb.values()), 2),
        "missing": missing,
    }
