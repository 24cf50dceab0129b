"""The contract of every Runner: each backend, and engines of each release of TensorRT."""

import gc
import importlib.util
import json
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from stand_ins import RELEASES, board

from clipedge.jetson.errors import ClipError, UsageError
from clipedge.jetson.runners import base, open_runner, opening

BACKENDS = ("onnxruntime", "openvino")
# The tests want these sizes; an engine has those it was built for.
ENGINE_BATCHES = tuple(range(1, 9))


def need(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip("{} is not installed for Python {}.{}".format(name, *sys.version_info[:2]))


@pytest.fixture(params=[*BACKENDS, *sorted(RELEASES)])
def opener(request, tmp_path, tiny_model, engine_writer, gpu_of):
    """`opener(onnx_path, threads)` opens a model with each backend, and as an engine of each
    release of TensorRT on its stand-in, which sees at the end that nothing is left behind.
    """
    if request.param in BACKENDS:
        need(request.param)
        yield lambda path=tiny_model, threads=1: open_runner(path, request.param, threads)
        return
    need("onnxruntime")  # computes for the stand-ins

    def open_engine(path=tiny_model, threads=1):
        engine = engine_writer(tmp_path / "contract.engine", path, ENGINE_BATCHES)
        return open_runner(engine, threads=threads)

    with board(request.param, gpu_of(request.param)):
        yield open_engine


@pytest.fixture
def runner(opener):
    with opener() as opened:
        yield opened


@pytest.fixture(params=[*BACKENDS, "engine"])
def checking_runner(request, tmp_path, tiny_model, engine_writer):
    """One of each kind: what is checked before the backend has a say does not hang on releases."""
    if request.param in BACKENDS:
        need(request.param)
        with open_runner(tiny_model, request.param, threads=1) as opened:
            yield opened
        return
    need("onnxruntime")
    with board("8.2.1"):
        engine = engine_writer(tmp_path / "tiny.engine", tiny_model, ENGINE_BATCHES)
        with open_runner(engine) as opened:
            yield opened


class TestContract:
    def test_says_its_backend_version_threads_and_precision(self, runner, tiny_spec):
        facts = runner.describe()
        assert runner.backend == facts["backend"]
        assert facts["backend"] in opening.BACKENDS
        assert runner.spec == tiny_spec
        assert facts["version"][0].isdigit()
        assert facts["precision"] == "fp32"
        on_the_cpu = facts["device"] == "CPU"
        assert facts["threads"] == (1 if on_the_cpu else None)
        assert on_the_cpu == (runner.backend != "tensorrt")
        json.dumps(facts)

    @pytest.mark.parametrize("count", range(1, 9))
    def test_scores_batches_of_one_to_eight(self, runner, clip_maker, count):
        logits = runner.infer(clip_maker(runner.spec, count))
        assert logits.shape == (count, runner.spec.num_classes)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()

    def test_a_batch_scores_as_its_clips_alone(self, runner, clip_maker):
        clips = clip_maker(runner.spec, 8)
        alone = np.concatenate([runner.infer(clips[index : index + 1]) for index in range(8)])
        np.testing.assert_allclose(runner.infer(clips), alone, rtol=1e-5, atol=1e-4)

    def test_result_is_not_overwritten_by_the_next_call(self, runner, clip_maker):
        first = runner.infer(clip_maker(runner.spec, 2, seed=1))
        kept = first.copy()
        second = runner.infer(clip_maker(runner.spec, 2, seed=2))
        assert np.array_equal(first, kept)
        assert not np.array_equal(first, second)
        first[:] = 0  # the caller's own to write to
        assert np.array_equal(second, runner.infer(clip_maker(runner.spec, 2, seed=2)))

    def test_threads_that_share_it_get_their_own_answers(self, runner, clip_maker):
        clips = [clip_maker(runner.spec, 1, seed=seed) for seed in range(4)]
        expected = [runner.infer(one) for one in clips]

        def wrong_answers(index):
            answers = (runner.infer(clips[index]) for _ in range(100))
            return sum(not np.allclose(one, expected[index], atol=1e-4) for one in answers)

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(wrong_answers, range(4))) == 0

    def test_takes_clips_that_are_read_only_or_not_contiguous(self, runner, clip_maker):
        clips = clip_maker(runner.spec, 2)
        expected = runner.infer(clips)
        clips.setflags(write=False)
        assert np.array_equal(runner.infer(clips), expected)
        strided = np.asfortranarray(clips)
        assert np.array_equal(runner.infer(strided), expected)

    def test_does_not_change_the_clips(self, runner, clip_maker):
        clips = clip_maker(runner.spec, 2)
        kept = clips.copy()
        runner.infer(clips)
        assert np.array_equal(clips, kept)

    @pytest.mark.parametrize("count", [1, 3])
    def test_threads_setting_is_taken_and_changes_no_result(
        self, opener, clip_maker, runner, count
    ):
        with opener(threads=2) as two:
            assert two.describe()["threads"] in (2, None)
            clips = clip_maker(runner.spec, count)
            np.testing.assert_allclose(two.infer(clips), runner.infer(clips), atol=1e-4)

    def test_is_closed_after_the_block_and_says_so(self, opener, clip_maker):
        with opener() as runner:
            clips = clip_maker(runner.spec, 1)
            runner.infer(clips)
        runner.close()
        with pytest.raises(UsageError, match="closed"):
            runner.infer(clips)

    def test_hundreds_of_inferences_do_not_grow_memory(
        self, opener, model_writer, tmp_path, tiny_spec
    ):
        # Clips of 0.4 MB: one that is kept each time would be 160 MB.
        spec = tiny_spec._replace(size=64, frames=8)
        path = model_writer(tmp_path / "grow.onnx", spec, channels=2)
        with opener(path) as runner:
            # More sizes than any backend keeps a graph of its own for.
            counts = (1, 2, 1, 3, 4, 5)
            shapes = [np.full((count, *spec.clip_shape), 128, np.float32) for count in counts]
            for _ in range(20):
                for clips in shapes:
                    runner.infer(clips)
            before = resident_mb()
            for index in range(400):
                runner.infer(shapes[index % len(shapes)].copy())
            assert resident_mb() - before < 20


def resident_mb():
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2.0**20


class TestRefusedClips:
    def test_another_shape(self, checking_runner):
        for shape in [(3, 4, 16, 16), (1, 3, 4, 16, 17), (1, 3, 8, 16, 16), (0, 3, 4, 16, 16)]:
            with pytest.raises(ClipError) as caught:
                checking_runner.infer(np.zeros(shape, np.float32))
            assert ", 3, 4, 16, 16) float32, RGB, 0-255" in str(caught.value)
            assert str(shape) in str(caught.value)

    @pytest.mark.parametrize("dtype", ["uint8", "float64", "float16", ">f4"])
    def test_another_dtype(self, checking_runner, dtype):
        with pytest.raises(ClipError, match=r"float32.*got dtype"):
            checking_runner.infer(np.zeros((1, *checking_runner.spec.clip_shape), dtype))

    def test_what_is_no_array(self, checking_runner):
        with pytest.raises(ClipError, match=r"float32.*got list, not a numpy array"):
            checking_runner.infer([[0.0]])

    @pytest.mark.parametrize("value", [np.nan, -np.nan, -0.001, 255.01, np.inf, -np.inf])
    @pytest.mark.parametrize("clip", [0, 2])
    def test_one_frame_out_of_range_or_not_a_number(self, checking_runner, clip_maker, value, clip):
        clips = clip_maker(checking_runner.spec, 3)
        clips[clip, 1, -1] = value
        with pytest.raises(ClipError, match=r"0-255; got values from .* raw pixels"):
            checking_runner.infer(clips)

    def test_pixels_that_are_normalised_already(self, checking_runner, clip_maker):
        clips = clip_maker(checking_runner.spec, 1) - np.float32(114.8)
        with pytest.raises(ClipError, match="hand it raw pixels"):
            checking_runner.infer(clips)


@pytest.mark.parametrize("size", [48, 64, 112, 224])
def test_the_range_check_looks_at_every_channel_of_every_frame(size):
    stride = int(np.prod((3, 16, size, size))) // base.SAMPLES_A_CLIP | 1
    looked_at = np.zeros((3, 16, size, size), bool)
    looked_at.reshape(-1)[::stride] = True
    assert looked_at.any(axis=(2, 3)).all()
    assert looked_at.any(axis=(0, 1, 2)).mean() > 0.5  # and at most columns


def test_range_check_allows_exactly_zero_to_255():
    allowed = [0.0, -0.0, 1e-40, 255.0, np.nextafter(np.float32(255), np.float32(0))]
    refused = [-1e-40, np.nextafter(np.float32(255), np.float32(256)), np.nan, np.inf, -np.inf]
    for value in allowed:
        assert base.in_pixel_range(np.array([3.0, value, 7.0], np.float32)), value
    for value in refused:
        assert not base.in_pixel_range(np.array([3.0, value, 7.0], np.float32)), value
