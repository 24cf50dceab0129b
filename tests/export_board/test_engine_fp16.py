"""fp16 engines: compared with fp32, and mended layer by layer or refused."""

import numpy as np
import pytest
from stand_ins import TITAN_XP, Fault, Gpu
from stand_ins.plan import read_plan

from clipedge.jetson.engine_manifest import load_manifest
from clipedge.jetson.runners import open_runner

CONV3D = ("--graph", "conv3d")
FP32 = ("--precision", "fp32")
FP16 = ("--precision", "fp16")
ORIN = Gpu("Orin", (8, 7), 8 * 1024**3, True, (12, 6))

NATIVE = ("8.0.1", "8.2.1", "8.6.1", "10.16")


@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
@pytest.mark.parametrize("effect", ["nan", "inf", "50"])
def test_the_layer_that_fp16_spoils_goes_back_to_fp32(
    here, ranked, export_engine, clips, logits_of_onnx, effect, graph
):
    onnx = ranked("conv", "gemm", "relu")
    here.tensorrt.fault = Fault(("conv",), effect)
    done = export_engine("--onnx", onnx, *FP16, "--graph", graph, "--batch", "8")
    assert done.status == 0, done.err
    path = onnx.with_name("tiny_fp16.engine")
    manifest = load_manifest(path)
    assert manifest.fp32_layers == ("conv",)
    assert [one["passed"] for one in manifest.parity["rounds"]] == [False, True]
    assert "1 layers in fp32" in done.out
    plan = read_plan(path.read_bytes())
    if here.tensorrt.key in NATIVE:
        assert plan.held
        assert all(name.split("/")[0] == "conv" for name in plan.held)
    with open_runner(path) as runner:
        expected = logits_of_onnx(onnx)
        assert np.abs(runner.infer(clips) - expected).max() <= 2e-3 * np.abs(expected).max()


def test_layers_go_back_in_the_order_of_the_file_until_it_passes(tx2, ranked, export_engine):
    onnx = ranked("gemm", "conv", "relu", "sub")
    tx2.tensorrt.fault = Fault(("conv",), "nan")
    assert export_engine("--onnx", onnx, *FP16, *CONV3D).status == 0
    manifest = load_manifest(onnx.with_name("tiny_fp16.engine"))
    assert manifest.fp32_layers == ("gemm", "conv")
    tried = [tuple(one["fp32_layers"]) for one in manifest.parity["rounds"]]
    assert tried == [(), ("gemm",), ("gemm", "conv")]
    assert tx2.tensorrt.builds == 3


def test_fp16_that_cannot_be_mended_fails_by_name_and_fp32_stays(tx2, ranked, export_engine):
    onnx = ranked("conv", "gemm", "relu")
    tx2.tensorrt.fault = Fault(("flatten",), "nan")
    done = export_engine("--onnx", onnx, "--precision", "fp16", "fp32", *CONV3D)
    assert done.status == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("export-engine: ")]
    assert "tiny.onnx in fp16" in line
    assert "To blame most: conv, gemm" in line
    assert "--precision fp32" in line
    assert [path.name for path in onnx.parent.glob("*.engine")] == ["tiny_fp32.engine"]
    assert not list(onnx.parent.glob("*fp16*"))
    open_runner(onnx.with_name("tiny_fp32.engine")).close()


def test_a_failed_build_leaves_the_older_engine_whole(tx2, ranked, export_engine, files_in):
    onnx = ranked("conv", "gemm", "relu")
    build = ("--onnx", onnx, *FP16, *CONV3D)
    assert export_engine(*build).status == 0
    before = files_in(onnx.parent)
    tx2.tensorrt.fault = Fault(("flatten",), "inf")
    assert export_engine(*build, "--force").status == 1
    after = files_in(onnx.parent)
    for name in ("tiny_fp16.engine", "tiny_fp16.engine.json"):
        assert after[name] == before[name]


def test_fp16_on_a_titan_xp_warns_with_the_reason(tiny, export_engine, another_board):
    with another_board("8.6.1"):
        done = export_engine("--onnx", tiny, *CONV3D)
        fp32_alone = export_engine("--onnx", tiny, *FP32, *CONV3D, "--force")
    assert done.status == 0
    assert "fp16 on sm_61: this GPU computes in fp16 far slower than in fp32" in done.err
    assert tiny.with_name("tiny_fp16.engine").exists()
    assert "fp16" not in fp32_alone.err


@pytest.mark.parametrize("release", ["10.16", "11.1"])
def test_a_tensorrt_that_dropped_the_gpu_names_the_one_that_serves_it(
    tiny, export_engine, another_board, release
):
    with another_board(release, TITAN_XP) as here:
        done = export_engine("--onnx", tiny)
        assert here.tensorrt.builds == 0
    assert done.status == 1
    assert "does not serve NVIDIA TITAN Xp (sm_61); TensorRT 8.6 is the last that does" in done.err
    assert "pip install 'tensorrt<10.0'" in done.err


def test_fp16_on_a_tx2_warns_of_nothing(tx2, tiny, export_engine):
    assert "slower" not in export_engine("--onnx", tiny, *CONV3D).err


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ("8.2.1", "int8: a GPU of sm_62 has no int8 arithmetic"),
        ("8.6.1", "int8 needs a calibration"),
    ],
)
def test_int8_is_refused_by_name(tiny, export_engine, another_board, release, message):
    with another_board(release) as here:
        done = export_engine("--onnx", tiny, "--precision", "fp32", "int8")
        assert here.tensorrt.builds == 0
    assert done.status == 2
    assert message in done.err
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.onnx"]
