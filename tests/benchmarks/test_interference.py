"""What spoils a figure is caught: a slower backend, a clock that changes, heat, other programs."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from stand_ins.board_files import BoardFiles

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed import interference, measuring
from clipedge.benchmarks.speed.contender import Contender
from clipedge.benchmarks.speed.interference import Bystanders
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson import board
from clipedge.jetson.conditions import Sampler

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

QUICK = ["--duration", "0.2", "--warmup", "0", "--repeats", "2"]
QUICK += ["--backend", "onnxruntime", "--threads", "1", "--batch", "2"]
GPU_FREQ = "/sys/devices/17000000.gp10b/devfreq/17000000.gp10b/cur_freq"
THROTTLE_ALERT = "/sys/devices/virtual/thermal/cooling_device2/cur_state"


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr(board, "busy_share", lambda: 0.0)
    monkeypatch.setattr(board, "processor_times", lambda: None)


@pytest.fixture
def tx2(tmp_path, monkeypatch):
    """The files of a TX2 that the conditions of a run are read from."""
    files = BoardFiles(tmp_path / "tx2", "tx2")
    monkeypatch.setattr(measuring, "Sampler", lambda: Sampler(every_s=0.05, root=files.root))
    return files


def in_the_second_repeat(monkeypatch, happens):
    """Let something happen when the second repeat has begun."""
    real, repeats = Contender.measure, []

    def measure(contender, *asked):
        repeats.append(1)
        if len(repeats) == 2:
            happens()
        return real(contender, *asked)

    monkeypatch.setattr(Contender, "measure", measure)


def measured(model, tmp_path, *more):
    """The row of a run that went well."""
    target = tmp_path / "bench.json"
    assert cli.main([str(model), *QUICK, "--json", str(target), *more]) == 0
    (row,) = json.loads(target.read_text())["rows"]
    return row


def test_a_slowed_backend_shows_in_the_figure_and_against_a_baseline(
    tiny_model, tmp_path, odd_workers, capsys
):
    before = measured(tiny_model, tmp_path)
    (tmp_path / "bench.json").rename(tmp_path / "before.json")
    odd_workers("slow:every")  # 30 ms more a batch
    after = measured(tiny_model, tmp_path)
    assert after["latency_ms"]["min"] >= 30.0 > before["latency_ms"]["median"]
    assert after["clips_per_s"] < 2 / 0.030 < before["clips_per_s"]
    capsys.readouterr()
    compared = [str(tmp_path / "bench.json"), "--baseline", str(tmp_path / "before.json")]
    assert cli.main([*compared, "--max-regression", "5%"]) == 1
    assert "regressed" in capsys.readouterr().out
    assert cli.main([compared[2], "--baseline", compared[0]]) == 0  # the other way round


def test_a_clock_that_changes_in_the_middle_is_caught(
    tiny_model, tmp_path, tx2, monkeypatch, capsys, caplog
):
    in_the_second_repeat(monkeypatch, lambda: tx2.write(GPU_FREQ, 828750000))
    row = measured(tiny_model, tmp_path)
    message = "the clock of GPU changed from 1300 to 829 MHz while it was measured"
    assert message in row["warnings"]
    assert message not in caplog.text  # once is enough
    assert message in capsys.readouterr().out
    (change,) = row["span"]["clock_changes"]
    assert (change["clock"], change["from_mhz"], change["to_mhz"]) == ("GPU", 1300.5, 828.75)
    assert row["repeats"][1]["start_s"] <= change["t_s"] <= row["repeats"][1]["start_s"] + 5.0
    assert row["span"]["gpu_mhz"]["max"] == 1300.5
    assert row["span"]["gpu_mhz"]["min"] == 828.75
    assert 828.75 in row["series"]["gpu_mhz"]


def test_a_board_that_throttles_is_caught(tiny_model, tmp_path, tx2, monkeypatch, capsys, caplog):
    in_the_second_repeat(monkeypatch, lambda: tx2.write(THROTTLE_ALERT, 1))
    row = measured(tiny_model, tmp_path)
    message = "the machine throttled itself: it is too hot, or short of power"
    assert message in row["warnings"]
    assert message not in caplog.text  # once is enough
    assert message in capsys.readouterr().out
    assert row["span"]["throttled"] == {"before": False, "during": True, "after": True}
    (event,) = row["span"]["throttle_events"]
    assert event["t_s"] >= row["repeats"][1]["start_s"]


def test_nothing_is_warned_of_on_a_quiet_board(tiny_model, tmp_path, tx2, capsys):
    row = measured(tiny_model, tmp_path)
    assert [one for one in row["warnings"] if not one.startswith("the repeats differ")] == []
    assert row["span"]["throttled"] == {"before": False, "during": False, "after": False}


def test_the_energy_is_that_of_the_batches_alone(tiny_model, tmp_path, tx2):
    row = measured(tiny_model, tmp_path)
    clips = 2 * len(row["latencies_ms"])
    assert row["span"]["energy_j"] == pytest.approx(7.43 * row["span"]["span_s"], rel=1e-3)
    assert row["span"]["energy_per_clip_j"] == pytest.approx(
        row["span"]["energy_j"] / clips, abs=1e-6
    )
    assert row["span"]["clips_per_j"] * row["span"]["energy_per_clip_j"] == pytest.approx(
        1.0, rel=1e-2
    )


def test_repeats_far_apart_are_told(tiny_model, tmp_path, monkeypatch, capsys):
    real, slow = Contender.measure, []

    def measure(contender, *asked):
        found = real(contender, *asked)
        slow.append(1)
        found["clips_per_s"] = 100.0 / len(slow)
        return found

    monkeypatch.setattr(Contender, "measure", measure)
    row = measured(tiny_model, tmp_path)
    assert row["spread"] == pytest.approx(50.0 / 75.0, abs=1e-3)
    assert "the repeats differ by 67 %" in row["warnings"][0]
    assert "the repeats differ by 67 %" in capsys.readouterr().out


def test_the_sampler_s_cost_is_noted(tiny_model, tmp_path):
    measured(tiny_model, tmp_path)
    sampler = json.loads((tmp_path / "bench.json").read_text())["sampler"]
    assert sampler["every_s"] == 0.5
    assert 0.0 <= sampler["cpu_share"] < 0.5


# --- Other programs ----------------------------------------------------------------------------


@pytest.fixture
def turned(monkeypatch):
    """The kernel's count of idle and all ticks, and this process's own seconds, as a test says."""
    known = {"ticks": (0, 0), "own_s": 0.0}
    monkeypatch.setattr(board, "processor_times", lambda: known["ticks"])
    monkeypatch.setattr(interference.time, "process_time", lambda: known["own_s"])
    return known


def test_time_of_the_worker_and_our_own_is_not_that_of_others(turned):
    ticks_a_s = os.sysconf("SC_CLK_TCK")
    bystanders = Bystanders()
    turned["ticks"] = (4 * ticks_a_s, 20 * ticks_a_s)  # 16 of 20 s were used
    turned["own_s"] = 1.0
    assert bystanders.share(measured_cpu_s=10.0) == pytest.approx(0.25)
    assert bystanders.share(measured_cpu_s=15.0) == 0.0
    assert bystanders.share(measured_cpu_s=99.0) == 0.0  # ticks are coarse


def test_a_kernel_that_does_not_count_gives_no_share(turned):
    assert Bystanders().share(0.0) is None  # no tick has passed
    turned["ticks"] = None
    assert Bystanders().share(0.0) is None


def test_only_the_cores_that_we_may_use_count(tmp_path, monkeypatch):
    monkeypatch.undo()
    ours = min(os.sched_getaffinity(0))
    other = max(os.sched_getaffinity(0)) + 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {ours})
    (tmp_path / "proc").mkdir()
    stat = tmp_path / "proc" / "stat"
    stat.write_text(
        "cpu  1000 0 0 9000 0 0 0 0 0 0\n"
        f"cpu{ours} 70 10 10 5 5 0 0 20 0 0\n"
        f"cpu{other} 930 0 0 8995 0 0 0 0 0 0\n"
    )
    assert board.processor_times(tmp_path) == (10, 120)
    stat.write_text("cpu  1000 0 0 9000 0 0 0 0 0 0\n")  # as some sandboxes have it
    assert board.processor_times(tmp_path) == (9000, 10000)
    assert board.processor_times(tmp_path / "none") is None


def test_a_busy_program_beside_is_seen(tiny_model, monkeypatch):
    monkeypatch.undo()
    if board.processor_times() is None:
        pytest.skip("this kernel does not count the cores' time")
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Contender(Order(str(tiny_model), "onnxruntime", "fp32", 1, 2)) as one:
            bystanders = Bystanders()
            found = one.measure(1.0, None)
            share = bystanders.share(found["cpu_s"])
    finally:
        busy.kill()
        busy.wait()
    # A whole core where there are enough, its share of the one it has to share otherwise.
    assert share > 0.3 / len(os.sched_getaffinity(0))


def test_all_threads_of_the_worker_are_its_own_time(tiny_model):
    order = Order(str(tiny_model), "onnxruntime", "fp32", 1, 2)
    with Contender(order._replace(streams=2)) as one:
        one.warm_up(0.0)
        before_s = used_s(one)
        found = one.measure(1.0, None)
        assert found["cpu_s"] == pytest.approx(used_s(one) - before_s, abs=0.1)


def used_s(contender):
    """CPU seconds of all threads of a worker, by the kernel."""
    with open(f"/proc/{contender._process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
