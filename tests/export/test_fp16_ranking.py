"""Models that fp16 spoils on purpose, in one layer or in all, and what puts them right."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from clipedge.export.fp16_gate import (
    Fp16GateError,
    read_fp16_order,
    run_gate,
)
from clipedge.export.fp16_graph import to_fp16
from clipedge.export.fp16_ranking import rank_layers, with_fp16_order
from clipedge.export.fp16_simulation import simulated_logits
from clipedge.export.parity import onnxruntime_infer
from clipedge.jetson.errors import ModelFileError
from clipedge.jetson.logits import check_clips
from clipedge.jetson.runners.precision_gate import ORDER_KEY, limits_for
from clipedge.jetson.spec import METADATA_KEY, ClipSpec

SPEC = ClipSpec(model="chain", labels=("a", "b", "c", "d"), dataset="mine", frames=2, size=8)
CLIPS = check_clips(SPEC, 3, seed=5)
HELD_OUT = check_clips(SPEC, 6, seed=11)
LAYERS = ("one", "two", "three", "four", "five", "six")


def chain(**gains):
    """Six 1x1x1 convolutions with a Relu behind each, then a mean; a gain multiplies a weight.

    With a gain of 1 a layer's output is about as large as its input, some hundred.
    """
    random = np.random.RandomState(4)
    weights, nodes, before, channels = {}, [], "clips", 3
    for layer in LAYERS:
        weight = np.abs(random.randn(4, channels, 1, 1, 1)) / channels
        weights[layer + "_w"] = (weight * gains.get(layer, 1.0)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [before, layer + "_w"], [layer], name=layer))
        nodes.append(helper.make_node("Relu", [layer], [layer + "_r"], name=layer + "_relu"))
        before, channels = layer + "_r", 4
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"))
    value, kind = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("clips", kind, ["batch", *SPEC.clip_shape])],
        [value("logits", kind, ["batch", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, SPEC.to_json()
    return model.SerializeToString()


# What two makes is beyond 65504 at times, and three makes it small again.
OVERFLOWS = chain(two=1e4, three=1e-4)
# The weights of three are below what fp16 can tell apart; four makes up for them.
INEXACT = chain(three=3e-8, four=3e7 / 1e3, five=1e3)


def gate(source):
    """The gate as for an engine, with the fp16 file simulated in its place."""
    ranked = with_fp16_order(source, CLIPS)
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(ranked).metadata_props}
    return run_gate(
        onnxruntime_infer(ranked)(HELD_OUT),
        lambda layers: simulated_logits(to_fp16(ranked, layers))(HELD_OUT),
        read_fp16_order(metadata),
        limits_for(metadata),
    )


def test_a_harmless_model_needs_nothing_put_back():
    assert gate(chain()).fp32_layers == ()


def test_exactly_the_layers_that_hand_on_what_overflows_are_put_back():
    report = gate(OVERFLOWS)
    first = report.rounds[0].judged
    assert first.infinite_clips + first.nan_clips > 0
    assert report.fp32_layers == ("two", "two_relu", "three")
    assert report.rounds[-1].judged.relative_error < 5e-3


def test_exactly_the_layer_whose_weights_fp16_cannot_tell_apart_is_put_back():
    report = gate(INEXACT)
    assert not report.rounds[0].judged.passed
    assert report.fp32_layers == ("three",)
    assert report.rounds[-1].judged.relative_error < 5e-3


def test_a_model_that_fp16_spoils_everywhere_fails_naming_layers():
    gains = dict.fromkeys(LAYERS, 1e-7)
    with pytest.raises(Fp16GateError, match=r"To blame most: \w+, .*Use --precision fp32"):
        gate(chain(**gains))


def test_what_overflows_comes_first_then_what_is_inexact():
    ranking = rank_layers(chain(two=1e4, three=1e-4, five=3e-8, six=1e4), CLIPS)
    assert ranking[0].layers == ("two", "two_relu", "three")
    assert ranking[0].hot
    assert ranking[0].largest_output > 65504
    assert ranking[0].error == 1
    assert ranking[1].layers == ("five",)
    assert ranking[1].error > 10 * ranking[2].error
    assert [risk.error for risk in ranking[1:]] == sorted(
        (risk.error for risk in ranking[1:]), reverse=True
    )
    assert sorted(name for risk in ranking[1:] for name in risk.layers) == [
        "five",
        "four",
        "one",
        "six",
    ]


def test_numbers_within_a_factor_of_four_of_the_end_count_as_overflowing():
    ranking = rank_layers(chain(two=100, three=0.01), CLIPS)
    (largest,) = (risk.largest_output for risk in ranking if risk.name == "two")
    for share, hot in ((0.26, True), (0.24, False)):
        gain = 100 * share * 65504 / largest
        ranking = rank_layers(chain(two=gain, three=1 / gain), CLIPS)
        assert ranking[0].hot == hot


def test_two_overflowing_places_are_two_groups():
    ranking = rank_layers(chain(one=1e4, two=1e-4, five=2e4, six=1e-4), CLIPS)
    groups = {risk.layers for risk in ranking if risk.hot}
    assert groups == {("one", "one_relu", "two"), ("five", "five_relu", "six")}


def test_the_order_travels_in_the_file_and_changes_nothing_else():
    source = chain()
    once = onnx.load_from_string(with_fp16_order(source, CLIPS))
    twice = onnx.load_from_string(with_fp16_order(once.SerializeToString(), CLIPS))
    assert once == twice
    metadata = {entry.key: entry.value for entry in once.metadata_props}
    assert set(metadata) == {METADATA_KEY, ORDER_KEY}
    assert read_fp16_order(metadata) == [risk.layers for risk in rank_layers(source, CLIPS)]
    assert 0 < json.loads(metadata[ORDER_KEY])["simulated_relative_error"] < 1e-2
    assert once.graph == onnx.load_from_string(source).graph
    converted = onnx.load_from_string(to_fp16(once.SerializeToString()))
    assert metadata.items() < {one.key: one.value for one in converted.metadata_props}.items()


def test_an_overflow_leaves_no_figure_to_measure_engines_by():
    ranked = onnx.load_from_string(with_fp16_order(OVERFLOWS, CLIPS))
    content = json.loads({one.key: one.value for one in ranked.metadata_props}[ORDER_KEY])
    assert content["simulated_relative_error"] is None


def test_nodes_without_names_are_called_as_tensorrts_parser_calls_them():
    model = onnx.load_from_string(OVERFLOWS)
    for node in model.graph.node:
        node.name = ""
    ranking = rank_layers(model.SerializeToString(), CLIPS)
    assert ranking[0].layers == ("node_of_two", "node_of_two_r", "node_of_three")


def test_a_model_that_overflows_in_fp32_is_refused():
    with pytest.raises(ModelFileError, match="Conv two gives infinity or NaN in fp32"):
        rank_layers(chain(one=1e30, two=1e30), CLIPS)
