"""A worker that fails in whatever way becomes an error in words, and nothing of it stays."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from stand_ins import TX2, board

from clipedge.benchmarks.speed import contender
from clipedge.benchmarks.speed.contender import Contender
from clipedge.benchmarks.speed.pipe import LEAVE_S
from clipedge.benchmarks.speed.worker import Bench, Order, _timed, shared_threads
from clipedge.benchmarks.timing import random_clips
from clipedge.jetson.errors import BackendError, ClipedgeError, UsageError
from clipedge.jetson.spec import ClipSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

LIMIT_S = 30.0
CARD = TX2._replace(integrated=False)


@pytest.fixture
def order(tiny_model):
    return Order(str(tiny_model), "onnxruntime", "fp32", 1, 2)


def wait_for(condition):
    limit_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.01)


def alive(pid):
    """Whether a process runs; one that has ended and was not asked for its status does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(autouse=True)
def before():
    """Children that other tests have left."""
    OTHERS[:] = []
    OTHERS[:] = children()


OTHERS = []


def children():
    """Process ids of this test's children, those that wait to be asked for included."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parent = stat.read().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent) == os.getpid() and int(name) not in OTHERS:
                found.append(int(name))
    return found


def test_an_order_is_opened_warmed_up_and_measured(order):
    with Contender(order) as one:
        assert one.opened["spec"]["model"] == "tiny"
        assert one.opened["facts"]["backend"] == "onnxruntime"
        assert "onnxruntime" in one.opened["packages"]
        warmed = one.warm_up(0.05)
        assert (warmed["batches"] > 0, warmed["steady"]) == (True, None)
        found = one.measure(10.0, 7)
        assert len(found["latencies_ms"]) == 7
        assert found["clips_per_s"] == pytest.approx(7 * 2 / found["elapsed_s"], rel=1e-3)
        assert found["cpu_s"] >= 0.0


def test_the_memory_is_the_workers_own_and_not_that_of_who_started_it(order):
    held = bytearray(os.urandom(1 << 20) * 400)
    with Contender(order) as one:
        assert one.measure(1.0, 1)["peak_mb"] < 300
    assert len(held) == 400 << 20


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        ("exit:0", "tiny_random.onnx with onnxruntime: .* ended with status 7"),
        ("crash:0", "ended by signal 11"),
        ("kill:2", "most likely for want of memory; try less --batch"),
        ("crash:2", "ended by signal 11"),
        ("break:2", "ended with status 1. It said: .*RuntimeError: something is broken"),
        ("no-memory:2", "not enough memory"),
        ("fail:2", "the backend is out of order"),
    ],
)
def test_an_end_in_the_middle_says_how_and_why(order, odd_workers, trick, message):
    odd_workers(trick)
    with pytest.raises(ClipedgeError, match=message), Contender(order) as one:
        one.warm_up(0.0)
        one.measure(1.0, 3)
    assert children() == []


def test_a_worker_that_cannot_start_says_why(order, monkeypatch):
    monkeypatch.setattr(
        contender, "WORKER", [sys.executable, "-c", "import sys; sys.exit('no such library')"]
    )
    with pytest.raises(BackendError, match=r"ended with status 1\. It said: no such library"):
        Contender(order)
    assert children() == []


def test_a_worker_that_ends_in_the_middle_of_an_answer_says_how(order, monkeypatch):
    code = "import sys; print('{\"event\": \"ope', end=''); sys.exit(3)"
    monkeypatch.setattr(contender, "WORKER", [sys.executable, "-c", code])
    with pytest.raises(BackendError, match="ended with status 3"):
        Contender(order)


def test_a_wrong_call_is_told_apart_from_a_failure(order):
    with pytest.raises(UsageError, match="does not exist"):
        Contender(order._replace(path="none.onnx"))
    with pytest.raises(ClipedgeError) as caught:
        Contender(order._replace(precision="fp16"))
    assert not isinstance(caught.value, UsageError)


def test_what_a_library_prints_does_not_get_between_the_answers(order, odd_workers):
    odd_workers("print:0", "print:every")
    with Contender(order) as one:
        one.warm_up(0.0)
        assert len(one.measure(1.0, 3)["latencies_ms"]) == 3


def test_a_backend_that_hangs_in_its_close_does_not_hang_us(order, odd_workers):
    odd_workers("hang:close")
    start_s = time.monotonic()
    with Contender(order) as one:
        one.warm_up(0.0)
    assert time.monotonic() - start_s < LIMIT_S
    assert children() == []


def test_a_worker_that_does_not_end_is_ended(order, monkeypatch):
    code = 'import time; print(\'{"event": "opened"}\', flush=True); time.sleep(600)'
    monkeypatch.setattr(contender, "WORKER", [sys.executable, "-c", code])
    monkeypatch.setattr(contender, "_LEAVE_S", 0.5)
    Contender(order).close()
    assert children() == []


def test_an_end_in_the_middle_of_a_batch_is_at_once(order, odd_workers):
    odd_workers("hang:2")
    one = Contender(order)
    one.warm_up(0.0)
    waiting = threading.Thread(target=_measure_quietly, args=(one,))
    waiting.start()
    start_s = time.monotonic()
    one.close()
    assert time.monotonic() - start_s < LEAVE_S
    waiting.join(LIMIT_S)
    assert children() == []


def _measure_quietly(one):
    with contextlib.suppress(ClipedgeError, ValueError):  # its pipe was closed
        one.measure(600.0, None)


@pytest.mark.parametrize("doing", ["nothing", "measuring"])
def test_a_worker_does_not_outlive_who_started_it(order, doing):
    code = (
        "import json, sys\n"
        "from clipedge.benchmarks.speed.contender import Contender\n"
        "from clipedge.benchmarks.speed.worker import Order\n"
        "one = Contender(Order(*json.loads(sys.argv[1])))\n"
        "told = lambda done_s, planned_s: print(one._process.pid, flush=True)\n"
        "if sys.argv[2] == 'measuring':\n"
        "    one.measure(600.0, None, told)\n"
        "told(0, 0)\n"
        "sys.stdin.read()\n"
    )
    call = [sys.executable, "-c", code, json.dumps(list(order)), doing]
    parent = subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True
    )
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(pid))
    parent.stdin.close()
    parent.stdout.close()


def test_who_has_the_answer_may_close_the_pipe_at_once(order, monkeypatch, tmp_path):
    script = tmp_path / "slow_worker.py"
    script.write_text(
        "import os, sys, time\n"
        "from clipedge.benchmarks.speed import worker\n"
        "real = worker.answering\n"
        "def answering(pipe):\n"
        "    say = real(pipe)\n"
        "    def slowly(event, **fields):\n"
        "        say(event, **fields)\n"
        "        time.sleep(0.3)\n"
        "    return slowly\n"
        "worker.answering = answering\n"
        "sys.exit(worker.main())\n"
    )
    monkeypatch.setattr(contender, "WORKER", [sys.executable, str(script)])
    with Contender(order) as one:
        pass
    assert one._process.returncode == 0
    with Contender(order) as one:
        one.measure(1.0, 1)
    assert one._process.returncode == 0


def test_nothing_is_left_of_many_workers(order, odd_workers):
    odd_workers("exit:0")
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ClipedgeError):
            Contender(order)
    odd_workers()
    Contender(order).close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert children() == []


def test_a_file_in_the_working_folder_is_not_taken_for_a_library(order, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise ImportError('the wrong one')\n")
    absolute = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    monkeypatch.setenv("PYTHONPATH", absolute)
    monkeypatch.chdir(tmp_path)
    Contender(order).close()


def test_our_warnings_reach_the_user(order, monkeypatch, caplog, tmp_path):
    script = tmp_path / "warning_worker.py"
    script.write_text(
        "import logging, sys\n"
        "from clipedge.benchmarks.speed import worker\n"
        "real = worker.open_backend\n"
        "def open_backend(*known):\n"
        "    logging.getLogger('clipedge.jetson').warning('fp16 is slow here: %s', 'sm_61')\n"
        "    logging.getLogger('clipedge.jetson').info('nobody needs this')\n"
        "    return real(*known)\n"
        "worker.open_backend = open_backend\n"
        "sys.exit(worker.main())\n"
    )
    absolute = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    monkeypatch.setenv("PYTHONPATH", absolute)
    monkeypatch.setattr(contender, "WORKER", [sys.executable, str(script)])
    Contender(order).close()
    assert [record.getMessage() for record in caplog.records] == ["fp16 is slow here: sm_61"]


def test_streams_share_the_threads():
    assert shared_threads(4, 1) == [4]
    assert shared_threads(None, 1) == [None]  # as many as the backend takes by itself
    assert shared_threads(4, 2) == [2, 2]
    assert shared_threads(2, 4) == [1, 1, 1, 1]
    assert len(shared_threads(None, 2)) == 2


def test_two_streams_run_at_once_and_both_count(order, odd_workers):
    odd_workers("slow:every")  # asleep, so that even one core serves both
    with Contender(order._replace(streams=2)) as one:
        assert one.warm_up(0.0)["batches"] >= 2
        found = one.measure(10.0, 10)
    assert len(found["latencies_ms"]) == 20
    assert min(found["latencies_ms"]) >= 30.0
    assert found["clips_per_s"] == pytest.approx(20 * 2 / found["elapsed_s"], rel=1e-3)
    assert found["elapsed_s"] < 0.75 * sum(found["latencies_ms"]) / 1e3


@pytest.mark.parametrize("trick", ["fail:3", "break:3"])
def test_a_stream_that_fails_ends_the_others(order, odd_workers, trick):
    odd_workers(trick)
    start_s = time.monotonic()
    with pytest.raises(ClipedgeError, match=r"out of order|something is broken"), Contender(
        order._replace(streams=2)
    ) as one:
        one.warm_up(0.0)
        one.measure(600.0, None)
    assert time.monotonic() - start_s < LIMIT_S


def test_two_streams_of_an_engine_share_one_cuda_context_and_run_apart(
    tiny_model, engine_writer, tmp_path
):
    with board("8.2.1", CARD) as here:
        engine = str(engine_writer(tmp_path / "tiny.engine", tiny_model, (1, 4)))
        used = []
        run = here.tensorrt.classes["IExecutionContext"].execute_async_v2

        def noting(execution, bindings, stream_handle):
            used.append(stream_handle)
            return run(execution, bindings, stream_handle)

        here.tensorrt.classes["IExecutionContext"].execute_async_v2 = noting
        order = Order(engine, "tensorrt", "fp32", None, 4, 2)
        with Bench(order, lambda *_, **__: None) as bench:
            alone = bench._runners[0].describe()["gpu_memory_mb"]
            assert bench.facts()["facts"]["gpu_memory_mb"]["plan"] == 2 * alone["plan"]
            warmed = bench.warm(0.0)
            found = bench.measure(10.0, 5)
            assert on_gpu(here, "CUDA context") == 1
            assert on_gpu(here, "stream") == on_gpu(here, "execution") == 2
            alone = bench._runners[0].describe()["gpu_memory_mb"]
    assert warmed["facts"]["gpu_memory_mb"] == {name: 2 * size for name, size in alone.items()}
    assert len(found["gpu_times_ms"]) == 10
    assert len(set(used)) == 2
    assert min(used.count(handle) for handle in set(used)) >= 5


@pytest.mark.parametrize("odd_one", [0, 1])
def test_a_stream_of_an_engine_that_fails_leaves_nothing_behind(
    tiny_model, engine_writer, tmp_path, odd_one
):
    with board("8.2.1", CARD) as here:
        engine = str(engine_writer(tmp_path / "tiny.engine", tiny_model, (1, 4)))
        order = Order(engine, "tensorrt", "fp32", None, 4, 2)
        with Bench(order, lambda *_, **__: None) as bench:
            bench.warm(0.0)
            bench._runners[odd_one]._lanes[4].execution.enqueue = fail_to_enqueue
            with pytest.raises(BackendError, match="out of order"):
                bench.measure(600.0, None)
        del bench
        assert on_gpu(here, "CUDA context") == 0


def fail_to_enqueue(stream_handle):
    raise BackendError("the GPU is out of order")


def on_gpu(here, what):
    """How many of the objects that hold memory of the GPU are alive."""
    return sum(what in name for name, holds_it in here.machine._live.values() if holds_it)


def test_two_streams_on_a_gpu(tiny_model, engine_writer, tmp_path, workers_on):
    with board("8.2.1", TX2):
        engine = engine_writer(tmp_path / "tiny.engine", tiny_model, (1, 4))
    workers_on("8.2.1")
    with Contender(Order(str(engine), "tensorrt", "fp32", None, 4, 2)) as one:
        one.warm_up(0.0)
        found = one.measure(10.0, 5)
    assert len(found["latencies_ms"]) == len(found["gpu_times_ms"]) == 10
    assert one._process.returncode == 0  # the stand-ins found nothing that was left behind


def test_an_interrupt_of_the_terminal_is_left_to_who_asked(order):
    with Contender(order) as one:
        os.kill(one._process.pid, signal.SIGINT)
        one.warm_up(0.0)


class NoRunner:
    """Takes no time, so that what is left is our own."""

    last_timing_ms = None

    def infer(self, clips):
        return clips


def test_timing_a_batch_costs_next_to_nothing():
    bench = Bench.__new__(Bench)
    bench._runners, bench._say, count = [NoRunner()], lambda *_, **__: None, 5000
    clips = random_clips(ClipSpec("tiny", ("a", "b"), frames=4, size=16), 1)
    costs_s = []
    for _ in range(5):  # other work on the machine may spoil one
        start_s = time.perf_counter()
        bench._on_each(lambda runner, infer, told: _timed(runner, infer, clips, 600.0, count, told))
        costs_s.append((time.perf_counter() - start_s) / count)
    assert min(costs_s) < 0.01 * 2e-3  # 1 % of a batch of 2 ms; it is 0.05 %


def test_an_interrupt_that_popen_hides_is_an_interrupt(order, monkeypatch):
    def popen(*arguments, **options):
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(contender.subprocess, "Popen", popen)
    with pytest.raises(KeyboardInterrupt):
        Contender(order)
