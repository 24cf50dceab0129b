import json

import numpy as np
import pytest

from clipedge.jetson.camera.source import LOST, SourceStatus
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.web_picture import PictureBox
from clipedge.jetson.display.web_state import Seen, facts_fields, state_fields, to_text
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.sensors import read_sensors

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

LABELS = ("wave", "swipe")


def scored(wave, event=None):
    scores = np.array([wave, 1 - wave], np.float32)
    return Step(None, scores, event, 8.0, 0.5)


def event_of(label, score=0.9):
    return GestureEvent(1.25, label, score, 8.0, "early", 30, 1700000000.5)


@pytest.fixture
def board():
    return Scoreboard(LABELS, SourceStatus)


def state(board, seen=None, **options):
    """The fields as a page reads them, and how far it has seen."""
    options.setdefault("sensors", None)
    options.setdefault("ended", False)
    fields, now_seen = state_fields(board.snapshot(), seen or Seen(), **options)
    return json.loads(to_text(fields)), now_seen


def test_before_the_first_clip_there_are_no_scores_and_no_figures(board):
    fields, _ = state(board)
    assert fields["top"] == fields["moments"] == fields["events"] == []
    assert fields["latency_ms"] is None and fields["sensors"] is None
    assert fields["source"]["state"] == "live"


def test_a_viewer_is_told_each_moment_and_each_event_once(board):
    board.add(scored(0.9, event_of("wave")))
    first, seen = state(board)
    assert [(one["id"], one["label"], one["kind"]) for one in first["events"]] == [
        (0, "wave", "early")
    ]
    assert len(first["moments"]) == 1
    again, seen = state(board, seen)
    assert again["events"] == again["moments"] == []
    assert again["top"][0] == ["wave", 0.9]
    board.add(scored(0.2, event_of("swipe")))
    board.add(scored(0.2))
    last, _ = state(board, seen)
    assert [one["id"] for one in last["events"]] == [1]
    assert [one["label"] for one in last["moments"]] == ["swipe", "swipe"]


def test_of_many_events_the_last_are_told_with_their_own_numbers(board):
    for number in range(120):
        board.add(scored(0.9, event_of("wave", score=number / 200)))
    fields, seen = state(board)
    ids = [one["id"] for one in fields["events"]]
    assert ids == list(range(120 - len(ids), 120)) and len(ids) == 50
    assert seen.events == 120


def test_numbers_that_are_none_do_not_break_the_page(board):
    board.add(Step(None, np.array([np.nan, np.inf], np.float32), event_of("wave", np.nan), 8.0))
    fields, _ = state(board)
    assert fields["events"][0]["score"] is None
    assert [score for _, score in fields["top"]] == [None, None]


def test_the_source_is_shown_as_it_is_and_ended_at_the_end():
    status = SourceStatus(LOST, "unplugged; trying again", 90, 4, 2, 25.0)
    board = Scoreboard(LABELS, lambda: status)
    source = state(board)[0]["source"]
    assert (source["state"], source["detail"]) == ("lost", "unplugged; trying again")
    assert (source["frames"], source["dropped"], source["losses"]) == (90, 4, 2)
    source = state(board, ended=True)[0]["source"]
    assert (source["state"], source["detail"]) == ("ended", "")


def test_what_is_wrong_with_the_frames_is_told(board):
    board.add(Step(None, None, None, None, complaint="frames come too seldom"))
    assert state(board)[0]["complaint"] == "frames come too seldom"


def test_a_missing_sensor_is_none_with_its_reason(board, tmp_path):
    reading = read_sensors(tmp_path)._replace(temperature_c=51.0, temperature_from="GPU-therm")
    sensors = state(board, sensors=reading)[0]["sensors"]
    assert sensors["power_w"] is None and sensors["power_from"]
    assert (sensors["temperature_c"], sensors["temperature_from"]) == (51.0, "GPU-therm")


def test_any_label_is_plain_ascii_on_the_way():
    facts = RunFacts("m", "c", "b", "s", ("<img src=x>", "Größe", "\ud800"))
    text = to_text(facts_fields(facts, "run"))
    assert json.loads(text)["labels"] == list(facts.labels)
    text.encode("ascii")


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((480, 640), (480, 640)),
        ((1080, 1920), (360, 640)),
        ((720, 1280), (360, 640)),
        ((1920, 1080), (640, 360)),
        ((600, 800), (480, 640)),
        ((48, 64), (48, 64)),
        ((1, 1), (1, 1)),
        ((1, 5000), (1, 640)),
    ],
)
def test_a_picture_is_made_smaller_and_keeps_its_shape_and_colours(size, sent):
    image = np.zeros(size + (3,), np.uint8)
    image[:] = (200, 100, 30)
    box = PictureBox()
    box.ask()
    box.offer(image)
    assert not box.asked
    picture = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(box.jpeg(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )
    assert picture.shape == sent + (3,)
    assert np.abs(picture.astype(int) - (200, 100, 30)).max() <= 4


def test_a_picture_is_taken_only_when_asked_for_and_is_a_copy():
    box, image = PictureBox(), np.full((48, 64, 3), 50, np.uint8)
    box.ask()
    box.offer(image)
    image[:] = 250  # the source uses the memory again
    box.offer(image)
    assert cv2.imdecode(np.frombuffer(box.jpeg(), np.uint8), cv2.IMREAD_COLOR).max() < 60
