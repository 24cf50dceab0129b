import os
from fractions import Fraction

import numpy as np
import pytest

from clipedge.jetson.camera import Frame, open_source
from clipedge.jetson.errors import SourceError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

GESTURE_VIDEO = "data/gestures_ivokersten/TestClips/2m_Clear/Test_Clip_0.avi"


def write_video(path, rate_hz=20.0, count=30, shape=(48, 64)):
    """A video whose frame number is its red value over 4, at this constant rate."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate_hz, shape[::-1])
    for number in range(count):
        picture = np.zeros(shape + (3,), np.uint8)
        picture[..., 2] = number * 4  # OpenCV writes BGR
        writer.write(picture)
    writer.release()
    return path


def write_frames(folder, names, value=100):
    folder.mkdir()
    for name in names:
        picture = np.zeros((20, 30, 3), np.uint8)
        picture[..., 2] = value
        cv2.imwrite(str(folder / name), picture)
    return folder


@pytest.mark.parametrize("rate_hz", [12.0, 20.0, 29.97])
def test_a_video_gives_rgb_frames_with_its_own_time_stamps(tmp_path, rate_hz):
    with open_source(str(write_video(tmp_path / "a.mp4", rate_hz))) as source:
        frames = list(source)
    assert len(frames) == 30
    assert all(isinstance(frame, Frame) for frame in frames)
    assert [frame.number for frame in frames] == list(range(30))
    stamps_s = np.array([frame.timestamp_s for frame in frames])
    assert np.abs(stamps_s - np.arange(30) / rate_hz).max() < 0.002
    image = frames[20].image
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert image[..., 0].mean() > 60 > image[..., 2].mean()  # red first


def test_a_folder_of_frames_is_read_in_order_of_numbers(tmp_path):
    folder = write_frames(tmp_path / "clip", ["10.jpg", "2.jpg", "00001.png"])
    (folder / "notes.txt").write_text("not a picture")
    with open_source(str(folder)) as source:
        frames = list(source)
    assert [frame.timestamp_s for frame in frames] == [0, 1 / 12.0, 2 / 12.0]
    assert frames[0].image[..., 0].mean() > 90


def test_a_real_video_is_read_to_its_end(shared):
    with open_source(str(shared / GESTURE_VIDEO)) as source:
        frames = list(source)
    assert len(frames) == 100
    assert frames[0].image.shape == (180, 320, 3)
    assert frames[-1].timestamp_s == pytest.approx(99 / 20.0, abs=0.01)


def test_a_missing_file_is_a_wrong_call(tmp_path):
    with pytest.raises(UsageError, match="no such source"):
        open_source(str(tmp_path / "none.mp4"))


def test_a_file_that_is_no_video_is_named(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"this is no video" * 100)
    with pytest.raises(SourceError, match="not a video that OpenCV can decode"):
        open_source(str(path))


def test_a_video_cut_short_is_reported(tmp_path, shared, caplog):
    whole = (shared / GESTURE_VIDEO).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) // 3])
    with open_source(str(path)) as source:
        count = len(list(source))
    assert 5 < count < 90
    assert "the file is damaged" in caplog.text


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(SourceError, match="no frames in this folder"):
        open_source(str(tmp_path))


def test_a_damaged_picture_is_named(tmp_path):
    folder = write_frames(tmp_path / "clip", ["1.jpg"])
    (folder / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"2\.jpg: this picture cannot be decoded"):
        list(open_source(str(folder)))


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_a_truncated_picture_is_damaged_not_grey(tmp_path, suffix, kept):
    folder = write_frames(tmp_path / "clip", ["1" + suffix, "2" + suffix])
    whole = (folder / ("2" + suffix)).read_bytes()
    (folder / ("2" + suffix)).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SourceError, match=r"2\.\w+: this picture cannot be decoded"):
        list(open_source(str(folder)))


def test_a_variable_rate_is_not_taken_for_damage(tmp_path, caplog):
    """Few frames at first, many at the end: OpenCV makes up a count from the duration."""
    av = pytest.importorskip("av", reason="PyAV, which writes variable rates, is not installed")
    path = tmp_path / "variable.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, stamp_ms in enumerate([*range(0, 3000, 500), *range(3000, 5000, 33)]):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8))
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = stamp_ms, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    frames = list(open_source(str(path)))
    assert "damaged" not in caplog.text
    assert frames[3].timestamp_s == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize("name", ["", "\u00b2"])
def test_what_is_no_number_and_no_file_is_refused(name):
    with pytest.raises(UsageError, match="no such source"):
        open_source(name)


def test_a_name_that_opencv_cannot_take_is_refused(tmp_path):
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/v\xff.mp4")
    with pytest.raises(UsageError, match=r"cannot be read as UTF-8"):
        open_source(name)


@pytest.mark.parametrize("name", ["97", "/dev/video97"])
def test_a_camera_that_is_not_there_is_named(name):
    with pytest.raises(SourceError, match=r"[Tt]here is no /dev/video97"):
        open_source(name)
