"""A recognised gesture, as it leaves the recogniser and as it is written down."""

import json
from typing import Any, Dict, NamedTuple, Optional

EARLY, FULL = "early", "full"


class GestureEvent(NamedTuple):
    """One recognised gesture."""

    time_s: float  # of the newest frame of the clip, on the source's clock
    label: str
    score: float  # 0 to 1
    latency_ms: float  # from having the frame to having the event
    kind: str = FULL  # EARLY: named before the gesture was over, as its lead was large
    frame: int = 0  # number of that frame
    wall_time_s: Optional[float] = None  # seconds since 1970; None where the source is no camera

    def to_json(self) -> str:
        """Return one line of JSON without the line break."""
        fields: Dict[str, Any] = {
            "time_s": round(self.time_s, 3),
            "wall_time_s": None if self.wall_time_s is None else round(self.wall_time_s, 3),
            "label": self.label,
            "score": round(self.score, 4),
            "kind": self.kind,
            "frame": self.frame,
            "latency_ms": round(self.latency_ms, 2),
        }
        return json.dumps(fields)  # ASCII: it goes through any terminal and pipe
