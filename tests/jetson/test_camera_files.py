"""Recordings as sources: damaged ones, changing sizes, played at their own pace or in a loop."""

import argparse
import time

import numpy as np
import pytest

from clipedge.jetson.camera import Frame, Source, SourceOptions, open_source
from clipedge.jetson.camera.playback import Loop, RealTime
from clipedge.jetson.camera.source import TICK_S
from clipedge.jetson.motion_jpeg import write_avi
from clipedge.jetson.source_options import add_source_arguments, source_options

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

RATE_HZ = 20.0


def jpegs(count, size=(64, 48)):
    """Pictures whose red value is their number times two."""
    coded = []
    for number in range(count):
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[..., 2] = number * 2
        coded.append(cv2.imencode(".jpg", picture)[1].tobytes())
    return coded


def numbers_in(frames):
    return [round(float(frame.image[..., 0].mean()) / 2) for frame in frames]


@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_frames_that_cannot_be_decoded_are_skipped_and_counted(tmp_path, caplog, kind):
    pictures = jpegs(100)
    noise = np.random.RandomState(0).bytes(1000)
    for number in range(40, 50):
        pictures[number] = bytes(1000) if kind == "zeros" else noise
    write_avi(tmp_path / "a.avi", pictures, RATE_HZ, (64, 48))
    with open_source(str(tmp_path / "a.avi")) as source:
        frames = list(source)
    left = [*range(40), *range(50, 100)]
    assert np.abs(np.array(numbers_in(frames)) - left).max() <= 1
    stamps_s = [frame.timestamp_s for frame in frames]
    assert np.abs(np.array(stamps_s) - np.array(left) / RATE_HZ).max() < 0.002
    assert caplog.text.count("10 frames could not be decoded") == 1


def test_a_whole_file_is_not_called_damaged(tmp_path, caplog):
    write_avi(tmp_path / "a.avi", jpegs(30), RATE_HZ, (64, 48))
    with open_source(str(tmp_path / "a.avi")) as source:
        assert len(list(source)) == 30
    assert caplog.text == ""


def test_a_size_that_changes_in_the_middle_goes_on(tmp_path):
    pictures = jpegs(20) + jpegs(20, (128, 96))
    write_avi(tmp_path / "a.avi", pictures, RATE_HZ, (64, 48))
    with open_source(str(tmp_path / "a.avi")) as source:
        frames = list(source)
    assert len(frames) == 40
    assert numbers_in(frames)[-1] == pytest.approx(19, abs=1)


def test_a_video_is_played_again_and_its_times_and_numbers_go_on(tmp_path, caplog):
    pictures = jpegs(12)
    pictures[5] = bytes(100)
    write_avi(tmp_path / "a.avi", pictures, RATE_HZ, (64, 48))
    with open_source(str(tmp_path / "a.avi"), SourceOptions(loop=True)) as source:
        assert source.endless
        iterator = iter(source)
        frames = [next(iterator) for _ in range(33)]
        assert source.status.frames == 33
    seen = [number for number in range(12) if number != 5]
    assert np.abs(np.array(numbers_in(frames)) - seen * 3).max() <= 1
    stamps_s = np.array([frame.timestamp_s for frame in frames])
    steps = np.diff(stamps_s) * RATE_HZ
    assert np.allclose(steps[steps < 1.5], 1.0, atol=0.05) and np.count_nonzero(steps > 1.5) == 3
    assert [frame.number for frame in frames] == list(range(33))
    assert caplog.text.count("could not be decoded") == 1  # not again at each end


def test_a_folder_is_played_again(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6, 3), number, np.uint8))
    options = SourceOptions(loop=True, frame_rate_hz=10.0)
    with open_source(str(tmp_path), options) as source:
        iterator = iter(source)
        frames = [next(iterator) for _ in range(7)]
    assert [frame.timestamp_s for frame in frames] == pytest.approx(np.arange(7) / 10.0)
    assert [frame.image.max() for frame in frames] == [0, 1, 2, 0, 1, 2, 0]


class Recording(Source):
    """Frames at a rate, at once."""

    name = "recording"

    def __init__(self, count, rate_hz, start_s=0.0):
        self.stamps_s = [start_s + number / rate_hz for number in range(count)]

    def __iter__(self):
        for number, stamp_s in enumerate(self.stamps_s):
            yield Frame(np.zeros((2, 2, 3), np.uint8), stamp_s, number)


def test_a_file_at_its_own_pace_comes_when_it_is_due_with_its_own_times():
    source = RealTime(Recording(11, 20.0, start_s=3.0))
    began_s = time.monotonic()
    late_s, frames = [], []
    for frame in source.pictures():
        late_s.append(time.monotonic() - began_s - (frame.timestamp_s - 3.0))
        frames.append(frame)
    assert min(late_s) > -0.005
    assert [frame.timestamp_s for frame in frames] == [3.0 + f.number / 20.0 for f in frames]
    assert len(frames) + source.status.dropped == source.status.frames == 11
    assert frames[-1].number == 10


def test_who_is_slow_loses_frames_of_a_file_at_its_own_pace():
    source = RealTime(Recording(40, 100.0))
    numbers = []
    for frame in source.pictures():
        numbers.append(frame.number)
        time.sleep(0.1)
    assert len(numbers) <= 6
    assert numbers[-1] == 39  # the last one is never lost
    assert len(numbers) + source.status.dropped == 40


def test_a_file_that_is_decoded_too_slowly_is_played_slower(tmp_path):
    class Slow(Recording):
        def __iter__(self):
            for frame in super().__iter__():
                time.sleep(0.05)
                yield frame

    numbers = [frame.number for frame in RealTime(Slow(40, 100.0)).pictures()]
    assert len(numbers) > 10


def test_a_gap_in_a_file_at_its_own_pace_yields_none_at_every_tick():
    recording = Recording(2, 1.0 / (10 * TICK_S))
    frames = list(RealTime(recording))
    assert frames.count(None) >= 3
    assert [frame.number for frame in frames if frame is not None] == [0, 1]


def test_a_loop_at_its_own_pace_goes_on_across_the_end():
    source = RealTime(Loop(Recording(3, 50.0), lambda: Recording(3, 50.0)))
    assert source.endless
    began_s = time.monotonic()
    for frame in source.pictures():
        if frame.number >= 20:
            break
    assert time.monotonic() - began_s >= frame.timestamp_s - 0.005 >= 0.39


def test_the_rate_of_a_folder_is_told_where_it_is_not_given(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    caplog.set_level("INFO", "clipedge")
    open_source(str(tmp_path), SourceOptions(frame_rate_hz=12.0)).close()
    assert caplog.text == ""
    open_source(str(tmp_path), SourceOptions(folder_rate_hz=24.0)).close()
    assert caplog.text.count("taken to be 24 a second") == 1


def test_flags_become_options():
    parser = argparse.ArgumentParser()
    add_source_arguments(parser, required=True, folder_rate="12")
    assert source_options(parser.parse_args(["--source", "0"]), 12.0) == SourceOptions()
    flags = (
        "--source - --camera-size 1280x720 --camera-rate 60 --camera-flip 2 --wait-for-camera "
        "--realtime --loop --frame-rate 15 --raw-size 8x6 --raw-format gray"
    )
    assert source_options(parser.parse_args(flags.split()), 10.0) == SourceOptions(
        size=(1280, 720),
        rate_hz=60.0,
        flip=2,
        wait=True,
        realtime=True,
        loop=True,
        frame_rate_hz=15.0,
        folder_rate_hz=10.0,
        raw_size=(8, 6),
        raw_format="gray",
    )


@pytest.mark.parametrize("text", ["640", "640x", "0x480", "640x-1", "99999x10", "axb"])
def test_what_is_no_size_is_refused(text, capsys):
    parser = argparse.ArgumentParser()
    add_source_arguments(parser, required=False, folder_rate="12")
    with pytest.raises(SystemExit):
        parser.parse_args(["--camera-size", text])
    assert "640x480" in capsys.readouterr().err
