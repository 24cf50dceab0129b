import json
import os
import pathlib
import signal
import time

import numpy as np
import pytest

from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.cli import main
from clipedge.jetson.errors import SourceError
from clipedge.jetson.spec import ClipSpec

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

# Long enough for clips of 4 frames, 1/6 s apart.
SPEC = ClipSpec(
    model="tiny", labels=("wave", "swipe", "No gesture"), dataset="test", frames=4, size=16
)

# Names something again and again, whatever it sees: the weights are random.
EAGER = {
    "threshold": 0.01, "presence_on": 0, "presence_off": 0, "early_lead": 0, "rearm_s": 0.3,
    "rearm_dip": 1,
}  # fmt: skip


@pytest.fixture
def model(model_writer, tmp_path):
    (tmp_path / "recogniser.json").write_text(json.dumps(EAGER))
    return model_writer(tmp_path / "model.onnx", spec=SPEC)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "in.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 24, (64, 48))
    rng = np.random.RandomState(0)
    for number in range(72):
        picture = np.full((48, 64, 3), 40, np.uint8)
        cv2.circle(picture, (number % 64, 24), 9, [int(c) for c in rng.randint(0, 255, 3)], -1)
        writer.write(picture)
    writer.release()
    return path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_events_are_json_lines_on_stdout_and_talk_is_on_stderr(model, video, capsys):
    status = run("--model", model, "--source", video, "--backend", "onnxruntime")
    out, err = capsys.readouterr()
    assert status == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert events
    fields = ["time_s", "wall_time_s", "label", "score", "kind", "frame", "latency_ms"]
    assert list(events[0]) == fields
    assert events[0]["label"] in ("wave", "swipe")
    assert "frames" in err


def test_events_go_to_a_file_and_the_annotated_video_beside_it(model, video, tmp_path, capsys):
    events, record = tmp_path / "events.jsonl", tmp_path / "out.mp4"
    status = run("--model", model, "--source", video,
                 "--events", events, "--record", record, "--backend", "onnxruntime")  # fmt: skip
    assert status == 0
    lines = events.read_text().splitlines()
    assert lines
    assert json.loads(lines[0])["label"] in capsys.readouterr().out
    capture = cv2.VideoCapture(str(record))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 72
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_recognised_is_compared_with_true(model, video, tmp_path, capsys):
    truth = tmp_path / "truth.jsonl"
    truth.write_text('{"start_s": 0.2, "end_s": 2.0, "label": "wave"}\n')
    status = run("--model", model, "--source", video, "--truth", truth,
                 "--events", tmp_path / "e.jsonl", "--backend", "onnxruntime")  # fmt: skip
    assert status == 0
    assert "of 1 gestures recognised" in capsys.readouterr().out


def test_random_weights_and_short_videos_are_said(model_writer, tmp_path, video, capsys, caplog):
    spec = SPEC._replace(dataset="random", frames=64)
    model = model_writer(tmp_path / "random.onnx", spec=spec)
    assert run("--model", model, "--source", video, "--backend", "onnxruntime") == 0
    assert "random weights" in caplog.text
    assert "scored once, at its end" in caplog.text
    capsys.readouterr()


def test_a_recording_that_fails_leaves_no_file(model, video, tmp_path, monkeypatch, caplog):
    from clipedge.jetson.outputs.recorder import Recorder

    def full(self, step):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recorder, "add", full)
    record = tmp_path / "out" / "r.mp4"
    status = run("--model", model, "--source", video, "--record", record)
    assert status == 1
    assert "No space left" in caplog.text
    assert list(record.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"--model": "none.onnx"}, 2, "none.onnx"),
        ({"--source": "none.mp4"}, 2, "no such source"),
        ({"--backend": "onnxrntime"}, 2, "onnxruntime"),
        ({"--threshold": "1.5"}, 2, "0 to 1"),
        ({"--threshold": "0"}, 2, "choose more"),
        ({"--rate": "nan"}, 2, "above 0"),
        ({"--record": "out.gif"}, 2, ".mp4"),
        ({"--truth": "none.jsonl"}, 2, "--truth none.jsonl: there is no such file"),
        ({"--replay": "none.session"}, 2, "one of --source and --replay"),
        ({"--token": "abc"}, 2, "--display web"),
        ({"--on-event-every": "1"}, 2, "is for --on-event"),
        ({"--frame-rate": "12"}, 2, "--frame-rate is for folders of frames"),
        ({"--raw-size": "8x6"}, 2, "--raw-size is for raw frames (--source -)"),
        ({"--camera-rate": "30"}, 2, "--camera-rate is for cameras"),
        ({"--source": "rtsp://host/a", "--camera-rate": "30"}, 2, "others say their own rate"),
        ({"--source": "0", "--frame-rate": "30"}, 2, "camera 0 is live"),
        ({"--detector": "none.onnx"}, 2, "--detector none.onnx: there is no such file"),
        ({"--recogniser": "none.json"}, 2, "--recogniser none.json: there is no such file"),
        ({"--deny": "wawe"}, 1, "wave"),
        ({"--allow": "No_gesture"}, 1, "'No_gesture', which is no gesture and never named"),
        ({"--modle": "x"}, 2, "There is no option --modle; did you mean --model?"),
        ({"--hop": "0"}, 2, "above 0"),
        ({"--on-event": "no-such-program {label}"}, 2, "no-such-program"),
        ({"--mqtt": "http://broker/topic"}, 2, "mqtt://"),
        ({"--events": "/proc/none/e.jsonl"}, 1, "/proc/none"),
    ],
)
def test_a_wrong_call_is_told_in_two_lines_at_most(model, video, changed, status, message, capsys):
    arguments = dict({"--model": model, "--source": video}, **changed)
    flat = [part for pair in arguments.items() for part in pair]
    got = run(*flat)
    err = capsys.readouterr().err
    assert got == status
    assert message in err
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    "wrong",
    [
        ("--record", "a.gif"),
        ("--display", "web", "--web", "nowhere"),
        ("--mqtt", "http://broker/topic"),
        ("--on-event", "no-such-program {label}"),
        ("--recogniser", "none.json"),
        ("--detector", "none.onnx"),
        ("--detector", "MODEL"),
        ("--source", "none.mp4"),
        ("--wait-for-camera",),
    ],
)
def test_what_needs_no_model_is_refused_before_one_is_opened(
    model, video, monkeypatch, wrong, capsys
):
    from clipedge.jetson import demo

    monkeypatch.setattr(demo, "open_runner", None)
    wrong = [str(model) if word == "MODEL" else word for word in wrong]
    assert run("--model", model, "--source", video, *wrong) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--loop", "--camera-rate 30", "--frame-rate 12", "--save-clips clips"]
)
def test_a_session_takes_no_options_of_a_source(model, tmp_path, flag, capsys):
    assert run("--model", model, "--replay", "a.session", *flag.split()) == 2
    assert f"{flag.split()[0]} is for --source" in capsys.readouterr().err


def test_the_backend_is_told_once(model, model_writer, video, tmp_path, caplog):
    detector = model_writer(
        tmp_path / "detector.onnx", spec=SPEC._replace(labels=("gesture", "no gesture"))
    )
    caplog.set_level("INFO", "clipedge")
    assert run("--model", model, "--source", video, "--detector", detector) == 0
    assert caplog.text.count("Backend:") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.pt", "export-engine --checkpoint net.pt --no-engine"),
        ("film.mp4", "is no model: give an ONNX file or an engine"),
    ],
)
def test_a_file_that_is_no_model_is_told_as_what_it_is(
    video, tmp_path, monkeypatch, name, message, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"\x00\x01" * 500)
    assert run("--model", name, "--source", video) == 2
    assert message in capsys.readouterr().err


def test_no_output_overwrites_an_input(model, video, tmp_path, capsys):
    before = video.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(video)
    assert run("--model", model, "--source", video, "--events", link) == 2
    assert "would overwrite an input" in capsys.readouterr().err
    assert video.read_bytes() == before


@pytest.mark.parametrize("wrong", [("--record", "a.gif"), ("--display", "web", "--web", "nowhere")])
def test_a_wrong_call_leaves_what_was_written_before(model, video, tmp_path, wrong):
    events, session = tmp_path / "events.jsonl", tmp_path / "a.session"
    events.write_text("of before\n")
    session.write_text("of before\n")
    assert run("--model", model, "--source", video, "--events", events,
               "--save-session", session, *wrong) == 2  # fmt: skip
    assert events.read_text() == session.read_text() == "of before\n"


def test_the_recording_has_every_frame_once_at_its_own_rate(model, video, tmp_path):
    record = tmp_path / "out.mp4"
    run("--model", model, "--source", video, "--record", record, "--backend", "onnxruntime")
    capture = cv2.VideoCapture(str(record))
    columns = []
    while True:
        grabbed, picture = capture.read()
        if not grabbed:
            break
        top = picture[: picture.shape[0] // 2].astype(int)
        columns.append(int(np.abs(top - 40).sum(axis=(0, 2)).argmax()))
    repeated = sum(a == b for a, b in zip(columns, columns[1:]))
    assert len(columns) == 72
    assert repeated < 15


def test_pictures_of_several_sizes_can_be_recorded(model, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(20):
        size = (48, 64) if number < 10 else (60, 100)
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((*size, 3), np.uint8))
    record = tmp_path / "out.mp4"
    status = run("--model", model, "--source", folder, "--record", record)
    assert status == 0
    assert record.exists()


class StoppedCamera(Source):
    """Stands in for a camera: a second of frames; something happens in the middle."""

    endless = True

    def __init__(self, happening):
        self.happening = happening

    def __iter__(self):
        for number in range(24):
            if number == 12:
                self.happening()
            yield Frame(np.full((48, 64, 3), 90, np.uint8), 100.0 + number / 24.0, number)


@pytest.mark.parametrize(
    ("stamps_s", "reason"),
    [
        ([], "no frame came"),
        ([0.1, 0.2], "frames came for 0.1 s, and a clip needs 0.5 s"),
        (range(5), "frames came with gaps"),
    ],
)
def test_a_run_that_scored_nothing_says_why(model, monkeypatch, caplog, stamps_s, reason):
    from clipedge.jetson import demo

    class Short(StoppedCamera):
        def __iter__(self):
            for number, stamp_s in enumerate(stamps_s):
                yield Frame(np.full((48, 64, 3), 90, np.uint8), stamp_s, number)

    monkeypatch.setattr(demo, "open_source", lambda *_: Short(None))
    assert run("--model", model, "--source", "0") == 0
    assert f"Nothing was scored: {reason}" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_keeps_recording_and_summary(model, tmp_path, monkeypatch, capsys, number):
    from clipedge.jetson import demo

    camera = StoppedCamera(lambda: os.kill(os.getpid(), number))
    monkeypatch.setattr(demo, "open_source", lambda *_: camera)
    record = tmp_path / "out.mp4"
    assert run("--model", model, "--source", "0", "--record", record) == 0
    assert "13 frames" in capsys.readouterr().err  # the step under way was finished
    assert cv2.VideoCapture(str(record)).get(cv2.CAP_PROP_FRAME_COUNT) == 13


class StoppedVideo(StoppedCamera):
    """Stands in for a file; ``paced``: one that keeps its own pace."""

    endless = False

    def __init__(self, happening, paced):
        super().__init__(happening)
        self._paced = paced

    @property
    def paced(self):
        return self._paced


@pytest.mark.parametrize(
    ("paced", "status", "said"), [(False, 1, "stopped before its end"), (True, 0, "stopped\n")]
)
def test_a_file_that_is_stopped_keeps_recording_and_summary(
    model, tmp_path, monkeypatch, capsys, paced, status, said
):
    from clipedge.jetson import demo

    video = StoppedVideo(lambda: os.kill(os.getpid(), signal.SIGINT), paced)
    monkeypatch.setattr(demo, "open_source", lambda *_: video)
    record = tmp_path / "out.mp4"
    assert run("--model", model, "--source", tmp_path, "--record", record) == status
    err = capsys.readouterr().err
    assert said in err and "13 frames" in err and "half-written" not in err
    assert cv2.VideoCapture(str(record)).get(cv2.CAP_PROP_FRAME_COUNT) == 13


@pytest.mark.parametrize(
    ("flags", "timed"), [([], False), (["--realtime"], True), (["--loop"], False)]
)
def test_only_what_comes_at_its_own_pace_has_a_wall_time(
    model, video, tmp_path, monkeypatch, flags, timed
):
    from clipedge.jetson.outputs.event_lines import EventLines

    events = tmp_path / "events.jsonl"
    if "--loop" in flags:
        named = property(lambda _: events.stat().st_size > 0)
        monkeypatch.setattr(EventLines, "stop_requested", named)
    assert run("--model", model, "--source", video, "--events", events, *flags) == 0
    times = [json.loads(line)["wall_time_s"] for line in events.read_text().splitlines()]
    assert times
    assert all((time_s is not None) == timed for time_s in times)


def test_a_camera_that_fails_for_good_keeps_the_recording(model, tmp_path, monkeypatch, capsys):
    from clipedge.jetson import demo

    def fail():
        raise SourceError("camera 0 gives no more frames")

    monkeypatch.setattr(demo, "open_source", lambda *_: StoppedCamera(fail))
    record = tmp_path / "out.mp4"
    assert run("--model", model, "--source", "0", "--record", record) == 1
    assert "no more frames" in capsys.readouterr().err
    assert cv2.VideoCapture(str(record)).get(cv2.CAP_PROP_FRAME_COUNT) == 12


def test_a_session_is_replayed_to_the_same_bytes(model, tmp_path, monkeypatch, caplog):
    from clipedge.jetson import demo

    session, live, again = (tmp_path / name for name in ("s.session", "live.jsonl", "again.jsonl"))
    with monkeypatch.context() as patched:
        patched.setattr(demo, "open_source", lambda *_: StoppedCamera(lambda: None))
        assert run("--model", model, "--source", "0", "--rate", "9", "--events", live,
                   "--save-session", session) == 0  # fmt: skip
    assert run("--model", model, "--replay", session, "--events", again) == 0
    assert live.read_bytes()
    assert again.read_bytes() == live.read_bytes()
    assert "Not as recorded" not in caplog.text
    assert run("--model", model, "--replay", session, "--threshold", "0.9", "--events", again) == 0
    assert "threshold 0.9, recorded 0.01" in caplog.text


def test_a_session_at_its_own_pace_has_the_same_bytes_too(model, video, tmp_path):
    session, first, again = (tmp_path / name for name in ("s.session", "a.jsonl", "b.jsonl"))
    assert run("--model", model, "--source", video, "--events", first,
               "--save-session", session) == 0  # fmt: skip
    before_s = time.monotonic()
    assert run("--model", model, "--replay", session, "--realtime", "--events", again) == 0
    assert time.monotonic() - before_s > 71 / 24
    assert first.read_bytes()
    assert again.read_bytes() == first.read_bytes()


def test_an_output_that_fails_ends_alone(model, video, tmp_path, monkeypatch, capsys):
    from clipedge.jetson.outputs.clip_saver import ClipSaver

    def full(self, step):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ClipSaver, "add", full)
    events, record = tmp_path / "events.jsonl", tmp_path / "out.mp4"
    status = run("--model", model, "--source", video, "--events", events,
                 "--save-clips", tmp_path / "clips", "--record", record)  # fmt: skip
    assert status == 1
    assert "--save-clips" in capsys.readouterr().err
    assert events.read_text()
    assert cv2.VideoCapture(str(record)).get(cv2.CAP_PROP_FRAME_COUNT) == 72


def test_real_videos_go_through_the_whole_path(model, shared, capsys):
    """Real videos of several codecs and rates go through the whole path."""
    for folder in ("action_clips", "gestures_ivokersten/TestClips/3m_Cluttered"):
        videos = sorted(pathlib.Path(str(shared / "data" / folder)).glob("*.*"))
        videos = [path for path in videos if path.suffix in (".avi", ".mp4")]
        assert videos
        for path in videos[:3]:
            assert run("--model", model, "--source", path, "--backend", "onnxruntime") == 0
            assert "clips scored" in capsys.readouterr().err


def test_a_window_that_is_closed_ends_a_file_as_its_end_does(model, video, monkeypatch, capsys):
    from clipedge.jetson.outputs.event_lines import EventLines

    monkeypatch.setattr(EventLines, "stop_requested", True)
    assert run("--model", model, "--source", video) == 0
    assert "1 frames" in capsys.readouterr().err
