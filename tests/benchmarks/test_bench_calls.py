"""Calls of jetson-bench that cannot work end before anything is measured, in one line."""

import json

import pytest
from stand_ins.bench_documents import example_document, example_row

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed import run
from clipedge.benchmarks.speed.document import write_document


@pytest.fixture
def refused(monkeypatch, capsys):
    """`refused(*call)`: what is said of a call that ends before it measures; its status is 2."""

    def measure(*_):
        raise AssertionError("it began")

    monkeypatch.setattr(run, "measure_and_report", measure)

    def call(*arguments, status=2):
        assert cli.main([str(one) for one in arguments]) == status
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        return error

    return call


@pytest.fixture
def began(monkeypatch):
    """`began(*call)`: a call goes as far as measuring."""

    def measure(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "measure_and_report", measure)
    return lambda *call: cli.main([str(one) for one in call]) == 1


@pytest.mark.parametrize("text", ['{"mine": 1}', "[1]", "notes", '{"schema": "clipedge.limit/1"}'])
def test_a_file_that_is_no_document_is_not_replaced(refused, tmp_path, text):
    target = tmp_path / "mine.json"
    target.write_text(text)
    error = refused("a.onnx", "--json", target)
    assert "mine.json would be replaced, and is no document of jetson-bench" in error
    assert target.read_text() == text


def test_a_document_and_an_empty_file_are_replaced(began, tmp_path, caplog):
    target = tmp_path / "bench.json"
    target.write_text("")
    assert began("a.onnx", "--json", target)
    for complete in (True, False):
        write_document(target, example_document([example_row()], complete=complete))
        caplog.clear()
        assert began("a.onnx", "--json", target)
        assert ("stopped run is replaced; --resume would go on" in caplog.text) != complete
    target.write_text(json.dumps({"schema": "clipedge.bench/1"}))
    assert began("a.onnx", "--json", target)


def test_a_folder_that_takes_no_file_is_there_nevertheless(refused):
    error = refused("a.onnx", "--json", "/proc/x.json", status=1)
    assert "/proc: no file can be made in this folder" in error


@pytest.mark.parametrize("all_of_them", [[], ["--all"]])
def test_other_kinds_of_files_are_refused_with_those_it_takes(tmp_path, capsys, all_of_them):
    for name, said in (
        ("x.txt", "x.txt is no model: give .onnx or .engine files"),
        ("x.pt", "x.pt is a checkpoint. Make an ONNX file of it: export-engine --checkpoint"),
    ):
        (tmp_path / name).write_text("x")
        call = [str(tmp_path / name), *all_of_them, "--json", str(tmp_path / "bench.json")]
        assert cli.main(call) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("x.") == error.count(str(tmp_path / name)), error
    assert not (tmp_path / "bench.json").exists()
