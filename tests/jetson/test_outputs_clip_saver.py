import json
import threading

import numpy as np
import pytest
from stand_ins.small_disk import disk_of

from clipedge.jetson.camera import Frame
from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.class_folders import ClassFolders
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs import Outputs
from clipedge.jetson.outputs.clip_saver import AFTER_S, BEFORE_S, LIST_NAME, RATE_HZ, ClipSaver
from clipedge.jetson.spec import ClipSpec

pytest.importorskip("cv2", reason="OpenCV is not installed")
resource = pytest.importorskip("resource", reason="file sizes cannot be limited on this system")

SPEC = ClipSpec(
    model="tiny", labels=("wave", "Zoom in/out", "No gesture"), dataset="test", frames=4, size=16
)  # 0.5 s long
EVENT_FRAME = 90


def frames(count=150, rate_hz=30.0, shape=(48, 64), start_s=1000.0, gap=range(0)):
    """One frame after the other; brightness counts."""
    image = np.zeros((*shape, 3), np.uint8)
    for number in range(count):
        if number not in gap:
            image[:] = number % 256
            yield Frame(image.copy(), start_s + number / rate_hz, number)


def feed(saver, source, events=((EVENT_FRAME, "wave"),)):
    """Hand over frames; after those with the numbers of the events, these."""
    named = dict(events)
    for frame in source:
        event = None
        if frame.number in named:
            event = GestureEvent(frame.timestamp_s, named[frame.number], 0.9, 5.0,
                                 frame=frame.number, wall_time_s=1.7e9)  # fmt: skip
        saver.add(Step(frame, None, event, None))


def notes(folder):
    return [json.loads(line) for line in (folder / LIST_NAME).read_text().splitlines()]


def shown(path):
    """Numbers of the frames that a clip shows, and its times."""
    with VideoFile(path) as source:
        pictures = list(source)
    return [round(float(one.image.mean())) for one in pictures], [
        one.timestamp_s for one in pictures
    ]


def test_the_clip_behind_an_event_is_kept_from_before_it_to_after_it(tmp_path):
    with ClipSaver(tmp_path / "new", SPEC, live=False) as saver:
        feed(saver, frames())
    (note,) = notes(tmp_path / "new")
    event_s = 1000.0 + EVENT_FRAME / 30.0
    assert note["from_s"] == pytest.approx(event_s - SPEC.span_s - BEFORE_S, abs=1.1 / RATE_HZ)
    assert note["to_s"] == pytest.approx(event_s + AFTER_S, abs=1.1 / RATE_HZ)
    numbers, times_s = shown(tmp_path / "new" / note["file"])
    assert numbers[0] == pytest.approx((note["from_s"] - 1000.0) * 30, abs=1.5)
    assert numbers[-1] == pytest.approx((note["to_s"] - 1000.0) * 30, abs=1.5)
    assert np.abs(np.diff(numbers) - 2).max() <= 1  # 15 of 30 pictures a second
    assert times_s[-1] == pytest.approx(note["to_s"] - note["from_s"], abs=0.01)


@pytest.mark.parametrize(
    ("rate_hz", "kept_hz"), [(12, 12), (15, 15), (17, 17), (20, 20), (24, 12), (25, 12.5), (60, 15)]
)
def test_pictures_are_left_out_only_where_enough_for_training_remain(tmp_path, rate_hz, kept_hz):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(count=3 * rate_hz, rate_hz=rate_hz), events=((2 * rate_hz, "wave"),))
    _, times_s = shown(tmp_path / notes(tmp_path)[0]["file"])
    assert np.diff(times_s) == pytest.approx(1 / kept_hz, abs=0.005)


def test_a_model_of_30_frames_a_second_gets_them_all(tmp_path):
    with ClipSaver(tmp_path, SPEC._replace(frame_rate_hz=30.0), live=False) as saver:
        feed(saver, frames())
    numbers, _ = shown(tmp_path / notes(tmp_path)[0]["file"])
    assert set(np.diff(numbers)) == {1}


def test_a_line_tells_what_was_recognised(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(), events=((80, "wave"), (120, "No gesture")))
    first, second = notes(tmp_path)
    assert list(first) == ["file", "time_s", "wall_time_s", "label", "score", "kind", "frame",
                           "latency_ms", "from_s", "to_s"]  # fmt: skip
    assert (first["label"], first["frame"], second["label"]) == ("wave", 80, "No gesture")
    assert first["file"].startswith("wave/wave_") and first["file"].endswith("_0001.avi")
    assert ClassFolders(tmp_path).counts() == {"No gesture": 1, "wave": 1}


def test_a_gesture_at_the_very_end_is_kept_with_what_there_is(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(count=EVENT_FRAME + 1))
        saver.add(Step(None, None, GestureEvent(1003.0, "wave", 0.9, 5.0, frame=90), None))
    assert len(notes(tmp_path)) == 2


def test_two_gestures_one_after_the_other_have_a_clip_each(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(), events=((80, "wave"), (90, "wave")))
    assert [len(shown(tmp_path / one["file"])[0]) for one in notes(tmp_path)] == [23, 23]


def test_a_clip_that_is_moved_is_never_hidden_by_a_later_one(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(), events=((80, "wave"),))
        feed(saver, frames(start_s=2000.0, count=1), events=())  # the first is written by now
    wrong = tmp_path / notes(tmp_path)[0]["file"]
    (tmp_path / "No gesture").mkdir()
    wrong.rename(tmp_path / "No gesture" / wrong.name)
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        saver._writer._stamp = wrong.name.split("_")[1]  # in the same second
        saver._writer.count = 1
        feed(saver, frames(), events=((80, "wave"), (120, "wave")))
    files = [one["file"] for one in notes(tmp_path)]
    assert len(set(files)) == 3
    assert wrong.name not in [name.partition("/")[2] for name in files[1:]]


def test_no_clip_of_an_earlier_run_is_overwritten(tmp_path):
    for _ in range(2):
        with ClipSaver(tmp_path, SPEC, live=False) as saver:
            saver._writer._stamp = "of-the-same-second"
            feed(saver, frames())
    assert len({one["file"] for one in notes(tmp_path)}) == 2
    assert ClassFolders(tmp_path).counts() == {"wave": 2}


def test_a_label_that_makes_no_folder_gets_one_near_it(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(), events=((EVENT_FRAME, "Zoom in/out"),))
    (note,) = notes(tmp_path)
    assert note["label"] == "Zoom in/out"
    assert note["file"].startswith("Zoom in_out/Zoom in_out_")


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("wave", "wave"),
        ("Swipe_Left", "swipe left"),  # the class that is there
        ("../up", "_up"),
        ("..", "_"),
        ("", "_"),
        (" a ", "a"),
        ("a\nb\0c", "a_b_c"),
        ("\u00e9" * 150, "\u00e9" * 100),
    ],
)
def test_any_label_has_a_folder_under_the_root(tmp_path, label, folder):
    (tmp_path / "swipe left").mkdir()
    path = ClassFolders(tmp_path).folder_of(label)
    assert path == tmp_path / folder
    path.mkdir(exist_ok=True)


def test_pictures_that_change_their_size_make_one_clip(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(count=85))
        feed(saver, frames(shape=(96, 128), gap=range(85)))
    numbers, _ = shown(tmp_path / notes(tmp_path)[0]["file"])
    assert len(numbers) == 23


def test_a_source_that_starts_again_is_not_mixed_with_before(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(count=EVENT_FRAME + 1))
        feed(saver, frames(count=21, start_s=1002.5), events=((20, "wave"),))
    assert len(notes(tmp_path)) == 2
    numbers, _ = shown(tmp_path / notes(tmp_path)[1]["file"])
    assert numbers == sorted(numbers) and numbers[-1] == 20


def test_an_event_without_pictures_makes_no_clip(tmp_path, caplog):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        saver.add(Step(None, None, GestureEvent(5.0, "wave", 0.9, 5.0), None))
    assert "too few pictures" in caplog.text
    assert not (tmp_path / LIST_NAME).exists()


def test_what_is_kept_in_memory_is_bounded(tmp_path):
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        feed(saver, frames(count=2000, rate_hz=60.0), events=())
        longest = saver._writer._shots.maxlen
    assert len(saver._writer._shots) == longest < 40
    assert saver._waiting.empty()


def test_a_live_source_never_waits_and_what_is_left_out_is_said(tmp_path, monkeypatch, caplog):
    saver = ClipSaver(tmp_path, SPEC, live=True)
    go_on, take_in = threading.Event(), saver._writer.take_in

    def slow(item):
        assert go_on.wait(30)
        take_in(item)

    monkeypatch.setattr(saver._writer, "take_in", slow)
    feed(saver, frames())
    go_on.set()
    saver.close()
    assert "pictures were left out" in caplog.text


@pytest.mark.parametrize("when", ["in the middle", "at the end"])
def test_a_full_disk_is_told_once_and_leaves_no_half_clip(tmp_path, caplog, when):
    count = 3000 if when == "in the middle" else EVENT_FRAME + 5
    with disk_of(2000), Outputs([ClipSaver(tmp_path, SPEC, live=False)]) as outputs:
        feed(outputs, frames(count=count))
    assert outputs.failed
    assert caplog.text.count("ends: ") == 1 and "wave_" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_folder_that_cannot_be_written_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClipedgeError, match="it is a file"):
        ClipSaver(tmp_path / "file", SPEC)


def test_a_name_that_is_not_utf8_is_told_before_the_run(tmp_path):
    with pytest.raises(UsageError, match="UTF-8"):
        ClipSaver(str(tmp_path / "\udcff"), SPEC)
    assert not [one for one in threading.enumerate() if one.name == "clip saver"]
