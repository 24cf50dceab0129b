"""Documents of jetson-bench for tests of its reports, without a measurement.

    document = example_document()                    # one row or more of every kind
    document = example_document([example_row(clips_per_s=21.0, backend="onnxruntime")])

Rows are made by the benchmark's own ``make_row`` from invented timings, always the same ones.
"""

import functools
import hashlib
import json
import pathlib
import tempfile
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from clipedge.benchmarks.devices import Device, find_device
from clipedge.benchmarks.speed.document import SCHEMA
from clipedge.benchmarks.speed.rows import add_limit, make_row
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.conditions import read_conditions
from clipedge.jetson.spec import ClipSpec
from stand_ins.board_files import BoardFiles

LABELS = tuple(f"class {number}" for number in range(27))
CPU = Device("a PC", {"fp32": 100e9}, 20e9, 16e6, None, "made up")
GPU_NAME = "NVIDIA Tegra X2 (sm_62)"

_NO_POWER = "the kernel shows no RAPL counters (a virtual machine, or no driver)"
_VERSIONS = {"openvino": "2026.4.1", "onnxruntime": "1.20.0", "tensorrt": "8.2.1.8"}
_TORCH_VERSION = "2.13.0"


def example_row(
    model: str = "shufflenetv1",
    width: Optional[float] = 2.0,
    clips_per_s: float = 100.0,
    backend: str = "openvino",
    precision: str = "fp32",
    rates: Optional[Sequence[float]] = None,
    batches: int = 40,
    batch: int = 8,
    streams: int = 1,
    threads: Optional[int] = 2,
    dataset: str = "jester",
    frames: int = 16,
    power_w: Optional[float] = None,
    jitter: float = 0.02,
    limited: bool = False,
    **changes: Any,
) -> Dict[str, Any]:
    """Return a row.

    Args:
        clips_per_s: the median of the three repeats' rates, which lie 1 % apart; or
        rates: the rate of each repeat.
        batches: of each repeat.
        backend: tensorrt is a GPU: its times have parts, it has no threads.
        power_w: mean; with temperature, clocks and energy. None: this machine tells none.
        jitter: of each latency, of the median.
        limited: with a limit, of the TX2 or of CPU.
        **changes: other fields of the row, put in last.
    """
    spec = ClipSpec(model, LABELS, width, dataset, frames)
    on_gpu = backend == "tensorrt"
    file = "engines/" + spec.file_stem + (f"_{precision}.engine" if on_gpu else ".onnx")
    facts = {
        "backend": backend,
        "version": _VERSIONS.get(backend, _TORCH_VERSION),
        "device": GPU_NAME if on_gpu else "CPU",
        "threads": None if on_gpu else threads,
        "precision": precision,
    }
    if on_gpu:
        on_gpu_mb = {"plan": 2.5, "scratch": 12.25, "buffers": 18.38}
        facts.update(graph="conv3d", batches=[1, batch], memory="pinned", gpu_memory_mb=on_gpu_mb)
    rates = rates or [0.99 * clips_per_s, clips_per_s, 1.01 * clips_per_s]
    repeats: List[Dict[str, Any]] = []
    for number, rate in enumerate(rates):
        start_s = sum(one["elapsed_s"] for one in repeats)
        made = _repeat(number, rate, batches, batch, streams, jitter, on_gpu)
        made.update(start_s=start_s, span=_span(made["elapsed_s"], batches * batch, power_w))
        repeats.append(made)
    opened = {
        "spec": spec.to_dict(),
        "facts": facts,
        "auto_trial_ms": {},
        "open_s": 0.5,
        "packages": {},
    }
    warmed = {"batches": 10, "elapsed_s": 1.0, "steady": True, "facts": facts, "model_mb": 96.5}
    # It takes the digest of the file: any file will do.
    order = Order(__file__, backend, precision, threads, batch, streams)
    row = make_row(order, opened, warmed, repeats, _series(repeats, power_w))
    row.update(file=file, sha256=hashlib.sha256(file.encode()).hexdigest())
    if limited:
        add_limit(row, find_device("Jetson TX2") if on_gpu else CPU)
    row.update(changes)
    return row


def example_failure(file: str = "engines/broken.onnx", error: str = "It is cut off.") -> Any:
    """Return a failure, as the run notes it."""
    order = Order(file, "auto", "fp32", None, 8, 1)
    return dict(order._asdict(), error=error)


def example_rows() -> List[Dict[str, Any]]:
    """Return rows of every kind.

    Four rows of Table 8 on a PC, one of them with two streams; one model that the paper has not;
    one with power, temperature and clocks; two of a GPU; one with a profile.
    """
    return [
        example_row("shufflenetv1", 0.5, 459.1, limited=True),
        example_row("mobilenetv2", 1.0, 61.25, limited=True, power_w=11.5),
        example_row("squeezenet", None, 88.4, rates=[70.0, 88.4, 90.1], dataset="random"),
        example_row("shufflenetv2", 2.0, 95.0, "onnxruntime", streams=2),
        example_row("shufflenetv1", 2.0, 31.5, "tensorrt", power_w=8.4, limited=True),
        example_row("shufflenetv1", 2.0, 55.5, "tensorrt", "fp16", power_w=8.9, limited=True),
        example_row("tiny", None, 5000.0, frames=4),
        example_row("mobilenetv1", 1.0, 120.0, profile=example_profile(), limited=True),
    ]


def example_profile() -> Dict[str, Any]:
    """Return times of four layers, as ``annotated_profile`` returns them."""
    names = ["features/features.0/features.0.0", "features/features.1/conv1", "classifier"]
    stem, depthwise, head = [f"/inner/{name}/Conv" for name in names]
    return {
        "runs": 20,
        "layers": [
            {"name": "/Sub", "kind": "other", "median_ms": 1.125, "limit_ms": None},
            {"name": stem, "kind": "stem", "median_ms": 12.5, "limit_ms": 6.25},
            {"name": depthwise, "kind": "depthwise", "median_ms": 3.25, "limit_ms": 0.25},
            {"name": head, "kind": "head", "median_ms": 0.125, "limit_ms": 0.00125},
        ],
        "reason": None,
        "by_kind": {
            "stem": {"ms": 12.5, "share": 0.7353},
            "depthwise": {"ms": 3.25, "share": 0.1912},
            "head": {"ms": 0.125, "share": 0.0074},
            "other": {"ms": 1.125, "share": 0.0662},
        },
        "missing": {},
    }


def example_document(
    rows: Optional[List[Dict[str, Any]]] = None,
    failures: Optional[List[Dict[str, Any]]] = None,
    board: str = "pc",
    **changes: Any,
) -> Dict[str, Any]:
    """Return a document that is complete.

    Args:
        rows: ``example_rows()`` by default, with one failure.
        failures: none where rows are given.
        board: a table of tests/fixtures/boards, for the conditions.
        **changes: other fields, put in last.
    """
    if failures is None:
        failures = [example_failure()] if rows is None else []
    conditions = board_conditions(board)
    name = conditions["board"]["name"]
    document = {
        "schema": SCHEMA,
        "clipedge": "0.1.0",
        "started_utc": "2026-11-22T20:00:00Z",
        "ended_utc": "2026-11-22T20:05:00Z",
        "complete": True,
        "machine": {
            "board": name,
            "l4t": conditions["board"]["l4t"],
            "cpu": None if name else "AMD EPYC",
            "physical_cores": 6 if name else 2,
            "logical_cores": 6 if name else 2,
            "memory_mb": 7858 if name else 24105,
            "os": "Ubuntu 18.04.6 LTS" if name else "Debian GNU/Linux 12 (bookworm)",
            "kernel": "4.9.253-tegra" if name else "6.1.0",
            "architecture": "aarch64" if name else "x86_64",
            "python": "3.6.9" if name else "3.11.7",
        },
        "conditions": conditions,
        "conditions_after": board_conditions(board),
        "busy_share_at_start": 0.01,
        "sampler": {"every_s": 0.5, "cpu_share": 0.004},
        "settings": {
            "all": False,
            "compare_backends": False,
            "batch": [8],
            "streams": [1],
            "duration_s": 5.0,
            "batches": None,
            "warmup_s": None,
            "repeats": 3,
            "backend": "auto",
            "precision": "fp32",
            "threads": None,
            "profile": False,
        },
        "packages": {"numpy": "2.4.6", "openvino": "2026.4.1"},
        "limit_devices": {"cpu": CPU.facts(), "gpu": None, "missing": {}},
        "rows": example_rows() if rows is None else rows,
        "failures": failures,
    }
    document.update(changes)
    return document


def board_conditions(name: str) -> Dict[str, Any]:
    """Return the conditions of a board of tests/fixtures/boards."""
    return dict(json.loads(_conditions_json(name)))


@functools.lru_cache(maxsize=None)
def _conditions_json(name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        files = BoardFiles(pathlib.Path(folder), name)
        return json.dumps(read_conditions(folder, files.run, loaded={}))


def _repeat(
    number: int, rate: float, batches: int, batch: int, streams: int, jitter: float, on_gpu: bool
) -> Dict[str, Any]:
    """Return what the worker says of one measurement, with what the session adds."""
    noise = np.random.RandomState(number).standard_normal(batches * streams)
    mean_ms = 1e3 * batch * streams / rate
    latencies_ms = mean_ms * (1 + jitter * (noise - noise.mean()))
    parts = (0.15, 0.8, 0.01, 0.04)  # h2d, compute, d2h, staging
    gpu_times_ms = [[round(ms * part, 4) for part in parts] for ms in latencies_ms]
    elapsed_s = 1e-3 * mean_ms * batches
    return {
        "elapsed_s": round(elapsed_s, 6),
        "clips_per_s": rate,
        "latencies_ms": [round(float(ms), 4) for ms in latencies_ms],
        "gpu_times_ms": gpu_times_ms if on_gpu else [],
        "cpu_s": round(2 * elapsed_s, 4),
        "peak_mb": 207.4,
        "others_share": 0.01,
    }


def _span(span_s: float, clips: int, power_w: Optional[float]) -> Dict[str, Any]:
    """Return what a Sampler says of one measurement."""
    span: Dict[str, Any] = {"span_s": round(span_s, 6), "readings": 3}
    reasons = {
        "power_w": _NO_POWER,
        "power_from": _NO_POWER,
        "rails_w": _NO_POWER,
        "energy_j": _NO_POWER,
        "energy_per_clip_j": _NO_POWER,
        "clips_per_j": _NO_POWER,
        "temperature_c": "this machine shows no thermal zone",
        "temperature_from": "this machine shows no thermal zone",
        "gpu_mhz": "the kernel shows no GPU in /sys/class/devfreq, as a Jetson's does",
        "cpu_mhz": "the kernel shows no cpufreq (a virtual machine, or no driver)",
        "emc_mhz": "only a Jetson tells the clock of its memory",
    }
    span.update(dict.fromkeys(reasons))
    span.update(
        throttled={"before": None, "during": None, "after": None},
        throttle_events=[],
        clock_changes=[],
        events_dropped=0,
        missing={f"throttled.{when}": "no alert" for when in ("before", "during", "after")},
    )
    if power_w is None:
        span["missing"].update(reasons)
        return span
    energy_j = power_w * span_s
    span.update(
        power_w=_around(power_w),
        power_from="VDD_IN",
        rails_w={"VDD_IN": power_w, "VDD_SYS_GPU": round(power_w / 3, 3)},
        energy_j=round(energy_j, 4),
        energy_per_clip_j=round(energy_j / clips, 6),
        clips_per_j=round(clips / energy_j, 6),
        temperature_c=_around(55.0),
        temperature_from="GPU-therm",
        gpu_mhz={"min": 1300.5, "mean": 1300.5, "max": 1300.5},
        cpu_mhz={"min": 2035.2, "mean": 2035.2, "max": 2035.2},
        emc_mhz={"min": 1866.0, "mean": 1866.0, "max": 1866.0},
        throttled={"before": False, "during": False, "after": False},
        missing={},
    )
    return span


def _around(mean: float) -> Dict[str, float]:
    return {"min": round(0.9 * mean, 3), "mean": mean, "max": round(1.1 * mean, 3)}


def _series(
    repeats: Sequence[Dict[str, Any]], power_w: Optional[float]
) -> Dict[str, List[Optional[float]]]:
    times_s = [
        one["start_s"] + share * one["elapsed_s"] for one in repeats for share in (0.0, 0.5, 1.0)
    ]
    series: Dict[str, List[Optional[float]]] = {"t_s": [round(t_s, 3) for t_s in times_s]}
    known = power_w is not None
    for name, value in (
        ("power_w", power_w or 0.0),
        ("temp_c", 55.0),
        ("gpu_mhz", 1300.5),
        ("cpu_mhz", 2035.2),
        ("emc_mhz", 1866.0),
    ):
        wave = [round(value * (1 + 0.01 * (number % 3)), 3) for number in range(len(times_s))]
        series[name] = wave if known else [None] * len(times_s)
    return series
