import logging
import pathlib
import struct

import numpy as np
import pytest

from clipedge.jetson.camera import Frame
from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.errors import ClipedgeError, SourceError
from clipedge.jetson.motion_jpeg import write_avi
from clipedge.jetson.take import Encoder, Take, cut_takes, decode

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

BRIGHTER = 2  # of a picture than the one before


def frames_at(stamps_s, shape=(48, 64)):
    """One frame for each stamp; its brightness tells its number."""
    for number, stamp_s in enumerate(stamps_s):
        yield Frame(np.full(shape + (3,), number * BRIGHTER % 256, np.uint8), stamp_s, number)


def take_of(stamps_s, **options):
    encoder = Encoder()
    return encoder.take([encoder(frame) for frame in frames_at(stamps_s, **options)])


def read_back(take, path):
    """Numbers of the frames that the file shows, and its own time stamps."""
    take.save(path)
    with VideoFile(path) as source:
        frames = list(source)
    numbers = [round(float(frame.image.mean()) / BRIGHTER) for frame in frames]
    return np.array(numbers), np.array([frame.timestamp_s for frame in frames])


@pytest.mark.parametrize("rate_hz", [7.5, 14.985, 25.0, 30.0, 60.0])
def test_a_steady_camera_is_kept_frame_for_frame_at_its_own_rate(tmp_path, rate_hz):
    stamps_s = 1000.0 + np.arange(90) / rate_hz
    take = take_of(stamps_s)
    assert take.rate_hz == pytest.approx(rate_hz, rel=1e-6)
    numbers, times_s = read_back(take, tmp_path / "a.avi")
    assert numbers.tolist() == list(range(90))
    assert np.abs(times_s - (stamps_s - 1000.0)).max() < 0.002


def test_an_unsteady_camera_shows_each_moment_within_half_a_frame(tmp_path):
    steps_s = np.random.RandomState(3).uniform(0.02, 0.06, 89)
    stamps_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    numbers, times_s = read_back(take_of(stamps_s), tmp_path / "a.avi")
    assert np.abs(stamps_s[numbers] - times_s).max() <= steps_s.max() / 2 + 0.002
    assert times_s[-1] == pytest.approx(stamps_s[-1], abs=1 / 25.0)


def test_what_follows_a_gap_keeps_its_time(tmp_path):
    stamps_s = np.arange(90) / 30.0
    stamps_s = np.delete(stamps_s, range(30, 50))
    take = take_of(stamps_s)
    assert take.rate_hz == pytest.approx(30.0)
    assert take.longest_gap_s == pytest.approx(0.7)
    numbers, times_s = read_back(take, tmp_path / "a.avi")
    assert len(times_s) == 90
    after = numbers >= 30
    assert np.abs(stamps_s[numbers[after]] - times_s[after]).max() <= 0.36
    assert numbers[-1] == 69 and times_s[-1] == pytest.approx(stamps_s[-1], abs=0.002)


def test_a_slow_camera_has_its_rate_and_no_gap_is_left_out_of_it():
    assert take_of(np.arange(6) / 2.0).rate_hz == pytest.approx(2.0)


def test_one_picture_is_no_clip():
    with pytest.raises(SourceError, match="the source gave 1"):
        take_of([0.0])


def test_colours_survive_the_file(tmp_path):
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, :32] = (220, 30, 40)
    image[:, 32:64] = (30, 200, 60)
    image[:, 64:] = (20, 60, 210)
    encoder = Encoder()
    encoder.take([encoder(Frame(image, n / 20.0, n)) for n in range(5)]).save(tmp_path / "a.avi")
    with VideoFile(tmp_path / "a.avi") as source:
        shown = next(iter(source)).image
    for column in (16, 48, 80):
        assert np.abs(shown[24, column].astype(int) - image[24, column]).max() < 8


@pytest.mark.parametrize("shape", [(47, 63), (1, 1), (240, 427)])
def test_any_size_of_picture_is_written(tmp_path, shape):
    numbers, _ = read_back(take_of(np.arange(10) / 20.0, shape=shape), tmp_path / "a.avi")
    assert len(numbers) == 10


def test_pictures_of_several_sizes_get_that_of_the_first(tmp_path):
    encoder = Encoder()
    shots = [encoder(Frame(np.zeros((s, s, 3), np.uint8), s / 99.0, 0)) for s in (32, 48, 64)]
    assert {decode(shot.jpeg).shape for shot in encoder.take(shots).shots} == {(32, 32, 3)}


def test_the_contact_sheet_shows_sixteen_pictures_in_their_order(tmp_path):
    take_of(np.arange(80) / 20.0, shape=(90, 120)).save_sheet(tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (4 * 180, 4 * 240, 3)
    middles = sheet[90::180, 120::240].mean(axis=2).ravel()
    assert len(middles) == 16 and (np.diff(middles) > 0).all()


@pytest.mark.parametrize("rate_hz", [0.0, 1e6, float("inf")])
def test_a_rate_that_no_camera_has_is_refused(tmp_path, rate_hz):
    with pytest.raises(ClipedgeError, match="pictures a second"):
        write_avi(tmp_path / "a.avi", [b"jpeg"], rate_hz, (8, 8))
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_format_holds_is_refused(tmp_path):
    with pytest.raises(ClipedgeError, match="record shorter clips"):
        write_avi(tmp_path / "a.avi", [bytes(1 << 20)] * 1025, 30.0, (8, 8))
    assert list(tmp_path.iterdir()) == []


# --- Clips out of a video --------------------------------------------------------------------


def starts_and_lengths(stamps_s, seconds, every_s):
    takes = cut_takes(frames_at(stamps_s, shape=(8, 8)), Encoder(), seconds, every_s)
    return [(take.shots[0].timestamp_s, len(take.shots)) for take in takes]


def test_clips_follow_each_other_and_the_rest_is_left_out():
    assert starts_and_lengths(np.arange(110) / 20.0, 2.5, 2.5) == [(0.0, 50), (2.5, 50)]


def test_clips_may_overlap():
    found = starts_and_lengths(np.arange(80) / 20.0, 2.0, 1.0)
    assert found == [(0.0, 40), (1.0, 40), (2.0, 40)]


def test_clips_may_lie_apart():
    assert starts_and_lengths(np.arange(120) / 20.0, 1.0, 2.5) == [(0.0, 20), (2.5, 20), (5.0, 20)]


def test_a_video_shorter_than_a_clip_is_one_clip():
    assert starts_and_lengths(np.arange(30) / 20.0, 3.0, 3.0) == [(0.0, 30)]


def test_stamps_rounded_to_milliseconds_give_every_clip_its_frames():
    stamps_s = np.floor(np.arange(300) / 29.97 * 1000) / 1000
    assert [length for _, length in starts_and_lengths(stamps_s, 2.002, 2.002)] == [60] * 5


def test_a_gap_in_a_video_costs_the_clip_it_falls_on_alone(caplog):
    stamps_s = np.concatenate([np.arange(20), 100 + np.arange(20)]) / 20.0
    with caplog.at_level(logging.WARNING):
        assert starts_and_lengths(stamps_s, 1.0, 1.0) == [(0.0, 20), (5.0, 20)]
    assert "has a gap" in caplog.text


def test_a_clip_of_a_real_video_shows_what_the_video_shows(tmp_path, shared):
    path = pathlib.Path(str(shared)) / "data/gestures_ivokersten/TestClips/2m_Clear/Test_Clip_2.avi"
    with VideoFile(path) as source:
        frames = list(source)
    takes = list(cut_takes(iter(frames), Encoder(), 2.5, 2.5))
    assert len(takes) == len(frames) // 50
    takes[1].save(tmp_path / "a.avi")
    with VideoFile(tmp_path / "a.avi") as source:
        again = list(source)
    assert len(again) == 50
    for original, copy in zip(frames[50:100], again):
        time_s = original.timestamp_s - frames[50].timestamp_s
        assert copy.timestamp_s == pytest.approx(time_s, abs=0.002)
        assert np.abs(original.image.astype(int) - copy.image).mean() < 3.0


def test_a_take_is_what_it_says():
    assert isinstance(take_of([0.0, 0.1]), Take)
    assert take_of([0.0, 0.1], shape=(20, 30)).size == (30, 20)


# --- The file, byte by byte: readers forgive much, and not all of them the same -----------------


def chunks(content):
    """Yield name, content and offset of each chunk; they fill ``content`` to its end."""
    at = 0
    while at < len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        assert at + 8 + size <= len(content)
        yield name, content[at + 8 : at + 8 + size], at
        at += 8 + size + size % 2
    assert at == len(content)


def test_the_file_is_made_of_even_chunks_and_its_index_leads_to_every_picture(tmp_path):
    pictures = [b"\xff\xd8 odd", b"\xff\xd8 even", b"\xff\xd8 odd", b"\xff\xd8"]
    write_avi(tmp_path / "a.avi", pictures, 14.985, (64, 48))
    ((riff, content, _),) = chunks((tmp_path / "a.avi").read_bytes())
    assert (riff, content[:4]) == (b"RIFF", b"AVI ")
    headers, movie, index = chunks(content[4:])
    assert headers[1][:4] == b"hdrl" and movie[1][:4] == b"movi" and index[0] == b"idx1"
    assert [picture for _, picture, _ in chunks(movie[1][4:])] == pictures
    entries = list(struct.iter_unpack("<4s3I", index[1]))
    assert len(entries) == 4
    for (name, _, offset, size), picture in zip(entries, pictures):
        assert struct.unpack_from("<4sI", movie[1], offset) == (name, size)
        assert movie[1][offset + 8 : offset + 8 + size] == picture
    (_, main_header, _), (_, stream, _) = chunks(headers[1][4:])
    assert struct.unpack_from("<I", main_header, 16) == (4,)
    assert struct.unpack_from("<2I", main_header, 32) == (64, 48)
    header, picture_format = chunks(stream[4:])
    scale, rate = struct.unpack_from("<2I", header[1], 20)
    assert rate / scale == 14.985
    assert len(header[1]) == 56 and len(picture_format[1]) == 40
