"""Which model to take: accurate as published, fast enough in every repeat, in one line."""

import pytest
from stand_ins.bench_documents import example_document, example_row

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed.document import write_document
from clipedge.benchmarks.speed.recommend import reaches, recommend
from clipedge.jetson import paper
from clipedge.jetson.errors import UsageError


def advice(*rows, **options):
    values = dict({"min_cps": 30.0, "dataset": "jester"}, **options)
    return recommend(example_document(list(rows)), **values)


# On Jester: mobilenetv2 1.0x 94.59, shufflenetv1 2.0x 93.54, shufflenetv1 0.5x 89.23.
ACCURATE = ("mobilenetv2", 1.0)
MIDDLE = ("shufflenetv1", 2.0)
FAST = ("shufflenetv1", 0.5)


def test_the_most_accurate_model_that_is_fast_enough():
    text = advice(
        example_row(*FAST, 300.0), example_row(*MIDDLE, 100.0), example_row(*ACCURATE, 21)
    )
    assert "\n" not in text
    assert text.startswith(
        "shufflenetv1 2.0x, 93.54 % on 20BN-Jester as published: 100.0 clips/s at batch 8 with "
        "openvino fp32, 99.0 in the slowest of 3 repeats; "
        "mobilenetv2 1.0x has 94.59 % but makes 21.0; "
    )


def test_the_next_better_model_is_named_not_the_best():
    text = advice(
        example_row(*FAST, 300.0),
        example_row("mobilenetv2", 0.7, 20.0),  # 93.34
        example_row(*ACCURATE, 10.0),
    )
    assert "; mobilenetv2 0.7x has 93.34 % but makes 20.0; " in text


def test_the_slowest_repeat_must_reach_it():
    rows = [example_row(*FAST, 300.0), example_row(*MIDDLE, rates=[29.5, 31.0, 31.5])]
    assert advice(*rows).startswith("shufflenetv1 0.5x")
    assert "shufflenetv1 2.0x has 93.54 % but makes 31.0, and 29.5 in its slowest" in advice(*rows)
    assert advice(*rows, min_cps=29.5).startswith("shufflenetv1 2.0x")


def test_nothing_better_measured_is_said_and_what_was_not_measured():
    text = advice(example_row(*ACCURATE, 100.0))
    assert text.endswith(
        "; no model measured here is more accurate; more accurate but not measured: resnext101."
    )
    assert advice(example_row(*FAST, 100.0)).endswith(
        "more accurate but not measured: shufflenetv1 1.0x, shufflenetv2 1.0x, mobilenetv1 1.0x "
        "and 14 more."
    )
    rows = [example_row(row.model, row.width, 100.0) for row in paper.TABLE_8 if row.model != "i3d"]
    assert advice(*rows).startswith("resnext101, 94.89 %")
    assert advice(*rows).endswith("no model measured here is more accurate.")


def test_each_data_set_has_its_own_order():
    rows = [example_row(*MIDDLE, 100.0), example_row(*ACCURATE, 100.0)]
    assert advice(*rows, dataset="jester").startswith("mobilenetv2 1.0x, 94.59 % on 20BN-Jester")
    assert advice(*rows, dataset="kinetics600").startswith("shufflenetv1 2.0x, 56.84 % on Kinetics")
    assert advice(*rows, dataset="UCF-101").startswith("shufflenetv1 2.0x, 84.96 % on UCF-101")


def test_where_none_reaches_it_the_fastest_and_what_it_misses():
    text = advice(example_row(*FAST, rates=[20.0, 21.0, 22.0]), example_row(*MIDDLE, 10.0))
    assert text == (
        "None reaches 30 clips/s: the fastest of 2 models, shufflenetv1 0.5x (89.23 % on "
        "20BN-Jester as published), makes 21.0 clips/s at batch 8 with openvino fp32, 20.0 in the "
        "slowest of 3 repeats: 66.7 % of what is needed."
    )
    one = advice(example_row(*FAST, 10.0))
    assert one.startswith("None reaches 30 clips/s: the one model measured, shufflenetv1 0.5x (")
    assert advice(example_row(*FAST, 0.001)).endswith(": 0.0033 % of what is needed.")


def test_whether_a_model_reaches_it_can_be_asked():
    document = example_document([example_row(*FAST, rates=[20.0, 21.0, 22.0])])
    assert reaches(document, 20.0, "jester")
    assert not reaches(document, 20.5, "20BN-Jester")
    with pytest.raises(UsageError, match="no accuracies on 'jestr'"):
        reaches(document, 20.0, "jestr")


@pytest.mark.parametrize(("min_cps", "status"), [(20, 0), (500, 1)])
def test_the_exit_status_says_whether_one_reaches_it(tmp_path, capsys, min_cps, status):
    path = write_document(tmp_path / "a.json", example_document([example_row(*FAST, 100.0)]))
    call = [str(path), "--recommend", "--min-cps", str(min_cps), "--dataset", "jester"]
    assert cli.main(call) == status
    assert capsys.readouterr().out.startswith("None reaches" if status else "shufflenetv1 0.5x")


def test_of_several_rows_of_a_model_the_smallest_batch_that_reaches_it():
    sweep = [
        example_row(*MIDDLE, 20.0, batch=1),
        example_row(*MIDDLE, 60.0, batch=8),
        example_row(*MIDDLE, 40.0, batch=4),
        example_row(*MIDDLE, 50.0, "onnxruntime", batch=4),
    ]
    assert (
        "50.0 clips/s at batch 4 (the smallest batch of 3 that reaches 30) with onnxruntime"
        in advice(*sweep)
    )
    assert "60.0 clips/s at batch 8 (the" in advice(*sweep, min_cps=55.0)
    assert "at batch 8 (the fastest batch of 3) with openvino" in advice(*sweep, min_cps=100.0)
    assert "batch 4 with onnxruntime" in advice(*sweep[2:])
    assert "mobilenetv2 1.0x has 94.59 % but makes 25.0" in advice(
        *sweep, example_row(*ACCURATE, 12.0, batch=1), example_row(*ACCURATE, 25.0, batch=4)
    )


def test_of_models_of_one_accuracy_the_faster_one():
    rows = [example_row("resnet18", None, 40.0), example_row("mobilenetv2", 0.7, 50.0)]
    assert advice(*rows).startswith("mobilenetv2 0.7x, 93.34 %")


def test_energy_streams_and_a_single_repeat_are_said():
    row = example_row(*MIDDLE, rates=[50.0], streams=2, power_w=10.0)
    energy = "{:.3f} J a clip".format(row["span"]["energy_per_clip_j"])
    text = advice(row)
    assert "50.0 clips/s at batch 8, 2 streams with openvino fp32, measured once, " + energy in text
    assert "repeats" not in text


def test_an_unknown_data_set_gets_the_nearest():
    with pytest.raises(UsageError, match=r"no accuracies on 'jestr'; did you mean jester\?"):
        advice(example_row(), dataset="jestr")
    with pytest.raises(UsageError, match="known: jester, kinetics600, ucf101"):
        advice(example_row(), dataset="imagenet")


@pytest.mark.parametrize(
    ("rows", "dataset", "why"),
    [
        ([], "jester", "No model was measured"),
        ([example_row(frames=8)], "jester", "None of the models measured is one of the paper's"),
        ([example_row("tiny", None)], "jester", "jetson-bench --all"),
    ],
)
def test_documents_that_cannot_answer_say_why(rows, dataset, why):
    with pytest.raises(UsageError, match=why):
        advice(*rows, dataset=dataset)


def test_a_model_without_an_accuracy_on_the_data_set_is_passed_over():
    row = example_row("i3d", None, 100.0)
    row["paper"] = dict(example_row()["paper"], jester_top1_percent=None)
    with pytest.raises(UsageError, match="no accuracy on 20BN-Jester for i3d"):
        advice(row)
    assert advice(row, example_row(*FAST)).startswith("shufflenetv1 0.5x")
