"""The drawn picture of a run: what is in it, and that nothing is drawn where it does not belong."""

import numpy as np
import pytest

from clipedge.jetson.camera.source import LIVE, LOST, OPENING, SourceStatus
from clipedge.jetson.display import layout as look
from clipedge.jetson.display.drawing import Painter, View
from clipedge.jetson.display.layout import layout_for
from clipedge.jetson.display.lettering import KEPT_TEXTS, Lettering, ascii_text
from clipedge.jetson.display.scoreboard import Moment, Snapshot
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.sensors import Sensors

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

NOW_S = 100.0
BLACK = np.zeros((480, 640, 3), np.uint8)
NO_SENSORS = Sensors(None, "no monitor", None, "no zone", None, "no alert", {}, {})


def board(**changed):
    """A snapshot of a live run that has scored nothing yet, and what differs from it."""
    empty = Snapshot(
        top=[], timeline=[], events=[], event_count=0, frame_rate_hz=30.0, inference_rate_hz=12.0,
        latency_ms=None, source=SourceStatus(LIVE), at_s=NOW_S,
    )  # fmt: skip
    return empty._replace(**changed)


def event(label, ago_s=0.5):
    return (NOW_S - ago_s, GestureEvent(3.0, label, 0.9, 8.0))


def noise(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def painted(image, snapshot, sensors=None, view=None, painter=None):
    return (painter or Painter()).paint(image, snapshot, sensors, view or View()).copy()


def near(canvas, colour):
    """Where a colour is, or almost: thin lines are soft."""
    return (np.abs(canvas.astype(int) - np.array(colour)) < 50).all(axis=2)


def count(canvas, colour):
    return int(near(canvas, colour).sum())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Swiping Left", "Swiping Left"),
        ("Füße über Ærø", "Fusse uber AEro"),
        ("Žluťoučký kůň", "Zlutoucky kun"),
        ("挥手", "??"),
        ("one\ttwo\x00\n", "one two  "),
        ("\u201cit\u2019s\u201d", '"it\'s"'),
        ("½", "1?2"),
    ],
)
def test_text_that_the_font_lacks_is_written_plainly(text, plain):
    assert ascii_text(text) == plain


@pytest.mark.parametrize("height", [8, 10, 15, 28])
def test_text_never_leaves_its_room(height):
    lettering = Lettering()
    for text in ("Sliding Two Fingers Down", "W" * 80, "a b c", ""):
        for width in (0, 20, 90, 240):
            assert lettering.width(lettering.fitted(text, height, width), height) <= width
            lines = lettering.wrapped(text, height, width, 2)
            assert len(lines) <= 2
            assert all(lettering.width(line, height) <= width for line in lines)


def test_numbers_that_change_for_days_do_not_fill_the_memory():
    lettering, canvas = Lettering(), np.zeros((30, 200, 3), np.uint8)
    for number in range(3 * KEPT_TEXTS):
        lettering.draw(canvas, f"{number}", (4, 20), 10, look.TEXT, look.GROUND)
    assert len(lettering._kept) <= KEPT_TEXTS


def test_text_partly_outside_is_cut_off():
    lettering, canvas = Lettering(), np.zeros((20, 40, 3), np.uint8)
    for at in ((-30, 10), (30, 10), (5, 2), (5, 40), (500, 500)):
        lettering.draw(canvas, "gesture", at, 12, look.TEXT, look.GROUND)
    assert canvas.any()


@pytest.mark.parametrize("label", ["wave", "W" * 200, "手" * 90, "two_fingers_" * 20])
def test_nothing_is_drawn_over_the_picture(label):
    image = noise(480, 640)
    snapshot = board(
        top=[(label, 1.0)] * 5,
        events=[event(label, ago_s) for ago_s in (9.9, 5.0, 4.9, 0.0)],
        timeline=[Moment(NOW_S - ago_s, label, 0.5, 0.7) for ago_s in (10.0, 9.9, 0.1, 0.0)],
        latency_ms=123456.7,
    )
    canvas = painted(image, snapshot, NO_SENSORS)
    np.testing.assert_array_equal(canvas[:480, :640], image[:, :, ::-1])


@pytest.mark.parametrize(
    "size", [(48, 64), (1, 1), (30, 4000), (777, 33), (1080, 1920), (1919, 1079), (481, 641)]
)
def test_pictures_of_any_size_are_shown_whole_and_undistorted(size):
    height, width = size
    canvas = painted(np.full((height, width, 3), 255, np.uint8), board())
    assert canvas.shape[0] % 2 == canvas.shape[1] % 2 == 0
    assert 480 <= canvas.shape[0] <= 900
    assert canvas.shape[1] <= 1750
    rows, columns = np.nonzero((canvas == 255).all(axis=2))
    shown = (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
    expected_height = shown[1] * height / float(width)
    assert abs(shown[0] - expected_height) <= max(1.5, 1.5 * height / width)


def test_a_strided_picture_is_taken_as_well():
    image = noise(480, 640)
    np.testing.assert_array_equal(
        painted(image[:, ::-1, ::-1], board()), painted(image[:, ::-1, ::-1].copy(), board())
    )


def test_the_video_keeps_its_size_when_the_camera_changes_its_own():
    painter = Painter(fixed_size=True)
    first = painted(noise(480, 640), board(), painter=painter)
    other = painted(np.full((480, 320, 3), 255, np.uint8), board(), painter=painter)
    assert other.shape == first.shape
    assert (other[:480, 160:480] == 255).all()
    assert (other[:480, :159] == np.array(look.DARK)).all()
    again = painted(noise(480, 640), board(), painter=painter)
    np.testing.assert_array_equal(again, first)


def test_the_window_follows_the_camera_when_it_changes_its_size():
    painter = Painter()
    assert painted(noise(480, 640), board(), painter=painter).shape[1] == 640 + 272
    assert painted(noise(480, 320), board(), painter=painter).shape[1] == 320 + 272


def test_bars_are_as_long_as_scores_are_high():
    def length(score):
        canvas = painted(BLACK, board(top=[("wave", score)]))
        return int((canvas == np.array(look.BAR)).all(axis=2).sum())

    full = length(1.0)
    assert full > 200
    assert length(0.5) == pytest.approx(full / 2, rel=0.02)
    assert length(0.0) == 0
    assert length(1.7) == full  # whatever a model says


def test_a_gesture_is_named_in_colour_when_it_comes_and_stays_named():
    def name(ago_s):
        canvas = painted(BLACK, board(events=[event("wave", ago_s)]))
        return canvas[:60, 640:]

    assert count(name(0.5), look.HIT) > 20
    assert count(name(20.0), look.HIT) < 10
    assert count(name(20.0), look.TEXT) > 20


def test_the_timeline_moves_and_leaves_gaps():
    def columns(moments):
        canvas = painted(BLACK, board(timeline=moments))
        return np.nonzero(near(canvas[505:562], look.CURVE).any(axis=0))[0]

    steady = [Moment(NOW_S - k / 10.0, "wave", 0.5, 0.5) for k in range(99, -1, -1)]
    assert len(columns(steady)) > 800
    gap = [moment for moment in steady if not 3.0 < NOW_S - moment.at_s < 6.0]
    assert 500 < len(columns(gap)) < 700
    assert columns(steady[-3:]).min() > 850


def test_presence_is_drawn_where_there_is_one_and_the_best_score_elsewhere():
    def top(presence, score):
        moments = [Moment(NOW_S - k, "wave", score, presence) for k in (1.0, 0.5, 0.0)]
        canvas = painted(BLACK, board(timeline=moments))
        return np.nonzero(near(canvas[505:562], look.CURVE).any(axis=1))[0].min()

    assert top(presence=0.9, score=0.1) < top(presence=0.1, score=0.9)
    assert top(presence=None, score=0.9) == top(presence=0.9, score=0.1)


def test_a_lost_camera_greys_its_last_picture_and_says_why():
    painter = Painter()
    live = painted(noise(480, 640), board(), painter=painter)
    lost = board(source=SourceStatus(LOST, "camera 0 is gone"))
    grey = painted(None, lost, painter=painter)
    corner = grey[:100, :100]
    assert (corner[:, :, 0] == corner[:, :, 1]).all()
    assert 0 < corner.mean() < 0.6 * live[:100, :100].mean()
    assert count(grey[:480, :640], look.ALARM) > 50
    other = lost._replace(source=SourceStatus(LOST, "its cable is out"))
    assert (painted(None, other, painter=painter)[:480, :640] != grey[:480, :640]).any()
    back = painted(noise(480, 640), board(), painter=painter)
    np.testing.assert_array_equal(back, live)


def test_before_the_first_picture_the_person_is_told_to_wait():
    canvas = painted(None, board(source=SourceStatus(OPENING, "camera 0")))
    assert count(canvas[200:280, :640], look.TEXT) > 50


def test_a_sensor_that_is_missing_shows_no_number():
    zero = NO_SENSORS._replace(power_w=0.0, temperature_c=0.0)
    missing = painted(noise(480, 640), board(), NO_SENSORS)
    assert (missing != painted(noise(480, 640), board(), zero)).any()
    rows = slice(410, 450)  # where power and temperature are
    shown = painted(noise(480, 640), board(), NO_SENSORS._replace(power_w=7.4, temperature_c=43.0))
    number = slice(640 + 150, 640 + 272)
    assert count(missing[rows, number], look.TEXT) < count(shown[rows, number], look.TEXT) / 4
    hot = NO_SENSORS._replace(temperature_c=97.0, throttled=True)
    assert count(painted(noise(480, 640), board(), hot)[rows], look.ALARM) > 10


def test_what_the_person_asks_for_is_drawn():
    image = noise(480, 640)
    plain = painted(image, board())
    mirrored = painted(image, board(), view=View(mirror=True))
    np.testing.assert_array_equal(mirrored[:480, :640], plain[:480, 639::-1])
    np.testing.assert_array_equal(mirrored[:, 640:], plain[:, 640:])
    help_view = View(help=(("q", "end"), ("model", "tiny " * 100)))
    assert count(painted(image, board(), view=help_view)[:480, :640], look.DARK) > 200000
    for view in (View(paused=True), View(message="saved a.png"), View(hint="h  help")):
        assert (painted(image, board(), view=view) != plain).any()


def test_what_is_wrong_with_the_frames_is_said_on_the_picture():
    complaint = "frames come 0.4 s apart, the model wants 0.17 s: " * 3
    canvas = painted(BLACK, board(complaint=complaint))
    assert count(canvas[400:480, :640], look.BAR) > 50
    assert not canvas[:400, :640].any()


def test_one_canvas_is_drawn_again_and_again():
    painter = Painter()
    first = painter.paint(noise(480, 640), board(), None)
    assert painter.paint(noise(480, 640, seed=1), board(top=[("wave", 0.4)]), None) is first


def test_large_cameras_are_shrunk_and_small_ones_enlarged():
    assert layout_for(1920, 1080)[:] == (1280, 720)
    assert layout_for(640, 480)[:] == (640, 480)
    assert layout_for(320, 180).height == 480
    assert layout_for(1280, 720).unit == 1.5


def test_a_file_is_not_called_live():
    live, playing = (painted(BLACK, board(), view=View(playing=one)) for one in (False, True))
    assert (live != playing).any()
    lost = board(source=SourceStatus(LOST, "gone"))
    live, playing = (painted(BLACK, lost, view=View(playing=one)) for one in (False, True))
    np.testing.assert_array_equal(live, playing)
