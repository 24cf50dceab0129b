"""--graph: which form of the network an engine is built from."""

import gc
import weakref

import pytest
from stand_ins import TX2, Gpu

from clipedge.export.graph_names import FORMS, TENSORCORE
from clipedge.jetson import trt_api
from clipedge.jetson.engine_manifest import load_manifest
from clipedge.jetson.errors import BackendError
from clipedge.jetson.runners import open_runner

CONV3D = ("--graph", "conv3d")
FP32 = ("--precision", "fp32")
ORIN = Gpu("Orin", (8, 7), 8 * 1024**3, True, (12, 6))


@pytest.mark.parametrize("fastest", FORMS)
def test_auto_keeps_the_fastest_graph_form_and_all_timings(
    another_board, tiny, export_engine, monkeypatch, fastest
):
    def latency_ms(runner, batch):
        return batch * (2.0 if runner.describe()["graph"] == fastest else 3.0)

    monkeypatch.setattr("clipedge.export.engine_builder._latency_ms", latency_ms)
    with another_board("10.16") as here:
        done = export_engine("--onnx", tiny, *FP32, "--graph", "auto", "--batch", "1", "8")
        assert done.status == 0, done.err
        assert here.tensorrt.builds == len(FORMS)
        with open_runner(tiny.with_name("tiny_fp32.engine")) as runner:
            assert runner.describe()["graph"] == fastest
    assert f"Graph form: {fastest}, the fastest here" in done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    assert (manifest.graph, manifest.graph_form) == ("auto", fastest)
    times = {one["graph_form"]: one["latency_ms"] for one in manifest.candidates}
    assert times == {
        form: {"1": 2.0, "8": 16.0} if form == fastest else {"1": 3.0, "8": 24.0} for form in FORMS
    }


def test_a_gpu_without_tensor_cores_is_spared_their_form(tx2, tiny, export_engine):
    done = export_engine("--onnx", tiny, *FP32, "--graph", "auto")
    assert done.status == 0, done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    forms = [one["graph_form"] for one in manifest.candidates]
    assert forms == [form for form in FORMS if form != TENSORCORE]


def test_each_batch_size_weighs_the_same_in_the_choice(tx2, tiny, export_engine, monkeypatch):
    """conv2d is twice as fast for one clip, and a tenth slower, but more milliseconds, for 8."""
    times_ms = {("conv2d", 1): 1.0, ("conv3d", 1): 2.0, ("conv2d", 8): 110.0, ("conv3d", 8): 100.0}

    def latency_ms(runner, batch):
        return times_ms.get((runner.describe()["graph"], batch), 500.0)

    monkeypatch.setattr("clipedge.export.engine_builder._latency_ms", latency_ms)
    assert export_engine("--onnx", tiny, *FP32, "--batch", "1", "8").status == 0
    assert load_manifest(tiny.with_name("tiny_fp32.engine")).graph_form == "conv2d"


def test_a_graph_form_is_really_timed(tx2, tiny, export_engine):
    assert export_engine("--onnx", tiny, *FP32, "--batch", "2").status == 0
    for one in load_manifest(tiny.with_name("tiny_fp32.engine")).candidates:
        assert 0 < one["latency_ms"]["2"] < 10e3


def test_a_form_that_cannot_be_built_is_left_out_with_the_reason(
    tx2, tiny, export_engine, monkeypatch
):
    monkeypatch.delitem(__import__("stand_ins.trt_build").trt_build.LAYER_OF, "Reshape")
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 0, done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    assert manifest.graph_form == "conv3d"
    tried = {one["graph_form"]: one for one in manifest.candidates}
    assert "engine_bytes" in tried["conv3d"]
    assert "Reshape" in tried["conv2d"]["error"]
    assert "conv2d" in done.err
    assert "Reshape" in done.err


def test_where_no_form_can_be_built_the_reason_is_the_error(tx2, tiny, export_engine, monkeypatch):
    monkeypatch.delitem(__import__("stand_ins.trt_build").trt_build.LAYER_OF, "Gemm")
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("export-engine: ")]
    assert "node 'gemm' (Gemm)" in line
    assert line.count("refuses the ONNX file") == 1
    assert not list(tiny.parent.glob("*.engine*"))


def test_a_form_that_cannot_run_is_left_out_with_the_reason(tx2, tiny, export_engine, monkeypatch):
    """A form may be built and still need more memory than is left."""

    def latency_ms(runner, batch):
        if runner.describe()["graph"] == "conv3d":
            raise BackendError("no memory for a batch of 8")
        return 1.0

    monkeypatch.setattr("clipedge.export.engine_builder._latency_ms", latency_ms)
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 0, done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    assert manifest.graph_form == "conv2d"
    tried = {one["graph_form"]: one for one in manifest.candidates}
    assert tried["conv3d"]["error"] == "no memory for a batch of 8"


# --- Memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "gpu", "fits"),
    [("8.2.1", TX2, False), ("10.16", ORIN, False), ("10.16", None, True)],
)
def test_a_board_leaves_memory_to_others_unless_it_is_told(
    tiny, export_engine, another_board, release, gpu, fits
):
    build = ("--onnx", tiny, *FP32, *CONV3D)
    with another_board(release, gpu) as here:
        here.tensorrt.workspace_needed_bytes = (1 << 30) + 1
        assert export_engine(*build).status == (0 if fits else 1)
        assert export_engine(*build, "--workspace", "2048").status == 0


def test_a_failed_build_is_not_kept_in_memory(tx2, tiny, export_engine, monkeypatch):
    """Builder and network hold the weights, on a board where nothing is to spare."""
    networks, alive = [], []

    class Network:
        pass

    def build(self, request, progress=None):
        alive.append(sum(one() is not None for one in networks))
        network = Network()
        networks.append(weakref.ref(network))
        raise BackendError("no tactic")

    monkeypatch.setattr(trt_api.TensorRT, "build", build)
    gc.disable()
    try:
        assert export_engine("--onnx", tiny, *FP32).status == 1
    finally:
        gc.enable()
    assert alive == [0, 0]
