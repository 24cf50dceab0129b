"""Data sets as PyTorch reads them: what a clip holds, that it repeats, what damage does."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from clipedge.jetson.camera.video import VideoFile
from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.errors import ClipedgeError, SourceError
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data import clips as clips_module
from clipedge.trainside.data.augmentation import Augmentation
from clipedge.trainside.data.cache import ClipCache
from clipedge.trainside.data.catalog import Catalog, Recording
from clipedge.trainside.data.clips import MOST_UNREADABLE, EvaluationClips, TrainingClips
from clipedge.trainside.data.gestures import MIRRORED
from clipedge.trainside.data.hints import mirrored_hints
from clipedge.trainside.data.samples import collate
from clipedge.trainside.data.synthetic import SyntheticClips

SPEC = ClipSpec("any", ("a", "b"), frames=4, size=16)  # a frame every 1/6 s
PLAIN = Augmentation(scales=(1.0,), crop="center")
FULL = Augmentation(mirrored={"a": "b", "b": "a"}, colour=True)
CACHE_BYTES = 1 << 28


def catalog(*paths, rate_hz=None):
    recordings = tuple(Recording(path, number % 2, rate_hz) for number, path in enumerate(paths))
    return Catalog("folder", "all", ("a", "b"), recordings)


@pytest.fixture
def noise(tmp_path, write_video):
    """Four videos of noise, of several shapes, at 24 frames a second and the last at 60."""
    rng = np.random.default_rng(0)
    shapes = ((48, 64), (64, 48), (36, 36), (120, 160))
    return [
        write_video(
            tmp_path / f"{number}.avi",
            rng.integers(0, 256, (60, *shape, 3)).astype(np.uint8),
            60.0 if number == 3 else 24.0,
        )
        for number, shape in enumerate(shapes)
    ]


def write_pictures(folder, frames):
    import cv2

    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / f"{number:05d}.png"), np.ascontiguousarray(frame[..., ::-1]))
    return folder


def assert_same(first, second):
    for name, one, other in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("gestures_ivokersten/TestClips/2m_Clear/Test_Clip_0.avi", 112),  # 20 frames a second
        ("gestures_ivokersten/TestClips/3m_Clear/Test_Clip_1.avi", 200),  # enlarged
        ("gestures_ivokersten/example.avi", 64),  # 17
        ("action_clips/v_SoccerJuggling_g23_c01.avi", 112),  # 29.97
        ("action_clips/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi", 112),
        ("action_clips/WUzgd7C1pWA.mp4", 112),  # B-frames, as in the one before
    ],
)
def test_what_is_scored_is_what_the_live_path_sees_bit_for_bit(shared, tmp_path, name, size):
    path = shared / "data" / name
    if not path.is_file():
        pytest.skip(f"no video {path}")
    spec = ClipSpec("any", ("a", "b"), size=size)
    preprocess, buffer, live = Preprocessor(spec), ClipBuffer(spec), set()
    with VideoFile(path) as source:
        for frame in source:
            buffer.push(preprocess(frame.image), frame.timestamp_s)
            if buffer.ready:
                live.add(buffer.clip()[0].tobytes())
    cache = ClipCache(tmp_path / "cache", CACHE_BYTES)
    for clips in (EvaluationClips(catalog(path), spec, cache=cache) for _ in range(2)):
        video = clips[0]
        whole = int(frame.timestamp_s * 6 + 1) // 16  # the last clip may be played in a loop
        assert len(video.frames) >= whole >= 1
        assert not video.problem
        for clip in video.frames[:whole]:
            assert clip.astype(np.float32).tobytes() in live


@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_a_video_shorter_than_a_clip_is_looped_as_the_live_path_loops_it(
    tmp_path, write_video, count
):
    rng = np.random.default_rng(count)
    frames = rng.integers(0, 256, (count, 48, 64, 3)).astype(np.uint8)
    path = write_video(tmp_path / "short.avi", frames, 24.0)
    preprocess, buffer = Preprocessor(SPEC), ClipBuffer(SPEC)
    with VideoFile(path) as source:
        for frame in source.pictures():
            buffer.push(preprocess(frame.image), frame.timestamp_s)
    video = EvaluationClips(catalog(path), SPEC)[0]
    assert not buffer.ready
    assert len(video.frames) == 1
    np.testing.assert_array_equal(video.frames.astype(np.float32), buffer.looped_clip())


def test_a_folder_of_frames_is_a_video(tmp_path, grey_ramp):
    folder = write_pictures(tmp_path / "00001", grey_ramp(8, step=20))
    video = EvaluationClips(catalog(folder), SPEC)[0]
    # At Jester's 12 frames a second every second frame.
    np.testing.assert_array_equal(video.frames[0].mean(axis=(0, 2, 3)), (0, 40, 80, 120))
    slower = EvaluationClips(catalog(folder, rate_hz=6.0), SPEC)[0]
    np.testing.assert_array_equal(slower.frames[0].mean(axis=(0, 2, 3)), (0, 20, 40, 60))


def test_a_long_video_gives_clips_one_after_the_other_or_a_few(tmp_path, write_video, grey_ramp):
    video = write_video(tmp_path / "v.avi", grey_ramp(13, step=10), rate_hz=6.0)
    source = catalog(video, video)
    clips = EvaluationClips(source, SPEC)[1]
    np.testing.assert_allclose(clips.frames[:, 0, 0].mean(axis=(1, 2)), (0, 40, 80), atol=3)
    assert (clips.target, clips.video) == (1, 1)
    assert len(EvaluationClips(source, SPEC, clips_per_video=1)[0].frames) == 1
    assert len(EvaluationClips(source, SPEC, clips_per_video=2)[0].frames) == 2


def test_training_sees_the_frames_of_its_moment_in_the_size_of_the_model(
    tmp_path, write_video, grey_ramp
):
    video = write_video(tmp_path / "v.avi", grey_ramp(60), rate_hz=24.0)
    clips = TrainingClips(catalog(video), SPEC, PLAIN, seed=0)
    starts = set()
    for epoch in range(20):
        sample = clips[(epoch, 0)]
        assert sample.frames.shape == SPEC.clip_shape
        levels = sample.frames.mean(axis=(0, 2, 3)) / 4
        np.testing.assert_allclose(np.diff(levels), 4.0, atol=1.0)  # 4 frames of 24 a second
        starts.add(round(levels[0]))
    assert len(starts) > 10


def test_the_same_seed_epoch_and_number_give_the_same_clip_in_any_process(noise):
    clips = TrainingClips(catalog(*noise), SPEC, FULL, seed=5)
    keys = [(epoch, number) for epoch in range(3) for number in range(4)]
    here = [clips[key] for key in keys]
    code = (
        "import pickle, sys\n"
        "clips, keys = pickle.load(sys.stdin.buffer)\n"
        "pickle.dump([clips[key] for key in keys], sys.stdout.buffer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((clips, keys[::-1])),
        capture_output=True,
        check=True,
        timeout=100,
    )
    for first, second in zip(here, pickle.loads(done.stdout)[::-1], strict=True):
        assert_same(first, second)
    others = (TrainingClips(catalog(*noise), SPEC, FULL, seed=6)[(0, 0)], clips[(1, 0)])
    assert all((other.frames != here[0].frames).any() for other in others)


def test_a_cache_changes_no_clip_and_is_used(noise, tmp_path, monkeypatch):
    mixed = write_pictures(
        tmp_path / "mixed",
        [
            np.random.default_rng(number).integers(0, 256, (30 + number, 40, 3)).astype(np.uint8)
            for number in range(20)
        ],
    )
    source = catalog(*noise, mixed)
    cache = ClipCache(tmp_path / "cache", CACHE_BYTES)
    plain, cached = (TrainingClips(source, SPEC, FULL, 1, held) for held in (None, cache))
    plain_eval, cached_eval = (EvaluationClips(source, SPEC, None, held) for held in (None, cache))
    for epoch in range(3):
        for number in range(len(source)):
            assert_same(plain[(epoch, number)], cached[(epoch, number)])
            assert_same(plain_eval[number], cached_eval[number])
    assert cache.used_bytes > 0
    expected = plain[(7, 3)], plain_eval[3]

    def fail(*rest):
        raise SourceError("opened")

    monkeypatch.setattr(clips_module, "with_footage", fail)
    assert_same(cached[(7, 3)], expected[0])
    assert_same(cached_eval[3], expected[1])


def test_a_recording_that_was_replaced_is_read_again(tmp_path, write_video, grey_ramp):
    video = write_video(tmp_path / "v.avi", grey_ramp(20), 6.0)
    cache = ClipCache(tmp_path / "cache", CACHE_BYTES)
    training = TrainingClips(catalog(video), SPEC, PLAIN, 0, cache)
    evaluation = EvaluationClips(catalog(video), SPEC, cache=cache)
    before = training[(0, 0)].frames, evaluation[0].frames
    write_video(video, 255 - grey_ramp(20), 6.0)
    assert (training[(0, 0)].frames != before[0]).any()
    assert (evaluation[0].frames != before[1]).any()


def test_a_mirror_image_has_the_opposite_label(noise):
    clips = TrainingClips(catalog(noise[0]), SPEC, FULL, seed=0)
    plain = TrainingClips(catalog(noise[0]), SPEC, Augmentation(), seed=0)
    turned = 0
    for epoch in range(12):
        one, other = clips[(epoch, 0)], plain[(epoch, 0)]
        turned += one.target
        expected = other.frames[..., ::-1] if one.target else other.frames
        np.testing.assert_array_equal(one.frames, expected)
        assert other.target == 0
    assert 2 <= turned <= 10


@pytest.mark.parametrize("cached", [False, True])
def test_generated_clips_are_mirrored_with_label_and_hints(tmp_path, cached):
    labels = ("Swiping Left", "Swiping Right", "No gesture")
    source = SyntheticClips(9, "training", 0, labels)
    cache = ClipCache(tmp_path, CACHE_BYTES) if cached else None
    augmentation = Augmentation(mirrored=MIRRORED, colour=True)
    clips = TrainingClips(source, SPEC, augmentation, 3, cache)
    turned = 0
    for epoch in range(2):
        for number in range(len(clips)):
            sample, window = clips[(epoch, number)], source.window(number, SPEC)
            if (sample.frames == window.frames).all():
                expected = window.target, window.hints
            else:
                turned += 1
                np.testing.assert_array_equal(sample.frames, window.frames[..., ::-1])
                opposite = {0: 1, 1: 0, 2: 2}[window.target]
                expected = opposite, mirrored_hints(window.hints[None])[0]
            assert sample.target == expected[0]
            np.testing.assert_array_equal(sample.hints, expected[1])
            assert (sample.gain != 1).any()
    assert 3 <= turned <= 15


def test_generated_clips_are_scored_one_by_one(tmp_path):
    source = SyntheticClips(4, "validation", 0)
    for cache in (None, ClipCache(tmp_path, CACHE_BYTES)):
        for _ in range(2):
            video = EvaluationClips(source, SPEC, cache=cache)[3]
            np.testing.assert_array_equal(video.frames[0], source.window(3, SPEC).frames)
            assert (len(video.frames), video.target, video.video) == (1, 3, 3)


def test_samples_of_one_batch_may_come_from_workers_and_a_cache(noise, tmp_path):
    clips = TrainingClips(
        catalog(*noise), SPEC, FULL, 0, ClipCache(tmp_path / "cache", CACHE_BYTES)
    )
    keys = [(epoch, number) for epoch in range(2) for number in range(4)]
    loader = torch.utils.data.DataLoader(
        clips, batch_size=4, sampler=keys, num_workers=2, collate_fn=collate
    )
    batches = list(loader)
    frames = torch.cat([batch.frames for batch in batches]).numpy()
    for key, own in zip(keys, frames, strict=True):
        np.testing.assert_array_equal(own, clips[key].frames)


def test_the_next_recording_stands_in_for_one_that_cannot_be_read(noise):
    noise[1].write_bytes(b"RIFF no video")
    noise[2].unlink()
    clips = TrainingClips(catalog(*noise), SPEC, PLAIN, seed=0)
    sample = clips[(0, 1)]
    assert sample.target == 1  # of number 3
    assert len(sample.problems) == 2
    assert str(noise[1]) in sample.problems[0]
    assert str(noise[2]) in sample.problems[1]
    assert_same(sample, clips[(0, 1)])
    assert not clips[(0, 0)].problems
    video = EvaluationClips(catalog(*noise), SPEC)[1]
    assert video.frames.shape == (0, *SPEC.clip_shape)
    assert str(noise[1]) in video.problem


def test_a_video_that_ends_early_is_used_and_named(noise, tmp_path):
    whole = noise[0].read_bytes()
    noise[0].write_bytes(whole[: len(whole) // 2])
    cache = ClipCache(tmp_path / "cache", CACHE_BYTES)
    for held in (None, cache, cache):
        sample = TrainingClips(catalog(*noise), SPEC, PLAIN, 0, held)[(0, 0)]
        assert "only 1.2 of 2.5 s" in sample.problems[0]
        video = EvaluationClips(catalog(*noise), SPEC, cache=held)[0]
        assert len(video.frames) == 2
        assert "only 1.2 of 2.5 s" in video.problem


@pytest.mark.parametrize("count", [1, MOST_UNREADABLE + 5])
def test_a_data_set_of_which_nothing_can_be_read_ends_the_training(tmp_path, count):
    paths = []
    for number in range(count):
        paths.append(tmp_path / f"{number}.mp4")
        paths[-1].write_bytes(b"no video")
    with pytest.raises(ClipedgeError, match=r"recordings in a row cannot be read.*0\.mp4|9\.mp4"):
        TrainingClips(catalog(*paths), SPEC, PLAIN, seed=0)[(0, 0)]


def test_a_cache_that_is_full_or_gone_changes_nothing(noise, tmp_path):
    cache = ClipCache(tmp_path / "cache", 1000)
    held = TrainingClips(catalog(*noise), SPEC, FULL, 0, cache)
    plain = TrainingClips(catalog(*noise), SPEC, FULL, 0)
    assert_same(held[(0, 0)], plain[(0, 0)])
    cache = ClipCache(tmp_path / "cache", CACHE_BYTES)
    held = TrainingClips(catalog(*noise), SPEC, FULL, 0, cache)
    shutil.rmtree(tmp_path / "cache")
    assert_same(held[(0, 1)], plain[(0, 1)])
