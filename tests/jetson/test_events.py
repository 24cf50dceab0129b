import json

from clipedge.jetson.events import EARLY, GestureEvent


def test_an_event_is_one_json_line_with_the_documented_fields():
    event = GestureEvent(1.23456, "Swiping Left", 0.987654, 12.3456, EARLY, 37, 1700000000.1239)
    line = event.to_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "time_s": 1.235,
        "wall_time_s": 1700000000.124,
        "label": "Swiping Left",
        "score": 0.9877,
        "kind": "early",
        "frame": 37,
        "latency_ms": 12.35,
    }


def test_a_recording_has_no_wall_time():
    assert json.loads(GestureEvent(1.0, "Stop Sign", 0.9, 2.0).to_json())["wall_time_s"] is None
