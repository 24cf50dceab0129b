"""Engines on the stand-ins: memory, threads, interrupts, and machines they do not belong to.

What every runner keeps is tested in test_runner_contract.py, for engines of every release too. At
the end of each `board` the stand-ins see that nothing is left behind and no call was out of order.
"""

import gc
import threading

import numpy as np
import pytest
from stand_ins import RELEASES, TITAN_XP, TX2, Fault, board

from clipedge.jetson.cuda import CudaSession
from clipedge.jetson.errors import BackendError, ClipError, UsageError
from clipedge.jetson.live import recognise
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners import open_runner, tensorrt_runner
from clipedge.jetson.runners.tensorrt_lane import MAPPED, PINNED, Lane

pytest.importorskip("onnxruntime", reason="onnxruntime computes for the stand-ins")

every_release = pytest.mark.parametrize("release", sorted(RELEASES))
CARD = TITAN_XP._replace(compute_capability=(6, 2))  # a card of its own memory that 8.2.1 serves


@pytest.fixture(scope="module")
def clips(tiny_spec, clip_maker):
    return clip_maker(tiny_spec, 2)


@pytest.fixture(scope="module")
def expected(tiny_model, clips):
    """(2, classes) logits of ONNX Runtime."""
    with open_runner(tiny_model, "onnxruntime") as runner:
        return runner.infer(clips)


@pytest.fixture
def choose(monkeypatch):
    """`choose(kind)`: let the trial on a Jetson come out for this kind of memory."""

    def patch(kind):
        times = {one: 1.0 if one == kind else 2.0 for one in (PINNED, MAPPED)}
        monkeypatch.setattr(tensorrt_runner, "_time_in_turns", lambda lanes, clips: times)

    return patch


def live(here, what):
    return [one for one in on_gpu(here) if what in one]


def on_gpu(here):
    """What holds memory of the GPU; builders and loggers may live on until they are collected."""
    return [what for what, holds_it in here.machine._live.values() if holds_it]


@every_release
def test_an_engine_of_every_release_scores_as_onnx_runtime(
    release, engine, gpu_of, clips, expected
):
    with board(release, gpu_of(release)) as here, open_runner(engine((1, 2))) as runner:
        assert runner.backend == "tensorrt"
        assert runner.batch_sizes == (1, 2)
        np.testing.assert_allclose(runner.infer(clips), expected, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(runner.infer(clips[1:]), expected[1:], rtol=1e-5, atol=1e-4)
        facts = runner.describe()
        assert facts["version"] == RELEASES[release].version
        assert facts["package"] == RELEASES[release].package
        assert facts["device"].startswith(here.machine.gpu.name)
        assert "sm_{}{}".format(*here.machine.gpu.compute_capability) in facts["device"]
        assert (facts["precision"], facts["graph"], facts["batches"]) == ("fp32", "conv3d", [1, 2])


class TestBatches:
    def test_each_gets_its_execution_when_it_is_first_asked_for(self, engine, clips):
        with board("8.2.1", CARD) as here, open_runner(engine((1, 2))) as runner:
            assert live(here, "execution") == []
            runner.infer(clips)
            assert len(live(here, "execution")) == 1
            runner.infer(clips[:1])
            before = on_gpu(here)
            assert len(live(here, "execution")) == 2
            for _ in range(3):
                runner.infer(clips)
                runner.infer(clips[:1])
            assert on_gpu(here) == before  # all is allocated once

    @pytest.mark.parametrize("count", [3, 8])
    def test_one_it_was_not_built_for_is_refused_with_the_command_that_builds_it(
        self, engine, clip_maker, count
    ):
        with board("8.2.1"), open_runner(engine((1, 4))) as runner:
            with pytest.raises(ClipError) as caught:
                runner.infer(clip_maker(runner.spec, count))
            text = str(caught.value)
            assert f"(1 or 4, 3, 4, 16, 16) float32, RGB, 0-255; got a batch of {count}" in text
            sizes = " ".join(str(size) for size in sorted((1, 4, count)))
            assert f"tiny.onnx --precision fp32 --batch {sizes}" in text
            with pytest.raises(ClipError, match="a batch of 2"):
                runner.check_batch(2)
            runner.check_batch(4)

    def test_no_memory_for_one_leaves_the_others_usable(self, engine, clips, expected):
        with board("8.2.1", CARD) as here, open_runner(engine((1, 2))) as runner:
            runner.infer(clips[:1])
            before = on_gpu(here)
            # Enough for the host's clips, of 24576 bytes, and too little for the GPU's.
            here.machine.gpu = CARD._replace(memory_bytes=here.machine.used_bytes() + 25000)
            with pytest.raises(BackendError, match=r"memory left for a buffer.*smaller batch"):
                runner.infer(clips)
            gc.collect()
            assert on_gpu(here) == before
            np.testing.assert_allclose(runner.infer(clips[:1]), expected[:1], atol=1e-4)
            here.machine.gpu = CARD
            np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)

    def test_the_live_path_refuses_one_without_single_clips_before_it_reads_a_frame(self, engine):
        def frames():
            raise AssertionError("a frame was read")
            yield

        with board("8.2.1"), open_runner(engine((2,))) as runner:
            steps = recognise(frames(), runner, Recogniser(runner.spec.labels), 0.1)
            with pytest.raises(ClipError, match=r"got a batch of 1\. .*--batch 1 2"):
                next(steps)


class TestMemory:
    def test_a_card_gets_page_locked_memory_without_a_trial(self, engine, clips, monkeypatch):
        monkeypatch.setattr(tensorrt_runner, "_time_in_turns", None)
        with board("8.2.1", CARD), open_runner(engine()) as runner:
            assert runner.describe()["memory"] == PINNED
            runner.infer(clips)
            assert runner.describe()["memory_trial_ms"] == {}

    @pytest.mark.parametrize("faster", [PINNED, MAPPED])
    def test_a_jetson_keeps_the_kind_that_was_faster(self, engine, clips, expected, choose, faster):
        choose(faster)
        with board("8.2.1", TX2) as here, open_runner(engine()) as runner:
            assert runner.describe()["memory"] is None  # nothing was measured yet
            for _ in range(2):
                np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
            facts = runner.describe()
            assert facts["memory"] == faster
            assert sorted(facts["memory_trial_ms"]) == [MAPPED, PINNED]
            # The other kind's buffers are given back.
            assert len(live(here, "host memory")) == 2
            assert len(live(here, "device memory")) == (2 if faster == PINNED else 0)
            assert len(live(here, "event")) == 4
            assert len(live(here, "execution")) == 1
            runner.infer(clips[:1])
            assert len(live(here, "host memory")) == 4

    @pytest.mark.parametrize(("room", "kind"), [(2.5, PINNED), (1.5, MAPPED)])
    def test_where_one_kind_alone_has_room_that_one_is_used(
        self, engine, clips, expected, room, kind
    ):
        with board("8.2.1", TX2) as here, open_runner(engine()) as runner:
            left_bytes = here.machine.used_bytes() + int(room * clips.nbytes)
            here.machine.gpu = TX2._replace(memory_bytes=left_bytes)
            for _ in range(2):
                np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
            assert runner.describe()["memory"] == kind
            assert runner.describe()["memory_trial_ms"] == {}

    def test_the_trial_really_runs_both(self, engine, clips, expected, monkeypatch):
        used = []
        run = Lane.run
        monkeypatch.setattr(
            Lane,
            "run",
            lambda lane, batch: used.append(lane._copies) or run(lane, batch),
        )
        with board("8.2.1", TX2), open_runner(engine()) as runner:
            np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
            trial = used[:-1]  # then comes the inference itself
            assert trial.count(True) == trial.count(False) >= 2
            times_ms = runner.describe()["memory_trial_ms"]
            assert set(times_ms) == {PINNED, MAPPED}
            assert min(times_ms.values()) > 0

    def test_a_long_trial_is_cut_short(self, engine, clips, monkeypatch):
        monkeypatch.setattr(tensorrt_runner, "TRIAL_S", 0.0)
        calls = []
        run = Lane.run
        monkeypatch.setattr(Lane, "run", lambda lane, batch: calls.append(1) or run(lane, batch))
        with board("8.2.1", TX2), open_runner(engine()) as runner:
            runner.infer(clips)
        assert len(calls) == 5  # each once to warm up, each once timed, and the inference

    @pytest.mark.parametrize("kind", [PINNED, MAPPED])
    def test_copies_and_compute_are_timed_apart(self, engine, clips, choose, kind, monkeypatch):
        choose(kind)
        # On a real GPU two events never fall on the same moment.
        elapsed_ms = CudaSession.elapsed_ms
        monkeypatch.setattr(CudaSession, "elapsed_ms", lambda *them: elapsed_ms(*them) + 1e-3)
        with board("8.2.1", TX2), open_runner(engine()) as runner:
            assert runner.last_timing_ms is None
            runner.infer(clips)
            timing = runner.last_timing_ms
            assert timing.compute > 0.1
            assert timing.staging > 0
            if kind == MAPPED:
                assert timing.h2d == timing.d2h == 0.0
            else:
                # The stand-in's clock counts bytes: there are 76 times as many in the clips.
                assert timing.h2d - 1e-3 > 10 * (timing.d2h - 1e-3) > 0
            runner.infer(clips[:1])
            assert runner.last_timing_ms.compute < timing.compute


class TestThreads:
    def test_opened_used_and_closed_in_three_threads(self, engine, clips, expected):
        found = []

        def in_a_thread(work):
            thread = threading.Thread(target=lambda: found.append(work()))
            thread.start()
            thread.join()
            return found[-1]

        with board("8.2.1"):
            path = engine()
            runner = in_a_thread(lambda: open_runner(path))
            logits = in_a_thread(lambda: runner.infer(clips))
            np.testing.assert_allclose(logits, expected, atol=1e-4)
            np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
            in_a_thread(runner.close)
            found.clear()

    def test_no_context_stays_current(self, engine, clips):
        with board("8.2.1") as here, open_runner(engine()) as runner:
            runner.infer(clips)
            assert here.machine.current_context() is None

    def test_closing_waits_for_an_inference_in_another_thread(self, engine, clips, monkeypatch):
        inside, go_on, finished = threading.Event(), threading.Event(), []
        synchronize = CudaSession.synchronize

        def slow(session):
            inside.set()
            assert go_on.wait(10)
            synchronize(session)

        with board("8.2.1", CARD):
            runner = open_runner(engine())
            monkeypatch.setattr(CudaSession, "synchronize", slow)
            work = threading.Thread(target=lambda: finished.append(runner.infer(clips)))
            work.start()
            assert inside.wait(10)
            closing = threading.Thread(target=runner.close)
            closing.start()
            closing.join(0.1)
            assert closing.is_alive()
            go_on.set()
            work.join()
            closing.join()
            assert len(finished) == 1

    def test_one_that_waits_while_it_is_closed_is_told(self, engine, clips):
        told = []
        with board("8.2.1"):
            runner = open_runner(engine())

            def infer():
                try:
                    runner.infer(clips)
                except UsageError as error:
                    told.append(str(error))

            with runner._lock:
                thread = threading.Thread(target=infer)
                thread.start()
                thread.join(0.1)  # it has passed the check and waits for the lock
                session, runner._session = runner._session, None
            thread.join()
            runner._session = session
            runner.close()
        assert told == ["This runner is closed; open the model file again."]

    @every_release
    def test_two_at_once(self, release, engine, gpu_of, clips, expected):
        with board(release, gpu_of(release)):
            first, second = engine((1, 2)), engine((2, 3), name="other.engine")
            with open_runner(first) as one, open_runner(second) as other:
                for _ in range(2):
                    for runner in (one, other):
                        np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
                one.close()
                np.testing.assert_allclose(other.infer(clips), expected, atol=1e-4)

    @every_release
    def test_many_in_a_row_leave_nothing(self, release, engine, gpu_of, clips):
        with board(release, gpu_of(release)) as here:
            path = engine()
            for _ in range(20):
                with open_runner(path) as runner:
                    runner.infer(clips)
                assert on_gpu(here) == []


class TestBeside:
    @every_release
    @pytest.mark.parametrize("first_to_close", [0, 1])
    def test_both_run_in_one_cuda_context_and_close_in_any_order(
        self, release, engine, gpu_of, clips, expected, first_to_close
    ):
        with board(release, gpu_of(release)) as here:
            runners = [open_runner(engine())]
            runners.append(runners[0].beside())
            for _ in range(2):
                for runner in runners:
                    np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
            assert len(live(here, "CUDA context")) == 1
            assert len(live(here, "stream")) == len(live(here, "execution")) == 2
            runners.pop(first_to_close).close()
            np.testing.assert_allclose(runners[0].infer(clips), expected, atol=1e-4)
            runners[0].close()

    def test_they_run_at_once_in_threads(self, engine, clips, expected):
        with board("8.2.1", TX2), open_runner(engine()) as one, one.beside() as other:
            found, together = [], threading.Barrier(2, timeout=20)

            def work(runner):
                together.wait()
                found.extend(runner.infer(clips) for _ in range(5))

            threads = [threading.Thread(target=work, args=(each,)) for each in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(found) == 10
            for logits in found:
                np.testing.assert_allclose(logits, expected, atol=1e-4)

    def test_the_kind_of_memory_is_measured_once_for_both(self, engine, clips, monkeypatch):
        trials = []
        times = {PINNED: 2.0, MAPPED: 1.0}
        monkeypatch.setattr(
            tensorrt_runner, "_time_in_turns", lambda lanes, clips: trials.append(1) or times
        )
        with board("8.2.1", TX2), open_runner(engine()) as one, one.beside() as other:
            for runner in (other, one):
                runner.infer(clips)
            assert trials == [1]
            assert [runner.describe()["memory"] for runner in (one, other)] == [MAPPED, MAPPED]

    def test_one_that_cannot_be_opened_leaves_the_other(self, engine, clips, expected):
        with board("8.2.1", CARD) as here, open_runner(engine()) as one:
            before = on_gpu(here)
            real = here.tensorrt.classes["Runtime"].deserialize_cuda_engine
            here.tensorrt.classes["Runtime"].deserialize_cuda_engine = lambda *_: None
            with pytest.raises(BackendError, match="cannot load the engine"):
                one.beside()
            here.tensorrt.classes["Runtime"].deserialize_cuda_engine = real
            gc.collect()
            assert on_gpu(here) == before
            np.testing.assert_allclose(one.infer(clips), expected, atol=1e-4)

    def test_beside_a_closed_one_is_a_wrong_call(self, engine):
        with board("8.2.1"):
            runner = open_runner(engine())
            runner.close()
            with pytest.raises(UsageError, match="This runner is closed"):
                runner.beside()


class TestResults:
    def test_fp16_that_overflows_is_an_error(self, engine, clips):
        with board("8.2.1") as here:
            here.tensorrt.fault = Fault(("conv",), "nan")
            path = engine((2, 7), precision="fp16")
            with open_runner(path) as runner:
                assert runner.describe()["precision"] == "fp16"
                with pytest.raises(BackendError, match="not finite"):
                    runner.infer(clips)

    def test_layers_are_timed_and_the_runner_stays_as_it_was(self, engine, clips, expected):
        with board("8.2.1", CARD) as here, open_runner(engine()) as runner:
            runner.infer(clips)
            before = on_gpu(here)
            times_ms = runner.layer_times_ms(clips, 3)
            assert live(here, "execution") == []  # the profiler is gone with its execution
            assert len(times_ms) > 1
            assert min(times_ms.values()) > 0
            np.testing.assert_allclose(runner.infer(clips), expected, atol=1e-4)
            gc.collect()
            assert sorted(on_gpu(here)) == sorted(before)
            assert all(name in runner.layer_information() for name in times_ms)

    def test_the_bare_call_of_benchmarks_scores_alike(self, engine, clips, expected):
        with board("8.2.1"), open_runner(engine()) as runner:
            call = runner.bare_call(clips)
            for _ in range(2):
                np.testing.assert_allclose(call(), expected, atol=1e-4)
