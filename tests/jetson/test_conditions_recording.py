"""Energy, throttling and changes of clocks, from readings at times that the test chooses."""

import json

import pytest
from stand_ins.board_files import BoardFiles

from clipedge.jetson.conditions import span_text
from clipedge.jetson.conditions.probe import Probe, Reading
from clipedge.jetson.conditions.rapl import Rapl
from clipedge.jetson.conditions.recording import MOST_EVENTS, MOST_POINTS, Recording
from clipedge.jetson.conditions.tree import MissingError, Tree

GPU_FREQ = "/sys/devices/17000000.gp10b/devfreq/17000000.gp10b/cur_freq"
INPUT = "/sys/bus/i2c/drivers/ina3221x/0-0041/iio:device1/in_power0_input"
ALERT = "/sys/devices/virtual/thermal/cooling_device3/cur_state"


def reading(t_s, power_w=None, **fields):
    values = {
        "power_from": "VDD_IN" if power_w is not None else "no monitor",
        "rails_w": {},
        "mean_part_w": 0.0,
        "temperature_c": 40.0,
        "temperature_from": "GPU-therm",
        "clocks_mhz": {"GPU": 1300.5},
        "throttled": False,
        "throttled_from": "gpu-throttle-alert",
    }
    values.update(fields)
    return Reading(t_s=t_s, power_w=power_w, **values)


def recording(*readings, **keywords):
    kept = Recording(every_s=keywords.pop("every_s", 1.0), **keywords)
    for one in readings:
        kept.add(one)
    return kept


class Board:
    """A board's probe by a clock of the test's, and its recording."""

    def __init__(self, root, name, run=None):
        self.files = BoardFiles(root, name)
        self.now_s = 100.0
        self.probe = Probe(root, 1.0, lambda: self.now_s, run or self.files.run)
        self.recording = Recording(1.0, self.probe.missing)

    def at(self, t_s, **values):
        """Write files of the board, then read it `t_s` seconds after the start."""
        for path, value in values.items():
            self.files.write({"gpu": GPU_FREQ, "power": INPUT, "alert": ALERT}[path], value)
        self.now_s = 100.0 + t_s
        self.recording.add(self.probe())

    def summary(self, end_s, clips=None):
        return self.recording.summary(100.0, 100.0 + end_s, clips)


@pytest.fixture
def tx2(tmp_path):
    return Board(tmp_path, "tx2")


def test_a_change_of_a_clock_in_the_middle_is_told(tx2):
    for t_s in range(4):
        tx2.at(t_s)
    tx2.at(4, gpu=1122000000)
    tx2.at(5)
    facts = tx2.summary(5)
    assert facts["clock_changes"] == [
        {"t_s": 4.0, "clock": "GPU", "from_mhz": 1300.5, "to_mhz": 1122.0}
    ]
    assert "the clock of GPU changed from 1300 to 1122 MHz at 4.0 s" in span_text(facts)
    assert facts["gpu_mhz"] == {"min": 1122.0, "mean": 1241.0, "max": 1300.5}
    assert tx2.summary(3)["clock_changes"] == []


def test_steady_clocks_are_no_change_and_small_steps_add_up():
    steady = recording(*[reading(t, clocks_mhz={"CPU 0": 3600 + t % 2}) for t in range(9)])
    assert steady.summary(0, 8)["clock_changes"] == []
    falling = recording(*[reading(t, clocks_mhz={"CPU 0": 3600 - 30 * t}) for t in range(9)])
    changes = falling.summary(0, 8)["clock_changes"]
    steps = [(change["from_mhz"], change["to_mhz"]) for change in changes]
    assert steps == [(3600, 3480), (3480, 3360)]


def test_throttling_in_the_middle_is_told_with_its_time_and_who_says_so(tx2):
    tx2.at(0)
    tx2.at(1)
    tx2.at(2, alert=1)
    tx2.at(3)
    tx2.at(4, alert=0)
    tx2.at(5)
    facts = tx2.summary(5)
    assert facts["throttled"] == {"before": False, "during": True, "after": False}
    assert facts["throttle_events"] == [{"t_s": 2.0, "until_s": 4.0, "by": "gpu-throttle-alert"}]
    assert "throttled from 2.0 s to 4.0 s: gpu-throttle-alert" in span_text(facts)
    assert tx2.summary(1)["throttled"]["during"] is False
    assert tx2.summary(3)["throttle_events"][0]["until_s"] is None
    assert tx2.summary(3)["throttled"]["after"] is True


def test_a_counter_of_over_current_that_rises_is_throttling(tmp_path):
    orin = Board(tmp_path, "orin_nano")
    orin.at(0)
    orin.files.write("/sys/class/hwmon/hwmon2/oc3_event_cnt", 6)
    orin.at(1)
    orin.at(2)
    facts = orin.summary(2)
    assert facts["throttle_events"] == [
        {"t_s": 1.0, "until_s": 2.0, "by": "instantaneous over-current (oc3_event_cnt)"}
    ]


def test_energy_is_the_area_below_the_power(tx2):
    tx2.at(0, power=5000)
    tx2.at(1, power=7000)
    tx2.at(3, power=9000)
    tx2.at(4, power=9000)
    facts = tx2.summary(4, clips=62)
    assert facts["energy_j"] == pytest.approx(6 + 16 + 9)
    assert facts["power_w"] == {"min": 5.0, "mean": 7.75, "max": 9.0}
    assert facts["power_from"] == "VDD_IN"
    assert facts["energy_per_clip_j"] == 0.5
    assert facts["clips_per_j"] == 2.0
    assert facts["rails_w"]["VDD_IN"] == 9.0
    assert tx2.recording.summary(101.0, 103.0)["energy_j"] == pytest.approx(16)
    assert "energy: 0.5 J a clip, 2 clips a joule" in span_text(facts)


def test_a_gap_in_the_power_is_no_energy_rather_than_a_guess():
    kept = recording(
        reading(0, 5.0), reading(1, 5.0), reading(2), reading(9, 5.0), reading(10, 5.0)
    )
    facts = kept.summary(0, 10, clips=10)
    assert facts["energy_j"] is facts["energy_per_clip_j"] is None
    assert facts["missing"]["energy_j"] == "power was not read for 8.0 s"
    assert kept.summary(9, 10)["energy_j"] == 5.0
    assert kept.summary(0, 90)["missing"]["energy_j"].startswith("power was not read during all")


def test_one_missing_reading_is_bridged():
    kept = recording(reading(0, 4.0), reading(1), reading(2, 6.0))
    assert kept.summary(0, 2)["energy_j"] == 10.0


def test_without_sensors_every_blank_has_its_reason(tmp_path):
    board = Board(tmp_path, "pc")
    board.files.remove("/sys/class/powercap/intel-rapl:0/energy_uj")
    probe = Probe(tmp_path, 1.0, lambda: 1.0, board.files.run)
    kept = Recording(1.0, probe.missing)
    kept.add(probe())
    facts = kept.summary(1.0, 1.0)
    assert facts["missing"]["power_w"] == (
        "nvidia-smi is not installed; there is no /sys/class/powercap/intel-rapl:0/energy_uj"
    )
    blank = [key for key, value in facts.items() if value is None]
    assert set(blank) <= set(facts["missing"])
    assert facts["missing"]["gpu_mhz"].startswith("the kernel shows no GPU")
    assert facts["missing"]["throttled.during"] == "this machine has no throttle-alert"
    assert json.loads(json.dumps(facts)) == facts
    assert facts["temperature_c"] == {"min": 48.125, "mean": 48.125, "max": 48.125}
    assert span_text(facts).startswith("power: unknown: nvidia-smi is not installed")


def test_nothing_read_is_told_as_that():
    facts = Recording(1.0).summary(0, 1)
    assert facts["readings"] == 0
    assert facts["missing"]["power_w"] == facts["missing"]["temperature_c"] == "nothing was read"


def test_rapl_counts_over_the_end_of_its_counter(tmp_path):
    files = BoardFiles(tmp_path, "pc")
    rapl = Rapl(Tree(tmp_path))
    assert rapl.names == ("package-0",)
    with pytest.raises(MissingError, match="from the second reading on"):
        rapl.read_w(10.0)
    # 65532.610987 J is the counter's end: 0.610987 J to it and 29.389013 J past it, in 2 s.
    files.write("/sys/class/powercap/intel-rapl:0/energy_uj", 29389013)
    assert rapl.read_w(12.0) == {"package-0": pytest.approx(15.0)}
    with pytest.raises(MissingError, match="a moment before"):
        rapl.read_w(12.01)  # the counter has hardly moved: 0 W would be wrong
    files.write("/sys/class/powercap/intel-rapl:0/energy_uj", 29389013 + 40000000)
    assert rapl.read_w(14.0) == {"package-0": pytest.approx(20.0)}
    with pytest.raises(MissingError, match="last read 500 s ago"):
        rapl.read_w(514.0)


def test_rapl_counts_packages_and_the_memory_beside_them_once(tmp_path):
    files = BoardFiles(tmp_path, "titan_xp")
    rapl = Rapl(Tree(tmp_path))
    assert rapl.names == ("package-0", "package-0 dram")
    with pytest.raises(MissingError):
        rapl.read_w(0.0)
    files.write("/sys/class/powercap/intel-rapl:0/energy_uj", 1000000000 + 90000000)
    files.write("/sys/class/powercap/intel-rapl:0:1/energy_uj", 200000000 + 6000000)
    assert rapl.read_w(2.0) == {"package-0": 45.0, "package-0 dram": 3.0}


def test_counted_energy_belongs_to_the_time_before_its_reading(tmp_path):
    pc = Board(tmp_path, "pc")
    for t_s, energy_j in ((0, 100), (1, 110), (2, 160), (3, 210), (4, 220)):
        pc.files.write("/sys/class/powercap/intel-rapl:0/energy_uj", energy_j * 1000000)
        pc.at(t_s)
    facts = pc.recording.summary(101.0, 103.0, clips=10)
    assert facts["energy_j"] == 100.0  # 210 - 110; the trapezoid of 10, 50, 50 W would say 80
    assert facts["power_from"] == "package-0"
    assert facts["power_w"]["mean"] == 50.0


def test_memory_stays_bounded_and_no_energy_is_lost():
    kept = Recording(every_s=1.0)
    count = 3 * MOST_POINTS
    for t_s in range(count):
        throttled = t_s == 777
        kept.add(reading(float(t_s), 5.0 + t_s % 2, throttled=throttled))
    assert len(kept._points) <= MOST_POINTS
    facts = kept.summary(0.0, count - 1.0)
    assert facts["energy_j"] == pytest.approx(5.5 * (count - 1))
    assert [event["t_s"] for event in facts["throttle_events"]] == [777.0]
    assert len(kept.series(0.0, count)["t_s"]) <= MOST_POINTS


def test_events_are_bounded_too_and_the_dropped_are_counted():
    kept = Recording(every_s=1.0)
    for t_s in range(MOST_EVENTS + 50):
        kept.add(reading(float(t_s), clocks_mhz={"GPU": 1000.0 + 100 * (t_s % 2)}))
    facts = kept.summary(0.0, 1e4)
    assert len(facts["clock_changes"]) == MOST_EVENTS
    assert facts["events_dropped"] == 49


def test_the_series_has_one_length_and_counts_from_the_start(tx2):
    tx2.at(0)
    tx2.at(1, gpu=0)
    tx2.at(2, power=9000)
    assert tx2.recording.series(101.0, 102.0) == {
        "t_s": [0.0, 1.0],
        "power_w": [7.43, 9.0],
        "temp_c": [43.0, 43.0],
        "gpu_mhz": [None, None],
        "cpu_mhz": [2035.2, 2035.2],
        "emc_mhz": [1866.0, 1866.0],
    }
