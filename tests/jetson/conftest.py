"""A small ONNX model with its ClipSpec, and engines of it; runs on Python 3.6 too."""

import hashlib
import pathlib

import numpy as np
import pytest
from stand_ins import RTX_3060, TITAN_XP, TX2

from clipedge.jetson import trt_api
from clipedge.jetson.cuda import gpu_facts
from clipedge.jetson.engine_manifest import Manifest, manifest_path
from clipedge.jetson.runners.model_file import read_model_spec
from clipedge.jetson.runners.tensorrt_runner import machine_here
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
    for node in nodes:
        node.name = node.op_type.lower()
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


# The oldest GPU that each release of TensorRT serves here; those that are not named: the TX2.
GPU_OF = {"8.6.1": TITAN_XP, "10.16": RTX_3060, "11.1": RTX_3060, "rtx": RTX_3060}
_PLANS = {}  # building one anew for every test would cost seconds in all


def write_engine(path, onnx_path, batches=(1, 2), precision="fp32", graph="conv3d"):
    """Build an engine with its manifest on the stand-in that is there, or the GPU; its path."""
    facts = gpu_facts()
    package = trt_api.installed_packages()[0]
    trt = trt_api.load(package)
    onnx = pathlib.Path(str(onnx_path)).read_bytes()
    machine = machine_here(trt, facts)
    key = (machine, hashlib.sha256(onnx).hexdigest(), batches, precision)
    if key not in _PLANS:
        request = trt_api.BuildRequest(onnx, batches, fp16=precision == "fp16")
        _PLANS[key] = trt.build(request).plan
    plan = _PLANS[key]
    manifest = Manifest(
        spec=read_model_spec(onnx_path),
        machine=machine,
        targets=(),
        onnx_file=pathlib.Path(str(onnx_path)).name,
        onnx_sha256=key[1],
        graph="auto",
        graph_form=graph,
        precision=precision,
        batches=batches,
        workspace_bytes=None,
        fp32_layers=(),
        engine_sha256=hashlib.sha256(plan).hexdigest(),
        engine_bytes=len(plan),
        build_s=1.0,
        clipedge="0.1.0",
    )
    path = pathlib.Path(str(path))
    path.write_bytes(plan)
    manifest_path(path).write_text(manifest.to_json(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def engine_writer():
    """`write_engine`; inside `with board(...)` or on a machine with a GPU."""
    return write_engine


@pytest.fixture
def engine(tmp_path, tiny_model):
    """`engine(batches, name, **facts)`: writes an engine of the tiny model for what is there."""

    def write(batches=(1, 2), name="tiny.engine", **facts):
        return write_engine(tmp_path / name, tiny_model, batches, **facts)

    return write


@pytest.fixture(scope="session")
def gpu_of():
    """`gpu_of(release)`: a GPU that a stand-in of TensorRT serves."""
    return lambda release: GPU_OF.get(release, TX2)
