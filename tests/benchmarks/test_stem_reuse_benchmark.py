"""The benchmark of stem reuse: both ways are timed, and what cannot be split is said."""

import json

import pytest

from clipedge.benchmarks import stem_reuse as module

pytest.importorskip("onnx", reason="onnx, which splits the model, is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def test_both_ways_are_timed_and_compared(tiny_model, tmp_path, capsys):
    path = tmp_path / "reuse.json"
    arguments = [str(tiny_model), "--backend", "onnxruntime", "--clips", "8", "--json", str(path)]
    assert module.main(arguments) == 0
    study = json.loads(path.read_text())
    assert study["schema"] == "clipedge.stem-reuse/1"
    (result,) = study["results"]
    assert len(result["whole_ms"]) == len(result["reused_ms"]) == 8
    assert result["difference"] < 1e-4
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["tiny", "onnxruntime"]


def test_a_model_that_cannot_be_split_is_a_row_without_figures(capsys):
    text = module.table_text([{"model": "r", "backend": "b", "error": "It cannot, because."}])
    assert "It cannot, because." in text
    assert text.splitlines()[2].split() == ["r", "b", "-", "-", "-", "-", "-"]
