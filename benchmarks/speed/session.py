"""Measures one job: a model file at one batch size, with one backend or several in turns."""

import contextlib
import statistics
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.benchmarks.speed.contender import Contender
from clipedge.benchmarks.speed.interference import Bystanders
from clipedge.benchmarks.speed.memory import require_room
from clipedge.benchmarks.speed.rows import make_row
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.conditions import Sampler
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners.opening import AUTO, TENSORRT

PROFILE_RUNS, FEWEST_PROFILE_RUNS = 20, 3
PROFILE_S = 10.0  # of fewer runs, where they take longer than this


class Settings(NamedTuple):
    """How to measure."""

    duration_s: float = 5.0  # of each repeat
    batches: Optional[int] = None  # of each repeat, instead of a duration
    warmup_s: Optional[float] = None  # None: until it is steady
    repeats: int = 3
    profile: bool = False


class Outcome(NamedTuple):
    """What became of one Order: a row, or an error."""

    order: Order
    row: Optional[Dict[str, Any]]
    packages: Dict[str, str]  # versions of what ran it
    error: Optional[ClipedgeError]


class _Open(NamedTuple):
    contender: Contender
    warmed: Dict[str, Any]
    repeats: List[Dict[str, Any]]


def measure_orders(
    orders: Sequence[Order], settings: Settings, sampler: Sampler, title: str
) -> List[Outcome]:
    """Measure several orders on one file in turns: one repeat of each, then the next of each.

    An order that cannot be opened, or fails on the way, becomes an Outcome with its error; the
    others go on.
    """
    failed: Dict[Order, ClipedgeError] = {}
    ready: Dict[Order, _Open] = {}
    with contextlib.ExitStack() as stack:
        for order in orders:
            try:
                ready[order] = _open(order, settings, stack, f"{title} {order.backend}")
            except ClipedgeError as error:
                failed[order] = error
        for turn in range(settings.repeats):
            for order in [one for one in orders if one in ready]:
                line = f"{title} {ready[order].contender.order.backend}"
                if settings.repeats > 1:
                    line += f" {turn + 1}/{settings.repeats}"
                try:
                    with ProgressLine(line) as progress:
                        found = _repeat(ready[order].contender, settings, sampler, progress)
                    ready[order].repeats.append(found)
                except ClipedgeError as error:
                    failed[order] = error
                    del ready[order]
        rows = {}
        for order, one in ready.items():
            try:
                rows[order] = _row(one, settings, sampler)
            except ClipedgeError as error:  # the file is gone
                failed[order] = error
        packages = {order: one.contender.opened["packages"] for order, one in ready.items()}
    return [
        Outcome(order, rows.get(order), packages.get(order, {}), failed.get(order))
        for order in orders
    ]


def _open(order: Order, settings: Settings, stack: contextlib.ExitStack, title: str) -> _Open:
    require_room(order)
    with ProgressLine(f"{title} warm-up") as progress:
        contender = stack.enter_context(_decided(order))
        return _Open(contender, contender.warm_up(settings.warmup_s, progress), [])


def auto_pick(order: Order) -> Tuple[str, Dict[str, float]]:
    """Return the backend that ``auto`` picks for an order, and what its trial measured.

    Raises:
        ClipedgeError: no backend can open the file, or there is too little memory to try.
    """
    require_room(order._replace(backend=AUTO))
    with Contender(order._replace(backend=AUTO)) as trial:
        return trial.opened["facts"]["backend"], trial.opened["auto_trial_ms"]


def _decided(order: Order) -> Contender:
    """Open an order; what ``auto`` picks in a process that holds nothing of the loser."""
    if order.backend != AUTO:
        return Contender(order)
    if order.path.endswith(ENGINE_SUFFIX):
        return Contender(order._replace(backend=TENSORRT))
    chosen, trial_ms = auto_pick(order)
    contender = Contender(order._replace(backend=chosen))
    contender.opened["auto_trial_ms"] = trial_ms
    return contender


def _repeat(
    contender: Contender,
    settings: Settings,
    sampler: Sampler,
    told: Callable[[float, float], None],
) -> Dict[str, Any]:
    bystanders = Bystanders()
    start_s = sampler.mark()
    found = contender.measure(settings.duration_s, settings.batches, told)
    end_s = sampler.mark()
    clips = len(found["latencies_ms"]) * contender.order.batch
    found["others_share"] = bystanders.share(found["cpu_s"])
    found["between_s"] = (start_s, end_s)
    found["span"] = sampler.summary(start_s, end_s, clips)
    return found


def _row(one: _Open, settings: Settings, sampler: Sampler) -> Dict[str, Any]:
    first_s = one.repeats[0]["between_s"][0]
    series: Dict[str, List[Optional[float]]] = {}
    for found in one.repeats:
        start_s, end_s = found.pop("between_s")
        found["start_s"] = start_s - first_s
        readings = sampler.series(start_s, end_s)
        later_s = [t_s + found["start_s"] for t_s in readings["t_s"] if t_s is not None]
        readings["t_s"] = [round(t_s, 3) for t_s in later_s]
        for name, values in readings.items():
            series.setdefault(name, []).extend(values)
    profile = _profile(one) if settings.profile else None
    order = one.contender.order
    return make_row(order, one.contender.opened, one.warmed, one.repeats, series, profile)


def _profile(one: _Open) -> Dict[str, Any]:
    """Time the layers; where that fails, say why."""
    batch_s = statistics.median(one.repeats[-1]["latencies_ms"]) / 1e3
    runs = min(PROFILE_RUNS, max(FEWEST_PROFILE_RUNS, int(PROFILE_S / batch_s)))
    try:
        found = one.contender.profile(runs)
    except ClipedgeError as error:
        found = {"layers": None, "reason": str(error)}
    return dict(found, runs=runs)
