"""jetson-bench --all and bad input on the command line: the other rows still run."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from stand_ins import board

from clipedge.benchmarks import cli
from clipedge.benchmarks.speed import exporting, measuring, session, table
from clipedge.jetson.engine_manifest import manifest_path
from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

QUICK = ["--batches", "1", "--warmup", "0", "--repeats", "1", "--threads", "1", "--batch", "2"]
ON_CPU = [*QUICK, "--backend", "onnxruntime"]
FIRST = ClipSpec("shufflenetv1", ("a", "b"), 0.5)  # of Table 8
SECOND = ClipSpec("shufflenetv2", ("a", "b"), 0.25)
ROWS = 22


@pytest.fixture(autouse=True)
def a_machine_without_torch(monkeypatch):
    monkeypatch.setattr("clipedge.jetson.board.busy_share", lambda: 0.0)
    for module in (exporting, table):
        monkeypatch.setattr(module, "missing_packages", lambda: ["torch"])


@pytest.fixture
def models(model_writer, tmp_path):
    """A folder with the files of two rows, not in the paper's order by name."""
    folder = tmp_path / "models"
    folder.mkdir()
    model_writer(folder / "a.onnx", SECOND, channels=1)
    model_writer(folder / "b.onnx", FIRST, channels=1)
    return folder


def bench(tmp_path, *call):
    """Run the command; return its status and the document."""
    target = tmp_path / "bench.json"
    status = cli.main([*[str(one) for one in call], "--json", str(target)])
    return status, json.loads(target.read_text())


def names(document):
    return [(row["model"], row["width"]) for row in document["rows"]]


def test_what_is_there_is_measured_in_the_papers_order_and_the_rest_says_why(
    models, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(measuring, "missing_packages", lambda: ["torch"])
    status, document = bench(tmp_path, "--all", models, *ON_CPU)
    assert status == 1
    assert names(document) == [("shufflenetv1", 0.5), ("shufflenetv2", 0.25)]
    assert len(document["failures"]) == ROWS - 2
    for failure in document["failures"]:
        assert "torch, which would export one, is not installed here" in failure["error"]
    assert "i3d_random.onnx" in document["failures"][-1]["path"]
    talk = capsys.readouterr().err
    assert talk.count("not installed") == 1
    assert "20 of 22 models have no file here, and what would export them is not inst" in talk
    assert document["complete"] is True


@pytest.fixture
def exporter(models, tmp_path):
    """What runs instead of an export: one row gets a file, another takes for ever, others fail."""
    script = tmp_path / "exporter.sh"
    script.write_text(
        textwrap.dedent(
            f"""
            for last; do :; done
            case "$2 $4" in
                "shufflenetv1 0.5") cp {models}/b.txt "$last/shufflenetv1_0.5x_random.onnx" ;;
                "mobilenetv1 0.5") touch "$last/half.onnx"; echo $$ > {tmp_path}/pid
                    test -e {tmp_path}/quick || exec sleep 600
                    echo "export-engine: not now" >&2; exit 1 ;;
                *) echo "export-engine: not now" >&2; exit 1 ;;
            esac
            """
        )
    )
    (models / "b.onnx").rename(models / "b.txt")
    return ["/bin/sh", str(script)]


def test_what_is_missing_is_exported_just_before_it_is_measured(
    models, exporter, tmp_path, monkeypatch, capfd
):
    for module in (exporting, table):
        monkeypatch.setattr(module, "missing_packages", lambda: [])
    monkeypatch.setattr(exporting, "EXPORTER", exporter)
    (tmp_path / "quick").touch()
    status, document = bench(tmp_path, "--all", models, *ON_CPU)
    assert status == 1
    assert names(document) == [("shufflenetv1", 0.5), ("shufflenetv2", 0.25)]
    assert (models / "shufflenetv1_0.5x_random.onnx").exists()
    assert len(document["failures"]) == ROWS - 2
    assert "its export failed: export-engine: not now" in document["failures"][0]["error"]
    talk = capfd.readouterr().err
    exported = talk.index("exporting shufflenetv1_0.5x_random")
    measured = talk.index("shufflenetv1_0.5x_random.onnx")
    assert exported < measured < talk.index("a.onnx")


def test_a_stop_in_an_export_keeps_what_is_done_and_resume_goes_on(models, exporter, tmp_path):
    start = (
        "import sys; from clipedge.benchmarks import cli; "
        "from clipedge.benchmarks.speed import exporting, table; "
        f"exporting.EXPORTER = {exporter!r}; "
        "exporting.missing_packages = table.missing_packages = lambda: []; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    target = tmp_path / "bench.json"
    call = [sys.executable, "-c", start, "--all", str(models), *ON_CPU, "--json", str(target)]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, universal_newlines=True)
    try:
        for line in process.stderr:
            if "exporting mobilenetv1_0.5x_random" in line:
                wait_for((tmp_path / "pid").exists)
                process.send_signal(signal.SIGINT)
                break
        talk = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert "Traceback" not in talk
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not list(models.glob(".export-*"))
    stopped = json.loads(target.read_text())
    assert (len(stopped["rows"]), stopped["complete"]) == (2, False)

    (tmp_path / "quick").touch()
    again = subprocess.Popen([*call, "--resume"], stderr=subprocess.PIPE, universal_newlines=True)
    talk = again.communicate(timeout=120)[1]
    assert "warm-up" not in talk
    document = json.loads(target.read_text())
    assert document["rows"] == stopped["rows"]
    assert (len(document["failures"]), document["complete"]) == (ROWS - 2, True)


def wait_for(condition):
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_damaged_files_and_other_clips_are_said_and_the_rows_run(
    models, model_writer, tmp_path, caplog
):
    (models / "cut.onnx").write_bytes((models / "a.onnx").read_bytes()[:200])
    model_writer(models / "small.onnx", ClipSpec("squeezenet", ("a",), size=48), channels=1)
    status, document = bench(tmp_path, "--all", models, *ON_CPU)
    assert status == 1
    assert len(document["rows"]) == 2
    (cut,) = [one for one in document["failures"] if "cut.onnx" in one["path"]]
    assert "not a whole ONNX file" in cut["error"]
    assert "small.onnx: its clips are 3x16x48x48, the paper's 3x16x112x112" in caplog.text


def test_without_all_a_file_of_other_clips_is_measured_without_the_papers_figures(
    model_writer, tmp_path
):
    path = model_writer(tmp_path / "small.onnx", FIRST._replace(size=48), channels=1)
    status, document = bench(tmp_path, path, *ON_CPU)
    assert status == 0
    (row,) = document["rows"]
    assert (row["clip_shape"], row["paper"]) == ([3, 16, 48, 48], None)


def test_an_engine_of_another_tensorrt_says_how_to_rebuild_and_the_others_run(
    models, engine_writer, tmp_path, workers_on, monkeypatch
):
    with board("8.2.1"):
        right = engine_writer(models / "b_fp32.engine", models / "b.onnx", (2,))
        other = engine_writer(models / "a_fp32.engine", models / "a.onnx", (2,))
        small = engine_writer(models / "b_fp16.engine", models / "b.onnx", (1,), "fp16")
    manifest = manifest_path(other)
    manifest.write_text(manifest.read_text().replace("tensorrt 8.2.1.8", "tensorrt 8.0.1.6"))
    monkeypatch.setattr(table, "engines_run_here", lambda: True)
    workers_on("8.2.1")
    status, document = bench(tmp_path, "--all", models, *QUICK)
    assert status == 1
    assert [row["file"] for row in document["rows"]] == [str(right)]
    reasons = {one["path"]: one["error"] for one in document["failures"]}
    assert "was built with tensorrt 8.0.1.6" in reasons[str(other)]
    assert "export-engine --onnx" in reasons[str(other)]
    assert "got a batch of 2" in reasons[str(small)]  # beyond its profile
    assert len(reasons) == ROWS - 2 + 2


def test_a_row_that_needs_more_memory_than_is_left_is_refused_and_the_others_run(
    models, tmp_path, monkeypatch
):
    room = session.require_room

    def tight(order):
        if "a.onnx" in order.path:
            raise UsageError("a.onnx in batches of 2 needs about 9000 MiB of memory")
        room(order)

    monkeypatch.setattr(session, "require_room", tight)
    status, document = bench(tmp_path, models, *ON_CPU)
    assert status == 1
    assert names(document) == [("shufflenetv1", 0.5)]
    assert "needs about 9000 MiB" in document["failures"][0]["error"]


def test_a_folder_with_none_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for call in (["empty"], ["--all", "empty"], ["--all"]):
        assert cli.main([*call, *ON_CPU]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "empty" in error or "engines" in error
