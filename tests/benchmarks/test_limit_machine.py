"""This machine's rates: the best that is seen, from a process of each library."""

import math

import pytest

from clipedge.benchmarks import limit, machine_rates
from clipedge.benchmarks.machine_rates import Rate, cache_bytes, device_of, measure_machine
from clipedge.jetson.errors import ClipedgeError

BRIEFLY_S = 0.01
RATES = [
    Rate("numpy fp32", 5e9, 4e9),
    Rate("torch fp32", 7e9, 1e9),
    Rate("torch bf16", 9e9, 9e9),
    Rate("openvino fp32", 6e9, 6e9),
    Rate("copying", 3e9, 3e9),
    Rate("reading", 2e9, 2e9),
]


@pytest.fixture
def numpy_alone(monkeypatch):
    monkeypatch.setattr(machine_rates, "PRECISIONS", {"numpy": ("fp32",), "no_such_one": ("fp32",)})


def write_cache(folder, index, level, kind, shared, size):
    place = folder / index
    place.mkdir(parents=True)
    for name, text in (
        ("level", level),
        ("type", kind),
        ("shared_cpu_list", shared),
        ("size", size),
    ):
        (place / name).write_text(text + "\n")


def test_each_precision_has_its_fastest_library_and_bandwidth_its_fastest_way():
    device = device_of(RATES, 2)
    assert device.peak_flops == {"fp32": 7e9, "bf16": 9e9}
    assert device.bandwidth == 3e9
    assert device.source == "2 threads; bf16 by torch, fp32 by torch; copying"


def test_caches_that_cores_share_count_once_and_those_of_instructions_not(tmp_path):
    for core in ("0", "1"):
        caches = tmp_path / ("cpu" + core) / "cache"
        write_cache(caches, "index0", "1", "Data", core, "32K")
        write_cache(caches, "index1", "1", "Instruction", core, "32K")
        write_cache(caches, "index2", "2", "Unified", core, "512K")
        write_cache(caches, "index3", "3", "Unified", "0-1", "4096K")
    assert cache_bytes(tmp_path) == (2 * 32 + 2 * 512 + 4096) * 1024


def test_a_cache_that_the_kernel_does_not_tell_is_unlimited(tmp_path):
    assert cache_bytes(tmp_path) == math.inf
    (tmp_path / "cpu0" / "cache" / "index0").mkdir(parents=True)
    assert cache_bytes(tmp_path) == math.inf


def test_the_machine_is_measured_in_a_process_of_each_library_that_is_there(numpy_alone):
    device, conditions = measure_machine(1, BRIEFLY_S)
    rates = {rate["what"]: rate for rate in conditions["rates"]}
    assert set(rates) == {"numpy fp32", "copying", "reading"}
    assert all(rate["best"] >= rate["median"] > 0 for rate in rates.values())
    assert device.peak("fp32") == rates["numpy fp32"]["best"] > 1e8
    assert device.bandwidth > 1e8
    assert conditions["threads"] == 1


def test_a_busy_machine_is_told(numpy_alone, monkeypatch, caplog):
    monkeypatch.setattr(machine_rates, "_in_own_process", lambda *_: RATES)
    for busy, told in ((0.9, True), (0.1, False), (None, False)):
        caplog.clear()
        monkeypatch.setattr(machine_rates.board, "busy_share", lambda busy=busy: busy)
        _, conditions = measure_machine(1)
        assert ("too low" in caplog.text) == told
        assert conditions["busy_share_at_start"] == busy


def test_a_library_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(machine_rates, "PRECISIONS", {"json": ("fp32",)})
    with pytest.raises(ClipedgeError, match=r"Measuring json failed; .*invalid choice"):
        measure_machine(1, BRIEFLY_S)


def test_the_command_measures_this_machine(numpy_alone, monkeypatch, capsys):
    monkeypatch.setattr(machine_rates, "SECONDS", BRIEFLY_S)
    monkeypatch.setattr(machine_rates, "SIZES", (64,))
    rates = machine_rates.library_rates("numpy", 2, BRIEFLY_S)
    monkeypatch.setattr(machine_rates, "_in_own_process", lambda *_: rates)
    assert limit.main(["--device", "here", "--layers", "resnet18"]) == 0
    assert "fp32 by numpy" in capsys.readouterr().out
