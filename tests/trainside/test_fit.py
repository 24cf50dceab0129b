"""train-clips fit: it saves whole checkpoints, and says what is wrong before it starts."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import torch

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import load_checkpoint, save_checkpoint
from clipedge.trainside.cli import main
from clipedge.trainside.models import create_model
from clipedge.trainside.recipes import recipe_with
from clipedge.trainside.run_folder import RunFolder, folder_for

MODEL = ["--model", "shufflenetv2", "--width", "0.25"]
SMALL = ["--size", "32", "--frames", "8", "--epoch-clips", "8", "--batch", "4", "--epochs", "1"]
ALONE = ["--devices", "1", "--workers", "0", "--threads", "1"]
TINY = [*MODEL, *SMALL, *ALONE]


def fit(*arguments: object) -> int:
    return main(["fit", *map(str, arguments)])


def test_a_folder_called_synthetic_is_not_taken_for_generated(tmp_path, write_video, grey_ramp):
    for name in ("wave", "left"):
        for number in range(3):
            write_video(tmp_path / "synthetic" / name / f"{number}.avi", grey_ramp(60), 12.0)
    output = tmp_path / "m.pt"
    assert fit(*TINY, "--data", tmp_path / "synthetic", "--output", output) == 0
    spec = load_checkpoint(output).spec
    assert spec.labels == ("left", "wave")
    assert spec.dataset == "synthetic_folder"


def test_fit_on_a_folder_saves_a_checkpoint_that_evaluate_reads(classes, tmp_path, capsys):
    output = tmp_path / "out" / "two.pt"
    arguments = ["--data", classes, "--output", output, "--epochs", "4", "--epoch-clips", "40"]
    assert fit(*TINY, *arguments) == 0
    out = capsys.readouterr().out
    assert "validation: clip top-1" in out
    assert f"next: export-engine --checkpoint {output}" in out
    folder = output.with_suffix(".training")
    assert sorted(path.name for path in output.parent.iterdir()) == ["two.pt", "two.training"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.ckpt",
        "confusion.png",
        "metrics.csv",
        "settings.json",
        "tensorboard",
    ]
    assert len(folder.joinpath("metrics.csv").read_text().splitlines()) == 1 + 4
    checkpoint = load_checkpoint(output)
    assert checkpoint.spec.labels == ("bright", "dark")
    assert checkpoint.spec.dataset == "clips"
    assert checkpoint.spec.size == 32
    assert checkpoint.spec.frames == 8
    assert checkpoint.extra["data"] == str(classes.resolve())
    assert checkpoint.extra["validation_top1"] >= 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "shufflenetv9"], 2, "did you mean"),
        (["--model", "shufflenetv1", "--width", "0.7"], 2, "0.5"),
        ([*TINY, "--data", "{tmp}/none"], 2, "no such folder"),
        ([*TINY, "--data", "{tmp}/empty"], 2, "at least two classes"),
        ([*TINY, "--output", "{tmp}/file/x.pt"], 1, "folder is needed"),
        ([*TINY, "--output", "{tmp}/empty"], 2, "is a folder"),
        ([*TINY, "--batch", "1"], 2, "2 or more"),
        ([*TINY, "--seed", "-3"], 2, "0 or more"),
        ([*TINY, "--seed", str(2**64)], 2, "below 2^63"),
        ([*TINY, "--output", "{tmp}/x.training"], 2, "--resume"),
        ([*TINY, "--recipe", "paper-jester", "--minutes", "5"], 2, "--schedule one-cycle"),
        ([*TINY, "--patience", "5"], 2, "--schedule plateau"),
        ([*TINY, "--momentum", "0.5"], 2, "--optimizer sgd"),
        ([*TINY, "--data", "{tmp}/empty", "--clips", "5"], 2, "--data synthetic"),
        ([*TINY, "--scales", "1.5"], 2, "--scales"),
        ([*TINY, "--schedule", "steps"], 2, "--milestones"),
        ([*TINY, "--freeze", "backbone"], 2, "--init-from"),
        ([*TINY, "--init-from", "{tmp}/none.pt"], 2, "no such file"),
        (["--model", "shufflenetv1", "--width", "0.5", "--size", "32"], 2, "cannot take clips"),
        (["--data", "synthetic"], 2, "--model is missing"),
        (["--resume", "{tmp}/empty"], 2, "no training that can be resumed"),
        (["--resume", "{tmp}/empty", "--epochs", "9"], 2, "leave out --epochs"),
    ],
)
def test_a_wrong_call_is_told_in_a_line_or_two(tmp_path, capsys, arguments, status, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert fit(*arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_a_folder_of_damaged_videos_alone_is_told(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "clips" / name / f"{number}.mp4").write_bytes(b"nothing")
    assert fit(*TINY, "--data", tmp_path / "clips", "--output", tmp_path / "x.pt") == 1
    error = capsys.readouterr().err
    assert "0.mp4" in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_recordings_are_counted_listed_and_not_fatal(classes, tmp_path, capsys, workers):
    (classes / "dark" / "0.avi").write_bytes(b"nothing")
    (classes / "dark" / "zero.avi").write_bytes(b"")
    arguments = ["--data", classes, "--output", tmp_path / "x.pt", "--workers", workers]
    assert fit(*TINY, *arguments) == 0
    error = capsys.readouterr().err
    assert "2 recordings could not be read" in error
    listed = (tmp_path / "x.training" / "damaged.txt").read_text()
    assert "0.avi" in listed
    assert "zero.avi" in listed
    assert len(listed.splitlines()) == 2


def test_two_processes_list_what_either_could_not_read_and_share_one_video(
    classes, tmp_path, command
):
    """The second process has no video to validate on; it must not leave the first waiting."""
    damaged = [classes / name / "4.avi" for name in ("bright", "dark")]
    for path in damaged:
        path.write_bytes(b"nothing")
    files = sorted(classes.glob("*/*.avi"))
    parts = ["validation", *["training"] * (len(files) - 1)]
    lines = [f"{path.relative_to(classes)},{part}" for path, part in zip(files, parts, strict=True)]
    (classes / "split.csv").write_text("file,part\n" + "\n".join(lines) + "\n")
    arguments = ["--data", str(classes), "--devices", "2", "--workers", "0", "--epoch-clips", "18"]
    process = start_fit(command, tmp_path, *arguments, *MODEL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    listed = (tmp_path / "x.training" / "damaged.txt").read_text()
    assert all(str(path) in listed for path in damaged)
    assert len(listed.splitlines()) == 2


def test_each_recipe_trains_and_every_value_can_be_changed(classes, tmp_path, capsys):
    start = tmp_path / "start.pt"
    assert fit(*TINY, "--data", classes, "--output", start) == 0
    for name in ("paper-jester", "paper-kinetics600", "paper-ucf101-finetune", "quick"):
        output = tmp_path / f"{name}.pt"
        source = ["--init-from", start] if "finetune" in name else MODEL
        arguments = [*source, "--recipe", name, "--data", classes, "--output", output]
        assert fit(*arguments, *SMALL, *ALONE, "--stop-after", "1", "--crop", "corner") == 0
        checkpoint = load_checkpoint(output)
        assert checkpoint.extra["recipe"] == name
        assert checkpoint.extra["epochs"] == 1
        settings = json.loads((tmp_path / f"{name}.training" / "settings.json").read_text())
        assert settings["crop"] == "corner"
        assert settings["epochs"] == 1
    # 0.9 before the last layer, from weights of the same classes: nothing else may change.
    assert load_checkpoint(tmp_path / "paper-ucf101-finetune.pt").model.config.options == {
        "dropout": 0.9
    }
    assert "last layer is new" not in capsys.readouterr().err


def test_other_classes_get_a_new_last_layer_and_that_is_said(classes, tmp_path, capsys):
    labels = ("a", "b", "c")
    spec = ClipSpec(
        "shufflenetv2", labels, width=0.25, size=32, frames=8, std=(7.0, 8.0, 9.0), dataset="abc"
    )
    torch.manual_seed(3)
    model = create_model("shufflenetv2", 0.25, 3)
    save_checkpoint(tmp_path / "abc.pt", model, spec)
    output = tmp_path / "own.pt"
    arguments = ["--init-from", tmp_path / "abc.pt", "--freeze", "backbone", "--epochs", "1"]
    assert fit(*arguments, "--data", classes, "--output", output, *ALONE, "--epoch-clips", 8) == 0
    error = capsys.readouterr().err
    assert "last layer is new" in error
    assert "chance, 50.0 %" in error
    tuned, tuned_spec, _ = load_checkpoint(output)
    assert tuned_spec.labels == ("bright", "dark")
    assert tuned_spec[5:] == spec[5:]  # frames, size, stride, rate, order of colours, mean, std
    before, after = model.state_dict(), tuned.state_dict()
    same = {name for name in before if before[name].equal(after[name])}
    assert set(before) - same == {"classifier.1.weight", "classifier.1.bias"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "4", "--devices", "3"], "Raise --batch to 6"),
        (["--batch", "4", "--accumulate", "3"], "Raise --batch to 6"),
        (["--nodes", "2"], "MASTER_ADDR"),
    ],
)
def test_work_that_cannot_be_shared_so_is_refused(tmp_path, capsys, arguments, message):
    assert fit(*TINY, "--clips", "8", "--output", tmp_path / "x.pt", *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_fp16_is_not_replaced_silently_on_a_cpu(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here, which trains in fp16")
    output = tmp_path / "x.pt"
    assert fit(*TINY, "--clips", "8", "--output", output, "--precision", "fp16") == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_a_plateau_without_validation_is_refused(classes, tmp_path, capsys):
    for path in classes.glob("*/*.avi"):
        if path.stem != "0":
            path.unlink()
    data = ["--data", classes, "--output", tmp_path / "x.pt"]
    assert fit(*TINY, *data, "--recipe", "paper-jester") == 2
    assert "no recording for validation" in capsys.readouterr().err
    assert fit(*TINY, *data) == 0  # quick goes by steps
    assert load_checkpoint(tmp_path / "x.pt").extra["validation_top1"] is None


def test_validation_videos_that_cannot_be_read_at_all_are_told(classes, tmp_path, capsys):
    lines = ["file,part"]
    for path in sorted(classes.glob("*/*.avi")):
        held_out = path.stem == "0"
        if held_out:
            path.write_bytes(b"nothing")
        lines.append(f"{path.relative_to(classes)},{'validation' if held_out else 'training'}")
    (classes / "split.csv").write_text("\n".join(lines) + "\n")
    assert fit(*TINY, "--data", classes, "--output", tmp_path / "x.pt") == 1
    error = capsys.readouterr().err
    assert "None of the validation videos can be read" in error
    assert "0.avi" in error
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.fixture
def unfinished(classes, tmp_path, monkeypatch, capsys):
    """The folder of a training whose checkpoint met a full disk."""

    def full(*_: object, **__: object) -> None:
        raise ClipedgeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("clipedge.trainside.fit.save_checkpoint", full)
        assert fit(*TINY, "--data", classes, "--output", tmp_path / "own.pt") == 1
    folder = tmp_path / "own.training"
    assert f"train-clips fit --resume {folder}" in capsys.readouterr().err
    return folder


def test_a_disk_full_at_the_very_end_loses_nothing(unfinished, classes, tmp_path, capsys):
    assert not (unfinished / "cache").exists()
    # It goes on where folder and data set were moved to.
    moved, data = tmp_path / "other" / "own.training", tmp_path / "data"
    moved.parent.mkdir()
    unfinished.rename(moved)
    classes.rename(data)
    assert fit("--resume", moved) == 2
    assert "no such folder" in capsys.readouterr().err
    assert fit("--resume", f"{moved}/", "--data", data) == 0
    best = torch.load(moved / "best.ckpt", weights_only=True)["state_dict"]
    for name, tensor in load_checkpoint(tmp_path / "other" / "own.pt").model.state_dict().items():
        assert tensor.equal(best[f"model.{name}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "other"]


@pytest.mark.parametrize("change", ["a class is renamed", "a video is gone"])
def test_a_training_does_not_go_on_with_other_data(unfinished, classes, capsys, change):
    if change == "a class is renamed":
        (classes / "dark").rename(classes / "afternoon")
    else:
        (classes / "dark" / "1.avi").unlink()
    assert fit("--resume", unfinished) == 2
    assert "not those that the training began with" in capsys.readouterr().err
    assert (unfinished / "last.ckpt").exists()


def test_a_training_does_not_go_on_with_another_number_of_processes(unfinished, capsys):
    assert fit("--resume", unfinished, "--devices", "2") == 2
    assert "Resume it with --devices 1" in capsys.readouterr().err
    assert (unfinished / "last.ckpt").exists()


def test_settings_hold_every_value_of_the_recipe(unfinished):
    settings = json.loads((unfinished / "settings.json").read_text())
    recipe = recipe_with("quick", {"epochs": 1, "batch": 4, "epoch_clips": 8})
    for name, value in dataclasses.asdict(recipe).items():
        assert settings[name] == (list(value) if isinstance(value, tuple) else value)


def test_a_second_training_in_the_same_folder_is_refused(unfinished, classes, capsys):
    running = RunFolder(unfinished)
    running.hold()
    assert fit("--resume", unfinished) == 2
    assert "runs in" in capsys.readouterr().err
    (unfinished / "last.ckpt").unlink()
    output = unfinished.with_name("own.pt")
    before = sorted(path.name for path in unfinished.iterdir())
    assert fit(*TINY, "--data", classes, "--output", output) == 2
    assert "runs in" in capsys.readouterr().err
    assert sorted(path.name for path in unfinished.iterdir()) == before
    running.give_up()


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("own.pt", "own.training"),
        ("own.v2.pth", "own.v2.training"),
        ("net_0.5x", "net_0.5x.training"),
        ("own", "own.training"),
    ],
)
def test_each_checkpoint_has_a_folder_of_its_own(tmp_path, output, folder):
    path = tmp_path / output
    assert folder_for(path) == tmp_path / folder
    assert RunFolder(folder_for(path)).output(str(path)) == path.resolve()
    assert RunFolder(tmp_path / "renamed.training").output(str(path)).name == "renamed.pt"


def test_a_training_that_has_not_ended_is_not_overwritten(classes, tmp_path, capsys):
    folder = tmp_path / "x.training"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes(b"weeks of work")
    assert fit(*TINY, "--data", classes, "--output", tmp_path / "x.pt") == 2
    assert f"train-clips fit --resume {folder}" in capsys.readouterr().err
    assert (folder / "last.ckpt").read_bytes() == b"weeks of work"


def test_interrupting_before_anything_was_saved_leaves_nothing(tmp_path, command):
    process = start_fit(command, tmp_path, "--clips", "20000", "--epochs", "2", *MODEL)
    wait_for(process, b"Epoch 1 of")
    rest = interrupt(process)
    assert b"resume" not in rest
    assert list(tmp_path.iterdir()) == []


def test_interrupting_later_says_how_to_go_on(tmp_path, command):
    process = start_fit(command, tmp_path, "--clips", "8", "--epochs", "5000", *MODEL)
    wait_for(process, b"Epoch 2 of")
    rest = interrupt(process)
    folder = tmp_path / "x.training"
    assert f"train-clips fit --resume {folder}".encode() in rest
    assert [path.name for path in tmp_path.iterdir()] == ["x.training"]
    assert (folder / "last.ckpt").exists()
    assert not (folder / "cache").exists()


def test_workers_end_with_a_training_that_was_killed(tmp_path, command):
    process = start_fit(command, tmp_path, "--clips", "2000", "--epoch-clips", "2000", *MODEL)
    wait_for(process, b"Epoch 1 of")
    process.kill()
    process.wait()
    assert _ends(process.pid)


def start_fit(command, folder: pathlib.Path, *arguments: str) -> "subprocess.Popen[bytes]":
    call = [command("train-clips"), "fit", *SMALL, "--output", str(folder / "x.pt"), *arguments]
    return subprocess.Popen(call, stderr=subprocess.PIPE, start_new_session=True)


def wait_for(process: "subprocess.Popen[bytes]", text: bytes) -> None:
    assert process.stderr is not None
    seen = b""
    while text not in seen:
        more = process.stderr.read(1)
        assert more, seen
        seen += more
    time.sleep(1.0)


def interrupt(process: "subprocess.Popen[bytes]") -> bytes:
    """End it as a terminal does, all processes at once; return what it said then."""
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in rest, rest.decode()
    assert b"interrupted" in rest
    assert _ends(process.pid)
    return rest


def _ends(group: int) -> bool:
    """Whether all processes of a group are gone within a few seconds."""
    for _ in range(80):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
