"""How a runner of engines ends: in order, after an interrupt anywhere, with nothing left behind."""

import sys

import numpy as np
import pytest
from stand_ins import TITAN_XP, TX2, board

from clipedge.jetson import trt_api
from clipedge.jetson.cuda import Buffer, CudaSession
from clipedge.jetson.errors import BackendError
from clipedge.jetson.runners import open_runner, tensorrt_runner

pytest.importorskip("onnxruntime", reason="onnxruntime computes for the stand-ins")

CARD = TITAN_XP._replace(compute_capability=(6, 2))  # a card of its own memory that 8.2.1 serves


@pytest.fixture(scope="module")
def clips(tiny_spec, clip_maker):
    return clip_maker(tiny_spec, 2)


@pytest.fixture(scope="module")
def expected(tiny_model, clips):
    """(2, classes) logits of ONNX Runtime."""
    with open_runner(tiny_model, "onnxruntime") as runner:
        return runner.infer(clips)


def on_gpu(here):
    """What holds memory of the GPU; builders and loggers may live on until they are collected."""
    return [what for what, holds_it in here.machine._live.values() if holds_it]


@pytest.fixture
def ends(monkeypatch):
    """What ends, in order: queued work, executions, engine, session, and each of its buffers."""
    seen = []

    def note(owner, name, what):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda self: seen.append(what) or real(self))

    note(CudaSession, "drain", "work")
    note(trt_api.Execution, "close", "execution")
    note(trt_api.Engine, "close", "engine")
    note(CudaSession, "close", "session")
    note(Buffer, "free", "buffer")
    return seen


def test_it_ends_in_order_after_the_work_that_is_queued(engine, clips, ends):
    with board("8.2.1", CARD), open_runner(engine()) as runner:
        runner.infer(clips)
        runner.infer(clips[:1])
    assert ends == ["work", "execution", "execution", "engine", "session", "work"] + 8 * ["buffer"]


def test_a_trial_that_fails_ends_in_order_too(engine, clips, ends, monkeypatch):
    def fail(lanes, clips):
        raise BackendError("CUDA failed")

    monkeypatch.setattr(tensorrt_runner, "_time_in_turns", fail)
    with board("8.2.1", TX2), open_runner(engine()) as runner:
        with pytest.raises(BackendError):
            runner.infer(clips)
        assert ends == ["work", *(6 * ["buffer"]), "work", "execution"]
        assert runner.describe()["memory"] is None


class TestInterrupts:
    def test_in_the_middle_of_an_inference(self, engine, clips, monkeypatch):
        def interrupt(session):
            raise KeyboardInterrupt  # while all is queued and nothing has run

        with board("8.2.1", CARD) as here:
            path = engine()
            monkeypatch.setattr(CudaSession, "synchronize", interrupt)
            with pytest.raises(KeyboardInterrupt), open_runner(path) as runner:
                runner.infer(clips)
            # The board would see copies into memory that is freed, and what is left behind.
            assert here.machine.current_context() is None

    def test_the_next_inference_is_right(self, engine, clips, expected, monkeypatch):
        synchronize, calls = CudaSession.synchronize, []

        def interrupt_once(session):
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt
            synchronize(session)

        with board("8.2.1", CARD), open_runner(engine()) as runner:
            monkeypatch.setattr(CudaSession, "synchronize", interrupt_once)
            with pytest.raises(KeyboardInterrupt):
                runner.infer(clips[::-1])
            np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)

    @pytest.mark.parametrize(
        ("kind", "call"),
        [
            ("Runtime", "deserialize_cuda_engine"),
            ("ICudaEngine", "create_execution_context"),
            ("IExecutionContext", "execute_async_v2"),
        ],
    )
    def test_during_a_long_call_of_tensorrt(self, engine, clips, kind, call):
        """Such an interrupt is raised as the call returns; what it made has no name yet."""
        with board("8.2.1", CARD) as here:
            path = engine()
            native = here.tensorrt.classes[kind]
            real = getattr(native, call)

            def interrupted(self, *arguments):
                made = real(self, *arguments)
                assert made is not None
                raise KeyboardInterrupt

            setattr(native, call, interrupted)
            with pytest.raises(KeyboardInterrupt), open_runner(path) as runner:
                runner.infer(clips)

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="tracing a frame keeps its locals alive")
    @pytest.mark.parametrize("gpu", [TX2, CARD], ids=["jetson", "card"])
    def test_at_any_line_leaves_nothing(self, engine, clips, gpu, monkeypatch):
        monkeypatch.setattr(tensorrt_runner, "TRIAL_S", 0.0)
        with board("8.2.1", gpu) as here:
            path, interrupted = engine(), 0
            for place in range(1, 1000):
                tracer = _InterruptAt(place)
                try:
                    with tracer, open_runner(path) as runner:
                        runner.infer(clips)
                except KeyboardInterrupt:
                    interrupted += 1
                assert (on_gpu(here), here.machine.problems) == ([], []), place
                if not tracer.done:
                    break
            assert interrupted > 60

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="tracing a frame keeps its locals alive")
    def test_at_any_line_of_one_beside_another_leaves_nothing(self, engine, clips):
        with board("8.2.1", CARD) as here:
            path, interrupted = engine(), 0
            for place in range(1, 1000):
                tracer = _InterruptAt(place)
                try:
                    with tracer, open_runner(path) as runner, runner.beside() as other:
                        other.infer(clips)
                except KeyboardInterrupt:
                    interrupted += 1
                assert (on_gpu(here), here.machine.problems) == ([], []), place
                if not tracer.done:
                    break
            assert interrupted > 60


class _InterruptAt:
    """Raises KeyboardInterrupt before the n-th line that runs in the runner, as Ctrl-C would."""

    def __init__(self, place):
        self.left = place
        self.done = False

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _trace(self, frame, event, argument):
        if not frame.f_code.co_filename.endswith(("tensorrt_runner.py", "tensorrt_lane.py")):
            return None
        # Closing is the end: an interrupt there may leave it to the driver to free the rest.
        if event == "line" and frame.f_code.co_name != "close" and not self.done:
            self.left -= 1
            if self.left == 0:
                self.done = True
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace
