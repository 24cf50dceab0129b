"""How gesture-demo recognises: the recogniser's settings and the pace, from flags or a session."""

import argparse
import json
import logging
from typing import Iterator, NamedTuple

from clipedge.jetson.camera import Source
from clipedge.jetson.cli import DEFAULT_RATE_HZ
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.replay import Replay
from clipedge.jetson.outputs.session import SessionFacts
from clipedge.jetson.recogniser_settings import (
    RecogniserSettings,
    load_settings,
    settings_from_json,
)
from clipedge.jetson.runners import Runner

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """Which clips are scored."""

    interval_s: float  # least time between two
    hop: int  # every so many-th frame


def choose_settings(
    arguments: argparse.Namespace, runner: Runner, source: Source
) -> RecogniserSettings:
    """Return the settings of the file, or of the session that is repeated; flags come first.

    Raises:
        SpecError: they are damaged, or name a label that the model does not have.
    """
    labels = runner.spec.labels
    if isinstance(source, Replay) and arguments.recogniser is None:
        recorded = source.facts.settings
        named = {name: recorded[name] for name in RecogniserSettings._fields if name in recorded}
        settings = settings_from_json(json.dumps(named))
    else:
        settings = load_settings(arguments.model, labels, arguments.recogniser)
    if arguments.threshold is not None:
        settings = settings._replace(threshold=arguments.threshold)
    if arguments.allow is not None:
        settings = settings._replace(allow=tuple(arguments.allow))
    if arguments.deny is not None:
        settings = settings._replace(deny=tuple(arguments.deny))
    return settings.validate(labels)


def choose_pace(arguments: argparse.Namespace, source: Source) -> Pace:
    """Return the pace that flags ask for, or that of the session that is repeated."""
    if arguments.rate is not None or arguments.hop is not None:
        interval_s = 0.0 if arguments.rate is None else 1.0 / arguments.rate
        return Pace(interval_s, arguments.hop or 1)
    if isinstance(source, Replay):
        return Pace(source.facts.settings["interval_s"], source.facts.settings["hop"])
    return Pace(1.0 / DEFAULT_RATE_HZ, 1)


def replayed(steps: Iterator[Step], replay: Replay, facts: SessionFacts) -> Iterator[Step]:
    """Return the steps with wall times and latencies as recorded; warn where events may differ."""
    differences = replay.differences(facts)
    if differences:
        log.warning("Not as recorded, so events may differ: %s.", "; ".join(differences))
    return map(replay.as_recorded, steps)
