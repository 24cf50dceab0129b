"""Backends side by side: ratios to PyTorch eager, their means, auto's choice, share of the peak."""

import math

import pytest
from stand_ins.bench_documents import CPU, example_document, example_row

from clipedge.benchmarks.layer_costs import find_network
from clipedge.benchmarks.speed.comparison import (
    EFFICIENT,
    backend_name,
    comparison_markdown,
    comparison_text,
    geometric_mean,
    groups_of,
    share_of_products,
)
from clipedge.jetson import paper

SPEEDS = {
    ("torch-eager", "fp32"): 1.0,
    ("torch-channels-last", "fp32"): 1.5,
    ("onnxruntime", "fp32"): 2.0,
    ("openvino", "fp32"): 3.0,
    ("openvino", "bf16"): 6.0,
}
MODELS = (("squeezenet", None), ("shufflenetv1", 0.5), ("resnet18", None))


def rows_of(model, width, base=10.0, chosen=("openvino", "fp32"), speeds=None, **options):
    return [
        example_row(
            model,
            width,
            base * speed,
            backend,
            precision,
            auto_choice=(backend, precision) == chosen,
            **options,
        )
        for (backend, precision), speed in (speeds or SPEEDS).items()
    ]


def study(**options):
    return [row for model, width in MODELS for row in rows_of(model, width, **options)]


def cells(text):
    """Return the table as {name of the line: cells}; the header is under clips/s."""
    lines = [line for line in text.split("\nIn brackets")[0].splitlines() if line[0] != "-"]
    parts = [[cell.strip() for cell in line.split("  ") if cell] for line in lines]
    return {part[0]: part[1:] for part in parts}


def test_models_are_lines_and_backends_columns_with_ratios_to_eager():
    text = comparison_text(example_document(study()))
    found = cells(text)
    assert found["clips/s"] == [
        "PyTorch eager",
        "channels-last",
        "ONNX Runtime",
        "OpenVINO fp32",
        "OpenVINO bf16",
    ]
    for name in ("squeezenet", "shufflenetv1 0.5x", "resnet18"):
        assert found[name] == [
            "10.0",
            "15.0 (1.50x)",
            "20.0 (2.00x)",
            "30.0 (3.00x)*",
            "60.0 (6.00x)",
        ]


def test_the_columns_keep_their_order_whatever_ran_first():
    rows = study()
    assert (
        comparison_text(example_document(rows[4::-1])).splitlines()[0]
        == (comparison_text(example_document(rows[:5])).splitlines()[0])
    )


def test_the_means_are_geometric_over_the_efficient_models_and_over_all():
    rows = [
        *rows_of("squeezenet", None, speeds={**SPEEDS, ("openvino", "bf16"): 2.0}),
        *rows_of("shufflenetv1", 0.5, speeds={**SPEEDS, ("openvino", "bf16"): 8.0}),
        *rows_of("resnet18", None, speeds={**SPEEDS, ("openvino", "bf16"): 32.0}),
    ]
    found = cells(comparison_text(example_document(rows)))
    assert found["mean, 2 efficient"][-1] == "4.00x"
    assert found["mean, all 3"][-1] == "8.00x"
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert "mean, 1 efficient" not in comparison_text(example_document(rows_of("squeezenet", None)))


def test_the_efficient_models_are_17_of_table_8():
    assert sum(row.model in EFFICIENT for row in paper.TABLE_8) == 17


def test_a_mean_says_over_how_many_where_some_failed():
    rows = [row for row in study() if (row["model"], row["precision"]) != ("squeezenet", "bf16")]
    found = cells(comparison_text(example_document(rows)))
    assert found["squeezenet"][-1] == "-"
    assert found["mean, 2 efficient"][-1] == "6.00x of 1"
    assert found["mean, all 3"][-1] == "6.00x of 2"


def test_without_eager_there_are_speeds_and_no_ratios():
    rows = [row for row in study() if row["backend"] != "torch-eager"]
    text = comparison_text(example_document(rows))
    assert cells(text)["squeezenet"][0] == "15.0"
    assert "x)" not in text
    assert "mean" not in text


def test_auto_picking_the_fastest_is_said_with_its_ratio():
    text = comparison_text(example_document(study()))
    assert "auto picks the fastest of its precision for 3 of 3 models.\n" in text
    assert "auto's choice: 3.00x PyTorch eager over 2 efficient models." in text
    assert "auto's choice: 3.00x PyTorch eager over 3 models in all." in text


@pytest.mark.parametrize(("speed", "place"), [(2.02, "within"), (3.0, "past")])
def test_auto_picking_another_says_how_far_behind_and_whether_it_is_noise(speed, place):
    speeds = {**SPEEDS, ("openvino", "fp32"): speed}
    rows = rows_of("squeezenet", None, chosen=("onnxruntime", "fp32"), speeds=speeds)
    text = comparison_text(example_document(rows))
    behind = f"{100 * (1 - 2.0 / speed):.1f}"
    assert "the fastest of its precision for 0 of 1 models; squeezenet: ONNX Runtime is" in text
    assert behind + " % behind OpenVINO fp32, " + place + " the noise of" in text


def test_a_document_that_does_not_know_autos_choice_says_nothing_of_it():
    rows = [{key: row[key] for key in row if key != "auto_choice"} for row in study()]
    text = comparison_text(example_document(rows))
    assert "auto" not in text.replace("auto's choice, or of the fastest", "")
    assert "*" not in text


def test_shares_of_the_matrix_product_rate_stand_where_the_limit_is_known():
    document = example_document(study(limited=True))
    row = document["rows"][3]
    assert (row["backend"], row["precision"]) == ("openvino", "fp32")
    macs = find_network("squeezenet", None, 27).macs
    expected = row["clips_per_s"] * 2 * macs / CPU.peak("fp32")
    assert share_of_products(document, row) == pytest.approx(expected, rel=1e-3)
    found = cells(comparison_text(document))
    assert found["clips/s"][-1] == "of products"
    assert found["squeezenet"][-1] == f"{100 * expected:.1f} %"
    large = share_of_products(document, document["rows"][13])
    least = "Least of the large models (ResNet, ResNeXt, I3D): {:.1f} %, resnet18."
    assert least.format(100 * large) in comparison_text(document)
    assert "of products" not in comparison_text(example_document(study()))


def test_no_share_of_products_where_memory_bounds_the_limit_or_a_gpu_ran_it():
    row = example_row("squeezenet", None, limited=True)
    document = example_document([row])
    assert share_of_products(document, row) is not None
    bound = dict(row["limit"], strict_clips_per_s=0.5 * row["limit"]["strict_clips_per_s"])
    assert share_of_products(document, dict(row, limit=bound)) is None
    assert share_of_products(document, dict(row, threads=None)) is None
    assert share_of_products(dict(document, limit_devices={"cpu": None}), row) is None


def test_several_batches_and_streams_are_lines_of_their_own():
    rows = rows_of("squeezenet", None) + rows_of("squeezenet", None, batch=1, streams=2)
    names = [group.name for group in groups_of(example_document(rows))]
    assert names == ["squeezenet, batch 8", "squeezenet, batch 1, 2 streams"]


def test_two_files_of_one_model_are_lines_of_their_own():
    trained, random = rows_of("squeezenet", None), rows_of("squeezenet", None, dataset="random")
    rows = [*trained, *random, example_row("squeezenet", None, 80.0, "tensorrt", "fp16")]
    groups = groups_of(example_document(rows))
    assert [group.name for group in groups] == ["squeezenet_jester", "squeezenet_random"]
    assert [len(group.rows) for group in groups] == [6, 5]
    assert [row["file"] for row in groups[1].rows.values()] == [row["file"] for row in random]


def test_a_slow_model_is_not_shown_as_zero():
    found = cells(comparison_text(example_document(rows_of("i3d", None, base=0.0123))))
    assert found["i3d"][:2] == ["0.012", "0.018 (1.50x)"]


def test_an_engine_stands_beside_the_onnx_file_of_its_model():
    rows = rows_of("squeezenet", None) + [example_row("squeezenet", None, 80.0, "tensorrt", "fp16")]
    (group,) = groups_of(example_document(rows))
    assert group.ratio(("tensorrt", "fp16")) == pytest.approx(8.0)
    assert cells(comparison_text(example_document(rows)))["clips/s"][-1] == "TensorRT fp16"


def test_the_markdown_has_the_same_cells():
    document = example_document(study(limited=True))
    text = comparison_text(document)
    lines = [line for line in comparison_markdown(document).splitlines() if line.startswith("| ")]
    header, _, *others = [line.strip("| ").replace("\\*", "*").split(" | ") for line in lines]
    found = cells(text)
    assert header == ["clips/s", *found["clips/s"]]
    for line in others:
        assert [cell for cell in line if cell][1:] == found[line[0]]
    assert "- \\* what auto picks." in comparison_markdown(document)


def test_names_for_people():
    assert backend_name("torch-compile", "fp32") == "torch.compile"
    assert backend_name("onnxruntime", "fp32") == "ONNX Runtime"
    assert backend_name("openvino", "fp32") == "OpenVINO fp32"
    assert backend_name("tensorrt", "fp16") == "TensorRT fp16"


def test_nothing_measured_is_said():
    for text in (comparison_text(example_document([])), comparison_markdown(example_document([]))):
        assert "No backend was measured" in text


def test_the_mean_of_one_is_itself():
    assert math.isclose(geometric_mean([2.5]), 2.5)
