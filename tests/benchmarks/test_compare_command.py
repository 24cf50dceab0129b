"""jetson-bench --compare-backends, with engines on the stand-ins for TensorRT and pycuda."""

import importlib.util
import json
import shutil

import pytest
from stand_ins import board

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed import backends, exporting, plan, session, side_by_side, table
from clipedge.benchmarks.speed.resuming import ASKED
from clipedge.jetson.engine_manifest import manifest_path
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.spec import ClipSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

RELEASE = "8.2.1"
QUICK = ["--compare-backends", "--batches", "1", "--warmup", "0", "--repeats", "1"]
QUICK += ["--threads", "1", "--batch", "2"]
SPEC = ClipSpec("shufflenetv1", ("a", "b"), 0.5)  # of Table 8


@pytest.fixture(autouse=True)
def a_board(monkeypatch, workers_on):
    """A board with ONNX Runtime and TensorRT, without torch and openvino."""
    monkeypatch.setattr("clipedge.jetson.board.busy_share", lambda: 0.0)
    for module in (exporting, table):
        monkeypatch.setattr(module, "missing_packages", lambda: ["torch"])
    for module in (backends, plan, table):
        monkeypatch.setattr(module, "engines_run_here", lambda: True)
    monkeypatch.setattr(backends, "_ON_ONNX", [("onnxruntime", "fp32")])
    monkeypatch.setattr(side_by_side, "auto_pick", lambda order: ("onnxruntime", {}))
    workers_on(RELEASE)


@pytest.fixture(scope="module")
def written(model_writer, engine_writer, tmp_path_factory):
    """A folder with a model of Table 8 and two engines of it."""
    folder = tmp_path_factory.mktemp("written")
    onnx = model_writer(folder / "a.onnx", SPEC, channels=1)
    with board(RELEASE):
        for precision in ("fp16", "fp32"):
            engine_writer(folder / f"a_{precision}.engine", onnx, (2,), precision)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    copy = tmp_path / "engines"
    shutil.copytree(str(written), str(copy))
    return copy


@pytest.fixture
def bench(folder, tmp_path):
    """Returns bench(*call): run the command; return its status and the document."""
    target = tmp_path / "bench.json"

    def run(*call):
        status = cli.main([*[str(one) for one in call], *QUICK, "--json", str(target)])
        return status, json.loads(target.read_text())

    return run


def what_ran(document):
    return [(row["file"].split("/")[-1], row["backend"]) for row in document["rows"]]


ALL = [("a.onnx", "onnxruntime"), ("a_fp32.engine", "tensorrt"), ("a_fp16.engine", "tensorrt")]


@pytest.mark.parametrize("flags", [[], ["--all"]])
def test_an_onnx_file_is_measured_with_all_and_its_engines_beside_it(bench, folder, flags):
    status, document = bench(folder, *flags)
    assert what_ran(document) == ALL
    assert {row[ASKED] for row in document["rows"]} == {str(folder / "a.onnx")}
    assert [row["auto_choice"] for row in document["rows"]] == [True, False, False]
    assert (status, len(document["failures"])) == ((1, 21) if flags else (0, 0))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["a_fp16.engine"], "a_fp16.engine is an engine; --compare-backends takes its ONNX file"),
        (["a.onnx", "--backend", "openvino"], "leave out --backend"),
        (["a.onnx", "--precision", "bf16"], "leave out --precision"),
    ],
)
def test_what_contradicts_the_comparison_is_refused(folder, capsys, more, message):
    assert cli.main([str(folder / more[0]), *more[1:], *QUICK]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_nothing_runs_is_a_failure_with_all_reasons(bench, folder, monkeypatch):
    monkeypatch.setattr(backends, "_ON_ONNX", [("openvino", "fp32")])
    monkeypatch.setattr(backends, "is_installed", lambda name: False)
    for path in folder.glob("*.engine"):
        path.unlink()
    status, document = bench(folder)
    (failure,) = document["failures"]
    assert (status, document["rows"]) == (1, [])
    assert (
        "nothing that is installed here runs a.onnx: openvino fp32: openvino is not"
        in (failure["error"])
    )


def test_without_autos_choice_the_others_are_measured(bench, folder, monkeypatch, caplog):
    def fail(order):
        raise ClipedgeError("no backend can open it")

    monkeypatch.setattr(side_by_side, "auto_pick", fail)
    status, document = bench(folder)
    assert (status, what_ran(document)) == (0, ALL)
    assert not any("auto_choice" in row for row in document["rows"])
    assert "what auto would pick is not known: no backend can open it" in caplog.text


def test_auto_tries_nothing_that_does_not_fit(tiny_model, monkeypatch):
    def tight(order):
        raise UsageError(f"{order.backend} does not fit")

    monkeypatch.setattr(session, "require_room", tight)
    order = session.Order(str(tiny_model), "onnxruntime", "fp32", 1, 2)
    with pytest.raises(UsageError, match="auto does not fit"):
        session.auto_pick(order)


def test_a_failing_engine_says_its_precision_and_stays_failed_after_a_resume(bench, folder):
    manifest = manifest_path(folder / "a_fp16.engine")
    manifest.write_text(manifest.read_text().replace("tensorrt 8.2.1.8", "tensorrt 8.0.1.6"))
    status, document = bench(folder)
    assert (status, what_ran(document)) == (1, ALL[:2])
    (failure,) = document["failures"]
    assert (failure["backend"], failure["precision"]) == ("tensorrt", "fp16")
    assert (failure["path"], failure[ASKED]) == (
        str(folder / "a_fp16.engine"),
        str(folder / "a.onnx"),
    )
    status, again = bench(folder, "--resume")
    assert status == 1
    assert (again["rows"], again["failures"]) == (document["rows"], document["failures"])
