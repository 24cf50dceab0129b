"""Engines on a real GPU: pytest -m gpu. Where there is none, each test says what is missing.

They build a small model with the TensorRT that is installed and run it. What is tested with more
cases on the stand-ins (test_runner_contract.py, test_tensorrt_runner.py) is here once for real.
"""

import threading

import numpy as np
import pytest

from clipedge.jetson import trt_api
from clipedge.jetson.cuda import CudaSession, gpu_facts
from clipedge.jetson.errors import BackendError
from clipedge.jetson.runners import open_runner

pytestmark = pytest.mark.gpu

BATCHES = (1, 3)
# Of the largest logit, between a GPU's fp32 convolutions and ONNX Runtime's on a CPU.
FP32_TOLERANCE = 1e-3
# Contexts, modules and caches of the driver come and go; a leak of buffers would be more.
LEAK_MIB = 64


@pytest.fixture(scope="module")
def gpu():
    """GpuFacts of this machine."""
    try:
        return gpu_facts()
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def engine(gpu, tmp_path_factory, model_writer, engine_writer, tiny_spec):
    """A small model's ONNX file and engine; clips of 8 x 64 x 64, so that copies take time."""
    if not trt_api.installed_packages():
        pytest.skip("no TensorRT is installed for this Python")
    folder = tmp_path_factory.mktemp("gpu")
    onnx = model_writer(folder / "small.onnx", tiny_spec._replace(frames=8, size=64))
    return engine_writer(folder / "small_fp32.engine", onnx, BATCHES)


@pytest.fixture(scope="module")
def clips(engine, clip_maker):
    with open_runner(engine) as runner:
        return clip_maker(runner.spec, 3)


@pytest.fixture(scope="module")
def expected(engine, clips):
    pytest.importorskip("onnxruntime", reason="onnxruntime, to compare with, is not installed")
    with open_runner(engine.with_name("small.onnx"), "onnxruntime") as runner:
        return runner.infer(clips)


def assert_close(logits, expected):
    assert np.abs(logits - expected).max() <= FP32_TOLERANCE * np.abs(expected).max()


def free_mib():
    """Memory of the GPU that is free now, seen from a context of its own."""
    import pycuda.driver

    with CudaSession() as session, session.current():
        return pycuda.driver.mem_get_info()[0] / 2.0**20


def test_every_batch_size_scores_as_onnx_runtime(engine, clips, expected):
    with open_runner(engine) as runner:
        for _ in range(2):
            assert_close(runner.infer(clips), expected)
            assert_close(runner.infer(clips[:1]), expected[:1])


def test_it_says_what_it_runs_on(engine, clips, gpu):
    with open_runner(engine) as runner:
        runner.infer(clips)
        facts = runner.describe()
    assert facts["device"].startswith(gpu.name)
    assert facts["memory"] in ("pinned", "mapped")
    assert bool(facts["memory_trial_ms"]) == gpu.integrated


def test_events_time_copies_and_compute(engine, clips):
    with open_runner(engine) as runner:
        runner.infer(clips)
        timing, memory = runner.last_timing_ms, runner.describe()["memory"]
    assert timing.compute > 0
    assert timing.staging > 0
    assert (timing.h2d > 0) == (timing.d2h > 0) == (memory == "pinned")


def test_both_kinds_of_memory_give_the_same(engine, clips, expected, monkeypatch):
    from clipedge.jetson.runners import tensorrt_runner

    for kind in (tensorrt_runner.PINNED, tensorrt_runner.MAPPED):
        with open_runner(engine) as runner:
            monkeypatch.setattr(runner._choice, "kind", kind)
            assert_close(runner.infer(clips), expected)


def test_opened_used_and_closed_in_different_threads(engine, clips, expected):
    found = {}

    def infer():
        found["logits"] = runner.infer(clips)

    runner = open_runner(engine)
    for work in (infer, runner.close):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert_close(found["logits"], expected)


def test_two_at_once(engine, clips, expected):
    with open_runner(engine) as one, open_runner(engine) as other:
        for runner in (one, other, one):
            assert_close(runner.infer(clips), expected)
        one.close()
        assert_close(other.infer(clips), expected)


def test_many_in_a_row_leave_no_memory_taken(engine, clips):
    def once():
        with open_runner(engine) as runner:
            runner.infer(clips)

    once()
    before_mib = free_mib()
    for _ in range(10):
        once()
    assert before_mib - free_mib() < LEAK_MIB


def test_an_interrupt_in_an_inference_leaves_the_runner_usable(
    engine, clips, expected, monkeypatch
):
    def interrupt(session):
        raise KeyboardInterrupt

    with open_runner(engine) as runner:
        runner.infer(clips)
        with monkeypatch.context() as patch:
            patch.setattr(CudaSession, "synchronize", interrupt)
            with pytest.raises(KeyboardInterrupt):
                runner.infer(clips[::-1])
        assert_close(runner.infer(clips), expected)


def test_layers_are_timed(engine, clips):
    with open_runner(engine) as runner:
        times_ms = runner.layer_times_ms(clips, 5)
        assert times_ms
        assert min(times_ms.values()) >= 0
        assert_close(runner.infer(clips), runner.infer(clips))


def test_an_engine_of_another_release_is_refused(engine, tmp_path):
    from clipedge.jetson.engine_manifest import EngineMismatchError, load_manifest, manifest_path

    manifest = load_manifest(engine)
    package = manifest.machine.tensorrt.split()[0]
    other = manifest.machine._replace(tensorrt=f"{package} 0.1")
    copy = tmp_path / engine.name
    copy.write_bytes(engine.read_bytes())
    manifest_path(copy).write_text(manifest._replace(machine=other).to_json())
    with pytest.raises(EngineMismatchError, match=r"built with tensorrt\w* 0\.1"):
        open_runner(copy)


def test_bytes_that_are_no_engine_are_refused_by_tensorrt(engine):
    trt = trt_api.load(trt_api.installed_packages()[0])
    part = engine.read_bytes()[:1000]
    with CudaSession() as session, session.current(), pytest.raises(BackendError, match="load"):
        trt.open_engine(part)
