"""Searches for the recogniser's settings on scored recordings."""

import random
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from clipedge.benchmarks.online_rules import judge, ours
from clipedge.benchmarks.online_sessions import Scored
from clipedge.jetson.recogniser_settings import RecogniserSettings
from clipedge.jetson.truth import Measures

# What is tried of each setting. gesture_s is the paper's, and rearm_dip is for models whose scores
# dip between two gestures, which recordings with few repetitions say little about.
CHOICES: Dict[str, Sequence[float]] = {
    "threshold": (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55),
    "early_lead": (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    "decide_s": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "smoothing_s": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "presence_on": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "presence_off": (0.1, 0.2, 0.3, 0.4, 0.5),
    "rearm_s": (0.6, 0.8, 1.0, 1.2),
    "rearm_dip": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
}
SECOND_COSTS = 0.05  # of Levenshtein accuracy that a second of delay is worth


def merit(measures: Measures) -> float:
    """Return what is searched for: right events, soon."""
    delay_s = measures.after_start_s or 0.0
    return measures.levenshtein_accuracy - SECOND_COSTS * delay_s


def tuned(
    labels: Sequence[str],
    recordings: Sequence[Scored],
    start: RecogniserSettings,
    trials: int,
    seed: int = 0,
    progress: Optional[Callable[[float, float], None]] = None,
) -> Tuple[RecogniserSettings, Measures]:
    """Change one to three settings at a time, and keep what is no worse.

    Args:
        labels: of the model.
        recordings: to tune on; test on others.
        start: the first settings.
        trials: how many others to try.
        seed: of the changes.
        progress: called with trials done and trials in all.

    Returns:
        The best settings, and their measures on ``recordings``.
    """
    chance = random.Random(seed)
    best, measures = start, judge(ours(start), labels, recordings)
    for trial in range(trials):
        names = chance.sample(sorted(CHOICES), chance.choice((1, 1, 2, 3)))
        changes: Dict[str, Any] = {name: chance.choice(CHOICES[name]) for name in names}
        other = best._replace(**changes)
        if other.presence_off > other.presence_on:
            continue
        found = judge(ours(other), labels, recordings)
        if merit(found) >= merit(measures):
            best, measures = other, found
        if progress is not None:
            progress(trial + 1, trials)
    return best, measures
