"""Profiles: what each layer is, its limit, and the memory that a model takes."""

import importlib.util
import json

import numpy as np
import pytest
from stand_ins import TITAN_XP, board

from clipedge.benchmarks import cli
from clipedge.benchmarks.devices import Device
from clipedge.benchmarks.layer_costs import POOL, Layer, Network, find_network
from clipedge.benchmarks.limit import limit_of
from clipedge.benchmarks.speed.layers import (
    annotate_row,
    annotated_profile,
    module_path,
    read_graph,
)
from clipedge.benchmarks.speed.memory_use import RESIDENT, growth_mb, process_mb, row_memory
from clipedge.jetson.runners import open_runner

DEVICE = Device("a card", {"fp32": 1e12}, 1e11, 0.0, None, "these tests")
STEM = "/inner/conv1/conv1.0/Conv"
POINTWISE = "/inner/layer1/layer1.0/conv1/Conv"
DEPTHWISE = "/inner/layer1/layer1.0/conv2/Conv"
CARD = TITAN_XP._replace(compute_capability=(6, 2))

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None, reason="onnx, which reads graphs, is not installed"
)
needs_onnxruntime = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)


def profile_of(*names):
    """A profile of layers that take 1, 2, 3 ... ms."""
    layers = [{"name": name, "median_ms": float(ms)} for ms, name in enumerate(names, 1)]
    return {"runs": 20, "layers": layers, "reason": None}


def annotated(*names, path=None, device=DEVICE, batch=8):
    network = find_network("shufflenetv1", 0.5)
    return annotated_profile(profile_of(*names), path, network, device, "fp32", batch)


@pytest.fixture(scope="module")
def limits_ms():
    limit = limit_of(find_network("shufflenetv1", 0.5), DEVICE)
    return {one.layer.name: pytest.approx(one.seconds * 1e3, abs=1e-5) for one in limit.layers}


@pytest.mark.parametrize(
    ("node", "path"),
    [
        ("/inner/conv1/Conv", "conv1"),
        ("/inner/conv1/conv1.0/Conv", "conv1.0"),
        ("/inner/features/features.1/conv/conv.0/Conv", "features.1.conv.0"),
        ("/inner/features/features.0/features.0.0/Conv", "features.0.0"),
        ("/inner/features/features.4/expand1x1/Conv/conv2d", "features.4.expand1x1"),
        ("/inner/layer1/layer1.0/conv2/Conv/conv3d", "layer1.0.conv2"),
        ("/features/features.0/Conv", "features.0"),  # of a file from elsewhere
        ("/inner/ReduceMean", ""),
        ("gemm", ""),
    ],
)
def test_a_nodes_name_tells_its_module(node, path):
    assert module_path(node) == path


class TestNamesOfEngines:
    """TensorRT's; without the ONNX file."""

    def test_a_fused_layer_is_the_one_layer_in_it(self, limits_ms):
        fused = f"{POINTWISE} + /inner/layer1/layer1.0/relu/Relu"
        (layer,) = annotated(fused)["layers"]
        assert layer == {
            "name": fused,
            "kind": "pointwise",
            "median_ms": 1.0,
            "limit_ms": limits_ms["layer1.0.conv1"],
        }

    @pytest.mark.parametrize("joint", [" + ", " || ", "\x1e", "\x1f"])
    def test_two_layers_that_run_as_one_have_no_limit(self, joint):
        (layer,) = annotated(STEM + joint + DEPTHWISE)["layers"]
        assert (layer["kind"], layer["limit_ms"]) == ("stem", None)  # the stem has more arithmetic

    def test_a_copy_is_not_the_layer_whose_name_it_has(self):
        copy = f"Reformatting CopyNode for Input Tensor 0 to {POINTWISE} + {DEPTHWISE}"
        (layer,) = annotated(copy)["layers"]
        assert (layer["kind"], layer["limit_ms"]) == ("other", None)

    def test_the_optimization_profile_is_no_part_of_the_name(self, limits_ms):
        (layer,) = annotated(f"{STEM} [profile 1]")["layers"]
        assert layer["name"] == STEM
        assert layer["limit_ms"] == limits_ms["conv1.0"]

    def test_a_pool_is_known_by_its_operator_and_has_no_limit(self):
        (layer,) = annotated("/inner/maxpool/MaxPool")["layers"]
        assert (layer["kind"], layer["limit_ms"]) == ("pool", None)


class TestLimits:
    def test_a_layer_in_several_parts_has_none(self):
        first, second, other = annotated(f"{STEM}/conv2d", f"{STEM}_1/conv2d", DEPTHWISE)["layers"]
        assert (first["kind"], second["kind"]) == ("stem", "stem")
        assert first["limit_ms"] is second["limit_ms"] is None
        assert other["limit_ms"] is not None

    def test_a_node_of_the_same_module_that_computes_nothing_has_none(self):
        (layer,) = annotated("/inner/layer1/layer1.0/conv1/Relu")["layers"]
        assert (layer["kind"], layer["limit_ms"]) == ("other", None)

    def test_it_grows_with_the_batch(self):
        one, eight = [annotated(STEM, batch=n)["layers"][0]["limit_ms"] for n in (1, 8)]
        assert eight == pytest.approx(8 * one, rel=0.01)

    @needs_onnx
    def test_a_pool_whose_numbers_fit_into_the_cache_has_none(self, path):
        network = Network("mine", None, (3, 4, 16, 16), 5, [Layer("pool 1", POOL, 0, 0, 96, 12)])
        network = network._replace(layers=network.layers + [Layer("pool 2", POOL, 0, 0, 12, 1)])
        limits_ms = []
        for device in (DEVICE, DEVICE._replace(cache_bytes=1e6)):
            found = annotated_profile(profile_of("five"), path, network, device, "fp32", 8)
            limits_ms.append(found["layers"][0]["limit_ms"])
        assert limits_ms == [pytest.approx(8 * 108 * 4 / 1e11 * 1e3, abs=1e-5), None]

    def test_without_a_device_the_profile_says_what_is_missing(self):
        found = annotated(STEM, device=None)
        assert found["layers"][0]["kind"] == "stem"
        assert found["layers"][0]["limit_ms"] is None
        assert "--limit" in found["missing"]["limit_ms"]
        assert annotated(STEM)["missing"] == {}

    @pytest.mark.parametrize(
        "change", [{"clip_shape": [3, 8, 112, 112]}, {"model": "mine"}, {"precision": "int8"}]
    )
    def test_what_is_not_counted_has_none(self, change):
        row = {
            "model": "shufflenetv1",
            "width": 0.5,
            "classes": 27,
            "clip_shape": [3, 16, 112, 112],
            "precision": "fp32",
            "batch": 8,
            "file": "shufflenetv1.engine",
        }
        for changes, limited in (({}, True), (change, False)):
            profiled = dict(row, profile=profile_of(STEM), **changes)
            annotate_row(profiled, DEVICE)
            assert (profiled["profile"]["layers"][0]["limit_ms"] is not None) == limited
            assert bool(profiled["profile"]["missing"]) != limited


def test_kinds_add_up_to_all_layers():
    found = annotated(STEM, "/Sub", POINTWISE, "copy", "/inner/layer1/layer1.0/conv3/Conv")
    assert found["by_kind"] == {
        "stem": {"ms": 1.0, "share": pytest.approx(1 / 15, abs=1e-4)},
        "pointwise": {"ms": 8.0, "share": pytest.approx(8 / 15, abs=1e-4)},
        "other": {"ms": 6.0, "share": pytest.approx(6 / 15, abs=1e-4)},
    }
    assert list(found["by_kind"])[-1] == "other"


def test_a_profile_that_failed_keeps_its_reason():
    failed = {"runs": 20, "layers": None, "reason": "it tells no times of layers."}
    found = annotated_profile(failed, None, None, None, "fp32", 8)
    assert found == dict(failed, by_kind=None, missing={})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A stem, a padded shortcut's pooling, one convolution of each kind, pools and a head."""
    from onnx import helper, numpy_helper

    sizes = {
        "stem": (8, 3, 3, 3, 3),
        "deep": (8, 1, 3, 3, 3),
        "point": (8, 8, 1, 1, 1),
        "grouped": (8, 4, 3, 3, 3),
        "classify": (8, 5),
    }
    pads = {"pads": [1] * 6}
    nodes = [
        helper.make_node("Conv", ["clips", "stem"], ["a"], "one", **pads),
        helper.make_node("AveragePool", ["a"], ["b"], "thin", kernel_shape=[1, 1, 1]),
        helper.make_node("Conv", ["b", "deep"], ["c"], "two", group=8, **pads),
        helper.make_node("Conv", ["c", "point"], ["d"], "three"),
        helper.make_node("Conv", ["d", "grouped"], ["e"], "four", group=2, **pads),
        helper.make_node("MaxPool", ["e"], ["f"], "five", kernel_shape=[2, 2, 2]),
        helper.make_node("ReduceMean", ["f"], ["g"], "six", axes=[2, 3, 4], keepdims=0),
        helper.make_node("Gemm", ["g", "classify"], ["h"], "seven"),
        helper.make_node("ReduceMean", ["h"], ["logits"], "eight", axes=[1]),
    ]
    weights = [
        numpy_helper.from_array(np.ones(size, np.float32), name) for name, size in sizes.items()
    ]
    path = tmp_path_factory.mktemp("graphs") / "mine.onnx"
    graph = helper.make_graph(nodes, "mine", [], [], weights)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return str(path)


@needs_onnx
class TestGraphs:
    """Without a network whose names could match: what the ONNX file says."""

    def test_each_node_has_its_kind(self, path):
        nodes = ["one", "thin", "two", "three", "four", "five", "six", "seven", "eight"]
        found = annotated_profile(profile_of(*nodes), path, None, None, "fp32", 8)
        kinds = {layer["name"]: layer["kind"] for layer in found["layers"]}
        assert kinds == {
            "one": "stem",
            "thin": "other",
            "two": "depthwise",
            "three": "pointwise",
            "four": "conv",
            "five": "pool",
            "six": "pool",
            "seven": "head",
            "eight": "pool",
        }

    def test_pools_behind_the_head_are_none_of_the_network(self, path):
        assert read_graph(path).pools == ["five", "six"]

    def test_a_layer_called_as_its_output_gets_the_nodes_name(self, path):
        found = annotated_profile(profile_of("h"), path, None, None, "fp32", 8)
        assert (found["layers"][0]["name"], found["layers"][0]["kind"]) == ("seven", "head")

    def test_a_change_of_layout_before_a_layer_is_not_that_layer(self, path):
        found = annotated_profile(profile_of("one_abcde_acdeb_two"), path, None, None, "fp32", 8)
        assert found["layers"][0]["kind"] == "other"

    def test_a_file_that_cannot_be_read_leaves_kinds_out(self, tmp_path):
        (tmp_path / "cut.onnx").write_bytes(b"\x08\x07:\xff")
        assert read_graph(str(tmp_path / "cut.onnx")) is None
        (layer,) = annotated(STEM, path=str(tmp_path / "cut.onnx"))["layers"]
        assert layer["kind"] == "stem"  # by its name


@needs_onnx
def test_every_layer_of_an_exported_model_is_matched_with_one_node(tmp_path):
    pytest.importorskip("torch", reason="torch, which exports models, is not installed")
    import onnx

    from clipedge.export.onnx_graph import build_onnx
    from clipedge.jetson.spec import ClipSpec
    from clipedge.trainside.models import create_model

    path = tmp_path / "exported.onnx"
    for model, width in (("shufflenetv1", 0.5), ("mobilenetv2", 0.2), ("squeezenet", None)):
        spec = ClipSpec(model, tuple("abcde"), width)
        path.write_bytes(build_onnx(create_model(model, width, 5).eval(), spec))
        nodes = [node.name for node in onnx.load(str(path)).graph.node]
        network = find_network(model, width, 5)
        found = annotated_profile(profile_of(*nodes), str(path), network, DEVICE, "fp32", 8)
        limited = [layer for layer in found["layers"] if layer["limit_ms"] is not None]
        told = {
            module_path(layer["name"]): (layer["kind"], layer["limit_ms"])
            for layer in limited
            if layer["kind"] != "pool"
        }
        limits = limit_of(network, DEVICE).layers
        assert told == {
            one.layer.name: (one.layer.kind, round(one.seconds * 1e3, 5))
            for one in limits
            if one.layer.kind != "pool"
        }
        assert [layer["limit_ms"] for layer in limited if layer["kind"] == "pool"] == [
            round(one.seconds * 1e3, 5) for one in limits if one.layer.kind == "pool"
        ]


@needs_onnx
@needs_onnxruntime
def test_jetson_bench_keeps_the_profile_in_its_row(tiny_model, tmp_path):
    target = tmp_path / "bench.json"
    call = [str(tiny_model), "--backend", "onnxruntime", "--threads", "1", "--profile"]
    call += ["--duration", "0.1", "--warmup", "0.05", "--repeats", "1", "--json", str(target)]
    assert cli.main(call) == 0
    (row,) = json.loads(target.read_text())["rows"]
    profile = row["profile"]
    kinds = {layer["name"]: layer["kind"] for layer in profile["layers"]}
    assert (kinds["sub"], kinds["conv"], kinds["gemm"]) == ("other", "stem", "head")
    assert set(profile["by_kind"]) == {"stem", "pool", "head", "other"}
    assert profile["runs"] == 20
    assert profile["missing"]["limit_ms"]
    assert row["memory"]["process_peak_mb"] > row["memory"]["model_mb"] > 0
    assert row["memory"]["gpu_mb"] is None
    assert row["memory"]["missing"] == {"gpu_mb": "it runs on the CPU"}


class TestMemory:
    def test_growth_counts_what_was_taken_since_and_not_the_clips(self):
        before_mb = process_mb(RESIDENT)
        if before_mb is None:
            pytest.skip("/proc/self/status does not tell here")
        taken = np.ones(64 * 2**20, np.uint8)
        assert 60 < growth_mb(before_mb, 0) < 120
        assert growth_mb(before_mb, taken.nbytes) < 60
        assert growth_mb(before_mb, 2**33) == 0.0

    def test_what_is_not_known_is_null_with_its_reason(self):
        memory = row_memory({"facts": {}, "model_mb": None}, [{"peak_mb": 80.5}, {"peak_mb": 81.5}])
        assert (memory["process_peak_mb"], memory["model_mb"], memory["gpu_mb"]) == (
            81.5,
            None,
            None,
        )
        assert set(memory["missing"]) == {"model_mb", "gpu_mb"}

    @needs_onnx
    @needs_onnxruntime
    def test_an_engine_tells_its_plan_scratch_and_buffers(
        self, tiny_model, engine_writer, tmp_path
    ):
        with board("8.2.1", CARD):
            path = engine_writer(tmp_path / "tiny.engine", tiny_model, (1, 2))
            with open_runner(path) as runner:
                first = runner.describe()["gpu_memory_mb"]
                assert first == {
                    "plan": round(path.stat().st_size / 2**20, 3),
                    "scratch": 0.0,
                    "buffers": 0.0,
                }
                clips = np.full((2, *runner.spec.clip_shape), 128.0, np.float32)
                runner.infer(clips)
                two = runner.describe()["gpu_memory_mb"]
                runner.infer(clips[:1])
                both = runner.describe()["gpu_memory_mb"]
        scratch_mb = two["scratch"]
        assert scratch_mb > 0
        assert both["scratch"] == pytest.approx(2 * scratch_mb, abs=2e-3)
        logits_bytes = 2 * runner.spec.num_classes * 4
        assert two["buffers"] == round((clips.nbytes + logits_bytes) / 2**20, 3)
        assert both["buffers"] == pytest.approx(1.5 * two["buffers"], abs=2e-3)
        memory = row_memory({"facts": {"gpu_memory_mb": both}}, [{"peak_mb": 80.5}])
        assert memory["gpu_mb"] == pytest.approx(sum(both.values()), abs=0.01)
