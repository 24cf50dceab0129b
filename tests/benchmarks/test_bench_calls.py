"""Calls of jetson-bench that cannot work end before anything is measured, in one line."""

import importlib.util
import json
import re
import shutil

import pytest
from stand_ins.bench_documents import example_document, example_row

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed import measuring, run
from clipedge.benchmarks.speed.document import write_document
from clipedge.benchmarks.speed.plan import find_models
from clipedge.export.graph_names import SOURCE_KEY
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.spec import ClipSpec


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


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["a.onnx", "--max-regression", "3%"], "--max-regression has no effect without --baseline"),
        (["a.onnx", "--min-cps", "20"], "--min-cps has no effect without --recommend"),
        (["a.onnx", "--dataset", "ucf101"], "--dataset has no effect without --recommend"),
        (["b.json", "--batch", "4"], "--batch has no effect as b.json is not measured again"),
        (["b.json", "--duration", "1"], "--duration has no effect as b.json is not measured"),
        (["b.json", "--limit"], "--limit has no effect"),
        (["b.json", "--recommend", "--backend", "openvino"], "--backend has no effect"),
    ],
)
def test_flags_that_nothing_would_come_of_are_refused(refused, call, said):
    assert said in refused(*call)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--backend", "onnxruntime", "--precision", "bf16"], "onnxruntime runs models in fp32"),
        (["--backend", "torch-eager", "--precision", "bf16"], "torch-eager runs models in fp32"),
        (["--backend", "openvino"], "openvino is not installed here"),
        (["--backend", "torch-eager"], "torch is not installed"),
        (["--precision", "bf16"], "openvino is not installed here"),
        (["--backend", "openvino", "--all"], "openvino is not installed here"),
    ],
)
def test_a_backend_that_runs_nothing_is_refused_once(
    model_writer, tmp_path, monkeypatch, capsys, flags, said
):
    real = importlib.util.find_spec
    absent = ("openvino", "torch")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else real(name)
    )
    spec = ClipSpec("shufflenetv1", ("a", "b"), 0.5)
    for name in ("a.onnx", "b.onnx"):
        model_writer(tmp_path / name, spec, channels=1)
    assert cli.main([str(tmp_path), *flags, "--json", str(tmp_path / "bench.json")]) == 2
    error = capsys.readouterr().err
    assert error.count(said) == 1
    assert "warm-up" not in error
    assert not (tmp_path / "bench.json").exists()


def test_of_a_folder_the_network_as_trained_is_measured(tiny_model, model_writer, tmp_path, caplog):
    caplog.set_level("INFO")
    trained, alone = tmp_path / "a.onnx", tmp_path / "b_conv2d.onnx"
    shutil.copy(str(tiny_model), str(trained))
    rewritten = tmp_path / "a_conv2d.onnx"
    rewrite(tiny_model, rewritten, sha256_of(trained))
    rewrite(tiny_model, alone, "0" * 64)
    (tmp_path / "cut.onnx").write_bytes(tiny_model.read_bytes()[:100])
    for backend in ("auto", "onnxruntime"):
        found = find_models([tmp_path], backend)
        assert [path.name for path in found] == ["a.onnx", "b_conv2d.onnx", "cut.onnx"]
        assert f"Left out {rewritten}: the network as trained is measured" in caplog.text
    assert find_models([tmp_path, rewritten])[-1] == rewritten
    trained.unlink()
    assert rewritten in find_models([tmp_path])


def rewrite(path, target, source_sha256):
    """Writes a copy that says that it was made of another file."""
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the copy, is missing")
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = SOURCE_KEY, source_sha256
    onnx.save(model, str(target))


@pytest.mark.parametrize(
    ("flags", "done", "said"),
    [
        ([], 0, "22 figures to measure, about 8 min."),
        (
            ["--batch", "1", "8", "--warmup", "0", "--duration", "10"],
            0,
            "44 figures .*, about 24 m",
        ),
        ([], 1, "21 figures to measure, about 8 min"),
        (["--duration", "0.1", "--warmup", "0", "--repeats", "1"], 22, None),
        (["--batches", "3"], 0, None),
    ],
)
def test_how_long_a_long_run_takes_is_said(caplog, flags, done, said):
    caplog.set_level("INFO")
    rows = [dict(example_row(), asked_file=f"{number}.onnx") for number in range(done)]
    arguments = cli.build_parser().parse_args(flags)
    measuring.say_how_long(arguments, 22, {"rows": rows})
    if said is None:
        assert caplog.text == ""
    else:
        assert re.search(said, caplog.text), caplog.text
