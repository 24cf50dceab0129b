"""jetson-bench --all exports what is missing, with the real exporter."""

from clipedge.benchmarks.speed.exporting import export_row
from clipedge.benchmarks.speed.rows import paper_clip_shape
from clipedge.benchmarks.speed.table import files_of, table_plan
from clipedge.jetson.runners import open_runner
from clipedge.jetson.spec import RANDOM_WEIGHTS


def test_an_exported_row_is_the_papers_network_and_stands_for_its_row(tmp_path):
    folder = tmp_path / "models"
    path = export_row("mobilenetv2", 0.2, folder)
    assert path == folder / "mobilenetv2_0.2x_random.onnx"
    assert sorted(file.name for file in folder.iterdir()) == [
        "mobilenetv2_0.2x_random.onnx",
        "mobilenetv2_0.2x_random.parity.json",
        "mobilenetv2_0.2x_random.recogniser.json",
        "mobilenetv2_0.2x_random.spec.json",
    ]
    with open_runner(path, "onnxruntime", threads=1) as runner:
        assert runner.spec.clip_shape == paper_clip_shape("mobilenetv2")
        assert runner.spec.dataset == RANDOM_WEIGHTS
    plan = table_plan([folder])
    (row,) = [row for row in plan.rows if row.paths]
    assert (row.model, row.width) == ("mobilenetv2", 0.2)
    assert files_of(row, plan) == [path]
    assert plan.notes() == []
