"""Every form of every model computes what conv3d computes.

ONNX Runtime rounds to fp32 after each of up to a hundred layers: with random weights conv3d itself
is up to 6e-5 away from exact numbers. So exactness is checked in fp64, by a small evaluator on
PyTorch, and on ONNX Runtime a form may be 1e-5 off, and as far as such rounding explains.
"""

import functools
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from clipedge.export.checkpoint_source import settle_batch_norms
from clipedge.export.graph_forms import (
    CONV2D,
    CONV3D,
    FORM_KEY,
    FORMS,
    TENSORCORE,
    form_of,
    rewrite,
)
from clipedge.export.onnx_graph import build_onnx
from clipedge.jetson.errors import ModelFileError, UsageError
from clipedge.jetson.logits import check_clips
from clipedge.jetson.spec import METADATA_KEY, ClipSpec
from clipedge.trainside.models import create_model, list_models, widths

ALL = [(name, width) for name in list_models() for width in (widths(name) or (None,))]
REWRITTEN = [form for form in FORMS if form != CONV3D]
# Too large for fp64 here, and they hold no operator that the others do not.
DEEP = ("resnet50", "resnet101", "resnext101")
DEEP_ROUNDING = 6e-5

# What TensorRT 8.2's parser takes.
KNOWN_OPERATORS = {
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool",
    "MaxPool", "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Sub",
    "Transpose",
}  # fmt: skip
RELATIVE = 1e-5
EXACT = 1e-10


@functools.lru_cache(maxsize=4)
def exported(name, width=None, opset=13, **fields):
    spec = ClipSpec(model=name, width=width, labels=tuple("abcde"), frames=16, size=48)
    spec = spec._replace(**fields)
    torch.manual_seed(1)
    model = create_model(name, width, num_classes=5)
    settle_batch_norms(model, spec)
    return build_onnx(model, spec, opset), spec


def run(onnx_bytes, clips):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"clips": clips})[0]


def distance(reference, candidate):
    """Largest difference, of the largest logit."""
    return float(np.abs(reference - candidate).max() / np.abs(reference).max())


@pytest.mark.parametrize(("name", "width"), ALL)
def test_every_form_of_every_model_equals_conv3d(name, width):
    conv3d, spec = exported(name, width)
    clips = check_clips(spec, 3, seed=11)
    plain = run(conv3d, clips)
    exact = None if name in DEEP else in_double(conv3d, clips)
    rounding = DEEP_ROUNDING if exact is None else distance(exact, plain)
    largest = np.abs(plain).max()
    for form in REWRITTEN:
        rewritten = rewrite(conv3d, form)
        if exact is not None:
            assert distance(exact[:1], in_double(rewritten, clips[:1])) < EXACT, form
        for batch in (1, 3):
            off = np.abs(plain[:batch] - run(rewritten, clips[:batch])).max() / largest
            assert off <= RELATIVE + 2 * rounding, (form, batch)


@pytest.mark.parametrize(
    ("name", "width", "frames", "size"),
    [
        ("shufflenetv1", 0.5, 32, 40),
        ("shufflenetv1", 1.0, 16, 112),
        ("shufflenetv2", 0.25, 8, 64),
        ("shufflenetv2", 0.5, 1, 32),
        ("mobilenetv1", 0.5, 12, 40),
        ("mobilenetv2", 0.2, 6, 33),  # odd: no phases
        ("squeezenet", None, 5, 47),
    ],
)
def test_other_clips_than_the_papers_are_rewritten_too(name, width, frames, size):
    conv3d, spec = exported(name, width, frames=frames, size=size)
    clips = check_clips(spec, 1, seed=5)
    exact = in_double(conv3d, clips)
    for form in REWRITTEN:
        assert distance(exact, in_double(rewrite(conv3d, form), clips)) < EXACT, form


@pytest.mark.parametrize("form", REWRITTEN)
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("name", ["shufflenetv1", "shufflenetv2"])
def test_the_opset_is_kept_and_every_operator_known(name, opset, form):
    conv3d, spec = exported(name, 0.5, opset)
    rewritten = rewrite(conv3d, form)
    model = onnx.load_from_string(rewritten)
    assert [one.version for one in model.opset_import] == [opset]
    assert model.ir_version == onnx.load_from_string(conv3d).ir_version
    assert {node.op_type for node in model.graph.node} <= KNOWN_OPERATORS
    clips = check_clips(spec, 2, seed=5)
    assert distance(in_double(conv3d, clips), in_double(rewritten, clips)) < EXACT
    assert distance(run(conv3d, clips), run(rewritten, clips)) < 1e-4


@pytest.mark.parametrize(
    ("channels", "attributes"),
    [
        (4, {"group": 4, "pads": [2, 0, 1, 0, 1, 1], "strides": [2, 1, 2]}),
        (4, {"group": 4, "dilations": [2, 1, 1], "pads": [2, 1, 1, 2, 1, 1]}),
        (8, {"group": 8, "pads": [1, 1, 1, 1, 1, 1]}),
        (6, {"group": 6, "pads": [0, 1, 1, 1, 1, 1]}),  # 8 frames from 9: groups merge
        (4, {"group": 2, "pads": [1, 1, 1, 1, 1, 1], "dilations": [1, 2, 1]}),
        (4, {"group": 2, "pads": [2, 1, 1, 2, 1, 1], "dilations": [2, 1, 1]}),
        (4, {"group": 2, "pads": [1, 1, 1, 1, 1, 1], "strides": [1, 2, 2]}),
        (4, {"group": 1, "pads": [0, 3, 3, 2, 3, 3], "strides": [3, 2, 2]}),
        (4, {"group": 1, "pads": [4, 0, 0, 4, 0, 0], "strides": [4, 2, 2]}),
        (3, {"group": 1, "pads": [1, 2, 2, 1, 2, 2], "strides": [1, 2, 2], "dilations": [1, 2, 2]}),
    ],
)
def test_a_convolution_that_no_model_has_is_rewritten_like_any_other(channels, attributes):
    """Strides, dilations, one-sided padding, groups and several filters a channel."""
    rng = np.random.default_rng(0)
    clips = rng.uniform(0, 255, (2, channels, 9, 14, 12)).astype(np.float32)
    outputs = 3 * channels
    shape = (outputs, channels // attributes["group"], 3, 3, 3)
    conv3d = single_node("Conv", clips.shape, rng.normal(size=shape).astype(np.float32), attributes)
    exact = in_double(conv3d, clips)
    for form in REWRITTEN:
        assert distance(exact, in_double(rewrite(conv3d, form), clips)) < EXACT, form


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pooling_over_time_and_space_is_the_one_after_the_other(operator):
    clips = np.random.default_rng(0).normal(size=(2, 3, 7, 9, 9)).astype(np.float32)
    attributes = {"kernel_shape": [3, 3, 2], "strides": [2, 2, 1], "pads": [1, 1, 0, 1, 1, 0]}
    conv3d = single_node(operator, clips.shape, None, attributes)
    rewritten = rewrite(conv3d, CONV2D)
    nodes = onnx.load_from_string(rewritten).graph.node
    assert [len(kernel(node)) for node in nodes if node.op_type == operator] == [2, 2]
    assert distance(run(conv3d, clips), run(rewritten, clips)) < RELATIVE


@pytest.mark.parametrize(("name", "width"), [("shufflenetv1", 0.5), ("squeezenet", None)])
def test_conv2d_has_no_operator_in_three_dimensions(name, width):
    model = onnx.load_from_string(rewrite(exported(name, width)[0], CONV2D))
    assert all(len(kernel(node)) in (0, 2) for node in model.graph.node)


@pytest.mark.parametrize("width", widths("shufflenetv1"))
def test_tensorcore_has_groups_of_eights_alone_and_few_shuffles(width):
    model = onnx.load_from_string(rewrite(exported("shufflenetv1", width)[0], TENSORCORE))
    shapes = {one.name: one.dims for one in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert all(shapes[node.input[1]][1] % 8 == 0 for node in convolutions if group(node) > 1)
    # The phases of the first convolution's input; shuffles where dense weights would be large.
    transposes = [node.name for node in model.graph.node if node.op_type == "Transpose"]
    assert "conv1" in transposes[0]
    assert all("layer3" in name for name in transposes[1:])
    assert len(transposes) == 1 or width > 1.0


@pytest.mark.parametrize("form", FORMS)
def test_nodes_are_named_after_the_layers_they_come_from(form):
    conv3d, _ = exported("shufflenetv2", 0.25)
    layers = {node.name for node in onnx.load_from_string(conv3d).graph.node}
    rewritten = onnx.load_from_string(rewrite(conv3d, form)).graph.node
    names = [node.name for node in rewritten]
    assert len(set(names)) == len(names)
    for name in names:
        assert any(name == layer or name.startswith(layer + "/") for layer in layers), name


@pytest.mark.parametrize("form", REWRITTEN)
def test_the_spec_stays_in_the_file_and_the_form_joins_it(form):
    conv3d, spec = exported("shufflenetv1", 0.5)
    before, after = (metadata(one) for one in (conv3d, rewrite(conv3d, form)))
    assert form_of(before) == CONV3D
    assert form_of(after) == form
    assert after == {**before, FORM_KEY: form}
    assert after[METADATA_KEY] == spec.to_json()


def test_conv3d_is_the_file_itself():
    conv3d, _ = exported("shufflenetv1", 0.5)
    assert rewrite(conv3d, CONV3D) is conv3d


def test_weights_are_not_stored_twice():
    conv3d, _ = exported("mobilenetv1", 1.0)
    # Banded and widened depthwise weights are a small part of the file.
    assert all(len(rewrite(conv3d, form)) < 1.15 * len(conv3d) for form in REWRITTEN)


def test_taps_that_see_only_padding_are_left_out():
    conv3d, _ = exported("squeezenet")
    assert all(len(rewrite(conv3d, form)) < 0.8 * len(conv3d) for form in REWRITTEN)


def test_a_file_that_has_another_form_is_refused_and_one_that_has_this_is_returned():
    conv2d = rewrite(exported("shufflenetv1", 0.5)[0], CONV2D)
    assert rewrite(conv2d, CONV2D) is conv2d
    for form in (CONV3D, TENSORCORE):
        with pytest.raises(ModelFileError, match="has the form conv2d already"):
            rewrite(conv2d, form)


def test_a_form_nobody_knows_names_the_nearest():
    with pytest.raises(UsageError, match="'conv2'; did you mean conv2d"):
        rewrite(b"", "conv2")


def test_bytes_that_are_no_onnx_file_are_refused():
    with pytest.raises(ModelFileError, match="no ONNX file"):
        rewrite(b"no protobuf message", CONV2D)


def metadata(onnx_bytes):
    return {one.key: one.value for one in onnx.load_from_string(onnx_bytes).metadata_props}


def attributes_of(node):
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def kernel(node):
    return attributes_of(node).get("kernel_shape", [])


def group(node):
    return attributes_of(node).get("group", 1)


def single_node(operator, shape, weight, attributes):
    """Return an ONNX file of one node between clips and their average over all but channels."""
    inputs, constants = ["clips"], []
    if weight is not None:
        inputs.append("weight")
        constants.append(numpy_helper.from_array(weight, "weight"))
        attributes = {"kernel_shape": list(weight.shape[2:]), **attributes}
    nodes = [
        helper.make_node(operator, inputs, ["middle"], "layer", **attributes),
        helper.make_node("Flatten", ["middle"], ["logits"], "flat"),
    ]
    ends = [
        helper.make_tensor_value_info("clips", TensorProto.FLOAT, ["batch", *shape[1:]]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", None]),
    ]
    graph = helper.make_graph(nodes, "single", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return model.SerializeToString()


# --- A graph in double precision ------------------------------------------------------------------


def in_double(onnx_bytes, clips):
    """Return what a graph computes in fp64; knows the operators of KNOWN_OPERATORS."""
    model = onnx.load_from_string(onnx_bytes)
    values = {"": None, "clips": torch.from_numpy(clips).double()}
    for one in model.graph.initializer:
        value = torch.from_numpy(numpy_helper.to_array(one).copy())
        values[one.name] = value.double() if value.is_floating_point() else value
    for node in model.graph.node:
        inputs = [values[name] for name in node.input]
        outputs = OPERATORS[node.op_type](attributes_of(node), *inputs)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        values.update(zip(node.output, outputs, strict=True))
    return values["logits"].numpy()


def padded(x, pads, value=0.0):
    half = len(pads) // 2
    sides = [side for axis in reversed(range(half)) for side in (pads[axis], pads[axis + half])]
    return torch.nn.functional.pad(x, sides, value=value)


def convolved(given, x, weight, bias=None):
    """Sum over the taps; PyTorch's own convolutions are slow in fp64 where they are grouped."""
    outputs, inputs, *taps = weight.shape
    groups = given["group"]
    strides = given.get("strides", [1] * len(taps))
    dilations = given.get("dilations", [1] * len(taps))
    x = padded(x, given.get("pads", [0] * 2 * len(taps)))
    axes = list(zip(x.shape[2:], taps, strides, dilations, strict=True))
    shape = [
        (size - 1 - (taps - 1) * dilation) // stride + 1 for size, taps, stride, dilation in axes
    ]
    total = 0.0
    for tap in itertools.product(*map(range, taps)):
        starts = [one * dilation for one, dilation in zip(tap, dilations, strict=True)]
        seen = tuple(
            slice(start, start + (size - 1) * stride + 1, stride)
            for start, size, stride in zip(starts, shape, strides, strict=True)
        )
        pixels = x[(slice(None), slice(None), *seen)].reshape(len(x), groups, inputs, -1)
        matrix = weight[(slice(None), slice(None), *tap)].reshape(groups, -1, inputs)
        total = total + matrix @ pixels
    total = total.reshape(len(x), outputs, *shape)
    return total if bias is None else total + bias.reshape(-1, *[1] * len(taps))


def pooled(given, x, fill, pool):
    x = padded(x, given.get("pads", [0] * 2 * len(given["kernel_shape"])), fill)
    return pool[len(given["kernel_shape"])](x, given["kernel_shape"], given["strides"])


def max_pooled(given, x):
    pools = {2: torch.nn.functional.max_pool2d, 3: torch.nn.functional.max_pool3d}
    return pooled(given, x, -torch.inf, pools)


def average_pooled(given, x):
    pools = {2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}
    assert given.get("count_include_pad") or not any(given.get("pads", []))
    return pooled(given, x, 0.0, pools)


def sliced(given, x, starts, ends, axes, steps):
    for start, end, axis, step in zip(
        *(one.tolist() for one in (starts, ends, axes, steps)), strict=True
    ):
        x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


def reshaped(given, x, shape):
    return x.reshape(
        [x.shape[axis] if one == 0 else one for axis, one in enumerate(shape.tolist())]
    )


OPERATORS = {
    "Add": lambda given, a, b: a + b,
    "Sub": lambda given, a, b: a - b,
    "Mul": lambda given, a, b: a * b,
    "Relu": lambda given, x: x.relu(),
    "Clip": lambda given, x, low, high: x.clamp(low, high),
    "Concat": lambda given, *parts: torch.cat(parts, given["axis"]),
    "Conv": convolved,
    "MaxPool": max_pooled,
    "AveragePool": average_pooled,
    "GlobalAveragePool": lambda given, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "ReduceMean": lambda given, x: x.mean(given["axes"], keepdim=bool(given.get("keepdims", 1))),
    "Gemm": lambda given, x, weight, bias: x @ weight.T + bias,
    "Flatten": lambda given, x: x.flatten(1),
    "Pad": lambda given, x, pads, value=None: padded(x, pads.tolist(), value or 0.0),
    "Reshape": reshaped,
    "Slice": sliced,
    "Split": lambda given, x, sizes: x.split(sizes.tolist(), given["axis"]),
    "Squeeze": lambda given, x, axes: x.squeeze(tuple(axes.tolist())),
    "Transpose": lambda given, x: x.permute(given["perm"]),
}
