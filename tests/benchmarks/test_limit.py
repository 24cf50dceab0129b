"""The limit: true for the paper's figures, and what its definition says for layers made by hand."""

import json
import math

import pytest

from clipedge.benchmarks import limit
from clipedge.benchmarks.devices import DEVICES, Device, find_device, recognise_device
from clipedge.benchmarks.layer_costs import (
    CONV,
    DEPTHWISE,
    HEAD,
    STEM,
    Layer,
    Network,
    find_network,
    networks,
)
from clipedge.jetson import paper
from clipedge.jetson.errors import UsageError

# 1 MFLOP/s and 1 kB/s in fp32, a cache of 100 bytes.
SLOW = Device("slow", {"fp32": 1e6, "fp16": 2e6}, 1e3, 100.0, None, "made up")


def network(*layers, classes=10):
    return Network("made_up", None, (3, 1, 1, 1), classes, list(layers))


@pytest.mark.parametrize("row", paper.TABLE_8, ids=lambda row: f"{row.model}-{row.width}")
def test_no_figure_of_the_paper_is_above_the_limit(row):
    counted = find_network(row.model, row.width)
    for name, speed in (
        ("Titan Xp", row.titan_xp_clips_per_s),
        ("Jetson TX2", row.jetson_tx2_clips_per_s),
    ):
        reached = limit.limit_of(counted, find_device(name))
        assert 0 < reached.by_layer_clips_per_s <= reached.strict_clips_per_s
        # The model here may have more weights than the paper's (shortcut B): 3 %.
        assert speed is None or 1.03 * speed < reached.by_layer_clips_per_s


def test_the_costs_agree_with_the_paper_but_for_what_falls_on_padding():
    for row in paper.TABLE_8:
        counted = find_network(row.model, row.width)
        assert 0.75 < counted.macs / (row.mflops * 1e6) < 1.0
        weights = sum(layer.weights for layer in counted.layers)
        assert 0.5 < weights / (row.params_millions * 1e6) < 1.03


def test_models_are_those_of_table_8_in_its_order_and_first():
    named = [(one.model, one.width) for one in networks()]
    assert named[: len(paper.TABLE_8)] == [(row.model, row.width) for row in paper.TABLE_8]
    for one in networks():
        kinds = [layer.kind for layer in one.layers]
        assert (kinds[0], kinds[-1], kinds.count(STEM), kinds.count(HEAD)) == (STEM, HEAD, 1, 1)


def test_the_strict_limit_is_arithmetic_where_transfer_is_shorter():
    counted = network(Layer("a", STEM, 200000, 9, 20, 30), Layer("b", HEAD, 300000, 9, 30, 10))
    reached = limit.limit_of(counted, SLOW, batch=4)
    assert reached.strict_s == pytest.approx(2 * 4 * 500000 / 1e6)
    assert reached.strict_clips_per_s == pytest.approx(1.0)


def test_the_strict_limit_moves_clips_weights_and_logits_but_for_one_cache():
    counted = network(Layer("a", STEM, 1, 50, 20, 999), Layer("b", HEAD, 1, 50, 999, 10))
    reached = limit.limit_of(counted, SLOW, batch=4)
    assert reached.strict_s == pytest.approx((4 * (100 + 4 * (20 + 10)) - 100) / 1e3)


def test_each_layer_takes_the_longer_of_arithmetic_and_transfer():
    busy, waiting = Layer("busy", CONV, 10000, 0, 1, 1), Layer("waits", DEPTHWISE, 1, 5, 200, 300)
    reached = limit.limit_of(network(busy, waiting), SLOW, batch=1)
    waiting_s = (4 * 205 - 100 + 4 * 300 - 100) / 1e3
    assert [one.seconds for one in reached.layers] == pytest.approx([0.02, waiting_s])
    assert reached.by_layer_s == pytest.approx(0.02 + waiting_s)
    assert reached.memory_bound_share == pytest.approx(waiting_s / (0.02 + waiting_s))
    assert reached.shares()[CONV] == pytest.approx(0.02 / (0.02 + waiting_s))
    assert sum(reached.shares().values()) == pytest.approx(1.0)


def test_what_fits_the_cache_need_not_move():
    counted = find_network("resnet18", None)
    roomy = SLOW._replace(cache_bytes=math.inf)
    reached = limit.limit_of(counted, roomy)
    assert reached.memory_s == 0.0
    assert reached.by_layer_s == pytest.approx(reached.arithmetic_s)


def test_weights_are_read_once_for_all_clips_of_a_batch():
    counted = network(Layer("fc", STEM, 1, 100000, 10, 10))
    one, eight = (limit.limit_of(counted, SLOW, batch=batch) for batch in (1, 8))
    assert eight.by_layer_clips_per_s > 7.9 * one.by_layer_clips_per_s


def test_a_narrow_precision_halves_the_bytes_and_uses_its_own_rate():
    counted = network(Layer("a", STEM, 5000, 1000, 500, 500))
    wide, narrow = (limit.limit_of(counted, SLOW, precision) for precision in ("fp32", "fp16"))
    assert narrow.arithmetic_s == pytest.approx(wide.arithmetic_s / 2)
    assert narrow.layers[0].moved_bytes == pytest.approx((wide.layers[0].moved_bytes - 200) / 2)


def test_a_precision_slower_than_fp32_is_computed_in_fp32():
    titan = find_device("Titan Xp")
    assert titan.peak_flops["fp16"] < titan.peak("fp16") == titan.peak("fp32") == titan.peak("bf16")


@pytest.mark.parametrize(
    ("name", "precision", "tflops"),
    [  # as NVIDIA publishes them
        ("Jetson TX2", "fp16", 1.33),
        ("Jetson Nano", "fp16", 0.472),
        ("Titan Xp", "fp32", 12.15),
        ("Jetson Orin Nano", "fp16", 10.0),  # a quarter of 40 sparse int8 TOPS
        ("Jetson Orin Nano Super", "fp16", 16.75),  # a quarter of 67
        ("Jetson Orin Nano", "fp32", 1.28),
        ("Jetson Xavier NX", "fp16", 6.8),
    ],
)
def test_peak_rates_are_the_published_ones(name, precision, tflops):
    assert find_device(name).peak(precision) / 1e12 == pytest.approx(tflops, rel=0.03)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA Jetson TX2 Developer Kit", "Jetson TX2"),
        ("NVIDIA Jetson Nano Developer Kit", "Jetson Nano"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "Jetson Xavier NX"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "Jetson Orin Nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", DEVICES[4].name),
        ("NVIDIA TITAN Xp", "Titan Xp"),
        ("NVIDIA GeForce RTX 3090", None),
        ("", None),
    ],
)
def test_a_device_is_recognised_by_what_it_calls_itself(text, name):
    found = recognise_device(text)
    assert (found and found.name) == name


def test_another_number_of_classes_changes_the_head_alone():
    many, few = find_network("shufflenetv1", 0.5), find_network("shufflenetv1", 0.5, classes=27)
    assert few.layers[:-1] == many.layers[:-1]
    assert few.layers[-1] == Layer("classifier.1", HEAD, 480 * 27, 481 * 27, 480, 27)
    assert find_network("shufflenetv1", 0.3) is None


def test_a_row_has_a_limit_where_its_model_clip_and_precision_are_counted():
    row = {
        "model": "shufflenetv1",
        "width": 0.5,
        "classes": 27,
        "clip_shape": [3, 16, 112, 112],
        "precision": "fp16",
        "batch": 4,
    }
    counted = find_network("shufflenetv1", 0.5, classes=27)
    assert limit.limit_of_row(row, SLOW) == limit.limit_of(counted, SLOW, "fp16", 4)
    for unknown in ({"clip_shape": [3, 16, 48, 48]}, {"width": 0.3}, {"precision": "int8"}):
        assert limit.limit_of_row(dict(row, **unknown), SLOW) is None


def test_the_command_prints_every_model_and_writes_what_it_prints(tmp_path, capsys):
    path = tmp_path / "limit.json"
    assert limit.main(["--device", "jetson tx2", "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    study = json.loads(path.read_text())
    assert lines[0].startswith("Jetson TX2 (MAXN), fp32, batch 8: 665.9 GFLOP/s, 59.7 GB/s")
    assert (study["schema"], study["complete"]) == (limit.SCHEMA, True)
    for row, line in zip(study["rows"], lines[3:]):
        cells = line.split()
        assert cells[0] == row["model"]
        assert float(cells[2]) == pytest.approx(row["strict_clips_per_s"], rel=1e-3)
        assert cells[4] == str(row["paper_clips_per_s"] or "-")
    assert len(study["rows"]) == len(lines) - 3 == len(networks())


def test_the_papers_speeds_stand_only_under_its_conditions(tmp_path, capsys):
    path = tmp_path / "limit.json"
    for more in (["--batch", "4"], ["--precision", "fp16"], ["--device", "Jetson Nano"]):
        assert limit.main(more + ["--json", str(path)]) == 0
        rows = json.loads(path.read_text())["rows"]
        assert {row["paper_clips_per_s"] for row in rows} == {None}
    capsys.readouterr()


def test_one_model_is_shown_layer_by_layer(capsys):
    assert limit.main(["--layers", "mobilenetv2_0.2x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + len(find_network("mobilenetv2", 0.2).layers)
    assert lines[3].split()[1] == STEM


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["--device", "Jetson TX1"], "Jetson TX2"), (["--layers", "resnet19"], "resnet18")],
)
def test_an_unknown_name_is_told_with_the_nearest(arguments, nearest, capsys):
    assert limit.main(arguments) == 2
    assert nearest in capsys.readouterr().err


def test_an_unknown_device_raises():
    with pytest.raises(UsageError, match="no device 'abacus'"):
        find_device("abacus")


def test_an_unknown_cache_is_null_in_json():
    assert SLOW._replace(cache_bytes=math.inf).facts()["cache_bytes"] is None
