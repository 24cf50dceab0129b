"""How far apart two figures may lie by chance: Welch's interval on the repeats of two rows."""

import math
import statistics
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

# Student's t, the quantile at 97.5 %, of 1 to 10 degrees of freedom.
_T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
# The figure is the median of the repeats, which scatters more than their mean: at most by this.
_MEDIAN_TO_MEAN = math.sqrt(math.pi / 2)
# Repeats share one process. The next one lies elsewhere in memory, which alone can move a speed by
# about this much, so no smaller difference is believed.
LEAST = 0.01
BLOCKS = 5  # that a single repeat is divided into

Row = Dict[str, Any]


def noise_of_ratio(row: Row, other: Row) -> Optional[float]:
    """Return the noise of the ratio of two rows' clips per second, as a share of 1.

    Where nothing has changed, the logarithm of the ratio lies within -noise and noise 95 times of
    100; where noise is small, that is the ratio within 1 - noise and 1 + noise.

    Formula: with s, n and s', n' the standard deviation and number of the logarithms of each row's
    rates (``rates_of``), noise = t * sqrt(pi / 2) * sqrt(s^2 / n + s'^2 / n'), t the quantile of
    Student's distribution at 97.5 % with the degrees of freedom by Welch and Satterthwaite; LEAST
    where it is smaller. Three repeats tell little of s; that t is 2.8 to 4.3 then makes up for it.

    Returns:
        None where a row has too few latencies to tell.
    """
    samples = [rates_of(row), rates_of(other)]
    if min(len(rates) for rates in samples) < 2:
        return None
    counts = [len(rates) for rates in samples]
    squares = [_variance_of_logs(rates) / len(rates) for rates in samples]
    square = sum(squares)
    if square <= 0.0:
        return LEAST
    freedom = square**2 / sum(one**2 / (count - 1) for one, count in zip(squares, counts))
    noise = t_quantile(freedom) * _MEDIAN_TO_MEAN * math.sqrt(square)
    return max(LEAST, noise)


def rates_of(row: Row) -> List[float]:
    """Return measurements of a row's rate: of its repeats, or of blocks of its only one.

    Latencies that follow each other are alike, so blocks of them are compared, not each.
    """
    repeats = row["repeats"]
    if len(repeats) > 1:
        return [one["clips_per_s"] for one in repeats]
    latencies_ms = row["latencies_ms"]
    blocks = np.array_split(np.asarray(latencies_ms, float), min(BLOCKS, len(latencies_ms)))
    return [1e3 * row["batch"] * row["streams"] / float(block.mean()) for block in blocks]


def t_quantile(freedom: float) -> float:
    """Return Student's t at 97.5 %; degrees of freedom between two whole ones count as the less."""
    whole = max(1, int(freedom))
    if whole <= len(_T_QUANTILES):
        return _T_QUANTILES[whole - 1]
    return 1.96 + 2.4 / whole + 2.8 / whole**2  # right to 0.002 from 11 on


def _variance_of_logs(rates: Sequence[float]) -> float:
    return statistics.variance([math.log(rate) for rate in rates])
