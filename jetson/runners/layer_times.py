"""Times of a model's layers over several runs."""

import statistics
from typing import Dict, Iterable, List, Tuple

# Runs before those that count, on a CPU: the first one allocates.
WARM_UP_RUNS = 2


def median_times_ms(runs: Iterable[Iterable[Tuple[str, float]]]) -> Dict[str, float]:
    """Return each layer's median time, in the order they ran.

    Args:
        runs: (layer, milliseconds) of each run. Times of one name in one run are added.
    """
    times_ms: Dict[str, List[float]] = {}
    for run in runs:
        of_this_run: Dict[str, float] = {}
        for name, time_ms in run:
            of_this_run[name] = of_this_run.get(name, 0.0) + time_ms
        for name, time_ms in of_this_run.items():
            times_ms.setdefault(name, []).append(time_ms)
    return {name: statistics.median(values) for name, values in times_ms.items()}
