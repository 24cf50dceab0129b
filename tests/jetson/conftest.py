"""A small ONNX model with its ClipSpec, made with the onnx package; runs on Python 3.6 too."""

import pathlib

import numpy as np
import pytest

from clipedge.jetson.spec import METADATA_KEY, ClipSpec

TINY_SPEC = ClipSpec(
    model="tiny", labels=("still", "wave", "swipe", "thumb", "stop"), frames=4, size=16
)
OPSET, IR_VERSION = 13, 7  # what ONNX Runtime 1.10 on Python 3.6 reads


def write_model(path, spec=TINY_SPEC, metadata=True, batch="batch", channels=8, classes=None):
    """Write Sub mean -> Conv3d -> Relu -> GlobalAveragePool -> Flatten -> Gemm; return its path.

    `batch` is the graph's batch dimension (a name: dynamic), `classes` its number of logits where
    it shall differ from the spec's, `metadata` False leaves the ClipSpec out, a str replaces it.
    """
    onnx = pytest.importorskip("onnx", reason="onnx, which makes the test model, is missing")
    from onnx import helper, numpy_helper

    floats = onnx.TensorProto.FLOAT
    count = spec.num_classes if classes is None else classes
    random = np.random.RandomState(7)
    weights = {
        "mean": np.array(spec.mean, np.float32).reshape(1, 3, 1, 1, 1),
        "kernel": (random.randn(channels, 3, 3, 3, 3) / 255).astype(np.float32),
        "head": random.randn(channels, count).astype(np.float32),
        "bias": random.randn(count).astype(np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["clips", "mean"], ["centred"]),
        helper.make_node("Conv", ["centred", "kernel"], ["conv"], pads=[1] * 6, strides=[1, 2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "head", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("clips", floats, [batch, *spec.clip_shape])],
        [helper.make_tensor_value_info("logits", floats, [batch, count])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    if metadata:
        entry = model.metadata_props.add()
        entry.key = METADATA_KEY
        entry.value = metadata if isinstance(metadata, str) else spec.to_json()
    pathlib.Path(str(path)).write_bytes(model.SerializeToString())
    return pathlib.Path(str(path))


def random_clips(spec, count, seed=0):
    """(count, 3, T, H, W) float32, RGB, 0-255."""
    pixels = np.random.RandomState(seed).randint(0, 256, size=(count, *spec.clip_shape))
    return pixels.astype(np.float32)


@pytest.fixture(scope="session")
def model_writer():
    """`write_model`, for tests that want another file than the tiny one."""
    return write_model


@pytest.fixture(scope="session")
def clip_maker():
    """`random_clips(spec, count, seed)`."""
    return random_clips


@pytest.fixture(scope="session")
def tiny_spec():
    return TINY_SPEC


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """An ONNX file that carries TINY_SPEC."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.onnx")
