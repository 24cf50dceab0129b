"""Engines in jetson-bench and the overhead study, on the stand-ins for TensorRT and pycuda."""

import importlib.util
import json
import shutil

import pytest
from stand_ins import TX2, board

from clipedge.benchmarks import cli, overhead
from clipedge.benchmarks.speed import plan
from clipedge.benchmarks.speed.plan import find_models

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

QUICK = ["--duration", "0.2", "--warmup", "0.05", "--repeats", "1", "--threads", "1"]
RELEASE = "8.2.1"
CARD = TX2._replace(integrated=False)


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr("clipedge.jetson.board.busy_share", lambda: 0.0)


@pytest.fixture
def engine(tiny_model, engine_writer, tmp_path):
    """An engine of the tiny model for a TX2, with batches of 1 and 4."""
    with board(RELEASE, CARD):
        return engine_writer(tmp_path / "tiny_fp16.engine", tiny_model, (1, 4), "fp16")


def test_an_engine_is_measured_with_where_its_time_went(engine, tmp_path, capsys, workers_on):
    workers_on(RELEASE, "--card")
    target = tmp_path / "bench.json"
    assert cli.main([str(engine), *QUICK, "--batch", "4", "--json", str(target)]) == 0
    output = capsys.readouterr().out
    line = next(line for line in output.splitlines() if line.startswith("tiny_fp16"))
    assert "tensorrt fp16 " in line  # no CPU threads behind it
    assert "on 2 threads" not in output
    document = json.loads(target.read_text())
    (row,) = document["rows"]
    assert (row["backend"], row["precision"], row["threads"]) == ("tensorrt", "fp16", None)
    assert row["device"] == "NVIDIA Tegra X2 (sm_62)"
    details = row["details"]
    assert (details["graph"], details["memory"], details["batches"]) == ("conv3d", "pinned", [1, 4])
    medians_ms = row["gpu_median_ms"]
    assert list(medians_ms) == ["h2d", "compute", "d2h", "staging"]
    assert medians_ms["compute"] > medians_ms["h2d"] > 0
    # The stand-in counts 10 GB/s: of the 49152 bytes of four clips.
    assert medians_ms["h2d"] == pytest.approx(49152 / 10e6, abs=1e-4)
    assert document["packages"]["tensorrt"] == "8.2.1.8"


def test_clips_per_second_without_copies_are_those_of_the_gpus_computing(
    engine, tmp_path, workers_on
):
    workers_on(RELEASE, "--card")
    target = tmp_path / "bench.json"
    assert cli.main([str(engine), *QUICK, "--batch", "4", "--json", str(target)]) == 0
    (row,) = json.loads(target.read_text())["rows"]
    compute_ms = row["gpu_median_ms"]["compute"]
    assert row["clips_per_s_without_copies"] == pytest.approx(4 / compute_ms * 1e3, rel=1e-3)


def test_an_onnx_file_beside_it_has_no_times_of_a_gpu(tiny_model, tmp_path, capsys):
    target = tmp_path / "bench.json"
    call = [str(tiny_model), *QUICK, "--backend", "onnxruntime", "--batch", "1"]
    assert cli.main([*call, "--json", str(target)]) == 0
    (row,) = json.loads(target.read_text())["rows"]
    assert (row["gpu_median_ms"], row["clips_per_s_without_copies"]) == (None, None)
    assert row["details"] == {}


def test_a_batch_the_engine_lacks_says_how_to_build_it(engine, caplog, workers_on):
    workers_on(RELEASE, "--card")
    assert cli.main([str(engine), *QUICK, "--batch", "8"]) == 1
    assert "got a batch of 8" in caplog.text
    assert "--batch 1 4 8" in caplog.text


def test_of_a_sweep_the_batches_that_the_engine_has_are_measured(
    engine, tmp_path, caplog, workers_on
):
    workers_on(RELEASE, "--card")
    target = tmp_path / "bench.json"
    call = [str(engine), *QUICK, "--batch", "1", "2", "4", "--json", str(target)]
    assert cli.main(call) == 1
    document = json.loads(target.read_text())
    assert [row["batch"] for row in document["rows"]] == [1, 4]
    assert [failure["batch"] for failure in document["failures"]] == [2]


def test_without_a_gpu_the_engine_says_why_and_the_onnx_file_is_measured(
    engine, tiny_model, capsys, caplog, workers_on
):
    workers_on("none")
    assert cli.main([str(engine), str(tiny_model), *QUICK, "--batch", "1"]) == 1
    assert "pycuda, which runs engines, is not installed" in caplog.text
    assert "tiny_random" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backend", "found"),
    [
        ("auto", ["a.onnx"]),  # there is no GPU here
        ("several", ["a.onnx"]),
        ("tensorrt", ["a_fp16.engine"]),
        ("onnxruntime", ["a.onnx"]),
    ],
)
def test_a_folder_stands_for_what_the_backend_runs(tmp_path, backend, found):
    for name in ("a.onnx", "a.spec.json", "a_fp16.engine", "a_fp16.engine.json", ".b.engine"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_models([tmp_path], backend)] == found


def test_engines_are_measured_where_they_run_with_the_onnx_files_that_have_none(
    tiny_model, engine_writer, tmp_path, caplog, monkeypatch
):
    caplog.set_level("INFO")
    for name in ("a.onnx", "a_conv2d.onnx"):
        shutil.copy(str(tiny_model), str(tmp_path / name))
    with board(RELEASE, CARD):
        for precision in ("fp16", "fp32"):
            engine_writer(tmp_path / f"a_{precision}.engine", tmp_path / "a.onnx", (8,), precision)
    (tmp_path / "b.engine").write_bytes(b"without a manifest")
    monkeypatch.setattr(plan, "engines_run_here", lambda: True)
    names = [path.name for path in find_models([tmp_path])]
    assert names == ["a_conv2d.onnx", "a_fp16.engine", "a_fp32.engine", "b.engine"]
    assert f"Left out {tmp_path / 'a.onnx'}: its engine, which runs on the GPU" in caplog.text
    by_name = [path.name for path in find_models([tmp_path, tmp_path / "a.onnx"])]
    assert by_name == [*names, "a.onnx"]
    monkeypatch.setattr(plan, "engines_run_here", lambda: False)
    assert [path.name for path in find_models([tmp_path])] == ["a.onnx", "a_conv2d.onnx"]
    assert f"Left out {tmp_path / 'a_fp16.engine'}, " in caplog.text
    assert "engines need TensorRT and pycuda" in caplog.text


def test_a_folder_of_engines_alone_is_not_left_out(tmp_path):
    (tmp_path / "a_fp16.engine").write_bytes(b"")
    assert [path.name for path in find_models([tmp_path])] == ["a_fp16.engine"]


def test_one_line_on_the_board_measures_what_was_built(
    tiny_model, engine_writer, tmp_path, workers_on, monkeypatch
):
    folder = tmp_path / "engines"
    folder.mkdir()
    shutil.copy(str(tiny_model), str(folder / "tiny.onnx"))
    with board(RELEASE):
        for precision in ("fp16", "fp32"):
            path = folder / f"tiny_{precision}.engine"
            engine_writer(path, folder / "tiny.onnx", (1, 8), precision)
    monkeypatch.setattr(plan, "engines_run_here", lambda: True)
    workers_on(RELEASE)
    target = tmp_path / "bench.json"
    call = [f"{folder}/", "--batch", "8", *QUICK, "--json", str(target)]
    if importlib.util.find_spec("plotly") is not None:
        call += ["--html", str(tmp_path / "report.html")]
    assert cli.main(call) == 0
    rows = json.loads(target.read_text())["rows"]
    assert [row["file"] for row in rows] == [
        str(folder / f"tiny_{precision}.engine") for precision in ("fp16", "fp32")
    ]


def test_the_overhead_of_the_runner_is_measured_on_engines(engine, capsys):
    with board(RELEASE, CARD):
        call = [str(engine), "--batch", "1", "4", "--turns", "3"]
        assert overhead.main(call) == 0
        output = capsys.readouterr().out
        assert "tiny tensorrt batch 4" in output
        assert overhead.main([str(engine), "--batch", "2"]) == 1
