"""What the page is told of a run, as JSON."""

import json
import math
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from clipedge.jetson.camera.source import ENDED
from clipedge.jetson.display.scoreboard import TIMELINE_S, Moment, RunFacts, Snapshot
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.sensors import Sensors

Fields = Dict[str, Any]


class Seen(NamedTuple):
    """How far one viewer was told; the next state begins there."""

    events: int = 0  # how many of the run's
    until_s: float = -math.inf  # the time of the last moment


def facts_fields(facts: RunFacts, run: str) -> Fields:
    """Return what does not change.

    Args:
        facts: of the run.
        run: another text for each run, so that a page that finds the program again knows whether
            it is the same run.
    """
    return {
        "run": run,
        "model": facts.model,
        "clip": facts.clip,
        "backend": facts.backend,
        "source": facts.source,
        "playing": facts.playing,
        "labels": list(facts.labels),
        "span_s": number(facts.span_s),
        "timeline_s": TIMELINE_S,
    }


def state_fields(
    snapshot: Snapshot, seen: Seen, sensors: Optional[Sensors], ended: bool
) -> Tuple[Fields, Seen]:
    """Return the run as it is, with the moments and events that a viewer has not seen.

    Args:
        snapshot: of the scoreboard.
        seen: by this viewer.
        sensors: the last reading; None where nobody reads them.
        ended: the run is over.
    """
    source = snapshot.source
    fields = {
        "now_s": number(snapshot.at_s),
        "source": {
            "state": ENDED if ended else source.state,
            "detail": "" if ended else source.detail,
            "frames": source.frames,
            "dropped": source.dropped,
            "losses": source.losses,
            "rate_hz": number(source.rate_hz),
        },
        "complaint": None if ended else snapshot.complaint,
        "frame_rate_hz": number(snapshot.frame_rate_hz),
        "inference_rate_hz": number(snapshot.inference_rate_hz),
        "latency_ms": number(snapshot.latency_ms),
        "sensors": None if sensors is None else _sensors(sensors),
        "top": [[label, number(score)] for label, score in snapshot.top],
        "moments": [_moment(one) for one in snapshot.timeline if one.at_s > seen.until_s],
        "events": _events(snapshot, seen),
    }
    until_s = snapshot.timeline[-1].at_s if snapshot.timeline else seen.until_s
    return fields, Seen(snapshot.event_count, until_s)


def to_text(fields: Fields) -> str:
    """Return JSON that every browser reads: ASCII, no NaN."""
    return json.dumps(fields, allow_nan=False, separators=(",", ":"))


def number(value: Optional[float]) -> Optional[float]:
    """Return a number that JSON can hold, short; None for one that it cannot."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), 4)


def _sensors(sensors: Sensors) -> Fields:
    return {
        "power_w": number(sensors.power_w),
        "power_from": sensors.power_from,
        "temperature_c": number(sensors.temperature_c),
        "temperature_from": sensors.temperature_from,
        "throttled": sensors.throttled,
    }


def _moment(moment: Moment) -> Fields:
    return {
        "at_s": number(moment.at_s),
        "label": moment.label,
        "score": number(moment.score),
        "presence": number(moment.presence),
    }


def _events(snapshot: Snapshot, seen: Seen) -> List[Fields]:
    first = snapshot.event_count - len(snapshot.events)
    return [
        _event(first + index, at_s, event)
        for index, (at_s, event) in enumerate(snapshot.events)
        if first + index >= seen.events
    ]


def _event(index: int, at_s: float, event: GestureEvent) -> Fields:
    return {
        "id": index,
        "at_s": number(at_s),
        "time_s": number(event.time_s),
        "wall_time_s": number(event.wall_time_s),
        "label": event.label,
        "score": number(event.score),
        "kind": event.kind,
        "latency_ms": number(event.latency_ms),
    }
