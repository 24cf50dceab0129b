"""--profile: which layers take the time."""

import json

import pytest
from stand_ins import NO_GPU
from stand_ins.trt_execution import LAYER_MS

from clipedge.export.layer_profile import profile_of_engine
from clipedge.jetson.runners import open_runner
from clipedge.jetson.spec import ClipSpec

CONV3D = ("--graph", "conv3d", "--batch", "1", "8")
LAYERS = ["sub", "conv + relu", "globalaveragepool", "flatten", "gemm"]


@pytest.fixture
def profile(export_engine, tiny):
    """`profile(*flags)`: (what export-engine printed, the layers file of an fp32 engine)."""

    def run(*flags, **options):
        precision = options.get("precision", "fp32")
        done = export_engine("--onnx", tiny, "--precision", precision, *CONV3D, "--profile", *flags)
        assert done.status == 0, done.err
        (path,) = tiny.parent.glob("*.engine.layers.json")
        return done, json.loads(path.read_text())

    return run


def test_every_layer_is_timed_by_the_profiler_at_the_largest_batch(here, profile):
    _, content = profile()
    assert content["batch"] == 8
    assert "measured" in content["source"]
    times_ms = {row["name"]: row["time_ms"] for row in content["layers"]}
    assert times_ms == dict.fromkeys(LAYERS, LAYER_MS * 8)
    assert sum(row["share"] for row in content["layers"]) == pytest.approx(1.0)


def test_the_slowest_layers_come_first_with_their_share(tx2, profile, monkeypatch):
    execution = tx2.tensorrt.classes["IExecutionContext"]
    times_ms = dict(zip(LAYERS, (1.0, 6.0, 2.0, 0.0, 1.0)))
    monkeypatch.setattr(execution, "_layer_times", lambda self: list(times_ms.items()))
    done, content = profile()
    rows = [(row["name"], row["time_ms"], row["share"]) for row in content["layers"]]
    assert rows[:2] == [("conv + relu", 6.0, 0.6), ("globalaveragepool", 2.0, 0.2)]
    table = done.out.splitlines()
    at = next(number for number, line in enumerate(table) if "share" in line)
    assert table[at + 1].split()[:2] == ["60.0%", "6.000"]
    assert table[at + 1].endswith("conv + relu")
    assert table[at + 1 + len(LAYERS) - 1].endswith("flatten")


@pytest.mark.parametrize(("precision", "kind", "size"), [("fp32", "FLOAT", 4), ("fp16", "HALF", 2)])
def test_precision_kind_and_bytes_come_from_the_inspector(tx2, profile, precision, kind, size):
    _, content = profile(precision=precision)
    by_name = {row["name"]: row for row in content["layers"]}
    assert by_name["conv + relu"]["kind"] == "Convolution"
    assert {row["precision"] for row in content["layers"]} == {kind}
    assert {row["bytes"] for row in content["layers"]} == {8 * size}


class SomeRunner:
    """Tells of layers as TensorRT does; `inspected` are names, of which each has a precision."""

    def __init__(self, times_ms, inspected):
        self.times_ms = times_ms
        self.inspected = inspected
        self.spec = ClipSpec("tiny", ("a", "b"), frames=1, size=8)

    def layer_times_ms(self, clips, runs):
        return self.times_ms

    def layer_information(self):
        layers = [
            {"Name": name, "Outputs": [{"Format/Datatype": precision}]}
            for name, precision in self.inspected.items()
        ]
        return json.dumps({"Layers": layers}).replace("\\u001e", "\x1e")


@pytest.mark.parametrize("timed", ["conv", "conv [profile 1]"])
def test_layers_are_found_in_the_profile_of_their_batch_size(timed):
    runner = SomeRunner({timed: 1.0}, {"conv": "FP32", "conv [profile 1]": "FP16"})
    (row,) = profile_of_engine(runner, 8).layers
    assert row.name == "conv"
    assert row.precision == ("FLOAT" if timed == "conv" else "HALF")


def test_control_characters_between_fused_layers_are_not_shown():
    runner = SomeRunner({"conv\x1erelu": 1.0}, {"conv\x1erelu": "FP16"})
    (row,) = profile_of_engine(runner, 1).layers
    assert (row.name, row.precision) == ("conv + relu", "HALF")


def test_a_precision_that_tensorrt_does_not_tell_is_left_empty():
    runner = SomeRunner({"conv": 1.0}, {"conv": "N/A due to dynamic shapes"})
    (row,) = profile_of_engine(runner, 1).layers
    assert row.precision == ""


def test_layers_of_one_name_add_up(tx2, profile, monkeypatch):
    execution = tx2.tensorrt.classes["IExecutionContext"]
    monkeypatch.setattr(execution, "_layer_times", lambda self: [("conv", 1.0), ("conv", 3.0)])
    _, content = profile()
    assert [(row["name"], row["time_ms"]) for row in content["layers"]] == [("conv", 4.0)]


def test_without_an_inspector_there_are_times_all_the_same(profile, another_board):
    with another_board("8.0.1"):
        done, content = profile()
    assert {row["time_ms"] for row in content["layers"]} == {LAYER_MS * 8}
    assert {row["bytes"] for row in content["layers"]} == {None}
    assert "has no engine inspector" in done.err


def test_where_the_engine_cannot_run_its_layers_are_listed(profile, another_board):
    pytest.importorskip("onnx", reason="onnx, which is imported for RTX, is missing")
    with another_board("rtx", NO_GPU):
        done, content = profile("--target", "sm_86")
    assert "not measured: the engine cannot run here" in content["source"]
    names = {row["name"] for row in content["layers"]}
    assert {"conv", "relu", "gemm"} <= names  # before fusion
    assert "CONSTANT" not in {row["kind"] for row in content["layers"]}  # weights take no time
    assert {row["time_ms"] for row in content["layers"]} == {None}
    assert sum(row["share"] for row in content["layers"]) == pytest.approx(1.0)
    assert "conv" in done.out


def test_an_engine_that_was_there_is_profiled_without_a_build(tx2, tiny, export_engine, profile):
    assert export_engine("--onnx", tiny, "--precision", "fp32", *CONV3D).status == 0
    _, content = profile()
    assert tx2.tensorrt.builds == 1
    assert len(content["layers"]) == len(LAYERS)


def test_json_holds_the_layers_too(tx2, profile):
    done, content = profile("--json")
    (engine,) = json.loads(done.out)["engines"]
    assert engine["profile"]["layers"] == content["layers"]


def test_profiling_leaves_the_engine_usable(tx2, tiny, profile, clips):
    profile()
    with open_runner(tiny.with_name("tiny_fp32.engine")) as runner:
        before = runner.infer(clips)
        runner.layer_times_ms(clips, 2)
        assert (runner.infer(clips) == before).all()
