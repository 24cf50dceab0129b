"""What --compare-backends puts side by side; runs on Python 3.6 too."""

import importlib.util

import pytest

from clipedge.benchmarks.speed import backends, torch_runners
from clipedge.benchmarks.speed.backends import BENCH_BACKENDS, TORCH_BACKENDS, comparable


@pytest.fixture
def installed(monkeypatch):
    """`installed(*packages)`: these are there and no others; the CPU has bf16."""

    def only(*packages):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in packages or None)
        monkeypatch.setattr(backends, "_why_no_bf16", lambda: None)
        monkeypatch.setattr(torch_runners, "why_not_compiled", lambda: None)

    return only


def test_all_that_is_installed_is_put_side_by_side_in_the_order_of_the_table(installed, tmp_path):
    installed("torch", "onnxruntime", "openvino")
    path = tmp_path / "model.onnx"
    found, missing = comparable(path)
    assert found == [
        ("torch-eager", "fp32", str(path)),
        ("torch-channels-last", "fp32", str(path)),
        ("torch-compile", "fp32", str(path)),
        ("onnxruntime", "fp32", str(path)),
        ("openvino", "fp32", str(path)),
        ("openvino", "bf16", str(path)),
    ]
    assert missing == {"tensorrt": f"there is no engine beside {path}"}
    assert {name for name, _, _ in found} <= set(BENCH_BACKENDS)


def test_what_is_left_out_comes_with_the_reason(installed, tmp_path):
    installed("onnxruntime")
    found, missing = comparable(tmp_path / "model.onnx")
    assert [name for name, _, _ in found] == ["onnxruntime"]
    for name in TORCH_BACKENDS:
        assert "pip install torch" in missing[f"{name} fp32"]
    assert missing["openvino fp32"] == missing["openvino bf16"]
    assert "pip install openvino" in missing["openvino bf16"]


def test_engines_beside_the_file_join_with_their_own_precision(installed, tmp_path):
    installed("onnxruntime", "tensorrt", "pycuda")
    for name in ("model_fp32.engine", "model_fp16.engine", "other_fp16.engine"):
        (tmp_path / name).write_bytes(b"")
    found, missing = comparable(tmp_path / "model.onnx")
    assert found[1:] == [
        ("tensorrt", "fp32", str(tmp_path / "model_fp32.engine")),
        ("tensorrt", "fp32", str(tmp_path / "model_fp16.engine")),
    ]
    assert "tensorrt" not in missing


def test_engines_beside_the_file_are_left_out_where_engines_cannot_run(installed, tmp_path):
    installed("onnxruntime")
    (tmp_path / "model_fp32.engine").write_bytes(b"")
    found, missing = comparable(tmp_path / "model.onnx")
    assert [name for name, _, _ in found] == ["onnxruntime"]
    assert "pycuda, which are not installed" in missing["tensorrt"]


def test_a_cpu_without_bf16_is_said_to_be(tmp_path):
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    from clipedge.jetson.runners.openvino_runner import native_precisions

    found, missing = comparable(tmp_path / "model.onnx")
    able = "bf16" in native_precisions()
    assert (("openvino", "bf16", str(tmp_path / "model.onnx")) in found) == able
    assert ("openvino bf16" in missing) == (not able)
