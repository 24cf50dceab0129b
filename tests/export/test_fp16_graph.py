"""What is fp16 in a converted file, what is not, and what it then computes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from clipedge.export.checkpoint_source import settle_batch_norms
from clipedge.export.fp16_gate import run_gate
from clipedge.export.fp16_graph import to_fp16
from clipedge.export.fp16_simulation import simulated_logits
from clipedge.export.onnx_graph import build_onnx
from clipedge.export.parity import onnxruntime_infer
from clipedge.jetson.errors import ModelFileError
from clipedge.jetson.logits import check_clips
from clipedge.jetson.runners.precision_gate import LARGEST_RANDOM_ERROR, Limits
from clipedge.jetson.spec import METADATA_KEY, ClipSpec
from clipedge.trainside.models import create_model, list_models, widths

SPEC = ClipSpec(model="chain", labels=("a", "b", "c", "d"), frames=2, size=8)


def small_model(name, width=None, opset=13):
    spec = ClipSpec(model=name, width=width, labels=tuple("abcde"), frames=16, size=64)
    torch.manual_seed(1)
    model = create_model(name, width, num_classes=5)
    settle_batch_norms(model, spec)
    return build_onnx(model, spec, opset), spec


def chain(gains=(1, 1, 1), bound=None, shared=False):
    """Sub mean, then first, second, third: 1x1x1 convolutions with a Relu behind each, a mean.

    The weights of each are random, times its gain; `shared`: second has the weights of third.
    """
    random = np.random.RandomState(3)
    weights = {"mean": np.float32([114.7748, 107.7354, 99.475]).reshape(1, 3, 1, 1, 1)}
    nodes = [helper.make_node("Sub", ["clips", "mean"], ["x"], name="normalise")]
    before, channels = "x", 3
    for name, gain in zip(("first", "second", "third"), gains, strict=True):
        weights[name + "_w"] = (random.randn(4, channels, 1, 1, 1) * gain).astype(np.float32)
        kernel = "third_w" if shared and name == "second" else name + "_w"
        nodes.append(helper.make_node("Conv", [before, kernel], [name], name=name))
        nodes.append(helper.make_node("Relu", [name], [name + "_r"], name=name + "_relu"))
        before, channels = name + "_r", 4
    if bound is not None:
        weights["zero"], weights["bound"] = np.float32(0), np.float32(bound)
        clip = helper.make_node("Clip", [before, "zero", "bound"], ["clipped"], name="clip")
        nodes, before = [*nodes, clip], "clipped"
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"),
    ]
    used = {name for node in nodes for name in node.input}
    return finished(nodes, {name: value for name, value in weights.items() if name in used})


def finished(nodes, weights):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("clips", TensorProto.FLOAT, ["batch", *SPEC.clip_shape])],
        [value("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="test"
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, SPEC.to_json()
    return model.SerializeToString()


def types(onnx_bytes):
    """The type of every tensor of a file."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(onnx_bytes), strict_mode=True)
    graph = model.graph
    found = {one.name: one.data_type for one in graph.initializer}
    for one in (*graph.input, *graph.value_info, *graph.output):
        found[one.name] = one.type.tensor_type.elem_type
    return found


def input_types(onnx_bytes, name):
    """The types that a node is fed."""
    kinds = types(onnx_bytes)
    (node,) = (one for one in onnx.load_from_string(onnx_bytes).graph.node if one.name == name)
    return {kinds[tensor] for tensor in node.input}


HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def test_weights_and_activations_are_fp16_and_both_ends_fp32():
    converted = to_fp16(chain())
    kinds = types(converted)
    assert (kinds["clips"], kinds["logits"]) == (SINGLE, SINGLE)
    for layer in ("first", "second", "third", "first_relu", "pool", "flatten"):
        assert input_types(converted, layer) == {HALF}
    assert {kinds[one] for one in ("first", "third", "pooled")} == {HALF}
    stored = onnx.load_from_string(converted).graph.initializer
    assert {one.name: one.data_type for one in stored if one.name != "mean"} == {
        "first_w/fp16": HALF, "second_w/fp16": HALF, "third_w/fp16": HALF
    }  # fmt: skip


def test_the_mean_is_subtracted_in_fp32():
    assert input_types(to_fp16(chain()), "normalise") == {SINGLE}


def test_pixels_are_moved_about_in_fp16_once_the_mean_is_off():
    model = onnx.load_from_string(chain())
    (conv,) = (node for node in model.graph.node if node.name == "first")
    conv.input[0] = "moved"
    moved = helper.make_node("Transpose", ["x"], ["moved"], name="move", perm=[0, 1, 2, 4, 3])
    model.graph.node.insert(1, moved)
    converted = to_fp16(model.SerializeToString())
    assert input_types(converted, "normalise") == {SINGLE}
    assert input_types(converted, "move") == {HALF}


def test_a_layer_named_stays_in_fp32_with_all_its_nodes():
    model = onnx.load_from_string(chain())
    for node in model.graph.node:
        if node.name == "second":
            node.name = "first/tap_1"  # what a rewriting may leave
    converted = to_fp16(model.SerializeToString(), ["first"])
    assert input_types(converted, "first") == {SINGLE}
    assert input_types(converted, "first/tap_1") == {SINGLE}
    assert input_types(converted, "first_relu") == {HALF}
    assert input_types(converted, "third") == {HALF}


def test_neighbours_in_fp32_hand_their_tensors_on_in_fp32():
    converted = to_fp16(chain(), ["first", "first_relu", "second"])
    casts = [
        (node.input[0], node.attribute[0].i)
        for node in onnx.load_from_string(converted).graph.node
        if node.op_type == "Cast"
    ]
    assert casts == [("second", HALF), ("logits/fp16", SINGLE)]


def test_a_weight_that_two_precisions_share_is_there_in_both():
    converted = to_fp16(chain(shared=True), ["second"])
    assert input_types(converted, "second") == {SINGLE}
    assert input_types(converted, "third") == {HALF}
    assert {types(converted)[name] for name in ("third_w", "third_w/fp16")} == {SINGLE, HALF}


def test_a_name_that_no_layer_has_is_warned_of(caplog):
    to_fp16(chain(), ["frist"])
    assert "no layer of this graph is called 'frist'" in caplog.text


def test_a_layer_with_a_weight_beyond_fp16_stays_in_fp32_and_says_so(caplog):
    converted = to_fp16(chain(gains=(1, 1e5, 1e-5)))
    assert "second stays in fp32: its largest weight is" in caplog.text
    assert input_types(converted, "second") == {SINGLE}
    assert input_types(converted, "first") == {HALF}


def test_weights_that_become_zero_are_counted(caplog):
    caplog.set_level("DEBUG", logger="clipedge")
    to_fp16(chain(gains=(1, 1e-12, 1)))
    assert "16 weights are too small for fp16 and became zero" in caplog.text


def test_a_bound_beyond_fp16_becomes_no_bound():
    source = chain(bound=1e30)
    converted = to_fp16(source)
    assert input_types(converted, "clip") == {HALF}
    clips = check_clips(SPEC, 3, seed=2)
    expected = onnxruntime_infer(source)(clips)
    np.testing.assert_allclose(simulated_logits(converted)(clips), expected, rtol=1e-2)


def test_an_operator_that_fp16_has_not_stays_in_fp32():
    model = onnx.load_from_string(chain())
    (relu,) = (node for node in model.graph.node if node.name == "second_relu")
    relu.op_type = "Softsign"
    converted = to_fp16(model.SerializeToString())
    assert input_types(converted, "second_relu") == {SINGLE}
    assert input_types(converted, "third") == {HALF}


def test_metadata_opset_and_ir_version_are_kept():
    before, after = (onnx.load_from_string(one) for one in (chain(), to_fp16(chain())))
    assert after.ir_version == before.ir_version == 7
    assert after.opset_import == before.opset_import
    entries = {entry.key: entry.value for entry in after.metadata_props}
    assert entries == {METADATA_KEY: SPEC.to_json(), "clipedge.precision": "fp16"}


@pytest.mark.parametrize("opset", [11, 17])
def test_other_opsets_are_converted_too(opset):
    source, spec = small_model("shufflenetv2", 0.25, opset)
    converted = to_fp16(source)
    assert onnx.load_from_string(converted).opset_import[0].version == opset
    logits = simulated_logits(converted)(check_clips(spec, 2, seed=1))
    assert np.isfinite(logits).all()


def test_what_is_fp16_already_is_refused():
    with pytest.raises(ModelFileError, match="fp16 already"):
        to_fp16(to_fp16(chain()))


@pytest.mark.parametrize("content", [b"no protobuf", chain()[:200]])
def test_what_is_no_onnx_file_is_refused(content):
    with pytest.raises(ModelFileError):
        to_fp16(content)


def test_the_simulation_sees_what_onnx_runtime_does_not():
    """A number beyond fp16's range between two layers, small again behind the second."""
    converted = to_fp16(chain(gains=(1e4, 1e-4, 1)))
    clips = check_clips(SPEC, 3, seed=2)
    assert not np.isfinite(simulated_logits(converted)(clips)).all()


def test_the_simulation_of_a_fp32_file_is_exact():
    clips = check_clips(SPEC, 3, seed=2)
    expected = onnxruntime_infer(chain())(clips)
    np.testing.assert_allclose(simulated_logits(chain())(clips), expected, rtol=1e-5)


# Made of the blocks of ResNet-18 and ResNeXt-101, and hundreds of MB large.
TWINS = ("resnet50", "resnet101")
# Random weights amplify any rounding, a hundred layers of them most of all.
LIMIT, LIMITS = Limits(0.1), {"resnext101": Limits(LARGEST_RANDOM_ERROR)}


@pytest.mark.parametrize("name", [name for name in list_models() if name not in TWINS])
def test_every_model_passes_the_gate_with_no_layer_put_back(name):
    """At its narrowest width and on small clips, to be quick."""
    source, spec = small_model(name, (widths(name) or (None,))[0])
    converted = to_fp16(source)
    assert len(converted) < 0.55 * len(source)
    clips = check_clips(spec, 3, seed=11)
    logits = simulated_logits(converted)(clips)
    limits = LIMITS.get(name, LIMIT)
    report = run_gate(onnxruntime_infer(source)(clips), lambda _: logits, [], limits)
    assert report.conclusive
    assert report.fp32_layers == ()
