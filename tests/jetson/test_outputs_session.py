import json
import struct
import time

import numpy as np
import pytest
from stand_ins.small_disk import disk_of

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.errors import ClipedgeError, SourceError, UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step, recognise
from clipedge.jetson.outputs import Outputs
from clipedge.jetson.outputs import session as session_module
from clipedge.jetson.outputs.event_lines import EventLines
from clipedge.jetson.outputs.replay import open_session
from clipedge.jetson.outputs.session import MAGIC, RECORD, SessionWriter, session_facts
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.recogniser_settings import RecogniserSettings
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec

pytest.importorskip("cv2", reason="OpenCV is not installed")
resource = pytest.importorskip("resource", reason="file sizes cannot be limited on this system")

SPEC = ClipSpec(model="m", labels=("Red", "Green", "No gesture"), size=24)
SETTINGS = RecogniserSettings(tuned_on="this test")
INTERVAL_S = 1 / 12.0


class ColourRunner(Runner):
    """Stands in for a model: scores a clip by the colour of its newer half."""

    backend = "colour"

    def __init__(self, spec=SPEC):
        super().__init__(spec)

    def _infer(self, clips):
        red, green, _ = clips[0, :, SPEC.frames // 2 :].mean(axis=(1, 2, 3)) / 20.0
        return np.array([[red, green, 4.0]], np.float32)

    def describe(self):
        return {"backend": self.backend, "threads": 1}


class Camera(Source):
    """Noise, and every 5 s a second of a colour; at an unsteady rate, with a gap and ticks."""

    name = "rtsp://me:hidden@box/stream"

    def __init__(self, gestures=3, endless=True, seed=0):
        self._random = np.random.RandomState(seed)
        self._gestures, self._endless = gestures, endless

    @property
    def endless(self):
        return self._endless

    def __iter__(self):
        time_s, number = 98765.4321, 0
        image = np.empty((40, 56, 3), np.uint8)  # the same one again and again
        while time_s < 98765.4321 + 5.0 * self._gestures:
            passed_s = time_s - 98765.4321
            image[:] = self._random.randint(0, 40, image.shape)
            if passed_s % 5.0 > 3.0:
                image[..., int(passed_s // 5.0) % 2] += 200
            yield Frame(image, time_s, number)
            if number % 50 == 0:
                yield None
            number += 1 + (number % 17 == 0)  # one was dropped
            time_s += self._random.uniform(0.005, 0.06) + (1.0 if number == 200 else 0.0)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a model")
    return path


def facts_of(model, source, spec=SPEC, settings=SETTINGS, **options):
    options.setdefault("interval_s", INTERVAL_S)
    return session_facts(ColourRunner(spec), model, settings, source, **options)


def run(source, output, settings=SETTINGS, spec=SPEC):
    """What gesture-demo does; returns the events."""
    steps = recognise(source, ColourRunner(spec), Recogniser(spec.labels, settings), INTERVAL_S)
    events = []
    for step in steps:
        recorded = source.as_recorded(step) if hasattr(source, "as_recorded") else step
        events += [recorded.event] if recorded.event else []
        output.add(recorded)
    return events


def record(folder, model, source=None):
    """A live run with its session and its file of events."""
    source = source or Camera(gestures=1)
    path = folder / "run.session"
    with Outputs([EventLines(folder / "live.jsonl"),
                  SessionWriter(path, facts_of(model, source))]) as outputs:  # fmt: skip
        run(source, outputs)
    assert not outputs.failed
    return path


def replay(folder, path, model, settings=SETTINGS):
    with open_session(path) as source, EventLines(folder / "again.jsonl") as lines:
        differences = source.differences(facts_of(model, source, settings=settings))
        return run(source, lines, settings), differences


@pytest.mark.parametrize("endless", [True, False])
def test_a_replay_gives_the_same_events_byte_for_byte(tmp_path, model, endless):
    path = record(tmp_path, model, Camera(endless=endless))
    _, differences = replay(tmp_path, path, model)
    assert differences == []
    live = (tmp_path / "live.jsonl").read_bytes()
    assert (tmp_path / "again.jsonl").read_bytes() == live
    events = [json.loads(line) for line in live.decode().splitlines()]
    assert [event["label"] for event in events] == ["Red", "Green", "Red"]
    assert len({event["latency_ms"] for event in events}) > 1
    assert all((event["wall_time_s"] is not None) == endless for event in events)


def test_a_gesture_that_only_the_end_of_the_file_names_is_replayed_too(tmp_path, model):
    end = GestureEvent(12.5, "Red", 0.9, 7.25, frame=3)
    source = Camera(gestures=1, endless=False)
    with SessionWriter(tmp_path / "a.session", facts_of(model, source)) as writer:
        run(source, writer)
        writer.add(Step(None, None, end, None))
    with open_session(tmp_path / "a.session") as again:
        again.differences(facts_of(model, again))
        list(again)
        step = again.as_recorded(Step(None, None, end._replace(latency_ms=1.0), None))
        assert step.event == end


def test_what_only_the_end_would_bring_is_left_out_where_the_run_was_stopped_before(
    tmp_path, model
):
    source = Camera(gestures=1, endless=False)
    path = record(tmp_path, model, source)
    step = Step(None, None, GestureEvent(12.5, "Red", 0.9, 7.25, frame=3), None)
    with open_session(path) as again:
        assert again.differences(facts_of(model, again)) == []
        list(again)
        assert again.as_recorded(step).event is None
        other = SETTINGS._replace(threshold=0.9)
        assert again.differences(facts_of(model, again, settings=other))
        assert again.as_recorded(step).event is not None


def test_frames_come_back_exactly(tmp_path, model):
    views, frames = [], []
    path = tmp_path / "a.session"
    source = Camera(gestures=1)
    with SessionWriter(path, facts_of(model, source)) as writer:
        for step in recognise(source, ColourRunner(), Recogniser(SPEC.labels), INTERVAL_S):
            writer.add(step)
            if step.frame is not None:
                views.append(step.view.copy())
                frames.append(step.frame)
    with open_session(path) as again:
        replayed = list(again)
        assert again.endless and not list(again.pictures())
    assert [frame.timestamp_s for frame in replayed] == [frame.timestamp_s for frame in frames]
    assert [frame.number for frame in replayed] == [frame.number for frame in frames]
    assert all(
        frame.image.dtype == np.uint8 and np.array_equal(frame.image, view)
        for frame, view in zip(replayed, views)
    )


def test_a_session_tells_how_it_was_made_and_no_password(tmp_path, model):
    path = record(tmp_path, model)
    assert b"hidden" not in path.read_bytes()
    with open_session(path) as source:
        facts = source.facts
    assert facts.source == "rtsp://box/stream"
    assert facts.spec == SPEC
    assert facts.settings["interval_s"] == INTERVAL_S
    assert facts.settings["threshold"] == SETTINGS.threshold
    assert facts.clipedge


def test_other_settings_give_what_would_have_happened_and_are_named(tmp_path, model):
    path = record(tmp_path, model, Camera())
    other = SETTINGS._replace(background=("No gesture", "Green"))
    recorded_s = time.time()
    events, differences = replay(tmp_path, path, model, other)
    assert [event.label for event in events] == ["Red", "Red"]
    assert differences == [
        'background ["No gesture", "Green"], recorded ["no gesture", "doing other things"]'
    ]
    assert events[0].wall_time_s < events[1].wall_time_s < recorded_s


def test_another_model_hop_backend_or_clipedge_is_named(tmp_path, model, monkeypatch):
    path = record(tmp_path, model)
    model.write_bytes(b"another model")
    monkeypatch.setattr(session_module, "own_version", lambda: "9.9.9")
    monkeypatch.setattr(ColourRunner, "describe", lambda self: {"backend": "colour", "threads": 2})
    with open_session(path) as source:
        told = source.differences(facts_of(model, source, hop=3, detector_path=model))
    assert [text.split(" ")[0] for text in told] == ["the", "backend", "clipedge", "detector",
                                                    "hop"]  # fmt: skip
    assert "the model file" in told[0] and "backend threads 2, recorded 1" in told[1]
    assert '"9.9.9"' in told[2]


def test_a_model_of_another_size_is_refused(tmp_path, model):
    path = record(tmp_path, model)
    with open_session(path) as source, pytest.raises(UsageError, match=r"24 x 24.*takes 32 x 32"):
        source.differences(facts_of(model, source, spec=SPEC._replace(size=32)))


@pytest.mark.parametrize("cut", [1, 9, 200])
def test_what_a_crash_left_is_replayed_up_to_the_last_whole_frame(tmp_path, model, caplog, cut):
    path = record(tmp_path, model)
    with open_session(path) as source:
        whole = list(source)
    assert "broke off" not in caplog.text
    path.write_bytes(path.read_bytes()[: -cut - END_BYTES])
    with open_session(path) as source:
        frames = list(source)
    assert [frame.number for frame in frames] == [frame.number for frame in whole[:-1]]
    assert f"broke off after {len(frames)} frames" in caplog.text


END_BYTES = RECORD.size + 1 + struct.calcsize("<?dd")


def test_a_session_that_lacks_its_end_alone_is_told(tmp_path, model, caplog):
    path = record(tmp_path, model)
    path.write_bytes(path.read_bytes()[:-END_BYTES])
    with open_session(path) as source:
        assert list(source)
    assert "broke off" in caplog.text


@pytest.mark.parametrize("what", ["a pixel", "a length"])
def test_damage_in_the_middle_is_an_error_after_the_frames_before_it(tmp_path, model, what):
    path = record(tmp_path, model)
    data = bytearray(path.read_bytes())
    place = len(MAGIC)
    for _ in range(11):  # the header and ten frames
        place += RECORD.size + RECORD.unpack_from(data, place)[0]
    if what == "a pixel":
        data[place + RECORD.size + 400] ^= 1
    else:
        data[place + 3] = 0x7F
    path.write_bytes(bytes(data))
    frames = []
    with open_session(path) as source, pytest.raises(
        SourceError, match="damaged after 10 frames; what follows cannot be replayed"
    ):
        for frame in source:
            frames.append(frame)
    assert len(frames) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no session"),
        (b"RIFF....AVI LIST", "it is no session"),
        (MAGIC, "broke off before its first frame"),
        (MAGIC + RECORD.pack(3, 0) + b"Hab", "damaged in its header"),
        (MAGIC + RECORD.pack(1 << 31, 0) + b"H", "damaged in its header"),
    ],
)
def test_what_is_no_session_is_told(tmp_path, content, message):
    path = tmp_path / "a.session"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_session(path)


def test_a_session_of_a_newer_format_names_who_reads_it(tmp_path, model, monkeypatch):
    monkeypatch.setattr(session_module, "FORMAT_VERSION", 2)
    monkeypatch.setattr(session_module, "own_version", lambda: "9.9.9")
    path = record(tmp_path, model)
    with pytest.raises(SourceError, match=r"format version 2; this clipedge reads 1.*9\.9\.9"):
        open_session(path)


def test_a_session_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        open_session(tmp_path / "none.session")
    with pytest.raises(ClipedgeError, match="it is a folder"):
        open_session(tmp_path)


def test_on_a_full_disk_the_events_go_on_and_the_frames_until_then_are_kept(
    tmp_path, model, caplog
):
    path, source = tmp_path / "run.session", Camera()
    outputs = Outputs(
        [EventLines(tmp_path / "live.jsonl"), SessionWriter(path, facts_of(model, source))]
    )
    with disk_of(50000), outputs:
        events = run(source, outputs)
    assert outputs.failed and len(events) == 3
    assert len((tmp_path / "live.jsonl").read_text().splitlines()) == 3
    assert caplog.text.count("--save-session") == 1
    with open_session(path) as again:
        frames = list(again)
    assert len(frames) > 10 and path.stat().st_size < 50000
    assert f"broke off after {len(frames)} frames" in caplog.text


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path, model):
    with pytest.raises(ClipedgeError, match="it is a folder"):
        SessionWriter(tmp_path, facts_of(model, Camera()))
    with disk_of(100), pytest.raises(ClipedgeError):
        SessionWriter(tmp_path / "a.session", facts_of(model, Camera()))
