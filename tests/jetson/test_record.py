"""gesture-record as a user runs it, with a camera that is not one."""

import errno
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from clipedge.jetson import motion_jpeg, record
from clipedge.jetson.camera import Frame, Source, SourceStatus
from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.errors import SourceError
from clipedge.jetson.record_cli import main

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

REAL = "data/gestures_ivokersten/TestClips/2m_Clear/Test_Clip_0.avi"


class FakeCamera(Source):
    """Gives frames as fast as they are asked for, stamped as if at a rate; goes after some."""

    endless = True

    def __init__(self, rate_hz=30.0, frames=10000, stall=(0, 0.0)):
        self.rate_hz = rate_hz
        self.frames = frames
        self.stall = stall  # number of the frame that comes late, and by how many seconds

    def __iter__(self):
        at, late_s = self.stall
        for number in range(self.frames):
            image = np.full((48, 64, 3), number % 200, np.uint8)
            yield Frame(image, 500 + number / self.rate_hz + late_s * (number >= at), number)
        raise SourceError("camera 0 gives no more frames. Was it unplugged?")


@pytest.fixture
def camera(monkeypatch):
    """`camera(**options)`: every source is such a FakeCamera from now on."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def plug(**options):
        monkeypatch.setattr(record, "open_source", lambda text, rate_hz: FakeCamera(**options))

    return plug


def run(output, *arguments):
    flags = ["--label", "wave", "--source", "0", "--output", output, *arguments]
    return main([str(flag) for flag in flags])


def held(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def write_video(path, count=60, rate_hz=20.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate_hz, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), number * 4, np.uint8))
    writer.release()
    return path


# --- From a video --------------------------------------------------------------------------------


def test_a_video_gives_clips_one_after_the_other_without_a_question(tmp_path, capsys):
    video = write_video(tmp_path / "in.mp4")
    assert run(tmp_path / "out", "--source", video, "--seconds", "1") == 0
    assert held(tmp_path / "out") == [f"wave/wave_000{n}.avi" for n in (1, 2, 3)]
    out, err = capsys.readouterr()
    assert "wave_0003.avi: 20 frames at 20.0 Hz, 1.0 s" in out
    assert "One class is not enough" in out
    assert "3 of 20 clips" in err
    with VideoFile(tmp_path / "out/wave/wave_0002.avi") as source:
        frames = list(source)
    assert [round(f.timestamp_s * 20) for f in frames] == list(range(20))
    assert frames[0].image.mean() == pytest.approx(80, abs=4)


def test_clips_are_added_and_none_is_overwritten(tmp_path):
    video, out = write_video(tmp_path / "in.mp4"), tmp_path / "out"
    run(out, "--source", video, "--seconds", "1", "--count", "2")
    before = {name: (out / name).read_bytes() for name in held(out)}
    assert len(before) == 2
    run(out, "--source", video, "--seconds", "1", "--every", "0.5", "--count", "3")
    assert len(held(out)) == 5
    assert {name: (out / name).read_bytes() for name in before} == before


def test_a_short_video_is_kept_whole_and_said_to_be_short(tmp_path, capsys):
    video = write_video(tmp_path / "in.mp4", count=20)
    assert run(tmp_path / "out", "--source", video) == 0
    assert held(tmp_path / "out") == ["wave/wave_0001.avi"]
    assert "Only 1.0 s of 3 s" in capsys.readouterr().err


def test_a_folder_of_frames_is_a_source_too(tmp_path):
    (tmp_path / "frames").mkdir()
    for number in range(24):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), np.zeros((48, 64, 3), np.uint8))
    assert run(tmp_path / "out", "--source", tmp_path / "frames", "--seconds", "1") == 0
    assert len(held(tmp_path / "out")) == 2


def test_a_real_video_gives_clips_that_are_read_back(tmp_path, shared):
    assert run(tmp_path / "out", "--source", shared / REAL, "--seconds", "2.5") == 0
    assert held(tmp_path / "out") == ["wave/wave_0001.avi", "wave/wave_0002.avi"]
    for path in (tmp_path / "out" / "wave").iterdir():
        with VideoFile(path) as source:
            stamps_s = [frame.timestamp_s for frame in source]
        assert len(stamps_s) == 50
        assert np.abs(np.array(stamps_s) - np.arange(50) / 20.0).max() < 0.002


# --- From a camera, without questions ------------------------------------------------------------


def test_a_camera_gives_the_clips_asked_for(tmp_path, camera, capsys):
    camera(rate_hz=30.0)
    assert run(tmp_path, "--yes", "--count", "3", "--seconds", "2") == 0
    assert held(tmp_path) == [f"wave/wave_000{n}.avi" for n in (1, 2, 3)]
    assert capsys.readouterr().out.count("60 frames at 30.0 Hz, 2.0 s") == 3
    with VideoFile(tmp_path / "wave/wave_0001.avi") as source:
        frames = list(source)
    # The countdown of 3 s is not in the clip.
    assert frames[0].image.mean() == pytest.approx(91, abs=2)
    assert len(frames) == 60


def test_pictures_from_before_are_not_recorded_without_a_countdown_either(tmp_path, camera):
    camera(rate_hz=30.0)
    assert run(tmp_path, "--yes", "--count", "1", "--seconds", "1", "--countdown", "0") == 0
    with VideoFile(tmp_path / "wave/wave_0001.avi") as source:
        assert next(iter(source)).image.mean() >= 9


def test_a_slow_camera_is_said(tmp_path, camera, capsys):
    camera(rate_hz=5.0)
    assert run(tmp_path, "--yes", "--count", "1") == 0
    assert "Only 5.0 frames a second" in capsys.readouterr().err


def test_a_gap_is_said(tmp_path, camera, capsys):
    camera(stall=(120, 0.5))
    assert run(tmp_path, "--yes", "--count", "1") == 0
    assert "No picture for 0.53 s" in capsys.readouterr().err


def test_a_camera_that_goes_leaves_what_was_kept(tmp_path, camera, capsys):
    camera(frames=250)  # of 6 s a clip with its countdown, at 30 Hz
    assert run(tmp_path, "--yes") == 1
    out, err = capsys.readouterr()
    assert held(tmp_path) == ["wave/wave_0001.avi"]
    assert "wave       1" in out
    assert err.splitlines()[-1].startswith("gesture-record: camera 0 gives no more frames")


class BriefLoss(FakeCamera):
    """Is lost for a moment at each of these frames."""

    at = ()
    state = "live"

    @property
    def status(self):
        return SourceStatus(self.state)

    def __iter__(self):
        for frame in super().__iter__():
            if frame.number in self.at:
                self.state = "lost"
                yield None
                self.state = "live"
            yield None  # a tick alone is no loss
            yield frame


def test_a_clip_begins_anew_when_the_camera_was_lost_and_kept_ones_stay(
    tmp_path, monkeypatch, capsys
):
    camera = BriefLoss(rate_hz=30.0)
    camera.at = (60, 350)  # in the first countdown; while the second clip is recorded
    monkeypatch.setattr(record, "open_source", lambda text, options: camera)
    assert run(tmp_path, "--yes", "--count", "2", "--seconds", "2", "--preview", "none") == 0
    assert capsys.readouterr().err.count("begins anew when the camera is back") == 2
    assert len(held(tmp_path)) == 2
    for name, first in (("wave_0001.avi", 61 + 1 + 90), ("wave_0002.avi", 351 + 90)):
        with VideoFile(tmp_path / "wave" / name) as source:
            frames = list(source)
        assert len(frames) == 60
        assert frames[0].image.mean() == pytest.approx(first % 200, abs=3)


def test_a_full_disk_leaves_what_was_kept_and_nothing_half_written(
    tmp_path, camera, monkeypatch, capsys
):
    camera()
    whole, calls = motion_jpeg._write, []

    def write(file, pictures, stream):
        calls.append(1)
        if len(calls) == 3:
            file.write(b"RIFF")
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(file, pictures, stream)

    monkeypatch.setattr(motion_jpeg, "_write", write)
    assert run(tmp_path, "--yes") == 1
    assert held(tmp_path) == ["wave/wave_0001.avi", "wave/wave_0002.avi"]
    assert "wave_0003.avi: the disk is full" in capsys.readouterr().err


def test_a_first_clip_that_cannot_be_written_leaves_no_class(tmp_path, camera, monkeypatch):
    def write(file, pictures, stream):
        raise OSError(errno.ENOSPC, "No space left on device")

    camera()
    monkeypatch.setattr(motion_jpeg, "_write", write)
    assert run(tmp_path, "--yes") == 1
    assert list(tmp_path.iterdir()) == []


# --- Wrong calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--label", "a/b"], 2, "makes a folder everywhere"),
        (["--source", "none.mp4"], 2, "no such source"),
        (["--count", "0"], 2, "above 0"),
        (["--seconds", "61"], 2, "a clip holds one gesture"),
        (["--countdown", "-1"], 2, "from 0 to 60"),
        (["--source", "97"], 1, "there is no /dev/video97"),
    ],
)
def test_a_wrong_call_is_told_in_two_lines_at_most_and_leaves_nothing(
    tmp_path, arguments, status, message, capsys
):
    assert run(tmp_path / "out", *arguments) == status
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) <= 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["--label", "--source"])
def test_what_is_missing_is_named(tmp_path, missing, capsys):
    given = {"--label": "wave", "--source": "0"}
    del given[missing]
    flags = [part for pair in given.items() for part in pair]
    assert main(["--output", str(tmp_path), *flags]) == 2
    assert f"{missing} is missing" in capsys.readouterr().err


def test_questions_without_a_terminal_are_refused_before_recording(tmp_path, camera, capsys):
    camera()
    assert run(tmp_path) == 2
    assert "--yes keeps them all" in capsys.readouterr().err
    assert held(tmp_path) == []


def test_a_distance_between_clips_is_refused_for_a_camera(tmp_path, camera, capsys):
    camera()
    assert run(tmp_path, "--yes", "--every", "1") == 2
    assert "--every is for a video" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_heard_of_before_recording(tmp_path, camera, capsys):
    camera(frames=0)
    (tmp_path / "file").write_text("x")
    assert run(tmp_path / "file" / "out", "--yes") == 1
    assert "a part of its path is a file" in capsys.readouterr().err


def test_the_list_shows_the_classes_and_what_to_do_next(tmp_path, capsys):
    for name in ("wave", "No gesture"):
        (tmp_path / name).mkdir()
        for number in range(6):
            (tmp_path / name / f"{number}.avi").write_bytes(b"video")
    assert main(["--list", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[2:4]] == [
        ["No", "gesture", "6"],
        ["wave", "6"],
    ]
    assert "train-clips fit" in out
    assert main(["--list", "--output", str(tmp_path / "none")]) == 2


# --- The conversation, on a terminal of its own --------------------------------------------------

DRIVER = """
import runpy, sys, time
tests = runpy.run_path(sys.argv[1])

class Slower(tests["FakeCamera"]):
    def __iter__(self):
        for frame in super().__iter__():
            time.sleep(0.001)
            yield frame

tests["record"].open_source = lambda text, rate_hz: Slower(frames=10 ** 6)
sys.exit(tests["main"](sys.argv[2:]))
"""
DEADLINE_S = 20.0


class Conversation:
    """A person at a terminal: waits for what is asked, and presses keys."""

    def __init__(self, output, *arguments):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        environment = {k: v for k, v in os.environ.items() if not k.endswith("DISPLAY")}
        flags = ["--label", "wave", "--source", "0", "--output", str(output), *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, os.path.abspath(__file__), *flags],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment,
            start_new_session=True,
        )
        self.unread = ""

    def wait_for(self, text):
        end_s = time.monotonic() + DEADLINE_S
        while text not in self.unread:
            assert time.monotonic() < end_s, f"no {text!r} in {self.unread[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.unread += os.read(self.master, 65536).decode()
        seen, _, self.unread = self.unread.partition(text)
        return seen

    def press(self, keys):
        os.write(self.master, keys.encode())

    def answer(self, keys):
        self.wait_for("Enter keep")
        self.press(keys)

    def end(self):
        """Return the exit status and all that was not read yet."""
        end_s = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < end_s:
            if select.select([self.master], [], [], 0.05)[0]:
                self.unread += os.read(self.master, 65536).decode()
        while select.select([self.master], [], [], 0.05)[0]:
            self.unread += os.read(self.master, 65536).decode()
        return self.process.poll(), self.unread

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def converse(tmp_path):
    begun = []

    def begin(*arguments):
        begun.append(Conversation(tmp_path, *arguments))
        return begun[-1]

    yield begin
    for conversation in begun:
        conversation.close()


def test_clips_are_kept_repeated_and_deleted_by_single_keys(tmp_path, converse):
    talk = converse("--count", "3", "--seconds", "1")
    talk.wait_for("wave 1 of 3: 3")
    talk.wait_for("wave 1 of 3: 2")
    talk.wait_for("wave 1 of 3: 1")
    talk.wait_for("wave 1 of 3: go")
    talk.wait_for("30 frames at 30.0 Hz, 1.0 s")
    talk.answer("\n")
    talk.wait_for("wave_0001.avi: 30 frames")
    talk.answer("a")  # again
    talk.wait_for("wave 2 of 3: go")
    talk.answer("\n")
    talk.wait_for("wave_0002.avi: 30 frames")
    assert held(tmp_path) == ["wave/wave_0001.avi", "wave/wave_0002.avi"]
    talk.wait_for("wave 3 of 3: go")
    talk.wait_for("d delete wave_0002.avi")
    talk.press("d")
    talk.wait_for("deleted")
    talk.wait_for("wave 2 of 3: 30 frames")
    assert held(tmp_path) == ["wave/wave_0001.avi"]
    talk.answer("\n")
    talk.wait_for("wave 3 of 3: go")
    talk.answer("q")
    status, rest = talk.end()
    assert status == 0
    assert "One class is not enough" in rest
    assert held(tmp_path) == ["wave/wave_0001.avi", "wave/wave_0002.avi"]
    assert termios.tcgetattr(talk.slave) == talk.before


def test_without_a_window_a_clip_is_looked_at_in_a_file_that_goes_at_the_end(tmp_path, converse):
    (tmp_path / "review_1.png").write_bytes(b"of somebody else")
    talk = converse("--count", "1", "--seconds", "1")
    talk.answer("p")
    talk.wait_for("16 pictures of it")
    talk.wait_for("Enter keep")
    assert cv2.imread(str(tmp_path / "review_2.png")) is not None
    talk.press("\n")
    assert talk.end()[0] == 0
    assert held(tmp_path) == ["review_1.png", "wave/wave_0001.avi"]
    assert (tmp_path / "review_1.png").read_bytes() == b"of somebody else"


def test_only_keys_that_answer_count(tmp_path, converse):
    talk = converse("--count", "1", "--seconds", "1")
    talk.answer("\x1b[A")  # an arrow
    talk.press("xyd7")
    talk.press("Q")
    status, _ = talk.end()
    assert status == 0
    assert held(tmp_path) == []


def test_a_key_pressed_too_early_keeps_nothing(tmp_path, converse):
    talk = converse("--count", "1", "--seconds", "3")
    talk.wait_for("wave 1 of 1: go")
    talk.press("\n\n")
    talk.wait_for("Enter keep")
    time.sleep(0.3)
    assert held(tmp_path) == []
    talk.press("q")
    assert talk.end()[0] == 0


def test_ctrl_c_leaves_what_was_kept_and_the_terminal_as_it_was(tmp_path, converse):
    talk = converse("--count", "3", "--seconds", "1")
    talk.answer("\n")
    talk.wait_for("wave 2 of 3: go")
    os.kill(talk.process.pid, signal.SIGINT)
    status, rest = talk.end()
    assert status == 1
    assert "Traceback" not in rest
    assert "interrupted; no file is left half-written" in rest
    assert "wave       1" in rest
    assert held(tmp_path) == ["wave/wave_0001.avi"]
    assert termios.tcgetattr(talk.slave) == talk.before
