"""Opened recordings: the frames and times that the board's sources give, in any order."""

import pathlib
import shutil
import struct
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from clipedge.jetson.camera.stills import FrameFolder
from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.errors import SourceError, UsageError
from clipedge.trainside.data.catalog import Recording
from clipedge.trainside.data.footage import VideoFootage, with_footage

av = pytest.importorskip("av", reason="PyAV is not installed")


class Made(NamedTuple):
    """How a video is encoded."""

    name: str
    codec: str
    pixels: str = "yuv420p"
    size: tuple[int, int] = (64, 48)
    count: int = 40
    stamps_ms: tuple[int, ...] | None = None
    options: tuple[tuple[str, str], ...] = ()


UNEVEN_MS = tuple(np.cumsum(np.random.default_rng(1).integers(10, 120, 40)).tolist())
B_FRAMES = (("g", "12"), ("bf", "3"))
OPEN_GOP = (("x264-params", "open-gop=1:keyint=12:bframes=3"),)

VIDEOS = [
    Made("b_frames.mp4", "libx264", options=B_FRAMES),
    Made("open_gop.mp4", "libx264", options=OPEN_GOP),
    Made("b_frames.avi", "libx264", options=B_FRAMES),
    Made("divx.avi", "mpeg4", options=(("g", "12"), ("bf", "2"))),
    Made("xvid.avi", "mpeg4", options=(("g", "12"),)),
    Made("odd_size.avi", "mjpeg", "yuvj420p", (323, 241)),
    Made("odd_colours.mp4", "libx264", "yuv444p", (321, 241)),
    Made("ten_bits.mp4", "libx264", "yuv420p10le"),
    Made("uneven.mkv", "libx264", stamps_ms=UNEVEN_MS, options=(("g", "10"),)),
    Made("uneven.mp4", "libx264", stamps_ms=UNEVEN_MS, options=(("g", "10"),)),
    Made("late.mkv", "mpeg4", stamps_ms=tuple(range(5000, 6600, 40))),
    Made("broadcast.ts", "libx264", options=B_FRAMES),
    Made("vcd.mpg", "mpeg1video", count=60, options=(("g", "12"), ("bf", "2"))),
    Made("web.webm", "libvpx-vp9", options=(("g", "12"), ("deadline", "realtime"))),
    Made("one_frame.mp4", "libx264", count=1),
]


def encode(folder, made):
    """Write a video whose picture moves and brightens from frame to frame."""
    import cv2

    path = pathlib.Path(folder) / made.name
    coarse = np.random.default_rng(0).integers(0, 200, (6, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, made.size)
    try:
        av.Codec(made.codec, "w")
    except av.error.FFmpegError:
        pytest.skip(f"this build of PyAV has no encoder {made.codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(made.codec, rate=25, options=dict(made.options))
        (stream.width, stream.height), stream.pix_fmt = made.size, made.pixels
        if made.stamps_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(made.count):
            moved = np.roll(picture, 2 * number, axis=1) + np.uint8(number)
            frame = av.VideoFrame.from_ndarray(moved).reformat(format=made.pixels)
            if made.stamps_ms:
                frame.pts, frame.time_base = made.stamps_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seen_by_the_board(path):
    """Return times from the first frame, seconds, and frames."""
    with VideoFile(path) as source:
        frames = list(source)
    times_s = np.array([frame.timestamp_s for frame in frames])
    return times_s - times_s[0], [frame.image for frame in frames]


def read(path, picks=None):
    """Return times, the frames of these numbers (or all), and the problem."""

    def all_of(footage):
        chosen = np.arange(len(footage.times_s)) if picks is None else picks
        return footage.times_s, list(footage.read(chosen)), footage.problem

    return with_footage(Recording(path, 0), 12.0, all_of)


def check_against_the_board(path):
    times_s, frames = seen_by_the_board(path)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(frames), rng.integers(1, 9)) for _ in range(8)]
    for picks in [np.arange(len(frames)), *map(np.unique, draws)]:
        own_times_s, own_frames, problem = read(path, picks)
        np.testing.assert_allclose(own_times_s, times_s, atol=1e-9)
        assert not problem
        for pick, own in zip(picks, own_frames, strict=True):
            np.testing.assert_array_equal(own, frames[pick], err_msg=f"frame {pick}")


@pytest.mark.parametrize("made", VIDEOS, ids=lambda made: made.name)
def test_any_frames_are_those_that_the_board_decodes_at_the_same_times(tmp_path, made):
    check_against_the_board(encode(tmp_path, made))


@pytest.mark.parametrize(
    "name",
    [
        "action_clips/RATRACE_wave_f_nm_np1_fr_goo_37.avi",  # MPEG-4 with B-frames, no times
        "action_clips/TrumanShow_wave_f_nm_np1_fr_med_26.avi",
        "action_clips/v_SoccerJuggling_g23_c01.avi",  # a title that is not UTF-8
        "action_clips/SOX5yA1l24A.mp4",
        "gestures_ivokersten/TestClips/2m_Clear/Test_Clip_0.avi",
    ],
)
def test_any_frames_of_real_videos_are_those_that_the_board_decodes(shared, name):
    path = shared / "data" / name
    if not path.is_file():
        pytest.skip(f"no video {path}")
    check_against_the_board(path)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_what_a_phone_held_sideways_took_is_upright(tmp_path, quarters):
    path = encode(tmp_path, Made("a.mp4", "libx264", count=3))
    turns = {1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}
    a, b, c, d = (one << 16 for one in turns[quarters])
    coded = bytearray(path.read_bytes())
    matrix_at = coded.index(b"tkhd") + 44  # of version 0
    coded[matrix_at : matrix_at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(coded)
    assert read(path)[1][0].shape == ((48, 64, 3) if quarters == 2 else (64, 48, 3))
    check_against_the_board(path)


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    """A late frame of a long video costs the frames from its key frame on, not all."""
    path = encode(tmp_path, Made("long.mp4", "libx264", count=200, options=B_FRAMES))
    decoded = []
    decode = VideoFootage._decode

    def counting(self, *rest):
        for frame in decode(self, *rest):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(VideoFootage, "_decode", counting)
    read(path, np.array([190]))
    assert 1 <= len(decoded) <= 12


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.mp4", b"this is a text\n" * 50),
        ("empty.mp4", b""),
        ("nothing.avi", bytes(1000)),
        ("list.mp4", b"ffconcat version 1.0\nfile other.mp4\n"),
    ],
)
def test_a_file_that_is_no_video_says_so(tmp_path, name, content):
    encode(tmp_path, Made("other.mp4", "libx264", count=3))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"{name}: not a video that can be decoded"):
        read(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.mp4: there is no such file"):
        read(tmp_path / "none.mp4")


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read as UTF-8"):
        read(tmp_path / "v\udcff.mp4")


def test_sound_alone_is_no_video(tmp_path):
    import wave

    with wave.open(str(tmp_path / "sound.avi"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    with pytest.raises(SourceError, match="not a video"):
        read(tmp_path / "sound.avi")


@pytest.mark.parametrize("name", ["xvid.avi", "divx.avi", "uneven.mkv"])
def test_a_file_that_ends_early_gives_the_frames_it_has_and_says_so(tmp_path, name):
    made = next(made for made in VIDEOS if made.name == name)._replace(size=(320, 240))
    path = encode(tmp_path, made)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 5])
    times_s, frames, problem = read(path)
    live_times_s, live = seen_by_the_board(path)
    assert 3 <= len(frames) == len(live) < made.count
    np.testing.assert_allclose(times_s, live_times_s, atol=1e-9)
    assert f"{path}: only " in problem
    assert "could be decoded; the file is damaged" in problem


def test_a_file_damaged_in_the_middle_gives_the_frames_around_it_as_the_board_does(tmp_path):
    path = encode(tmp_path, Made("a.mp4", "libx264", count=60, options=(("g", "60"),)))
    coded = bytearray(path.read_bytes())
    middle = len(coded) // 3
    coded[middle : middle + 1500] = bytes(1500)
    path.write_bytes(coded)
    times_s, frames, _ = read(path)
    live_times_s, live = seen_by_the_board(path)
    # Behind the hole OpenCV takes times of packets for those of pictures, and what decoders make
    # up for a lost part depends on their threads.
    np.testing.assert_allclose(times_s, live_times_s, atol=0.1)
    assert np.abs(np.array(frames, float) - np.array(live, float)).mean() < 1.0
    assert len(frames) > 20 and np.diff(times_s).max() > 0.5


def test_pictures_in_a_folder_are_frames_in_the_order_of_their_numbers(tmp_path):
    import cv2

    for number in (1, 2, 10, 11):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), noise)
    expected = [frame.image for frame in FrameFolder(tmp_path, 12.0)]
    times_s, frames, problem = read(tmp_path)
    np.testing.assert_allclose(times_s, np.arange(4) / 12.0)
    assert not problem
    for own, board in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(own, board)
    np.testing.assert_array_equal(read(tmp_path, np.array([2]))[1][0], expected[2])


def test_a_folder_of_frames_has_the_rate_of_its_recording(tmp_path):
    import cv2

    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    times_s = with_footage(Recording(tmp_path, 0, 5.0), 12.0, lambda footage: footage.times_s)
    np.testing.assert_allclose(times_s, [0.0, 0.2, 0.4])


def test_a_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(SourceError, match="no frames in this folder"):
        read(tmp_path)


def test_a_truncated_picture_is_named(tmp_path):
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), noise)
    whole = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) // 2])
    assert len(read(tmp_path, np.array([0]))[1]) == 1
    with pytest.raises(SourceError, match=r"2\.jpg: this picture cannot be decoded"):
        read(tmp_path, np.array([0, 1]))


def test_the_file_is_let_go_of_also_after_an_error(tmp_path):
    path = encode(tmp_path, Made("a.mp4", "libx264", count=3))
    opened = []

    def fail(footage):
        opened.append(footage)
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        with_footage(Recording(path, 0), 12.0, fail)
    shutil.rmtree(tmp_path)
    with pytest.raises((AssertionError, ValueError, SourceError)):
        list(opened[0].read(np.array([0])))
