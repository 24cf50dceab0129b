"""train-clips evaluate: the same figures from a checkpoint, its ONNX file and its engine."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
import pytest
import torch
from stand_ins import TX2, board

from clipedge.export.cli import main as export
from clipedge.export.onnx_graph import build_onnx
from clipedge.jetson.runners import open_runner
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import load_checkpoint, save_checkpoint
from clipedge.trainside.cli import main
from clipedge.trainside.data.clips import EvaluationClips
from clipedge.trainside.data.gestures import LABELS
from clipedge.trainside.data.synthetic import SyntheticClips
from clipedge.trainside.models import create_model
from clipedge.trainside.normalisation import normalise
from clipedge.trainside.scoring import ModelScorer, RunnerScorer, score_videos

PATIENCE_S = 60  # the machine may be busy
KINDS = ("checkpoint", "onnx", "engine")
FIGURES = ("clips", "clip_top1", "clip_top5", "videos", "video_top1", "video_top5", "confusion")


def save(path, labels, settled=False, **extra):
    """Write a tiny model with random weights; settled ones tell clips apart."""
    torch.manual_seed(0)
    spec = ClipSpec("shufflenetv2", tuple(labels), width=0.25, frames=8, size=32, dataset="test")
    model = create_model("shufflenetv2", 0.25, len(labels), dropout=0.0)
    if settled:
        settle(model, spec)
    save_checkpoint(path, model, spec, **extra)
    return path


def settle(model, spec):
    """Set the statistics of the batch norms from clips of the data."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.momentum = None  # a plain average
    source = SyntheticClips(24, "training", 0, spec.labels)
    clips = np.stack([source.window(number, spec).frames for number in range(len(source))])
    with torch.no_grad():
        model.train()(normalise(torch.from_numpy(clips), spec))
    model.eval()


class Files(NamedTuple):
    checkpoint: pathlib.Path
    onnx: pathlib.Path
    engine: pathlib.Path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model as a checkpoint, as an ONNX file and as an engine for batches of 4 and 8."""
    pytest.importorskip("onnxruntime", reason="onnxruntime computes for the stand-ins")
    folder = tmp_path_factory.mktemp("model")
    checkpoint = save(folder / "x.pt", LABELS, settled=True)
    call = ["--checkpoint", str(checkpoint), "--output", str(folder), "--batch", "4", "8"]
    with board("8.2.1", gpu=TX2):
        assert export([*call, "--precision", "fp32", "--graph", "conv3d"]) == 0
    (onnx,), (engine,) = folder.glob("*.onnx"), folder.glob("*.engine")
    return Files(checkpoint, onnx, engine)


def machine_of(kind):
    return board("8.2.1", gpu=TX2) if kind == "engine" else contextlib.nullcontext()


@pytest.fixture
def evaluate(capsys):
    """`evaluate(kind, file, *flags)`: the JSON result."""

    def run(kind, file, *flags):
        with machine_of(kind):
            call = ["evaluate", f"--{kind}", str(file), *map(str, flags), "--json"]
            backend = ["--backend", "onnxruntime"] if kind == "onnx" else []
            assert main([*call, "--workers", "0", *backend]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def refused(capsys, status, *call):
    """The one line that says what is wrong."""
    assert main(["evaluate", *map(str, call)]) == status
    done = capsys.readouterr()
    assert "Traceback" not in done.err and done.out == ""
    (line,) = [one for one in done.err.splitlines() if one.startswith("train-clips: ")]
    return line


# --- The same figures from any file ---------------------------------------------------------------


def test_checkpoint_onnx_and_engine_have_the_same_accuracy_to_the_digit(files, evaluate):
    flags = ("--clips", 54, "--batch", 7)
    results = {kind: evaluate(kind, getattr(files, kind), *flags) for kind in KINDS}
    for kind in KINDS:
        assert results[kind]["model"]["kind"] == kind
        for figure in FIGURES:
            assert results[kind][figure] == results["checkpoint"][figure], (kind, figure)
    assert results["checkpoint"]["model"]["backend"] == "pytorch"
    assert results["onnx"]["model"]["backend"] == "onnxruntime"
    assert results["engine"]["model"]["backend"] == "tensorrt"
    guesses = np.array(results["onnx"]["confusion"]["counts"]).sum(axis=0)
    assert np.count_nonzero(guesses) > 1, "a model that always says the same proves nothing"


def test_their_scores_are_the_same(files):
    model, spec, _ = load_checkpoint(files.checkpoint)
    clips = EvaluationClips(SyntheticClips(13, "validation", 0, spec.labels), spec)
    exact = score_videos(ModelScorer(model, spec, 32), clips, 0)
    for kind in ("onnx", "engine"):
        with machine_of(kind), open_runner(getattr(files, kind)) as runner:
            found = score_videos(RunnerScorer(runner, 32), clips, 0)
        np.testing.assert_allclose(found.scores, exact.scores, atol=1e-4)
        np.testing.assert_array_equal(found.targets, exact.targets)
    moved = np.ptp(exact.scores, axis=0).max()
    assert 0.01 < moved < 0.99, "scores that hardly move, or only jump, prove nothing"


# --- What it says ---------------------------------------------------------------------------------


def test_evaluate_prints_json_for_generated_clips(tmp_path, evaluate):
    result = evaluate("checkpoint", save(tmp_path / "x.pt", LABELS), "--clips", 54)
    assert result["format_version"] == 1
    assert result["clips"] == result["videos"] == 54
    assert 0.0 <= result["clip_top1"] <= result["clip_top5"] <= 1.0
    low, high = result["clip_interval"]
    assert low <= result["clip_top1"] <= high
    assert [one["label"] for one in result["classes"]] == list(LABELS)
    assert np.sum(result["confusion"]["counts"]) == 54
    assert result["problems"] == result["left_out"] == []


def test_it_prints_a_table_its_certainty_and_draws_the_confusion(classes, tmp_path, capsys):
    checkpoint = save(tmp_path / "x.pt", ("dark", "bright"))
    picture = tmp_path / "new" / "confusion.png"
    call = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(classes)]
    assert main([*call, "--confusion", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "most often taken for" in out
    assert "95 % interval of video top-1 with 10 videos" in out
    assert "top-5 says nothing with 2 classes" in out
    assert f"confusion matrix: {picture}" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_damaged_videos_are_counted_and_listed(classes, tmp_path, evaluate, caplog):
    for name in ("dark/0.avi", "bright/3.avi"):
        (classes / name).write_bytes(b"this is no video")
    result = evaluate("checkpoint", save(tmp_path / "x.pt", ("dark", "bright")), "--data", classes)
    assert result["videos"] == 8
    assert len(result["problems"]) == 2
    assert "3.avi" in result["problems"][0] + result["problems"][1]
    assert "2 damaged videos" in caplog.text


def test_only_damaged_videos_are_an_error(classes, tmp_path, capsys):
    for path in classes.glob("*/*.avi"):
        path.write_bytes(b"")
    checkpoint = save(tmp_path / "x.pt", ("dark", "bright"))
    line = refused(capsys, 1, "--checkpoint", checkpoint, "--data", classes, "--workers", 0)
    assert "There are no clips in" in line
    assert "(10 such videos)" in line


# --- Whose videos, whose classes ------------------------------------------------------------------


def test_a_folder_is_measured_in_the_models_order_of_classes(classes, tmp_path, evaluate):
    checkpoint = save(tmp_path / "x.pt", ("other", "dark", "bright"))
    result = evaluate("checkpoint", checkpoint, "--data", classes)
    assert result["videos"] == 10
    assert [one["label"] for one in result["classes"]] == ["dark", "bright"]
    assert result["confusion"]["labels"] == ["other", "dark", "bright"]
    rows = np.sum(result["confusion"]["counts"], axis=1).tolist()
    assert rows[0] == 0 and rows[1] == rows[2] > 0
    assert (
        evaluate("checkpoint", checkpoint, "--data", classes, "--part", "validation")["videos"] == 2
    )


def test_videos_the_model_was_trained_on_are_left_out(classes, tmp_path, evaluate):
    here = save(tmp_path / "x.pt", ("dark", "bright"), data=str(classes.resolve()))
    assert "(validation videos)" in evaluate("checkpoint", here, "--data", classes)["data"]
    other = save(tmp_path / "y.pt", ("dark", "bright"), data=str(tmp_path / "another"))
    assert "(all videos)" in evaluate("checkpoint", other, "--data", classes)["data"]


def test_of_an_official_data_set_the_validation_part_is_taken(tmp_path, evaluate):
    """A model that saw its training part may have been exported, imported or renamed since."""
    import cv2

    data = tmp_path / "jester"
    for number in range(4):
        folder = data / "20bn-jester-v1" / str(number)
        folder.mkdir(parents=True)
        for frame in range(1, 4):
            cv2.imwrite(str(folder / f"{frame:05d}.jpg"), np.full((50, 60, 3), 60 * number))
    (data / "jester-v1-labels.csv").write_text("dark\nbright\n")
    (data / "jester-v1-train.csv").write_text("0;dark\n3;bright\n")
    (data / "jester-v1-validation.csv").write_text("1;dark\n2;bright\n")
    checkpoint = save(tmp_path / "x.pt", ("dark", "bright"))
    for flags, count, part in (((), 2, "validation"), (("--part", "all"), 4, "all")):
        result = evaluate("checkpoint", checkpoint, "--data", data, *flags)
        assert result["videos"] == count
        assert f"({part} videos)" in result["data"]


def test_an_exported_model_is_known_by_the_name_of_its_data(classes, tmp_path, evaluate):
    """An ONNX file does not say which folder its model learned from, but what it was called."""
    data = classes.rename(tmp_path / "test")
    model, spec, _ = load_checkpoint(save(tmp_path / "x.pt", ("dark", "bright")))
    onnx = tmp_path / "x.onnx"
    onnx.write_bytes(build_onnx(model, spec))
    assert "(validation videos)" in evaluate("onnx", onnx, "--data", data)["data"]


@pytest.mark.parametrize(
    ("labels", "data", "message"),
    [
        (("x", "y"), "synthetic", "other classes"),
        (("x", "y"), "{classes}", "no class 'bright', 'dark'; its classes are 'x', 'y'."),
        (("dark", "Brigth"), "{classes}", "no class 'bright'; the nearest is 'Brigth'."),
        (("x", "y"), "{tmp}/none", "no such folder"),
    ],
)
def test_data_of_other_classes_is_refused(classes, tmp_path, capsys, labels, data, message):
    checkpoint = save(tmp_path / "x.pt", labels)
    data = data.replace("{classes}", str(classes)).replace("{tmp}", str(tmp_path))
    assert message in refused(capsys, 2, "--checkpoint", checkpoint, "--data", data)


def test_classes_are_compared_before_anything_is_decoded(classes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(EvaluationClips, "__getitem__", lambda *_: pytest.fail("decoded"))
    checkpoint = save(tmp_path / "x.pt", ("x", "y"))
    refused(capsys, 2, "--checkpoint", checkpoint, "--data", classes, "--workers", 0)


def test_a_folder_without_validation_videos_says_what_to_do(classes, tmp_path, capsys):
    for path in classes.glob("*/*.avi"):
        if path.stem != "0":
            path.unlink()
    checkpoint = save(tmp_path / "x.pt", ("dark", "bright"))
    call = ("--checkpoint", checkpoint, "--data", classes, "--part", "validation")
    assert "--part all" in refused(capsys, 2, *call)


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_ctrl_c_stops_it_with_one_line_and_leaves_no_worker(tmp_path):
    checkpoint = save(tmp_path / "x.pt", LABELS)
    call = [sys.executable, "-m", "clipedge.trainside.cli", "evaluate"]
    call += ["--checkpoint", str(checkpoint), "--clips", "100000", "--workers", "1"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True)
    seen = ""
    while "clip top-1" not in seen:  # of the progress bar: workers are at work
        seen += process.stderr.read(1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, rest = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert rest.splitlines()[-1] == "train-clips: interrupted; no file is left half-written."
    assert "Traceback" not in seen + rest
    deadline_s = time.monotonic() + PATIENCE_S
    while running(process.pid):
        assert time.monotonic() < deadline_s, "a worker lives on"
        time.sleep(0.05)


def running(group):
    """Processes of a group that are no zombies, as a container without init leaves them."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, member = status.read_text().rpartition(")")[2].split()[:3]
            if int(member) == group and state != "Z":
                found.append(status)
    return found


# --- Wrong calls ----------------------------------------------------------------------------------


def test_a_checkpoint_that_is_none_is_refused(tmp_path, capsys):
    (tmp_path / "x.pt").write_bytes(b"nonsense")
    refused(capsys, 1, "--checkpoint", tmp_path / "x.pt")
    refused(capsys, 2, "--checkpoint", tmp_path / "none.pt")
    refused(capsys, 2, "--onnx", tmp_path / "none.onnx")
    refused(capsys, 2, "--engine", tmp_path / "none.engine")


def test_files_and_flags_that_do_not_fit_are_refused(tmp_path, capsys):
    checkpoint = save(tmp_path / "x.pt", LABELS)
    assert "Give it as --onnx" in refused(capsys, 2, "--engine", "a.onnx")
    assert "Give it as --engine" in refused(capsys, 2, "--onnx", "a.engine")
    assert "with PyTorch" in refused(
        capsys, 2, "--checkpoint", checkpoint, "--backend", "onnxruntime"
    )
    for wrong, message in (("a.jpg", "FILE.png"), (".", "FILE.png"), ("d.png", "folder")):
        (tmp_path / "d.png").mkdir(exist_ok=True)
        line = refused(capsys, 2, "--checkpoint", checkpoint, "--confusion", tmp_path / wrong)
        assert message in line
