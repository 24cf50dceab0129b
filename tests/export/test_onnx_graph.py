"""Every architecture at every width exports to a file that agrees; smaller clips keep it quick."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from clipedge.export.checkpoint_source import settle_batch_norms
from clipedge.export.onnx_graph import INPUT_NAME, OUTPUT_NAME, build_onnx
from clipedge.export.parity import check_parity
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.logits import check_clips
from clipedge.jetson.spec import METADATA_KEY, ClipSpec, spec_from_json
from clipedge.trainside.models import create_model, list_models, widths

ALL = [(name, width) for name in list_models() for width in (widths(name) or (None,))]

# What TensorRT 8.2's parser takes and these networks need; anything else is a surprise.
EXPECTED_OPERATORS = {
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool",
    "MaxPool", "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Sub",
    "Transpose",
}  # fmt: skip


def small_model(name, width=None, **fields):
    spec = ClipSpec(
        model=name, width=width, labels=("a", "b", "c", "d", "e"), frames=16, size=64
    )._replace(**fields)
    torch.manual_seed(1)
    model = create_model(name, width, num_classes=5)
    settle_batch_norms(model, spec)
    return model, spec


@pytest.mark.parametrize(("name", "width"), ALL)
def test_every_model_exports_to_a_file_that_agrees(name, width):
    model, spec = small_model(name, width)
    onnx_bytes = build_onnx(model, spec)
    report = check_parity(model, onnx_bytes, spec, batches=(1, 3))
    assert report.conclusive
    assert report.top1_agree == report.answers == 6
    graph = onnx.load_from_string(onnx_bytes)
    assert {node.op_type for node in graph.graph.node} <= EXPECTED_OPERATORS
    assert [one.version for one in graph.opset_import] == [13]
    assert graph.ir_version <= 7  # ONNX Runtime 1.10 and TensorRT 8.2 read it
    (entry,) = graph.metadata_props
    assert entry.key == METADATA_KEY
    assert spec_from_json(entry.value) == spec
    (clips,), (logits,) = graph.graph.input, graph.graph.output
    assert (clips.name, logits.name) == (INPUT_NAME, OUTPUT_NAME)
    sizes = [dim.dim_param or dim.dim_value for dim in clips.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, 16, 64, 64]


@pytest.mark.parametrize(
    "fields",
    [
        {"channel_order": "BGR"},
        {"std": (50.0, 60.0, 70.0)},
        {"channel_order": "BGR", "mean": (10.0, 100.0, 200.0), "std": (40.0, 60.0, 80.0)},
    ],
)
def test_colour_order_mean_and_std_are_inside_the_graph(fields):
    model, spec = small_model("shufflenetv2", 0.25, **fields)
    onnx_bytes = build_onnx(model, spec)
    check_parity(model, onnx_bytes, spec, batches=(2,))
    plain = build_onnx(model, spec._replace(channel_order="RGB", mean=(0, 0, 0), std=(1, 1, 1)))
    clips = check_clips(spec, 2, seed=3)
    assert np.abs(run(onnx_bytes, clips) - run(plain, clips)).max() > 1e-3


def test_the_model_that_was_exported_is_not_changed():
    model, spec = small_model("shufflenetv2", 0.25, channel_order="BGR")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    build_onnx(model, spec)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_graph_keeps_to_the_opset_asked_for():
    model, spec = small_model("shufflenetv2", 0.25)
    graph = onnx.load_from_string(build_onnx(model, spec, opset=11))
    assert [one.version for one in graph.opset_import] == [11]


def test_a_batch_norm_that_cannot_be_folded_is_refused():
    class NormFirst(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv3d(3, 4, 3)
            self.pool = torch.nn.MaxPool3d(2)  # between the two: no folding
            self.norm = torch.nn.BatchNorm3d(4)

        def forward(self, clips):
            return self.norm(self.pool(self.conv(clips))).mean((2, 3, 4))

    spec = ClipSpec(model="odd", labels=tuple("abcd"), frames=8, size=16)
    with pytest.raises(ClipedgeError, match="still holds BatchNormalization"):
        build_onnx(NormFirst().eval(), spec)


def test_a_model_without_a_convolution_over_colours_is_refused():
    spec = ClipSpec(model="odd", labels=tuple("abcd"), frames=8, size=16)
    with pytest.raises(ClipedgeError, match="three colours"):
        build_onnx(torch.nn.Flatten(), spec)


def run(onnx_bytes, clips):
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT_NAME: clips})[0]
