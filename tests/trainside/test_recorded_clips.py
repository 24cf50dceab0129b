"""What gesture-record writes is what training reads."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from clipedge.jetson import class_folders
from clipedge.jetson.record_cli import main
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.clips import EvaluationClips
from clipedge.trainside.data.folder import SIDES
from clipedge.trainside.data.opening import DataChoice, open_catalog

CONDITION = "data/gestures_ivokersten/TestClips/2m_Clear"


@pytest.fixture
def recorded(tmp_path: Path, shared: Path) -> Path:
    """Two classes out of real videos, two clips each."""
    for label, name in (("wave", "Test_Clip_0.avi"), ("No gesture", "Test_Clip_4.avi")):
        line = ["--label", label, "--source", str(shared / CONDITION / name), "--seconds", "2.5",
                "--every", "1", "--count", "2", "--output", str(tmp_path / "own")]  # fmt: skip
        assert main(line) == 0
    return tmp_path / "own"


def test_training_finds_every_clip_in_its_class(recorded: Path) -> None:
    found = open_catalog(DataChoice(str(recorded)), "all")
    assert found.labels == ("No gesture", "wave")
    assert [recording.target for recording in found.recordings] == [0, 0, 1, 1]
    assert class_folders.ClassFolders(recorded).counts() == {"No gesture": 2, "wave": 2}


def test_a_clip_of_the_model_fits_in_a_recorded_clip(recorded: Path) -> None:
    spec = ClipSpec("tiny", ("No gesture", "wave"), size=32)
    clips = EvaluationClips(open_catalog(DataChoice(str(recorded)), "all"), spec)
    for number in range(len(clips)):
        video = clips[number]
        assert not video.problem
        assert video.frames.shape == (1, *spec.clip_shape)


def test_pyav_sees_the_frames_and_times_that_opencv_sees(recorded: Path) -> None:
    path = recorded / "wave" / "wave_0001.avi"
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    capture = cv2.VideoCapture(str(path))
    assert len(frames) == 50
    for number, frame in enumerate(frames):
        assert frame.time == pytest.approx(number / 20.0, abs=0.002)
        grabbed, picture = capture.read()
        assert grabbed
        assert np.abs(frame.to_ndarray(format="bgr24").astype(int) - picture).mean() < 2.0


def test_recording_and_training_know_the_same_two_sides() -> None:
    assert tuple(SIDES.values()) == class_folders.SIDES
