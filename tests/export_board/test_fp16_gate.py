"""The gate with made-up logits; it runs on the board's Python too."""

import json

import numpy as np
import pytest

from clipedge.export.fp16_gate import (
    Fp16GateError,
    read_fp16_order,
    refuse_int8,
    run_gate,
    slow_fp16_warning,
)
from clipedge.jetson.errors import BackendError, ClipedgeError, ModelFileError, UsageError
from clipedge.jetson.runners.precision_gate import (
    ORDER_KEY,
    RELATIVE_ERROR,
    Limits,
    limits_for,
)
from clipedge.jetson.spec import METADATA_KEY, ClipSpec

REFERENCE = np.array([[4.0, 1.0, -3.0], [-1.0, 5.0, 0.0], [0.0, -2.0, 3.0]], np.float32)
ORDER = [("a", "a_relu", "b"), ("c",), ("d",), ("e",), ("f",), ("g",), ("h",)]
BAD = REFERENCE * np.float32(1.5)


class Engines:
    """Answers well as soon as all the needed layers are in fp32; remembers what was built."""

    def __init__(self, *needed, answers=BAD):
        self.built = []
        self._needed = set(needed)
        self._answers = answers

    def __call__(self, fp32_layers):
        self.built.append(fp32_layers)
        return REFERENCE if self._needed <= set(fp32_layers) else self._answers


def test_a_good_engine_is_built_once_with_nothing_put_back():
    engines = Engines()
    report = run_gate(REFERENCE, engines, ORDER)
    assert engines.built == [()]
    assert report.passed
    assert report.fp32_layers == ()
    assert report.clips == 3


def test_layers_that_belong_together_are_put_back_together():
    engines = Engines("a", "b")
    report = run_gate(REFERENCE, engines, ORDER)
    assert engines.built == [(), ("a", "a_relu", "b")]
    assert report.fp32_layers == ("a", "a_relu", "b")
    assert "3 layers in fp32" in str(report)


def test_ever_more_is_put_back_up_to_half_in_few_builds():
    engines = Engines("e")
    report = run_gate(REFERENCE, engines, ORDER)
    assert [len(layers) for layers in engines.built] == [0, 3, 4, 6]  # 0, 1, 2, 4 groups
    assert report.fp32_layers == ("a", "a_relu", "b", "c", "d", "e")


def test_past_half_the_command_fails_and_names_the_layers():
    engines = Engines("g")
    with pytest.raises(Fp16GateError) as error:
        run_gate(REFERENCE, engines, ORDER)
    assert len(engines.built) == 4
    assert "To blame most: a, a_relu, b, c, d and 1 more. Use --precision fp32." in str(error.value)


def test_one_layer_alone_can_be_put_back():
    report = run_gate(REFERENCE, Engines("a"), [("a",)])
    assert report.fp32_layers == ("a",)


def test_an_engine_that_cannot_be_built_is_a_try_that_failed():
    """TensorRT need not have a kernel in fp32 for every layer."""
    engines = Engines("c")

    def one_refused(fp32_layers):
        if fp32_layers == ORDER[0]:
            raise BackendError("no implementation for a")
        return engines(fp32_layers)

    report = run_gate(REFERENCE, one_refused, ORDER)
    assert report.fp32_layers == ORDER[0] + ORDER[1]

    def always_refused(fp32_layers):
        raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        run_gate(REFERENCE, always_refused, ORDER)


def test_a_file_without_an_order_says_so():
    with pytest.raises(Fp16GateError, match="does not say which layers"):
        run_gate(REFERENCE, Engines("a"), [])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_nan_or_infinity_never_passes(value):
    answers = REFERENCE.copy()
    answers[1, 2] = value
    told = []
    report = run_gate(REFERENCE, Engines("a", answers=answers), ORDER, progress=told.append)
    first = report.rounds[0].judged
    assert (first.nan_clips, first.infinite_clips) == ((1, 0) if np.isnan(value) else (0, 1))
    assert not first.passed
    assert report.passed
    assert "NaN in" in told[0]
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["rounds"][0]["relative_error"] is None
    assert content["fp32_layers"] == ["a", "a_relu", "b"]


def test_an_error_is_relative_to_the_largest_logit():
    limit = Limits(0.1)  # of 5, the largest logit
    assert run_gate(REFERENCE, lambda _: REFERENCE + np.float32(0.49), [], limit).passed
    with pytest.raises(Fp16GateError, match=r"largest error 1\.0e-01"):
        run_gate(REFERENCE, lambda _: REFERENCE + np.float32(0.51), [], limit)


def test_a_tie_that_falls_the_other_way_is_no_disagreement():
    reference = np.array([[1.00, 1.01, 0.0], [5.0, 0.0, 0.0]], np.float32)
    answers = np.array([[1.01, 1.00, 0.0], [5.0, 0.0, 0.0]], np.float32)
    (only,) = run_gate(reference, lambda _: answers, []).rounds
    assert (only.judged.top1_agree, only.judged.disagreements) == (1, 0)


def test_another_class_on_top_is_a_disagreement_beyond_the_error_allowed():
    # Each logit is off by 0.09 of the largest, which is allowed; together they turn a lead of 0.15.
    reference = np.array([[1.0, 0.85, 0.0], [0.0, 0.0, 1.0]], np.float32)
    answers = np.array([[0.91, 0.94, 0.0], [0.0, 0.0, 1.0]], np.float32)
    with pytest.raises(Fp16GateError, match="another class on top in 1 clips"):
        run_gate(reference, lambda _: answers, [], Limits(0.1))


def test_a_model_that_answers_every_clip_alike_proves_nothing(caplog):
    alike = np.repeat(REFERENCE[:1], 4, axis=0)
    report = run_gate(alike, lambda _: alike, [])
    assert not report.conclusive
    assert "proves little" in caplog.text
    assert run_gate(REFERENCE, lambda _: REFERENCE, []).conclusive


def test_a_reference_that_is_not_finite_is_refused():
    reference = REFERENCE.copy()
    reference[0, 0] = np.nan
    with pytest.raises(ClipedgeError, match="fp32 logits hold NaN"):
        run_gate(reference, Engines(), ORDER)


def test_logits_of_another_model_are_refused():
    with pytest.raises(ClipedgeError, match="not of one model"):
        run_gate(REFERENCE, lambda _: REFERENCE[:, :2], ORDER)


def metadata(simulated=None, order=ORDER):
    groups = [{"layers": list(group), "largest_output": 1.0, "error": 0.1} for group in order]
    return {ORDER_KEY: json.dumps({"simulated_relative_error": simulated, "order": groups})}


def test_the_order_is_read_from_the_files_metadata():
    assert read_fp16_order(metadata()) == ORDER
    assert read_fp16_order({"clipedge.spec": "{}"}) == []


@pytest.mark.parametrize(
    ("simulated", "limit"),
    [(None, RELATIVE_ERROR), (1e-3, RELATIVE_ERROR), (0.1, 0.3), (0.4, 0.5)],
)
def test_random_weights_are_allowed_what_rounding_does_to_them_and_trained_ones_are_not(
    simulated, limit
):
    spec = ClipSpec(model="m", labels=("a",))
    random = dict(metadata(simulated), **{METADATA_KEY: spec.to_json()})
    assert limits_for(random).relative_error == pytest.approx(limit)
    trained = dict(random, **{METADATA_KEY: spec._replace(dataset="jester").to_json()})
    assert limits_for(trained).relative_error == RELATIVE_ERROR
    assert limits_for({}).relative_error == RELATIVE_ERROR


DAMAGED = (
    "",
    "[]",
    '{"order": 3}',
    '{"order": [{"layers": []}]}',
    '{"order": [], "simulated_relative_error": "x"}',
)


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_order_is_refused(text):
    with pytest.raises(ModelFileError, match="is damaged"):
        read_fp16_order({ORDER_KEY: text})


def test_int8_is_refused_by_name_where_the_gpu_has_none():
    with pytest.raises(UsageError, match="int8: a GPU of sm_62 has no int8"):
        refuse_int8((6, 2))
    refuse_int8((8, 6))


def test_fp16_on_a_card_that_is_slow_at_it_is_warned_of():
    assert "sm_61" in slow_fp16_warning((6, 1))
    assert slow_fp16_warning((6, 2)) is None
