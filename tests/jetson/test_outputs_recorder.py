"""The annotated video: its pace, what it holds, and what is left when writing fails."""

import collections
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from clipedge.jetson.camera import Frame
from clipedge.jetson.camera.source import LIVE, LOST, SourceStatus
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs import recorder as recorder_module
from clipedge.jetson.outputs.output import Output, Outputs
from clipedge.jetson.outputs.recorder import RATE_HZ, Recorder

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

LABELS = ("wave", "swipe")
TICK = Step(None, None, None, None)


def frame_step(time_s, level=60, size=(48, 64), event=None, number=0):
    image = np.full((*size, 3), level, np.uint8)
    scores = np.array([0.9, 0.1], np.float32)
    return Step(Frame(image, time_s, number), scores, event, 8.0)


def noise_step(time_s):
    image = np.random.RandomState(int(time_s * 1000)).randint(0, 256, (480, 640, 3))
    return Step(Frame(image.astype(np.uint8), time_s, 0), None, None, None)


def pictures(path):
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(RATE_HZ)
    got = []
    while True:
        grabbed, picture = capture.read()
        if not grabbed:
            return got
        got.append(picture)


def left_behind(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("rate_hz", [10, 24, 30, 120])
def test_the_video_is_as_long_as_the_run_whatever_the_camera_s_rate(tmp_path, rate_hz):
    path = tmp_path / "out.mp4"
    with Recorder(path, LABELS) as recorder:
        for number in range(2 * rate_hz):
            recorder.add(frame_step(1000.0 + number / float(rate_hz), level=number % 200))
    expected = round((2.0 - 1.0 / rate_hz) * RATE_HZ) + 1
    assert len(pictures(path)) == expected
    assert left_behind(tmp_path) == ["out.mp4"]


def test_the_gesture_and_the_timeline_are_on_the_source_s_clock(tmp_path):
    """A file that passes in an instant is drawn as it was filmed."""
    path = tmp_path / "out.mp4"
    with Recorder(path, LABELS) as recorder:
        for number in range(72):
            event = GestureEvent(1.0, "wave", 0.9, 8.0) if number == 24 else None
            recorder.add(frame_step(number / 24.0, event=event))

    def green(picture):
        name = picture[10:60, picture.shape[1] - 260 :].astype(int)
        return int((name[:, :, 1] - name[:, :, 2] > 50).sum())

    shown = [green(picture) > 50 for picture in pictures(path)]
    # 1.5 s of colour from the second second on.
    assert shown == [False] * 24 + [True] * 36 + [False] * 12


def test_a_stretch_without_the_camera_is_in_the_video(tmp_path, monkeypatch):
    now_s = [50.0]
    clock = types.SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(recorder_module, "time", clock)
    status = [SourceStatus(LIVE)]
    path = tmp_path / "out.mp4"
    with Recorder(path, LABELS, lambda: status[0]) as recorder:
        recorder.add(TICK)  # before the first picture
        recorder.add(frame_step(50.0, level=200))
        status[0] = SourceStatus(LOST, "its cable is out")
        for _ in range(20):
            now_s[0] += 0.1
            recorder.add(TICK)
        status[0] = SourceStatus(LIVE)
        now_s[0] += 0.1
        recorder.add(frame_step(52.1, level=200))
    got = [int(picture[60, 100].mean()) for picture in pictures(path)]
    assert len(got) == round(2.1 * RATE_HZ) + 1
    assert got[0] > 180
    assert max(got[2:-2]) < 130
    assert got[-1] > 180


def test_a_camera_that_changes_its_size_stays_in_one_video(tmp_path):
    path = tmp_path / "out.mp4"
    with Recorder(path, LABELS) as recorder:
        recorder.add(frame_step(0.0, size=(480, 640), level=250))
        recorder.add(frame_step(1.0, size=(480, 320), level=250))
    got = pictures(path)
    assert len(got) == 25
    assert got[0][240, 20].mean() > 200
    assert got[-1][240, 20].mean() < 60  # beside the narrower picture
    assert got[-1][240, 320].mean() > 200


def test_a_run_without_a_picture_leaves_no_file(tmp_path, caplog):
    with Recorder(tmp_path / "out.mp4", LABELS) as recorder:
        recorder.add(TICK)
    assert left_behind(tmp_path) == []
    assert "no picture came" in caplog.text


def test_the_video_of_before_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"of before")
    recorder = Recorder(path, LABELS)
    recorder.add(frame_step(0.0))
    assert path.read_bytes() == b"of before"
    recorder.close()
    assert len(pictures(path)) == 1
    recorder.close()
    assert len(pictures(path)) == 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError])
def test_a_run_that_is_cut_off_keeps_its_video(tmp_path, end):
    with pytest.raises(end), Recorder(tmp_path / "out.mp4", LABELS) as recorder:
        recorder.add(frame_step(0.0))
        recorder.add(frame_step(1.0))
        raise end
    assert len(pictures(tmp_path / "out.mp4")) == 25


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("out.avi", UsageError, "ends in .mp4"),
        ("out", UsageError, "ends in .mp4"),
        ("folder.mp4", ClipedgeError, "it is a folder"),
        ("file/out.mp4", ClipedgeError, "a folder is needed"),
    ],
)
def test_a_name_that_cannot_be_written_is_told_before_the_run(tmp_path, name, error, message):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match=message):
        Recorder(tmp_path / name, LABELS)


class Counter(Output):
    """Another output of the same run."""

    name = "counter"
    steps = 0

    def add(self, step):
        self.steps += 1


def test_a_disk_that_fills_up_ends_the_video_and_not_the_run(tmp_path, monkeypatch, caplog):
    """What was recorded is kept: the end of the file still has room."""
    usage = collections.namedtuple("usage", "total used free")
    free = [100 << 20]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, free[0]))
    other = Counter()
    with Outputs([Recorder(tmp_path / "out.mp4", LABELS), other]) as outputs:
        for number in range(100):
            free[0] = (100 - number) << 20
            outputs.add(frame_step(number / 24.0))
    assert outputs.failed
    assert other.steps == 100
    assert "the disk is full" in caplog.text
    assert "after 4.0 s" in caplog.text
    assert len(pictures(tmp_path / "out.mp4")) == 96
    assert left_behind(tmp_path) == ["out.mp4"]


def test_a_disk_that_is_full_from_the_start_leaves_nothing(tmp_path, monkeypatch, caplog):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1 << 20))
    with Outputs([Recorder(tmp_path / "out.mp4", LABELS)]) as outputs:
        outputs.add(frame_step(0.0))
    assert outputs.failed
    assert "the disk is full" in caplog.text
    assert left_behind(tmp_path) == []


def test_a_clock_that_leaps_does_not_fill_the_disk(tmp_path):
    path = tmp_path / "out.mp4"
    with Recorder(path, LABELS) as recorder:
        for time_s in (0.0, 1.0, 1e7, 1e7 + 1.0, 5.0, 1e7 + 2.0):
            recorder.add(frame_step(time_s))
    assert len(pictures(path)) < 35 * RATE_HZ


@pytest.mark.parametrize("error", [cv2.error("no"), SystemError("no error was set")])
def test_an_encoder_that_fails_does_not_hold_up_the_run(tmp_path, monkeypatch, error):
    def write(picture):
        raise error

    def failing(*_):
        return types.SimpleNamespace(isOpened=lambda: True, write=write, release=lambda: None)

    monkeypatch.setattr(cv2, "VideoWriter", failing)
    recorder = Recorder(tmp_path / "a.mp4", LABELS)

    def run():
        for number in range(40):
            recorder.add(frame_step(number / RATE_HZ))

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(30)
    assert not worker.is_alive()
    with pytest.raises(ClipedgeError, match="0 of 40 frames"):
        recorder.close()
    assert left_behind(tmp_path) == []


def test_encoding_ends_with_its_thread(tmp_path):
    before = threading.active_count()
    with Recorder(tmp_path / "out.mp4", LABELS) as recorder:
        recorder.add(frame_step(0.0))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 18 MB, for who may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=18m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("a small file system cannot be mounted here: it takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_real_disk_that_fills_up_leaves_a_video_that_plays(small_disk, caplog):
    with Outputs([Recorder(small_disk / "out.mp4", LABELS)]) as outputs:
        for number in range(300):
            outputs.add(noise_step(number / 24.0))
            if outputs.failed:
                break
    assert outputs.failed
    assert "the disk is full" in caplog.text
    assert len(pictures(small_disk / "out.mp4")) >= 24
    assert left_behind(small_disk) == ["out.mp4"]


SCRIPT = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000))
sys.path.insert(0, sys.argv[2])
from test_outputs_recorder import Recorder, noise_step, LABELS
recorder = Recorder(sys.argv[1], LABELS)
for number in range(48):
    recorder.add(noise_step(number / 24.0))
try:
    recorder.close()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_file_that_may_not_grow_is_told_and_removed(tmp_path):
    """No free space tells of a quota or a limit: the file is looked at when it is finished."""
    here = pathlib.Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "out.mp4"), str(here)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    assert done.stdout.startswith(b"ClipedgeError"), done.stderr.decode()
    assert b"could not be written whole" in done.stdout
    assert left_behind(tmp_path) == []
