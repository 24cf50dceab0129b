"""A folder of classes: which frames make a window, and what damaged files do."""

import numpy as np
import pytest

from clipedge.jetson.camera import open_source
from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.folder import FolderClips, read_on_grid
from clipedge.trainside.data.windows import load_windows

SPEC = ClipSpec("any", ("a", "b"), frames=4, size=16)  # a frame every 1/6 s


@pytest.mark.parametrize("rate_hz", [6.0, 12.0, 24.0, 30.0])
def test_frames_are_chosen_by_time_whatever_the_rate(tmp_path, rate_hz, write_video, grey_ramp):
    video = write_video(tmp_path / "v.avi", grey_ramp(60), rate_hz)
    levels = read_on_grid(video, SPEC).mean(axis=(1, 2, 3))
    numbers = np.rint(np.arange(len(levels)) * rate_hz / 6)
    np.testing.assert_allclose(levels, numbers * 4, atol=3)
    assert len(levels) == pytest.approx(60 / rate_hz * 6, abs=1)


@pytest.mark.parametrize("rate_hz", [10.0, 25.0, 30.0])
def test_training_sees_the_frames_that_the_live_path_sees(
    tmp_path, rate_hz, write_video, grey_ramp
):
    video = write_video(tmp_path / "v.avi", grey_ramp(60), rate_hz)
    preprocess, buffer = Preprocessor(SPEC), ClipBuffer(SPEC)
    grid = read_on_grid(video, SPEC)
    with open_source(str(video), SPEC.frame_rate_hz) as source:
        for frame in source:
            buffer.push(preprocess(frame.image), frame.timestamp_s)
            steps = frame.timestamp_s / SPEC.spacing_s
            if buffer.ready and abs(steps - round(steps)) < 1e-3:  # at a time of the grid
                live = buffer.clip()[0].transpose(1, 0, 2, 3)
                last = round(steps) + 1
                np.testing.assert_allclose(grid[last - 4 : last], live, atol=4.5)


def test_frames_are_read_in_the_order_of_their_numbers(tmp_path, write_video):
    import cv2

    folder = tmp_path / "v"
    folder.mkdir()
    for number in range(1, 13):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((16, 16, 3), number * 10, np.uint8))
    levels = read_on_grid(folder, SPEC).mean(axis=(1, 2, 3))
    assert (np.diff(levels) > 0).all()


def test_a_slow_video_repeats_its_nearest_frame(tmp_path, write_video, grey_ramp):
    video = write_video(tmp_path / "v.avi", grey_ramp(10, step=20), rate_hz=3.0)
    levels = read_on_grid(video, SPEC).mean(axis=(1, 2, 3))
    assert len(levels) >= 18
    assert set(np.diff(np.rint(levels / 20)).tolist()) == {0.0, 1.0}


def test_a_short_video_is_played_in_a_loop(tmp_path, write_video, grey_ramp):
    for name in ("a", "b"):
        write_video(tmp_path / name / "v.avi", grey_ramp(3, step=60), rate_hz=6.0)
    batch = FolderClips(tmp_path).load(0, SPEC)
    assert batch.frames.shape == (1, *SPEC.clip_shape)
    levels = batch.frames[0].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(levels, (0, 60, 120, 0), atol=3)


def test_a_long_video_gives_windows_one_after_the_other(tmp_path, write_video, grey_ramp):
    for name in ("a", "b"):
        write_video(tmp_path / name / "v.avi", grey_ramp(13, step=10), rate_hz=6.0)
    batch = FolderClips(tmp_path).load(1, SPEC)
    firsts = batch.frames[:, 0, 0].mean(axis=(1, 2))
    np.testing.assert_allclose(firsts, (0, 40, 80), atol=3)
    assert batch.targets.tolist() == [1, 1, 1]
    assert batch.videos.tolist() == [1, 1, 1]


def test_a_folder_of_frames_is_a_video(tmp_path, grey_ramp):
    import cv2

    for name in ("a", "b"):
        folder = tmp_path / name / "00001"
        folder.mkdir(parents=True)
        for number, frame in enumerate(grey_ramp(8, step=20)):
            cv2.imwrite(str(folder / f"{number:05d}.png"), frame)
    batch = FolderClips(tmp_path).load(0, SPEC)
    # At Jester's 12 frames a second every second frame.
    np.testing.assert_allclose(batch.frames[0].mean(axis=(0, 2, 3)), (0, 40, 80, 120), atol=3)


def test_damaged_files_are_named_and_the_others_read(classes):
    (classes / "dark" / "0.avi").write_bytes(b"RIFF no video")
    (classes / "bright" / "notes.txt").write_text("not a video, and not meant to be one")
    windows = load_windows(FolderClips(classes), SPEC, workers=1, what="clips")
    assert len(windows.problems) == 1
    assert str(classes / "dark" / "0.avi") in windows.problems[0]
    assert set(windows.targets) == {0, 1}
    bright = windows.labels.index("bright")
    means = windows.frames.mean(axis=(1, 2, 3, 4))
    assert ((means > 120) == (windows.targets == bright)).all()


def test_a_file_that_ends_early_gives_the_frames_it_has(tmp_path, write_video, grey_ramp):
    for name in ("a", "b"):
        write_video(tmp_path / name / "v.avi", grey_ramp(40), rate_hz=6.0)
    whole = (tmp_path / "a" / "v.avi").read_bytes()
    (tmp_path / "a" / "v.avi").write_bytes(whole[: len(whole) * 2 // 3])
    source = FolderClips(tmp_path)
    assert 0 < len(source.load(0, SPEC).targets) <= len(source.load(1, SPEC).targets)


def test_a_file_of_nonsense_says_so(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(ClipedgeError, match="not a video"):
        read_on_grid(tmp_path / "v.mp4", SPEC)


def test_real_videos_can_be_read(shared, tmp_path):
    for name, pattern in (("wave", "*wave*.avi"), ("soccer", "v_Soccer*.avi")):
        (tmp_path / name).mkdir()
        for video in (shared / "data" / "action_clips").glob(pattern):
            (tmp_path / name / video.name).symlink_to(video)
    source = FolderClips(tmp_path)
    batches = [source.load(job, SPEC) for job in range(source.jobs)]
    assert source.jobs >= 4
    assert all(len(batch.targets) and not batch.problem for batch in batches)
