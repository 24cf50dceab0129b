"""One model file with every backend there is, in turns: jetson-bench --compare-backends."""

import logging
import pathlib
from typing import Dict, List, Optional, Tuple

from clipedge.benchmarks.speed.backends import comparable
from clipedge.benchmarks.speed.session import Outcome, Settings, auto_pick, measure_orders
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson.conditions import Sampler
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.runners.opening import DEFAULT_PRECISION

_log = logging.getLogger(__name__)


def measure_all_backends(
    order: Order, settings: Settings, sampler: Sampler, title: str
) -> List[Outcome]:
    """Measure an ONNX file with all that can be compared here.

    Rows get ``auto_choice``: whether ``auto`` would pick this one. Where that cannot be told, they
    have none.

    Raises:
        ClipedgeError: nothing that is installed runs the file.
    """
    found, missing = comparable(order.path)
    name = pathlib.Path(order.path).name
    for backend, reason in missing.items():
        _log.info("%s: without %s: %s", name, backend, reason)
    if not found:
        raise ClipedgeError(
            "nothing that is installed here runs {}: {}.".format(
                name, "; ".join(f"{backend}: {reason}" for backend, reason in missing.items())
            )
        )
    choice = _choice(order._replace(precision=DEFAULT_PRECISION))
    outcomes = measure_orders(
        [
            order._replace(path=path, backend=backend, precision=precision)
            for backend, precision, path in found
        ],
        settings,
        sampler,
        title,
    )
    if choice is not None:
        for outcome in outcomes:
            _note_choice(outcome, *choice)
    return outcomes


def _choice(order: Order) -> Optional[Tuple[str, Dict[str, float]]]:
    try:
        return auto_pick(order)
    except ClipedgeError as error:
        _log.warning("%s: what auto would pick is not known: %s", order.path, error)
        return None


def _note_choice(outcome: Outcome, chosen: str, trial_ms: Dict[str, float]) -> None:
    if outcome.row is None:
        return
    ran = (outcome.order.backend, outcome.order.precision)
    is_chosen = ran == (chosen, DEFAULT_PRECISION)
    outcome.row["auto_choice"] = is_chosen
    outcome.row["auto_trial_ms"] = trial_ms if is_chosen else {}
