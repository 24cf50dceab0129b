"""The jetson-bench command on real files: table, JSON, failures, interrupts."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from clipedge.benchmarks import cli, overhead
from clipedge.benchmarks.speed import contender, measuring, run
from clipedge.benchmarks.speed.plan import find_models
from clipedge.benchmarks.timing import random_clips
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.runners import open_runner
from clipedge.jetson.spec import ClipSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

QUICK = ["--duration", "0.2", "--warmup", "0.05", "--repeats", "1"]
QUICK += ["--backend", "onnxruntime", "--threads", "1"]


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr("clipedge.jetson.board.busy_share", lambda: 0.0)


def test_table_and_json_of_a_real_run(tiny_model, tmp_path, capsys):
    target = tmp_path / "new" / "bench.json"
    call = [str(tiny_model), *QUICK, "--repeats", "3", "--batch", "4", "--json", str(target)]
    assert cli.main(call) == 0
    output = capsys.readouterr().out
    assert "3 times 0.2 s a model after a warm-up of 0.05 s" in output
    assert "tiny_random  onnxruntime fp32 x1" in output

    document = json.loads(target.read_text())
    assert next(iter(document)) == "schema"
    assert document["schema"] == "clipedge.bench/2"
    assert document["complete"] is True
    assert document["failures"] == []
    assert document["started_utc"].endswith("Z")
    assert document["busy_share_at_start"] == 0.0
    assert document["machine"]["python"] == "{}.{}.{}".format(*sys.version_info[:3])
    assert "onnxruntime" in document["packages"]
    settings = document["settings"]
    assert (settings["batch"], settings["streams"], settings["repeats"]) == ([4], [1], 3)
    assert (settings["duration_s"], settings["warmup_s"], settings["threads"]) == (0.2, 0.05, 1)
    (row,) = document["rows"]
    assert row["sha256"] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert (row["model"], row["width"], row["random_weights"]) == ("tiny", None, True)
    assert (row["clip_shape"], row["classes"]) == ([3, 4, 16, 16], 5)
    assert (row["backend"], row["threads"], row["precision"]) == ("onnxruntime", 1, "fp32")
    assert (row["batch"], row["streams"], row["paper"]) == (4, 1, None)
    assert row["memory"]["process_peak_mb"] > 1
    latency_ms = row["latency_ms"]
    assert 0 < latency_ms["min"] <= latency_ms["median"] <= latency_ms["p95"] <= latency_ms["p99"]
    assert latency_ms["p99"] <= latency_ms["max"] == max(row["latencies_ms"])


def test_the_figure_is_the_median_of_the_repeats_and_their_range_its_spread(tiny_model, tmp_path):
    target = tmp_path / "bench.json"
    call = [str(tiny_model), *QUICK, "--repeats", "3", "--batch", "4", "--json", str(target)]
    assert cli.main(call) == 0
    (row,) = json.loads(target.read_text())["rows"]
    repeats = row["repeats"]
    rates = [one["clips_per_s"] for one in repeats]
    assert row["clips_per_s"] == sorted(rates)[1]
    assert row["spread"] == pytest.approx((max(rates) - min(rates)) / sorted(rates)[1], abs=1e-3)
    assert len(row["latencies_ms"]) == sum(one["batches"] for one in repeats)
    for one in repeats:
        assert one["elapsed_s"] >= 0.2
        assert one["clips_per_s"] == pytest.approx(one["batches"] * 4 / one["elapsed_s"], rel=1e-3)
    assert [one["start_s"] for one in repeats] == sorted(one["start_s"] for one in repeats)


def test_paper_columns_for_a_model_of_the_paper(model_writer, tmp_path, capsys):
    spec = ClipSpec("shufflenetv1", ("a", "b"), 2.0)
    path = model_writer(tmp_path / "shufflenetv1_2.0x_random.onnx", spec, channels=1)
    assert cli.main([str(path), *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("shufflenetv1_2.0x_random"))
    assert row.split()[-2:] == ["161", "24"]


def test_a_damaged_file_says_why_and_the_run_goes_on(tiny_model, tmp_path, capsys, caplog):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(tiny_model.read_bytes()[:500])
    target = tmp_path / "bench.json"
    assert cli.main([str(cut), str(tiny_model), *QUICK, "--json", str(target)]) == 1
    assert "tiny_random" in capsys.readouterr().out
    assert caplog.text.count("cut.onnx") == 1
    assert "cut.onnx is not a whole ONNX file" in caplog.text
    document = json.loads(target.read_text())
    assert document["complete"] is True
    assert [failure["path"] for failure in document["failures"]] == [str(cut)]
    assert "not a whole ONNX file" in document["failures"][0]["error"]
    assert len(document["rows"]) == 1


def test_a_folder_stands_for_its_onnx_files(tiny_model, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "engines"
    folder.mkdir()
    for name in ("b.onnx", "a.onnx", ".half.onnx", "a.spec.json"):
        shutil.copy(str(tiny_model), str(folder / name))
    assert [path.name for path in find_models([folder])] == ["a.onnx", "b.onnx"]
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in find_models([])] == ["a.onnx", "b.onnx"]


def test_calls_that_cannot_work_are_refused_before_measuring(tiny_model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    calls = {
        "holds no .onnx file": [str(tmp_path / "empty")],
        "none.onnx does not exist": [str(tiny_model), str(tmp_path / "none.onnx")],
        "a file is needed": [str(tiny_model), "--json", str(tmp_path)],
    }
    for message, call in calls.items():
        assert cli.main([*call, *QUICK]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_nothing_that_is_read_is_written_over(tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bench.json", "old.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.md").symlink_to("bench.json")
    calls = {
        "The baseline bench.json would be overwritten; give --json": [
            *["--all", "--baseline", "bench.json"]
        ],
        "The baseline old.json would be overwritten; give --csv": [
            *[str(tiny_model), "--baseline", "old.json", "--csv", "./old.json"]
        ],
        "The document bench.json would be overwritten; give --markdown": [
            *["bench.json", "--markdown", "link.md"]
        ],
        "bench.json is a document already, and --json writes": [
            *["bench.json", "--json", "copy.json"]
        ],
    }
    for message, call in calls.items():
        assert cli.main(call) == 2
        assert message in capsys.readouterr().err
    assert {path.read_text() for path in tmp_path.glob("*.json")} == {"{}"}


@pytest.mark.parametrize("target", ["/proc/x.csv", "/dev/null"])
def test_a_place_that_takes_no_file_is_refused_before_measuring(
    tiny_model, capsys, monkeypatch, target
):
    def measure(*_):
        raise AssertionError("it began")

    monkeypatch.setattr(run, "measure_and_report", measure)
    assert cli.main([str(tiny_model), "--csv", target]) in (1, 2)
    assert target.rpartition("/")[0] in capsys.readouterr().err


def test_files_that_cannot_be_read_fail_alone(tiny_model, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(str(tiny_model), str(folder / "a.onnx"))
    (folder / "b.onnx").symlink_to("nowhere")
    (folder / "c.onnx").mkdir()
    (folder / "d.onnx").symlink_to("d.onnx")
    target = tmp_path / "bench.json"
    call = [str(folder), *QUICK, "--json", str(target)]
    for more in ([], ["--resume"]):
        assert cli.main([*call, *more]) == 1
        document = json.loads(target.read_text())
        assert document["complete"] is True
        assert len(document["rows"]) == 1
        failed = [failure["path"] for failure in document["failures"]]
        assert failed == [str(folder / f"{name}.onnx") for name in "bcd"]


def test_a_file_that_goes_while_it_is_looked_up_fails_alone(tiny_model, tmp_path, monkeypatch):
    copy = tmp_path / "copy.onnx"
    shutil.copy(str(tiny_model), str(copy))

    def gone(document, job):
        copy.unlink()
        return sha256_of(copy)

    monkeypatch.setattr(measuring, "is_done", gone)
    target = tmp_path / "bench.json"
    assert cli.main([str(copy), *QUICK, "--json", str(target)]) == 1
    (failure,) = json.loads(target.read_text())["failures"]
    assert failure["error"] == f"{copy}: there is no such file or folder."


def test_a_process_that_cannot_be_started_is_a_failure_with_the_reason(
    tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setattr(contender, "WORKER", [str(tmp_path / "no-python")])
    target = tmp_path / "bench.json"
    assert cli.main([str(tiny_model), *QUICK, "--json", str(target)]) == 1
    (failure,) = json.loads(target.read_text())["failures"]
    assert "no process can be started to measure it" in failure["error"]


def test_a_closed_terminal_loses_nothing(tiny_model, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(tiny_model.read_bytes()[:500])
    target, table = tmp_path / "bench.json", tmp_path / "bench.csv"
    call = [sys.executable, "-m", "clipedge.benchmarks.cli", str(tiny_model), str(cut), *QUICK]
    call += ["--json", str(target), "--csv", str(table)]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        subprocess.call(call, stdout=writer, stderr=subprocess.DEVNULL, timeout=60)
    finally:
        os.close(writer)
    document = json.loads(target.read_text())
    assert (document["complete"], len(document["rows"]), len(document["failures"])) == (True, 1, 1)
    assert "cut" in table.read_text()


def test_a_report_that_cannot_be_written_leaves_the_document_and_the_table(
    tiny_model, tmp_path, capsys, monkeypatch
):
    def full(*_):
        raise ClipedgeError("the disk is full")

    monkeypatch.setattr(measuring, "write_reports", full)
    target = tmp_path / "bench.json"
    assert cli.main([str(tiny_model), *QUICK, "--json", str(target)]) == 1
    captured = capsys.readouterr()
    assert "tiny_random" in captured.out
    assert "the disk is full" in captured.err
    assert json.loads(target.read_text())["complete"] is True


def test_a_run_in_which_everything_failed_is_written_when_it_is_stopped(
    tiny_model, tmp_path, monkeypatch
):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(tiny_model.read_bytes()[:500])
    real = measuring.is_done

    def interrupted(document, job):
        if job.path == tiny_model:
            raise KeyboardInterrupt
        return real(document, job)

    monkeypatch.setattr(measuring, "is_done", interrupted)
    target = tmp_path / "bench.json"
    assert cli.main([str(cut), str(tiny_model), *QUICK, "--json", str(target)]) == 1
    document = json.loads(target.read_text())
    assert (document["complete"], len(document["failures"])) == (False, 1)


def test_other_versions_of_a_backend_stop_a_run_that_goes_on(tiny_model, tmp_path, capsys):
    target = tmp_path / "bench.json"
    call = [str(tiny_model), *QUICK, "--json", str(target)]
    assert cli.main(call) == 0
    document = json.loads(target.read_text())
    document["packages"]["onnxruntime"] = "0.1"
    target.write_text(json.dumps(document))
    other = tmp_path / "other.onnx"
    shutil.copy(str(tiny_model), str(other))
    assert cli.main([str(other), *call, "--resume"]) == 2
    assert "onnxruntime was 0.1 and is " in capsys.readouterr().err
    again = json.loads(target.read_text())
    assert (len(again["rows"]), again["complete"]) == (1, False)


def test_no_files_and_no_default_folder_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main([]) == 2
    assert "export-engine --model" in capsys.readouterr().err


def test_json_that_cannot_be_written_fails_before_measuring(tiny_model, tmp_path, capsys):
    target = tiny_model / "below" / "bench.json"  # below a file
    assert cli.main([str(tiny_model), *QUICK, "--json", str(target)]) == 1
    captured = capsys.readouterr()
    assert "not a folder" in captured.err
    assert captured.out == ""


def test_a_busy_machine_is_warned_of(tiny_model, monkeypatch, caplog):
    monkeypatch.setattr("clipedge.jetson.board.busy_share", lambda: 0.8)
    assert cli.main([str(tiny_model), *QUICK]) == 0
    assert "busy: 80 %" in caplog.text


def test_interrupt_prints_what_is_done(tiny_model, tmp_path):
    other = tmp_path / "second.onnx"
    shutil.copy(str(tiny_model), str(other))
    target = tmp_path / "bench.json"
    call = [sys.executable, "-m", "clipedge.benchmarks.cli", str(tiny_model), str(other), *QUICK]
    call += ["--duration", "1.5", "--json", str(target)]
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    for line in process.stderr:
        if line.startswith("[2/2]"):
            process.send_signal(signal.SIGINT)
            break
    output, talk = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "tiny_random" in output
    assert "second" not in output
    assert "interrupted" in talk
    assert "Traceback" not in talk
    document = json.loads(target.read_text())
    assert document["complete"] is False
    assert len(document["rows"]) == 1


def test_help_is_quick_and_loads_no_backend():
    check = (
        "import sys; from clipedge.benchmarks.cli import build_parser; build_parser().format_help()"
        "; print([name for name in ('onnxruntime', 'openvino', 'torch') if name in sys.modules])"
    )
    start_s = time.perf_counter()
    output = subprocess.check_output([sys.executable, "-c", check], universal_newlines=True)
    assert output.strip() == "[]"
    assert time.perf_counter() - start_s < 3.0  # 0.2 s where nothing else runs


def test_runner_costs_little_over_its_backend(model_writer, tmp_path):
    path = model_writer(
        tmp_path / "realistic.onnx", ClipSpec("shufflenetv1", ("a", "b"), 0.5), channels=24
    )
    with open_runner(path, "onnxruntime", threads=1) as runner:
        clips = random_clips(runner.spec, 8)
        direct = overhead.direct_call(runner, clips)
        # Other work on the machine may spoil one attempt; the cost is there in every one.
        for _ in range(3):
            result = overhead.measure_overhead(lambda: runner.infer(clips), direct, turns=11)
            if result.ratio < 1.10:
                break
    assert result.ratio < 1.10, result


def test_the_document_says_what_was_found_and_what_each_row_ran_under(tiny_model, tmp_path):
    target = tmp_path / "bench.json"
    assert cli.main([str(tiny_model), *QUICK, "--json", str(target)]) == 0
    document = json.loads(target.read_text())
    assert document["conditions"]["memory"]["total_mb"] > 0
    (row,) = document["rows"]
    (repeat,) = row["repeats"]
    assert row["span"]["span_s"] == pytest.approx(repeat["elapsed_s"], abs=0.25)  # no warm-up in it
    energy_j = row["span"]["energy_j"]
    assert energy_j is None or energy_j > 0  # a machine without a meter gives the reason
    assert energy_j is not None or row["span"]["missing"]["energy_j"]


def test_a_recommendation_without_figures_says_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--recommend"]) == 2
    assert "jetson-bench --all" in capsys.readouterr().err
