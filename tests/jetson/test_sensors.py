"""Power and temperature from trees of files as the kernels of several boards show them."""

import threading
import time

import pytest

from clipedge.jetson import sensors
from clipedge.jetson.sensors import SensorReader, SensorWatch, read_sensors

IIO = "sys/bus/i2c/drivers/ina3221x"
HWMON = "sys/bus/i2c/drivers/ina3221"
THERMAL = "sys/devices/virtual/thermal"

# Rails and their addresses: NVIDIA's Jetson Linux Developer Guide (32.7 for the boards of JetPack
# 4, 35.6 for those after it), "Clock Frequency and Power Management" and "Platform Power and
# Performance". Zones of a TX2: the same, and what `cat thermal_zone*/type` prints there.
TX2_RAILS = {  # address: rail and mW
    "0-0040": [("VDD_SYS_GPU", 1220), ("VDD_SYS_SOC", 992), ("VDD_4V0_WIFI", 38)],
    "0-0041": [("VDD_IN", 7430), ("VDD_SYS_CPU", 1144), ("VDD_SYS_DDR", 1335)],
    "0-0042": [("VDD_MUX", 9120), ("VDD_5V0_IO_SYS", 1680), ("VDD_3V3_SYS", 110)],
    "0-0043": [("VDD_3V3_IO_SLP", 0), ("VDD_1V8_IO", 285), ("VDD_3V3_SYS_M2", 0)],
}
TX2_ZONES = [("BCPU-therm", 41500), ("MCPU-therm", 41500), ("GPU-therm", 43000),
             ("PLL-therm", 41500), ("AO-therm", 40000), ("Tboard_tegra", 35000),
             ("Tdiode_tegra", 38250), ("PMIC-Die", 100000), ("thermal-fan-est", 41900)]  # fmt: skip
NANO_RAILS = {"6-0040": [("POM_5V_IN", 4812), ("POM_5V_GPU", 820), ("POM_5V_CPU", 1350)]}
NANO_ZONES = [("AO-therm", 45500), ("CPU-therm", 38000), ("GPU-therm", 37500),
              ("PLL-therm", 36500), ("PMIC-Die", 100000), ("thermal-fan-est", 37750)]  # fmt: skip
XAVIER_NX_RAILS = {"7-0040": [("VDD_IN", 5210), ("VDD_CPU_GPU_CV", 1180), ("VDD_SOC", 1090)]}
AGX_XAVIER_RAILS = {
    "1-0040": [("GPU", 1000), ("CPU", 2000), ("SOC", 3000)],
    "1-0041": [("CV", 100), ("VDDRQ", 200), ("SYS5V", 300)],
}
# Of hwmon: address: label, mV, mA.
ORIN_NX_RAILS = {
    "1-0040": [("VDD_IN", 5016, 1500), ("VDD_CPU_GPU_CV", 5008, 320), ("VDD_SOC", 5008, 280)]
}
AGX_ORIN_RAILS = {
    "1-0040": [("VDD_GPU_SOC", 5000, 400), ("VDD_CPU_CV", 5000, 100), ("VIN_SYS_5V0", 5000, 600)],
    "1-0041": [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 80), ("NC", 0, 0)],
}
ORIN_ZONES = [("cpu-thermal", 51687), ("gpu-thermal", 48500), ("cv0-thermal", -256000),
              ("cv1-thermal", None), ("tj-thermal", 51700)]  # fmt: skip
ORIN_COOLING = [("pwm-fan", 3), ("cpufreq-cpu0", 0), ("cpu-throttle-alert", 0),
                ("gpu-throttle-alert", 0), ("hot-surface-alert", 1)]  # fmt: skip


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def board(root, iio=None, hwmon=None, zones=(), cooling=()):
    """Write the files of a board; a value of None is a file that does not answer (a folder)."""
    for number, (address, rails) in enumerate((iio or {}).items()):
        folder = root / IIO / address / f"iio:device{number}"
        for channel, (name, milliwatts) in enumerate(rails):
            write(folder / f"rail_name_{channel}", name)
            write(folder / f"in_power{channel}_input", milliwatts)
    for number, (address, rails) in enumerate((hwmon or {}).items()):
        folder = root / HWMON / address / "hwmon" / f"hwmon{number}"
        for channel, (name, millivolts, milliamperes) in enumerate(rails, 1):
            write(folder / f"in{channel}_label", name)
            write(folder / f"in{channel}_input", millivolts)
            write(folder / f"curr{channel}_input", milliamperes)
        write(folder / "in7_label", "sum of shunt voltages")
        write(folder / "in7_input", 940)
    for kind, file, devices in (("thermal_zone", "temp", zones),
                                ("cooling_device", "cur_state", cooling)):  # fmt: skip
        for number, (name, value) in enumerate(devices):
            folder = root / THERMAL / f"{kind}{number}"
            write(folder / "type", name)
            if value is None:
                (folder / file).mkdir()
            else:
                write(folder / file, value)
    return root


@pytest.mark.parametrize(
    ("rails", "zones", "power_w", "power_from", "temperature_c", "temperature_from"),
    [
        (TX2_RAILS, TX2_ZONES, 7.43, "VDD_IN", 43.0, "GPU-therm"),
        (NANO_RAILS, NANO_ZONES, 4.812, "POM_5V_IN", 45.5, "AO-therm"),
        (XAVIER_NX_RAILS, NANO_ZONES, 5.21, "VDD_IN", 45.5, "AO-therm"),
        (AGX_XAVIER_RAILS, NANO_ZONES, 6.6, "CPU + CV + GPU + SOC + SYS5V + VDDRQ", 45.5,
         "AO-therm"),
    ],
    ids=["tx2", "nano", "xavier-nx", "agx-xavier"],
)  # fmt: skip
def test_boards_of_jetpack_4_tell_power_and_temperature(
    tmp_path, rails, zones, power_w, power_from, temperature_c, temperature_from
):
    got = read_sensors(board(tmp_path, iio=rails, zones=zones))
    assert got.power_w == pytest.approx(power_w)
    assert got.power_from == power_from
    assert (got.temperature_c, got.temperature_from) == (temperature_c, temperature_from)
    assert len(got.rails_w) == sum(len(rails) for rails in rails.values())


@pytest.mark.parametrize(
    ("rails", "power_w", "power_from"),
    [
        (ORIN_NX_RAILS, 7.524, "VDD_IN"),
        (AGX_ORIN_RAILS, 5.9, "VDDQ_VDD2_1V8AO + VDD_CPU_CV + VDD_GPU_SOC + VIN_SYS_5V0"),
    ],
    ids=["orin-nx", "agx-orin"],
)
def test_boards_of_jetpack_5_tell_power_and_temperature(tmp_path, rails, power_w, power_from):
    got = read_sensors(board(tmp_path, hwmon=rails, zones=ORIN_ZONES, cooling=ORIN_COOLING))
    assert got.power_w == pytest.approx(power_w)
    assert got.power_from == power_from
    assert (got.temperature_c, got.temperature_from) == (51.7, "tj-thermal")
    assert set(got.zones_c) == {"cpu-thermal", "gpu-thermal", "tj-thermal"}
    assert got.throttled is False


def test_a_machine_without_sensors_tells_the_reasons_and_no_zeros(tmp_path):
    got = read_sensors(tmp_path)
    assert (got.power_w, got.temperature_c, got.throttled) == (None, None, None)
    assert "no INA3221" in got.power_from
    assert "no thermal zone" in got.temperature_from
    assert "throttle-alert" in got.throttled_from
    assert got.rails_w == {} == got.zones_c


def test_a_rail_that_does_not_answer_is_no_power_rather_than_a_smaller_one(tmp_path):
    root = board(tmp_path, iio=AGX_XAVIER_RAILS, zones=[("CPU-therm", None)])
    reader = SensorReader(root)
    assert reader().power_w == pytest.approx(6.6)
    (root / IIO / "1-0041" / "iio:device1" / "in_power2_input").unlink()
    got = reader()
    assert got.power_w is None
    assert got.power_from == "the rail SYS5V cannot be read"
    assert got.rails_w["GPU"] == 1.0
    assert got.temperature_from == "no thermal zone answers"


def test_a_hot_chip_that_is_slowed_down_is_told_a_running_fan_is_not(tmp_path):
    cooling = [("pwm-fan", 4), ("cpu-throttle-alert", 0), ("gpu-throttle-alert", 1)]
    got = read_sensors(board(tmp_path, cooling=cooling))
    assert got.throttled is True
    assert got.throttled_from == "gpu-throttle-alert"


def test_values_are_read_anew_each_time(tmp_path):
    reader = SensorReader(board(tmp_path, iio=NANO_RAILS, zones=NANO_ZONES))
    write(tmp_path / IIO / "6-0040" / "iio:device0" / "in_power0_input", 9000)
    write(tmp_path / THERMAL / "thermal_zone2" / "temp", 71000)
    got = reader()
    assert got.power_w == 9.0
    assert (got.temperature_c, got.temperature_from) == (71.0, "GPU-therm")


def test_the_watch_reads_by_itself_and_ends_with_its_thread(tmp_path):
    before = threading.active_count()
    with SensorWatch(board(tmp_path, iio=NANO_RAILS), every_s=0.01) as watch:
        assert watch.latest().power_w == 4.812
        write(tmp_path / IIO / "6-0040" / "iio:device0" / "in_power0_input", 9000)
        limit_s = time.monotonic() + 20.0
        while watch.latest().power_w != 9.0:
            assert time.monotonic() < limit_s
            time.sleep(0.01)
    watch.close()
    assert threading.active_count() == before


def test_the_real_files_of_this_machine_can_be_read():
    got = read_sensors()
    assert got.power_w is None or 0.0 < got.power_w < 1000.0
    assert got.temperature_c is None or sensors.POSSIBLE_C[0] < got.temperature_c
    assert got.power_from
    assert got.temperature_from
