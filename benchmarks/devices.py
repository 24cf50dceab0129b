"""What devices can do at most: peak arithmetic, memory bandwidth, cache.

Arithmetic is CUDA cores x 2 x clock, or tensor cores x multiply-adds a clock x 2 x clock (dense,
fp32 or fp16 sums). The clock is the GPU's in the fastest power mode that the vendor ships, the
bandwidth the memory's in that mode. Cache is the GPU's last level. The CPU's cores and, on Xavier
NX, the two NVDLAs are not counted: a runner of this project uses the GPU alone.
"""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError

BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}  # of a number in memory


class Device(NamedTuple):
    """The most that a device can do."""

    name: str
    peak_flops: Dict[str, float]  # by precision; a multiply-add is two
    bandwidth: float  # bytes read or written a second
    cache_bytes: float  # infinity where it is not known
    memory_gb: Optional[float]
    source: str

    def peak(self, precision: str) -> float:
        """Return the arithmetic rate, FLOP/s.

        Where a precision has no rate, or one below fp32's, numbers are kept narrow and computed
        wide: the rate is fp32's.
        """
        return max(self.peak_flops["fp32"], self.peak_flops.get(precision, 0.0))

    def facts(self) -> Dict[str, Any]:
        """Return all fields as plain JSON types; an unknown cache is null."""
        facts = dict(self._asdict())
        if math.isinf(self.cache_bytes):
            facts["cache_bytes"] = None
        return facts


def device_of_facts(facts: Mapping[str, Any]) -> Device:
    """Return the device of which these are the ``facts``; more keys do no harm."""
    device = Device(*(facts[name] for name in Device._fields))
    return device if device.cache_bytes is not None else device._replace(cache_bytes=math.inf)


def _gpu(
    name: str,
    cuda_cores: int,
    clock_mhz: float,
    bandwidth_gb_s: float,
    l2_kib: int,
    memory_gb: float,
    source: str,
    **per_fp32: float,
) -> Device:
    fp32 = cuda_cores * 2 * clock_mhz * 1e6
    peaks = {"fp32": fp32}
    peaks.update({precision: fp32 * ratio for precision, ratio in per_fp32.items()})
    return Device(name, peaks, bandwidth_gb_s * 1e9, l2_kib * 1024.0, memory_gb, source)


DEVICES: List[Device] = [
    # GP10B, sm_62. Data sheet DS-08245 (Jetson TX2): 256 cores; product page: 1.33 TFLOPS in fp16,
    # 128-bit LPDDR4, 59.7 GB/s (1866 MHz). 1300.5 MHz is the clock of mode MAXN. fp16 is twice
    # fp32: CUDA programming guide, 256 against 128 results a clock and multiprocessor.
    _gpu("Jetson TX2", 256, 1300.5, 59.7, 512, 8, "MAXN", fp16=2),
    # GM20B, sm_53. Data sheet DS-09366 (Jetson Nano): 128 cores at 921 MHz, 64-bit LPDDR4 at
    # 1600 MHz. fp16 as above; deviceQuery says 262144 bytes of L2 cache.
    _gpu("Jetson Nano", 128, 921.6, 25.6, 256, 4, "MAXN", fp16=2),
    # GV11B, sm_72. Data sheet DA-09366-001: 384 cores and 48 tensor cores at 1100 MHz (1109.25 in
    # the frequency table), LPDDR4x; 59.7 GB/s in the 20 W modes of JetPack 4.6 and later, 51.2
    # before. A Volta tensor core does 64 multiply-adds of fp16 a clock: 48 x 64 / 384 = 8.
    _gpu("Jetson Xavier NX", 384, 1109.25, 59.7, 512, 8, "20 W", fp16=8),
    # GA10B, sm_87. Data sheet of the Orin Nano series: 1024 cores and 32 tensor cores at 625 MHz,
    # 68 GB/s; 40 sparse int8 TOPS are 20 dense and 10 in fp16: 256 multiply-adds a clock and
    # tensor core, in TF32 and bf16 as Ampere's: half and all of that. The L2 cache is that of the
    # whole chip (deviceQuery on AGX Orin: 4194304 bytes), of which this part may have less.
    _gpu("Jetson Orin Nano", 1024, 625, 68.3, 4096, 8, "15 W", fp16=8, bf16=8, tf32=4),
    # The same board with JetPack 6.2 and mode MAXN SUPER: 1020 MHz, 102 GB/s, 67 TOPS.
    _gpu(
        "Jetson Orin Nano Super", 1024, 1020, 102.4, 4096, 8, "MAXN SUPER", fp16=8, bf16=8, tf32=4
    ),
    # GP102, sm_61. Product page: 3840 cores, boost clock 1582 MHz, 547.7 GB/s, 12 GB GDDR5X. Cards
    # may clock higher while cool. fp16 runs at 1/64 of fp32 (2 results a clock and
    # multiprocessor), so an engine computes in fp32 whatever it stores. 3 MB of L2 cache.
    _gpu("Titan Xp", 3840, 1582, 547.7, 3072, 12, "boost clock", fp16=1 / 64),
]


def find_device(name: str) -> Device:
    """Return a device of the table by its name.

    Raises:
        UsageError: there is none.
    """
    for device in DEVICES:
        if device.name.lower() == name.lower():
            return device
    known = [device.name for device in DEVICES]
    raise UsageError(f"There is no device '{name}'; {nearest(name, known)}")


def recognise_device(text: str) -> Optional[Device]:
    """Return the device that a board or GPU calls itself, None where it is none of the table.

    Args:
        text: such as "NVIDIA Jetson TX2 Developer Kit" or "NVIDIA TITAN Xp".
    """
    words = set(text.lower().split())
    fitting = [device for device in DEVICES if set(device.name.lower().split()) <= words]
    return max(fitting, key=lambda device: len(device.name), default=None)
