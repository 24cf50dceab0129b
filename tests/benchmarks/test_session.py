"""A run that is stopped, wherever it is, leaves no process and no half file, and can go on."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed import contender, session
from clipedge.benchmarks.speed.contender import Contender
from clipedge.benchmarks.speed.session import Settings, measure_orders
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson import board
from clipedge.jetson.conditions import Sampler
from clipedge.jetson.errors import BackendError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

LIMIT_S = 60.0
QUICK = ["--duration", "0.1", "--warmup", "0", "--repeats", "1"]
QUICK += ["--backend", "onnxruntime", "--threads", "1", "--batch", "1"]
# As jetson-bench, with the workers of stand_ins/odd_worker.py.
COMMAND = (
    "import json, sys\n"
    "from clipedge.benchmarks import cli\n"
    "from clipedge.benchmarks.speed import contender\n"
    "contender.WORKER = json.loads(sys.argv[1])\n"
    "sys.exit(cli.main(sys.argv[2:]))\n"
)


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr(board, "busy_share", lambda: 0.0)


@pytest.fixture
def order(tiny_model):
    return Order(str(tiny_model), "onnxruntime", "fp32", 1, 2)


@pytest.fixture
def sampler():
    with Sampler() as one:
        yield one


@pytest.fixture
def two_models(tiny_model, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("first.onnx", "second.onnx"):
        shutil.copy(str(tiny_model), str(folder / name))
    return folder


def of_parent(parent):
    """Process ids of the processes that a process started."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == parent:
                found.append(int(name))
    return found


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def wait_for(condition):
    limit_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.02)


# --- Turns -------------------------------------------------------------------------------------


def test_several_orders_take_turns(order, sampler, monkeypatch):
    turns = []
    real = Contender.measure

    def measure(contender, *asked):
        turns.append(contender.order.batch)
        return real(contender, *asked)

    monkeypatch.setattr(Contender, "measure", measure)
    orders = [order, order._replace(batch=4)]
    found = measure_orders(orders, Settings(0.05, None, 0.0, 3), sampler, "")
    assert turns == [2, 4, 2, 4, 2, 4]
    assert [outcome.row["batch"] for outcome in found] == [2, 4]
    assert [len(outcome.row["repeats"]) for outcome in found] == [3, 3]


def test_an_order_that_fails_leaves_the_others(order, sampler, tmp_path):
    missing = order._replace(path=str(tmp_path / "none.onnx"))
    found = measure_orders([missing, order], Settings(0.05, None, 0.0, 1), sampler, "")
    assert (found[0].row, found[0].order) == (None, missing)
    assert "does not exist" in str(found[0].error)
    assert found[1].row["clips_per_s"] > 0
    assert found[1].error is None


def test_an_order_that_fails_later_leaves_the_others(order, sampler, monkeypatch):
    real, asked = Contender.measure, []

    def measure(contender, *arguments):
        asked.append(contender.order.batch)
        if contender.order.batch == 2 and asked.count(2) == 2:
            raise BackendError("the second time it breaks")
        return real(contender, *arguments)

    monkeypatch.setattr(Contender, "measure", measure)
    orders = [order, order._replace(batch=4)]
    found = measure_orders(orders, Settings(0.05, None, 0.0, 2), sampler, "")
    assert (found[0].row, str(found[0].error)) == (None, "the second time it breaks")
    assert len(found[1].row["repeats"]) == 2


def test_what_auto_picks_is_measured_where_the_loser_never_was(order, sampler, monkeypatch):
    opened = []
    real = Contender.__init__

    def noting(contender, one):
        opened.append(one.backend)
        real(contender, one)

    monkeypatch.setattr(Contender, "__init__", noting)
    auto = order._replace(backend="auto")
    (found,) = measure_orders([auto], Settings(0.05, None, 0.0, 1), sampler, "")
    assert opened == ["auto", found.row["backend"]]
    assert found.order == auto
    if importlib.util.find_spec("openvino") is not None:
        assert set(found.row["auto_trial_ms"]) == {"onnxruntime", "openvino"}


def test_no_process_stays_after_an_interrupt_in_between(order, sampler, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = set(of_parent(os.getpid()))
    monkeypatch.setattr(session, "_repeat", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure_orders([order, order], Settings(0.05, None, 0.0, 1), sampler, "")
    assert set(of_parent(os.getpid())) <= before


# --- Stopping ----------------------------------------------------------------------------------


@contextlib.contextmanager
def started(tricks, call):
    """jetson-bench with odd workers, in a session of its own as a terminal has."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    worker = [sys.executable, os.path.join(folder, "stand_ins", "odd_worker.py"), *tricks]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, json.dumps(worker), *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


# It is stopped while the second model is opened, warms up, is measured.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("trick", "line"),
    [("hang:0", "warm-up"), ("hang:1", "warm-up"), ("hang:2", "second.onnx onnxruntime")],
)
def test_a_run_that_is_stopped_keeps_what_is_done_and_leaves_nothing(
    two_models, tmp_path, trick, line, number
):
    target = tmp_path / "bench.json"
    assert cli.main([str(two_models / "first.onnx"), *QUICK, "--json", str(target)]) == 0
    call = [str(two_models), *QUICK, "--json", str(target), "--resume"]
    with started([trick], call) as process:
        for said in process.stderr:
            if said.startswith("[2/2]") and said.strip().endswith(line):
                break
        wait_for(lambda: of_parent(process.pid) or process.poll() is not None)
        workers = of_parent(process.pid)
        os.killpg(process.pid, number)  # as a terminal does; the worker hears it too
        output, rest = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1, (output, rest)
    assert "Traceback" not in rest
    assert [one for one in rest.splitlines() if "interrupted" in one] != []
    wait_for(lambda: all(gone(pid) for pid in workers))
    document = json.loads(target.read_text())
    assert document["complete"] is False
    assert [os.path.basename(row["file"]) for row in document["rows"]] == ["first.onnx"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert cli.main(call) == 0
    document = json.loads(target.read_text())
    assert document["complete"] is True
    names = [os.path.basename(row["file"]) for row in document["rows"]]
    assert names == ["first.onnx", "second.onnx"]


def test_nothing_outlives_a_run_that_is_killed(two_models, tmp_path):
    with started(["hang:2"], [str(two_models), *QUICK]) as process:
        for said in process.stderr:
            if said.startswith("[1/2]") and "warm-up" not in said:
                break
        (worker,) = of_parent(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: gone(worker))


def test_a_backend_that_dies_fails_alone(two_models, tmp_path, odd_workers, caplog):
    odd_workers("crash:2")
    target = tmp_path / "bench.json"
    assert cli.main([str(two_models), *QUICK, "--json", str(target)]) == 1
    document = json.loads(target.read_text())
    assert document["complete"] is True
    assert [failure["error"] for failure in document["failures"]] == [
        f"{name}.onnx with onnxruntime: the process that measures it ended by signal 11."
        for name in ("first", "second")
    ]
    assert caplog.text.count("ended by signal 11") == 2


def test_a_backend_that_is_silent_for_long_is_said_until_it_answers(
    order, odd_workers, monkeypatch, caplog
):
    monkeypatch.setattr(contender, "SILENT_S", 0.01)
    odd_workers("slow:every")
    before = threading.active_count()
    with Contender(order) as opened:
        opened.measure(1.0, 3)
    assert (
        "tiny_random.onnx with onnxruntime: nothing was heard of it for 0 s; Ctrl-C" in caplog.text
    )
    assert threading.active_count() == before
    caplog.clear()
    monkeypatch.setattr(contender, "SILENT_S", 30.0)
    with Contender(order) as opened:
        opened.measure(1.0, 1)
    assert "nothing was heard" not in caplog.text
    odd_workers("exit:1")
    with Contender(order) as opened, pytest.raises(BackendError, match="status 7"):
        opened.measure(1.0, 1)
    assert threading.active_count() == before
