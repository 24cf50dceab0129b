import hashlib
import json
import subprocess

import pytest
import torch

from clipedge.export import export_model as module
from clipedge.export.export_model import export_model
from clipedge.export.parity import ParityError
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.recogniser_settings import (
    RecogniserSettings,
    load_settings,
    settings_path,
)
from clipedge.jetson.runners import open_runner
from clipedge.jetson.spec import ClipSpec, load_spec
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.models import create_model

LABELS = ("wave", "swipe", "stop")


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a small, untrained model with a small clip."""
    torch.manual_seed(3)
    spec = ClipSpec(
        model="shufflenetv2", width=0.25, labels=LABELS, dataset="mine", frames=8, size=32
    )
    path = tmp_path / "model.pt"
    save_checkpoint(path, create_model("shufflenetv2", 0.25, num_classes=3).eval(), spec)
    return path


def test_a_checkpoint_becomes_one_set_of_files_that_belong_together(checkpoint, tmp_path):
    result = export_model(checkpoint=str(checkpoint), output=tmp_path / "out")
    names = [path.name for path in result.files]
    assert names == [
        "shufflenetv2_0.25x_mine.onnx",
        "shufflenetv2_0.25x_mine.spec.json",
        "shufflenetv2_0.25x_mine.parity.json",
        "shufflenetv2_0.25x_mine_conv2d.onnx",
        "shufflenetv2_0.25x_mine_tensorcore.onnx",
        "shufflenetv2_0.25x_mine.recogniser.json",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert load_spec(result.files[1]).labels == LABELS
    report = json.loads(result.files[2].read_text())
    assert report["passed"]
    assert report["onnx_sha256"] == hashlib.sha256(result.files[0].read_bytes()).hexdigest()
    with open_runner(result.files[0], backend="onnxruntime") as runner:
        assert runner.spec == result.spec


def test_the_recognisers_settings_are_written_once_and_kept(checkpoint, tmp_path):
    result = export_model(checkpoint=str(checkpoint), graph="conv3d", output=tmp_path / "out")
    assert load_settings(result.files[0], LABELS) == RecogniserSettings()
    RecogniserSettings(threshold=0.9).save(settings_path(result.files[0]))
    again = export_model(checkpoint=str(checkpoint), graph="conv3d", output=tmp_path / "out")
    assert load_settings(again.files[0], LABELS).threshold == 0.9
    assert settings_path(again.files[0]) not in again.files


def test_past_the_tolerance_no_file_is_left(checkpoint, tmp_path, monkeypatch):
    right = module.build_onnx

    def wrong(model, spec, opset):
        other = create_model("shufflenetv2", 0.25, num_classes=3).eval()
        return right(other, spec, opset)

    monkeypatch.setattr(module, "build_onnx", wrong)
    with pytest.raises(ParityError):
        export_model(checkpoint=str(checkpoint), output=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_random_weights_are_said_loudly_and_named_so(tmp_path, caplog):
    result = export_model(model="shufflenetv2", width=0.25, batches=[1], output=tmp_path)
    assert "RANDOM WEIGHTS" in caplog.text
    assert result.files[0].name == "shufflenetv2_0.25x_random.onnx"
    assert result.parity.conclusive
    assert result.spec.num_classes == 27


def test_a_wrong_opset_is_refused_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="--opset 99: known are 11 to 17"):
        export_model(model="squeezenet", opset=99, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_takes_no_files_is_heard_of_before_the_work(checkpoint, monkeypatch):
    monkeypatch.setattr(module, "build_onnx", lambda *_: pytest.fail("exported all the same"))
    with pytest.raises(ClipedgeError, match=r"^/sys: "):
        export_model(checkpoint=str(checkpoint), output="/sys")


def test_an_unknown_model_names_the_nearest(tmp_path):
    with pytest.raises(ClipedgeError, match="shufflenetv1"):
        export_model(model="shuflenetv1", output=tmp_path)


def test_the_command_prints_json_alone_on_stdout(command, checkpoint, tmp_path):
    arguments = ["--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), "--json"]
    done = subprocess.run(
        [command("export-engine"), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["parity"]["passed"]
    assert result["files"][0].endswith("shufflenetv2_0.25x_mine.onnx")
