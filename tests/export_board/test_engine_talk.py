"""What export-engine says of engines that were there, and of calls that are wrong."""

import pytest
from stand_ins import NO_GPU

FP32 = ("--precision", "fp32")
CONV3D = ("--graph", "conv3d")


def test_an_engine_that_is_replaced_is_named_with_what_it_was(tx2, tiny, export_engine):
    assert export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "8", "1").status == 0
    done = export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "1")
    assert "tiny_fp32.engine, which was built for batches of 1 and 8." in done.err
    done = export_engine("--onnx", tiny, *FP32, "--graph", "conv2d", "--batch", "1")
    assert "which was built with --graph conv3d." in done.err


def test_the_order_of_batch_sizes_makes_no_other_engine(tx2, tiny, export_engine):
    export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "8", "1")
    assert "up to date" in export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "1", "8").err


def test_layers_of_an_engine_that_is_replaced_are_not_left_beside_the_new_one(
    tx2, tiny, export_engine
):
    layers = tiny.with_name("tiny_fp32.engine.layers.json")
    done = export_engine("--onnx", tiny, *FP32, *CONV3D, "--profile")
    assert f"Wrote {layers}" in done.err and layers.exists()
    export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "1")
    assert not layers.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.onnx", "does not exist"),
        ("tiny_fp32.engine", "is an engine; give the ONNX file it was built from"),
        ("text.onnx", "is not a whole ONNX file"),
    ],
)
def test_a_wrong_file_is_heard_of_before_a_missing_gpu(
    another_board, tiny, export_engine, name, reason
):
    tiny.with_name("tiny_fp32.engine").write_bytes(b"plan")
    tiny.with_name("text.onnx").write_text("# clipedge\n")
    with another_board("8.2.1", NO_GPU):
        done = export_engine("--onnx", tiny.with_name(name))
    assert done.status in (1, 2)
    assert reason in done.err


def test_an_unknown_target_is_refused_before_anything_is_computed(
    another_board, tiny, export_engine
):
    with another_board("rtx", NO_GPU):
        done = export_engine("--onnx", tiny, "--target", "sm_62")
    assert done.status == 2
    assert "has no target sm_62; it has sm_75" in done.err
    assert "on the machine that has it" in done.err
    assert "computing" not in done.err and "building" not in done.err


def test_an_fp32_engine_of_the_file_as_it_is_claims_no_check(another_board, tiny, export_engine):
    with another_board("rtx", NO_GPU):
        done = export_engine("--onnx", tiny, *FP32, *CONV3D, "--target", "sm_86")
    assert "checked nothing: it is built from the fp32 ONNX file itself" in done.out
    assert "next: copy each .engine and its .engine.json" in done.out
