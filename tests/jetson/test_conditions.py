"""The conditions of each board are right in every field, and what is missing has its reason."""

import json
import time
import types

import pytest
from stand_ins.board_files import FOLDER, BoardFiles

from clipedge.jetson.conditions import conditions_text, read_conditions, tree
from clipedge.jetson.conditions.tools import Output, run_tool
from clipedge.jetson.conditions.tree import MissingError, Tree

BOARDS = ("nano", "orin_nano", "pc", "titan_xp", "tx2", "xavier_nx")
DEBUG = "/sys/kernel/debug/bpmp/debug/clk/emc"


@pytest.fixture
def board(tmp_path):
    """Returns board(name): the files and tools of a board of tests/fixtures/boards."""
    return lambda name: BoardFiles(tmp_path, name)


def read(files):
    return read_conditions(files.root, files.run, loaded={})


def blanks(value, key=""):
    """The keys of everything that is None."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        return [key] if value is None else []
    return [
        blank
        for name, part in parts
        for blank in blanks(part, f"{key}.{name}" if key else str(name))
        if name != "missing"
    ]


def test_a_tx2_is_right_in_every_field(board):
    assert read(board("tx2")) == {
        "board": {"name": "quill", "module": "Jetson TX2", "l4t": "32.7.1", "jetpack": "4.6.1"},
        "software": {"cuda": "10.2.300", "cudnn": "8.2.1.32", "tensorrt": "8.2.1.8"},
        "power_mode": {"id": 0, "name": "MAXN"},
        "jetson_clocks": True,
        "jetson_clocks_from": "CPU, GPU and EMC are fixed at their highest clocks",
        "clocks": {
            "cpu": [
                {"name": "CPU 0,3-5", "now_mhz": 2035.2, "min_mhz": 2035.2, "max_mhz": 2035.2,
                 "governor": "schedutil"},
                {"name": "CPU 1-2", "now_mhz": 2035.2, "min_mhz": 2035.2, "max_mhz": 2035.2,
                 "governor": "schedutil"},
            ],
            "gpu": {"name": "GPU", "now_mhz": 1300.5, "min_mhz": 1300.5, "max_mhz": 1300.5,
                    "governor": "nvhost_podgov"},
            "emc": {"name": "EMC", "now_mhz": 1866.0, "min_mhz": 40.8, "max_mhz": 1866.0,
                    "governor": None},
        },
        "cards": [],
        "temperatures_c": {"BCPU-therm": 41.5, "MCPU-therm": 41.5, "GPU-therm": 43.0,
                           "PLL-therm": 41.5, "Tboard_tegra": 35.0, "Tdiode_tegra": 38.25},
        "throttled": False,
        "throttled_from": "3 throttle-alerts",
        "power_w": 7.43,
        "power_from": "VDD_IN",
        "rails_w": {"VDD_SYS_GPU": 1.22, "VDD_SYS_SOC": 0.992, "VDD_4V0_WIFI": 0.038,
                    "VDD_IN": 7.43, "VDD_SYS_CPU": 1.144, "VDD_SYS_DDR": 1.335},
        "memory": {"total_mb": 7861, "available_mb": 6000, "swap_used_mb": 10, "process_mb": 900,
                   "process_peak_mb": 1026},
        "load_average": 0.41,
        "missing": {"clocks.emc.governor": "the EMC has none"},
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BOARDS if name != "tx2"])
def test_every_other_board_is_right_in_every_field(board, name):
    expected = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert read(board(name)) == expected


@pytest.mark.parametrize("name", BOARDS)
def test_every_blank_has_a_reason_and_no_reason_stands_alone(board, name):
    facts = read(board(name))
    assert sorted(facts["missing"]) == sorted(blanks(facts))
    assert all(facts["missing"].values())
    assert json.loads(json.dumps(facts)) == facts


def test_an_empty_machine_is_all_blanks_without_zeros(tmp_path):
    facts = read_conditions(tmp_path, lambda arguments: run_tool(["no-such-tool-here"]), loaded={})
    assert sorted(facts["missing"]) == sorted(blanks(facts))
    assert facts["power_w"] is facts["memory"]["process_peak_mb"] is facts["load_average"] is None


def test_this_machine_can_be_read():
    facts = read_conditions()
    assert sorted(facts["missing"]) == sorted(blanks(facts))
    assert facts["memory"]["process_peak_mb"] >= facts["memory"]["process_mb"] > 5
    assert conditions_text(facts)


def test_a_throttled_board_is_told(board):
    files = board("tx2")
    files.write("/sys/devices/virtual/thermal/cooling_device2/cur_state", 1)
    facts = read(files)
    assert (facts["throttled"], facts["throttled_from"]) == (True, "mcpu-throttle-alert")
    assert "throttled (mcpu-throttle-alert)" in conditions_text(facts)


def test_a_card_at_its_power_cap_is_not_throttled_but_one_that_is_hot_is(board):
    files = board("titan_xp")
    line = files.tools["nvidia-smi"].text.splitlines()[0]
    for mask, throttled, names in (
        ("0x0000000000000000", False, []),
        ("0x0000000000000001", False, []),  # idle
        ("0x0000000000000004", False, ["power cap"]),
        ("0x0000000000000048", True, ["hardware slowdown", "thermal slowdown by the hardware"]),
        ("0x0000000000000080", True, ["power brake"]),
        ("[N/A]", None, None),
    ):
        text = line[: line.rindex(",") + 2] + mask + "\n"
        files.tools["nvidia-smi"] = Output(0, text)
        facts = read(files)
        assert (facts["throttled"], facts["cards"][0]["slowed_by"]) == (throttled, names)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (Output(9, "NVIDIA-SMI has failed because it couldn't communicate with the driver.\n"),
         "nvidia-smi fails (status 9): NVIDIA-SMI has failed because"),
        (Output(6, ""), "nvidia-smi fails (status 6): nothing"),
        (Output(0, "0, a card\n"), "which has other fields than asked for"),
    ],
)  # fmt: skip
def test_an_nvidia_smi_that_fails_is_a_reason(board, output, reason):
    files = board("titan_xp")
    files.tools["nvidia-smi"] = output
    facts = read(files)
    assert facts["cards"] is None
    assert reason in facts["missing"]["cards"]


def test_a_driver_with_new_names_of_the_reasons_is_asked_again(board):
    files = board("titan_xp")
    answer = files.tools["nvidia-smi"]

    def run(arguments):
        if "clocks_throttle_reasons" in arguments[1]:
            return Output(2, 'Field "clocks_throttle_reasons.active" is not a valid field\n')
        return files.run(arguments)

    facts = read_conditions(files.root, run, loaded={})
    assert len(facts["cards"]) == len(answer.text.splitlines())
    assert "clocks_event_reasons.active" in files.calls[0][1]


@pytest.mark.parametrize(
    ("file", "value", "on", "shown_by"),
    [
        (f"{DEBUG}/mrq_rate_locked", 0, False, "the clock of the EMC is not locked"),
        ("/sys/class/devfreq/17000000.gp10b/min_freq", 114750000, False,
         "GPU may run at 115 to 1300 MHz"),
        ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_min_freq", 345600, False,
         "CPU 1-2 may run at 346 to 2035 MHz"),
    ],
)  # fmt: skip
def test_one_clock_that_may_change_means_that_jetson_clocks_is_off(
    board, file, value, on, shown_by
):
    files = board("tx2")
    files.write(file, value)
    facts = read(files)
    assert (facts["jetson_clocks"], facts["jetson_clocks_from"]) == (on, shown_by)


def test_a_file_that_only_root_may_read_is_told_apart(board, monkeypatch):
    files = board("tx2")
    real = tree.read_kernel_file

    def read_kernel_file(path):
        if "/sys/kernel/debug" in path:
            raise PermissionError(13, "Permission denied")
        return real(path)

    def no_entry(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tree, "read_kernel_file", read_kernel_file)
    monkeypatch.setattr(type(files.root), "iterdir", no_entry)
    facts = read(files)
    assert facts["clocks"]["emc"] is None
    assert facts["missing"]["clocks.emc"] == "only root may read /sys/kernel/debug"
    assert facts["jetson_clocks"] is True
    with pytest.raises(MissingError, match=r"only root may read .*bpmp"):
        Tree(files.root).number(f"{DEBUG}/rate")


def test_the_loaded_tensorrt_is_the_one_that_counts(board):
    files = board("tx2")
    loaded = {"tensorrt": types.SimpleNamespace(__version__="8.0.1.6")}
    facts = read_conditions(files.root, files.run, loaded)
    assert facts["software"]["tensorrt"] == "8.0.1.6"


def test_the_release_is_known_in_a_container_and_an_unknown_jetpack_is_not_guessed(board):
    files = board("tx2")
    files.remove("/etc/nv_tegra_release")
    assert read(files)["board"]["l4t"] == "32.7.1"
    files.remove("/var/lib/dpkg/status")
    files.write("/etc/nv_tegra_release", "# R99 (release), REVISION: 1.0, GCID: 1")
    facts = read(files)
    assert (facts["board"]["l4t"], facts["board"]["jetpack"]) == ("99.1.0", None)
    assert facts["missing"]["board.jetpack"] == "no JetPack is known for L4T 99.1.0"


def test_nvpmodel_that_cannot_tell_leaves_the_mode_to_its_files(board):
    files = board("tx2")
    files.tools["nvpmodel -q"] = Output(1, "NVPM ERROR: no such file\n")
    files.write("/var/lib/nvpmodel/status", "pmode:0003")
    facts = read(files)
    assert facts["power_mode"] == {"id": 3, "name": None}
    assert facts["missing"]["power_mode.name"] == "/etc/nvpmodel.conf names no mode 3"
    files.remove("/var/lib/nvpmodel/status")
    reason = read(files)["missing"]["power_mode.id"]
    assert "NVPM ERROR: no such file" in reason
    assert "/var/lib/nvpmodel/status tells no mode" in reason


def test_the_text_says_what_matters(board):
    lines = conditions_text(read(board("tx2"))).splitlines()
    assert lines == [
        "software: Jetson TX2, L4T 32.7.1 (JetPack 4.6.1), CUDA 10.2.300, cuDNN 8.2.1.32, "
        "TensorRT 8.2.1.8",
        "power mode: 0 MAXN, jetson_clocks on (CPU, GPU and EMC are fixed at their highest clocks)",
        "clocks: CPU 0,3-5 2035 of 2035 MHz, CPU 1-2 2035 of 2035 MHz, GPU 1300 of 1300 MHz, "
        "EMC 1866 of 1866 MHz",
        "state: 43.0 C (GPU-therm), 7.43 W (VDD_IN), not throttled, load average 0.41",
        "memory: 6000 MiB free, 7861 MiB in all",
    ]


def test_a_tool_that_hangs_is_ended():
    started_s = time.monotonic()
    with pytest.raises(MissingError, match=r"sleep did not answer within 0\.2 s"):
        run_tool(["sleep", "60"], limit_s=0.2)
    assert time.monotonic() - started_s < 30


def test_what_a_tool_writes_and_its_status_are_told():
    assert run_tool(["sh", "-c", "echo said; echo wrong >&2; exit 3"]) == Output(3, "said\nwrong\n")


def test_a_tool_that_is_not_installed_is_a_reason():
    with pytest.raises(MissingError, match="no-such-tool-here is not installed"):
        run_tool(["no-such-tool-here"])
