"""Machine facts are read from the system's files, and missing ones are None."""

import json
import os

import pytest

from clipedge.jetson import board
from clipedge.jetson.errors import UsageError

HYPERTHREADED = "\n\n".join(
    f"processor\t: {index}\nmodel name\t: Example CPU @ 3.0GHz\nphysical id\t: {index // 4}\n"
    f"core id\t\t: {index % 2}"
    for index in range(8)
)
ARM = "\n\n".join(f"processor\t: {index}\nCPU part\t: 0xd07" for index in range(6))


@pytest.fixture
def files(tmp_path):
    """Returns write(name, text), which writes a file of a machine with its root at tmp_path."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_facts_of_this_machine_are_plain_json():
    facts = board.machine_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert 1 <= facts["physical_cores"] <= facts["logical_cores"] <= os.cpu_count()
    assert facts["memory_mb"] > 100
    assert facts["cpu"]


def test_a_jetson_is_recognised(files, tmp_path):
    files("proc/device-tree/model", "quill\0")
    files(
        "etc/nv_tegra_release", "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t186ref\n"
    )
    files("etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n')
    facts = board.machine_facts(tmp_path)
    assert (facts["board"], facts["l4t"]) == ("quill", "32.7.1")
    assert facts["os"] == "Ubuntu 18.04.6 LTS"


def test_physical_cores_do_not_count_hyper_threads(files, tmp_path, monkeypatch):
    monkeypatch.setattr(board, "logical_cores", lambda: 8)
    files("proc/cpuinfo", HYPERTHREADED)
    assert board.physical_cores(tmp_path) == 4
    assert board.cpu_model(tmp_path) == "Example CPU @ 3.0GHz"
    files("proc/cpuinfo", ARM)
    assert board.physical_cores(tmp_path) == 8
    files("proc/cpuinfo", HYPERTHREADED)
    monkeypatch.setattr(board, "logical_cores", lambda: 3)  # a container with three
    assert board.physical_cores(tmp_path) == 3


def test_missing_files_give_none_and_no_error(tmp_path):
    facts = board.machine_facts(tmp_path)
    assert facts["board"] is facts["l4t"] is facts["memory_mb"] is None
    assert facts["physical_cores"] == facts["logical_cores"]


def test_versions_are_those_of_loaded_packages_only(monkeypatch):
    import numpy

    monkeypatch.delitem(board.sys.modules, "openvino", raising=False)
    versions = board.package_versions()
    assert versions["numpy"] == numpy.__version__
    assert "openvino" not in versions


def test_the_busy_share_is_measured(monkeypatch):
    ticks = iter([(100, 1000), (150, 1200)])  # idle and all: 50 of 200 ticks are idle
    monkeypatch.setattr(board, "processor_times", lambda: next(ticks))
    assert board.busy_share(0.0) == pytest.approx(0.75)


def test_a_real_machine_gives_a_share():
    share = board.busy_share(0.05)
    assert share is None or 0.0 <= share <= 1.0


def test_more_memory_than_is_left_is_refused(monkeypatch):
    monkeypatch.setattr(board, "available_memory_mb", lambda: 100)
    board.require_memory(99, "A batch")
    with pytest.raises(UsageError, match="A batch needs about 101 MiB"):
        board.require_memory(101, "A batch")
