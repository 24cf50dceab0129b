"""The thread that follows a measurement: it reads by itself, ends with its block, and costs little.

nvidia-smi is a script here, in the tests' own folder of programs: no card is at hand.
"""

import os
import threading
import time

import pytest
from stand_ins.board_files import BoardFiles

from clipedge.jetson.conditions import Sampler
from clipedge.jetson.conditions.card_watch import CardWatch
from clipedge.jetson.conditions.probe import MOST_CPU_CLOCKS, Probe
from clipedge.jetson.conditions.tools import run_tool
from clipedge.jetson.conditions.tree import MissingError

LIMIT_S = 30.0
GPU_FREQ = "/sys/devices/17000000.gp10b/devfreq/17000000.gp10b/cur_freq"

# Answers as nvidia-smi does, again and again with -lms; the clock falls from line to line.
SCRIPT = """#!/bin/sh
echo "$$ $*" >> {log}
mhz=1911
while :; do
  echo "0, NVIDIA TITAN Xp, 535.183.01, P2, 200.00, 250.00, 70, $mhz, 1911, 5508, 5705, 1, 2, 0x0"
  case "$*" in *-lms*) ;; *) exit 0;; esac
  mhz=$((mhz - 100))
  sleep 0.05
done
"""


def wait_for(condition):
    limit_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.01)


@pytest.fixture
def smi_log(tmp_path, monkeypatch):
    """An nvidia-smi on the path; the file with the process and the arguments of each call."""
    folder = tmp_path / "programs"
    folder.mkdir()
    script = folder / "nvidia-smi"
    script.write_text(SCRIPT.format(log=tmp_path / "calls"))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    # A line may be late where the machine is loaded.
    monkeypatch.setattr("clipedge.jetson.conditions.card_watch.STALE_S", LIMIT_S)
    return tmp_path / "calls"


def ended(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_sampler_reads_by_itself_and_sees_a_clock_change(tmp_path):
    files = BoardFiles(tmp_path, "tx2")
    threads = threading.active_count()
    with Sampler(every_s=0.01, root=tmp_path) as sampler:
        start_s = sampler.mark()
        files.write(GPU_FREQ, 854250000)

        def changes():
            return sampler.summary(start_s, time.monotonic())["clock_changes"]

        wait_for(changes)
        assert (changes()[0]["from_mhz"], changes()[0]["to_mhz"]) == (1300.5, 854.25)
        facts = sampler.summary(start_s, sampler.mark(), clips=10)
    assert facts["power_w"] == {"min": 7.43, "mean": 7.43, "max": 7.43}
    assert facts["energy_j"] == pytest.approx(7.43 * facts["span_s"], rel=1e-3)
    sampler.close()
    assert threading.active_count() == threads


def test_a_probe_that_fails_ends_the_readings_and_not_the_measurement(tmp_path, caplog):
    BoardFiles(tmp_path, "tx2")
    probe = Probe(tmp_path)
    calls = []

    def failing():
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("broken sensor")
        return probe()

    with Sampler(every_s=0.01, probe=failing) as sampler:
        wait_for(lambda: "no longer followed" in caplog.text)
    assert sampler.summary(0.0, time.monotonic())["readings"] == 2


def test_a_sampler_that_cannot_start_leaves_nothing_running(smi_log, tmp_path, monkeypatch):
    BoardFiles(tmp_path, "titan_xp")
    threads = threading.active_count()

    def broken(probe):
        raise RuntimeError("broken sensor")

    monkeypatch.setattr(Probe, "__call__", broken)
    with pytest.raises(RuntimeError, match="broken sensor"):
        Sampler(root=tmp_path)
    assert threading.active_count() == threads
    assert ended(int(smi_log.read_text().splitlines()[-1].split()[0]))


def test_the_sampler_costs_little(tmp_path):
    BoardFiles(tmp_path, "tx2")
    with Sampler(every_s=0.1, root=tmp_path) as sampler:
        start_s = time.monotonic()
        wait_for(lambda: sampler.summary(start_s, time.monotonic())["readings"] >= 10)
        # At five times the usual rate, on a machine that others use; it is 0.6 % on a quiet one.
        assert sampler.cpu_share() < 0.08


def test_cards_and_processors_add_up_to_a_pc_s_power(smi_log, tmp_path):
    files = BoardFiles(tmp_path, "titan_xp")
    now_s = [10.0]
    with Probe(tmp_path, 0.05, lambda: now_s[0]) as probe:
        assert probe().power_w is None  # RAPL counts from here
        files.write("/sys/class/powercap/intel-rapl:0/energy_uj", 1000000000 + 90000000)
        files.write("/sys/class/powercap/intel-rapl:0:1/energy_uj", 200000000 + 6000000)
        now_s[0] = 12.0
        reading = probe()
        assert reading.power_w == pytest.approx(200.0 + 45.0 + 3.0)
        assert reading.power_from == "GPU 0 + package-0 + package-0 dram"
        assert reading.mean_part_w == pytest.approx(48.0)
        assert (reading.temperature_c, reading.temperature_from) == (70.0, "GPU 0")
        assert reading.throttled is False
        wait_for(lambda: probe().clocks_mhz["GPU 0"] < 1900)
        assert "gpu_mhz" not in probe.missing


def test_nvidia_smi_is_started_once_and_ended(smi_log):
    watch = CardWatch(run_tool, 0.05)
    try:
        wait_for(lambda: watch.latest()[0].facts["graphics_mhz"] < 1800)
    finally:
        watch.close()
        watch.close()
    calls = [line.split() for line in smi_log.read_text().splitlines()]
    assert len(calls) == 2
    assert calls[1][-2:] == ["-lms", "50"]
    assert ended(int(calls[1][0]))


def test_a_card_that_falls_silent_is_blank_rather_than_old(smi_log, monkeypatch):
    monkeypatch.setattr("clipedge.jetson.conditions.card_watch.STALE_S", 0.2)
    with CardWatch(run_tool, 0.02) as watch:
        wait_for(lambda: smi_log.read_text().count("-lms"))
        os.kill(int(smi_log.read_text().splitlines()[-1].split()[0]), 9)
        wait_for(lambda: not watch.latest())


def test_no_nvidia_smi_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="nvidia-smi is not installed"):
        CardWatch(run_tool, 0.1)


def test_a_server_with_many_cores_is_read_in_part(tmp_path):
    files = BoardFiles(tmp_path, "pc")
    for core in range(64):
        folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
        files.write(f"{folder}/related_cpus", core)
        for kind in ("cur", "min", "max"):
            files.write(f"{folder}/scaling_{kind}_freq", 3000000)
    with Probe(tmp_path, run=files.run) as probe:
        assert len(probe().clocks_mhz) == MOST_CPU_CLOCKS
