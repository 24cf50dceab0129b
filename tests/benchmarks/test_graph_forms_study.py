"""The study of graph forms. Python 3.6 runs what needs neither torch nor TensorRT for RTX."""

import json

import pytest

from clipedge.benchmarks import graph_forms as module
from clipedge.benchmarks.graph_forms_report import conditions, markdown, table_text
from clipedge.benchmarks.study import write_study
from clipedge.jetson.errors import BackendError, UsageError

SETTINGS = {"batches": [8], "seconds": 1.0, "threads": 2, "tensorrt": "RTX 1.7", "classes": 600}


def engine(precision_mb, target="sm_86"):
    return {
        precision: {target: {"bytes": int(size * 1e6)} if size else {"error": "no 'layer 7'"}}
        for precision, size in precision_mb.items()
    }


@pytest.fixture
def study():
    """Two models as if measured, one of them with an engine that could not be built."""
    made = conditions(SETTINGS)
    for name, fp32_mb in (("small", 4.0), ("large", None)):
        forms = {
            "conv3d": {
                "engines": engine({"fp16": 21.0, "fp32": fp32_mb}),
                "clips_per_s": {"onnxruntime": {"clips_per_s": 48.06, "turns": 3}},
            },
            "conv2d": {
                "engines": engine({"fp16": 3.0, "fp32": 9.0}),
                "clips_per_s": {"onnxruntime": {"error": "it broke"}},
            },
        }
        made["models"].append({"model": name, "weights_fp16_bytes": 1000000, "forms": forms})
    return made


@pytest.mark.parametrize("write", [table_text, markdown])
def test_engines_are_given_in_megabytes_and_as_multiples_of_their_weights(study, write):
    text = write(study)
    assert "21.0 (21.0)" in text
    assert "3.0 (3.0)" in text
    assert "9.0 (4.5)" in text  # fp32 weights are twice as large
    assert "48.1" in text


@pytest.mark.parametrize("write", [table_text, markdown])
def test_what_could_not_be_built_says_why_once(study, write):
    study["models"][0]["forms"]["conv3d"]["engines"]["fp32"]["sm_86"] = {"error": "no 'layer 9'"}
    text = write(study)
    assert text.count("no ...") == 1
    assert "conv3d fp32 sm_86: 2 in all" in text
    assert "it broke" in text


def test_a_model_that_failed_stands_with_its_reason(study):
    study["models"].append({"model": "odd", "error": "out of memory"})
    assert "out of memory" in table_text(study)


def test_a_study_without_timings_has_no_table_of_them(study):
    assert "Clips per second" in table_text(study)
    for row in study["models"]:
        for form in row["forms"].values():
            del form["clips_per_s"]
    assert "Clips per second" not in table_text(study)


def test_the_document_has_its_schema_and_conditions(study, tmp_path):
    write_study(tmp_path / "study.json", study)
    document = json.loads((tmp_path / "study.json").read_text())
    assert document["schema"] == "clipedge.graph-forms/1"
    assert document["machine"]["logical_cores"] >= 1
    assert document["settings"] == SETTINGS


def test_models_are_chosen_by_name_or_by_name_and_width():
    pytest.importorskip("torch")
    assert len(module.chosen_models([])) == 23
    assert [str(one) for one in module.chosen_models(["mobilenetv2_0.2x", "squeezenet"])] == [
        "mobilenetv2_0.2x",
        "squeezenet",
    ]
    assert len(module.chosen_models(["shufflenetv2"])) == 5
    with pytest.raises(UsageError, match=r"did you mean mobilenetv2"):
        module.chosen_models(["mobilenetv3"])


class FailingTensorRT:
    """Builds nothing."""

    def build(self, request):
        raise BackendError("it could not")


def test_an_engine_that_cannot_be_built_is_recorded(monkeypatch):
    pytest.importorskip("onnx")
    fp16_graph = pytest.importorskip("clipedge.export.fp16_graph")
    monkeypatch.setattr(fp16_graph, "to_fp16", lambda graph: graph)
    monkeypatch.setattr(module.trt_api, "load", lambda package: FailingTensorRT())
    engines = module._engines("conv3d", b"", (8,), lambda text: None)
    assert engines["fp32"]["sm_75"] == {"error": "it could not"}
    assert engines["fp16"]["sm_89"] == {"error": "it could not"}


@pytest.mark.parametrize(
    ("name", "width"), [("shufflenetv1", 0.5), ("shufflenetv2", 0.25), ("mobilenetv2", 0.2)]
)
def test_the_smallest_models_engines_are_small(name, width, monkeypatch):
    """What is not weights weighs most beside few weights: 3 times as much on sm_86, 8 on sm_75."""
    pytest.importorskip("torch")
    pytest.importorskip("tensorrt_rtx")
    forms = pytest.importorskip("clipedge.export.graph_names")
    monkeypatch.setattr(forms, "FORMS", (forms.TENSORCORE,))
    monkeypatch.setattr(module, "PRECISIONS", ("fp16",))
    monkeypatch.setattr(module, "TARGETS", ((7, 5), (8, 6)))
    row = module.study_model(module.Model(name, width), (8,), 0.0, None, lambda text: None)
    engines = row["forms"][forms.TENSORCORE]["engines"]["fp16"]
    assert engines["sm_86"]["bytes"] <= 3 * row["weights_fp16_bytes"]
    assert engines["sm_75"]["bytes"] <= 8 * row["weights_fp16_bytes"]


def test_all_forms_are_timed_in_turns(tiny_model):
    clips = module.random_clips(module.open_runner(tiny_model, "onnxruntime").spec, 2)
    files = {"conv3d": tiny_model, "conv2d": tiny_model}
    timed = module._in_turns(files, "onnxruntime", 1, clips, 0.01)
    assert set(timed) == set(files)
    assert timed["conv3d"]["turns"] == timed["conv2d"]["turns"] >= module.LEAST_TURNS
    assert all(result["clips_per_s"] > 0 for result in timed.values())


def test_a_form_that_a_backend_cannot_run_leaves_the_others_timed(tiny_model, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"")
    clips = module.random_clips(module.open_runner(tiny_model, "onnxruntime").spec, 2)
    files = {"conv3d": tiny_model, "conv2d": broken}
    timed = module._in_turns(files, "onnxruntime", 1, clips, 0.01)
    assert "error" in timed["conv2d"]
    assert timed["conv3d"]["clips_per_s"] > 0
