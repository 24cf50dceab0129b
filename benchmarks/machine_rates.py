"""What this machine's CPU can do at most: its best matrix product, copy and reading.

Each library is timed in a process of its own, as the thread pools of two disturb each other. A rate
is the best one seen: whatever else the machine does only slows it, and a limit is what it can do.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import logging
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from clipedge.benchmarks.devices import Device
from clipedge.benchmarks.timing import warn_where_busy
from clipedge.jetson import board
from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.own_process import module_command

PRECISIONS = {"numpy": ("fp32",), "torch": ("fp32", "bf16"), "openvino": ("fp32", "bf16")}
SIZES = (512, 1024, 2048)  # of square matrices; a short product is let alone more often
SECONDS = 1.5  # for each size, and for each way to move bytes
LEAST_RUNS = 3
COPY_MB = 256  # far more than a cache
_PROCESS_LIMIT_S = 300.0
_CPU_FOLDERS = pathlib.Path("/sys/devices/system/cpu")

_log = logging.getLogger(__name__)

Call = Callable[[], object]


class Rate(NamedTuple):
    """How fast one thing was done."""

    what: str  # such as "torch bf16" or "copy"
    best: float  # FLOP or bytes a second
    median: float  # of the runs of the size that was best


def measure_machine(
    threads: Optional[int] = None, seconds: float = SECONDS
) -> Tuple[Device, Dict[str, Any]]:
    """Return this machine as a device, and how it was measured as plain JSON types.

    Args:
        threads: of the CPU; None: as many as it has cores.
        seconds: how long each size of matrix and each way to move bytes is timed.

    Raises:
        ClipedgeError: a library's process failed.
    """
    threads = threads or board.physical_cores()
    busy = warn_where_busy("Its rates, and so the limits, may come out too low.")
    rates: List[Rate] = []
    for library in PRECISIONS:
        if importlib.util.find_spec(library) is not None:
            rates += _in_own_process(library, threads, seconds)
    conditions = {
        "threads": threads,
        "busy_share_at_start": busy,
        "load_average_at_end": board.load_average(),
        "rates": [rate._asdict() for rate in rates],
    }
    return device_of(rates, threads), conditions


def device_of(rates: Sequence[Rate], threads: int) -> Device:
    """Return the device with the best of these rates."""
    peaks: Dict[str, float] = {}
    sources = {}
    moving = [rate for rate in rates if " " not in rate.what]
    for rate in rates:
        library, _, precision = rate.what.partition(" ")
        if precision and rate.best > peaks.get(precision, 0.0):
            peaks[precision], sources[precision] = rate.best, library
    best = max(moving, key=lambda rate: rate.best)
    ways = [f"{precision} by {sources[precision]}" for precision in sorted(sources)]
    source = "{} threads; {}; {}".format(threads, ", ".join(ways), best.what)
    memory_mb = board.memory_mb()
    return Device(
        board.cpu_model() or "this machine",
        peaks,
        best.best,
        cache_bytes(),
        None if memory_mb is None else round(memory_mb / 1e3, 1),
        source,
    )


def cache_bytes(folder: pathlib.Path = _CPU_FOLDERS) -> float:
    """Return how much all data caches hold together; infinity where the kernel does not say."""
    seen: Set[Tuple[str, ...]] = set()
    total = 0
    for index in folder.glob("cpu[0-9]*/cache/index*"):
        try:
            facts = {
                name: (index / name).read_text().strip()
                for name in ("level", "type", "shared_cpu_list", "size")
            }
        except OSError:
            return math.inf
        key = (facts["level"], facts["type"], facts["shared_cpu_list"])
        if facts["type"] != "Instruction" and key not in seen:
            seen.add(key)
            total += int(facts["size"].rstrip("K")) * 1024
    return float(total) or math.inf


def _in_own_process(library: str, threads: int, seconds: float) -> List[Rate]:
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    command = [*module_command("clipedge.benchmarks.machine_rates"), library]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,  # noqa: UP021  Python 3.6
            timeout=_PROCESS_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise ClipedgeError(
            f"Measuring {library} took over {_PROCESS_LIMIT_S:g} s and was stopped; "
            "try again on a quieter machine."
        ) from None
    if done.returncode != 0:
        raise ClipedgeError(
            f"Measuring {library} failed; {library}'s process says: {done.stderr.strip()[-500:]}"
        )
    return [Rate(**rate) for rate in json.loads(done.stdout)]


# --- In the library's process ---


def library_rates(library: str, threads: int, seconds: float) -> List[Rate]:
    """Return the rates of one library, and with numpy those of moving bytes."""
    rates = []
    for precision in PRECISIONS[library]:
        timed = [
            _timed(_product(library, precision, size, threads), 2.0 * size**3, seconds)
            for size in SIZES
        ]
        rates.append(Rate(f"{library} {precision}", *max(timed)))
    if library == "numpy":
        rates += _moving_rates(threads, seconds)
    return rates


def _timed(call: Call, amount: float, seconds: float) -> Tuple[float, float]:
    """Return the best and the median of ``amount`` a second; one run before is warm-up."""
    call()
    times_s: List[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_s) < LEAST_RUNS or time.perf_counter() < end_s:
        start_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - start_s)
    return amount / min(times_s), amount / statistics.median(times_s)


def _product(library: str, precision: str, size: int, threads: int) -> Call:
    left, right = np.random.RandomState(0).rand(2, size, size).astype(np.float32)
    if library == "numpy":
        product = np.empty_like(left)
        return lambda: np.matmul(left, right, out=product)
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
        kind = torch.float32 if precision == "fp32" else torch.bfloat16
        first, second = torch.from_numpy(left).to(kind), torch.from_numpy(right).to(kind)
        out = torch.empty_like(first)
        return lambda: torch.mm(first, second, out=out)
    import openvino
    from openvino import opset13 as operations

    parameter = operations.parameter([size, size], np.float32)
    result = operations.matmul(parameter, operations.constant(right), False, False)
    settings = {
        "INFERENCE_NUM_THREADS": str(threads),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
    }
    model = openvino.Model([result], [parameter])
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([left], share_inputs=True, share_outputs=True)


def _moving_rates(threads: int, seconds: float) -> List[Rate]:
    """Return the rates of copying (bytes read and written) and of reading, in threads."""
    available_mb = board.available_memory_mb() or 8 * COPY_MB
    count = min(COPY_MB, max(16, available_mb // 8)) * 1000000 // (4 * threads)
    sources = [np.ones(count, np.float32) for _ in range(threads)]
    targets = [np.zeros(count, np.float32) for _ in range(threads)]
    moved = 4.0 * count * threads
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        copied = _timed(lambda: list(pool.map(np.copyto, targets, sources)), 2 * moved, seconds)
        read = _timed(lambda: list(pool.map(np.max, sources)), moved, seconds)
    return [Rate("copying", *copied), Rate("reading", *read)]


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.machine_rates",
        description="Print the rates of one library on this machine's CPU as JSON.",
    )
    parser.add_argument("library", choices=sorted(PRECISIONS))
    parser.add_argument("--threads", type=positive_int, help="as many as cores")
    parser.add_argument("--seconds", type=positive_float, default=SECONDS, help="for each size")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    threads = arguments.threads or board.physical_cores()
    rates = library_rates(arguments.library, threads, arguments.seconds)
    sys.stdout.write(json.dumps([rate._asdict() for rate in rates]) + "\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
