"""The stand-in's builder config: what a build is told, its profiles and its timing cache."""

import hashlib
import json
import warnings
from typing import Any, Dict

from stand_ins.trt_object import TrtObject, host_memory

_CACHE_MAGIC = b"ptrt-timing\0"


class IOptimizationProfile(TrtObject):
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        three = tuple(tuple(int(size) for size in shape) for shape in (min, opt, max))
        for name, shape in zip(("min", "opt", "max"), three):
            if any(size < 0 for size in shape):
                text = f"Shape provided for {name} is inconsistent with other shapes."
                raise RuntimeError(text)
        self._shapes[input] = three

    def _valid(self) -> bool:
        return all(
            low <= middle <= high
            for three in self._shapes.values()
            for low, middle, high in zip(*three)
        )


class IBuilderConfig(TrtObject):
    def _started(self) -> Any:
        self._live("builder config")
        return self

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self._flags

    @property
    def max_workspace_size(self) -> int:
        return self._pools["WORKSPACE"] or self._home.machine.gpu.memory_bytes

    @max_workspace_size.setter
    def max_workspace_size(self, nbytes: int) -> None:
        self._pools["WORKSPACE"] = nbytes

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = int(pool_size)

    @property
    def profiling_verbosity(self) -> Any:
        return self._home.value("ProfilingVerbosity", self._verbosity)

    @profiling_verbosity.setter
    def profiling_verbosity(self, verbosity: Any) -> None:
        self._verbosity = verbosity.name

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        self._monitor = monitor

    def add_optimization_profile(self, profile: Any) -> int:
        if not profile._valid():
            text = "Parameter check failed, condition: profile->isValid()."
            self._log("ERROR", f"Error Code 3: API Usage Error ({text})")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_compute_capabilities(self) -> int:
        return len(self._targets)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self._targets = [None] * count

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        if not 0 <= index < len(self._targets):
            self._log("ERROR", "setComputeCapability: the index is out of range")
            return False
        number = int(compute_capability)
        self._targets[index] = (number // 10, number % 10)
        return True

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        self._warn_on_rtx()
        raw = bytes(serialized_timing_cache)
        if not raw:
            entries: Dict[str, Any] = self._header()
        else:
            try:
                entries = _read_cache(raw)
            except ValueError:
                self._log("ERROR", "The timing cache is damaged")
                return None
            if entries["release"] != self._home.release.version:
                self._log("ERROR", "The timing cache was made by another TensorRT version")
                return None
        return self._home.make("ITimingCache", _header=entries, _tactics=entries["tactics"])

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self._warn_on_rtx()
        if cache._header["gpu"] != self._header()["gpu"] and not ignore_mismatch:
            self._log("ERROR", "The timing cache was made on another device")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        self._warn_on_rtx()
        return self._cache

    def _header(self) -> Dict[str, Any]:
        gpu = self._home.machine.gpu
        return {"release": self._home.release.version, "gpu": gpu.name, "tactics": {}}

    def _warn_on_rtx(self) -> None:
        if self._home.key == "rtx":
            warnings.warn("Timing cache operations are no-ops", DeprecationWarning, stacklevel=3)


class ITimingCache(TrtObject):
    def serialize(self) -> Any:
        body = json.dumps(self._header, sort_keys=True).encode("utf-8")
        raw = _CACHE_MAGIC + hashlib.sha256(body).digest() + body
        return host_memory(self._home, raw)


def _read_cache(raw: bytes) -> Dict[str, Any]:
    start = len(_CACHE_MAGIC) + hashlib.sha256().digest_size
    body = raw[start:]
    if raw[:start] != _CACHE_MAGIC + hashlib.sha256(body).digest():
        raise ValueError
    entries: Dict[str, Any] = json.loads(body.decode("utf-8"))
    return entries


CLASSES: Dict[str, type] = {
    "IBuilderConfig": IBuilderConfig,
    "IOptimizationProfile": IOptimizationProfile,
    "ITimingCache": ITimingCache,
}
