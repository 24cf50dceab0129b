"""A training that was killed, or shared by several processes, comes to the same weights."""

import os
import pathlib
import subprocess
import time

import pytest
import torch

from clipedge.trainside.cli import main
from clipedge.trainside.run_folder import RunFolder

DATA = ["--clips", "32", "--seed", "4", "--size", "32", "--frames", "8"]
MODEL = ["--model", "shufflenetv2", "--width", "0.25", "--dropout", "0.5"]
# 4 steps an epoch of 8 clips, in two parts of 4.
PARTS = ["--batch", "8", "--epoch-clips", "32", "--workers", "0", "--threads", "1"]
ARGUMENTS = [*MODEL, *DATA, *PARTS]
TOLERANCE = 1e-6  # processes add their gradients up in another order than one does


def fit(output: pathlib.Path, *arguments: str) -> None:
    assert main(["fit", *ARGUMENTS, "--output", str(output), *arguments]) == 0


def weights(output: pathlib.Path) -> dict[str, torch.Tensor]:
    return torch.load(output, weights_only=True)["state_dict"]


def figures(output: pathlib.Path) -> list[list[str]]:
    rows = RunFolder(output.with_suffix(".training")).read_metrics()
    return [[value for name, value in row.items() if name != "seconds"] for row in rows]


def start(command, output: pathlib.Path, *arguments: str) -> "subprocess.Popen[bytes]":
    call = [command("train-clips"), "fit", *ARGUMENTS, "--output", str(output), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(call, stderr=subprocess.DEVNULL, env=environment)


def wait_until(happened, process: "subprocess.Popen[bytes]") -> None:
    while not happened():
        assert process.poll() is None, "it ended before"
        time.sleep(0.02)


def steps_saved(folder: RunFolder) -> int:
    """Return the step that ``last.ckpt`` was saved at; 0 where there is none yet."""
    try:
        return int(torch.load(folder.last, weights_only=True)["global_step"])
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("schedule", ["one-cycle", "plateau"])
def test_a_killed_and_resumed_training_is_as_if_undisturbed(tmp_path, command, schedule):
    """It is killed within an epoch, with a save of its middle."""
    arguments = ["--devices", "1", "--epochs", "4", "--schedule", schedule]
    # 16 micro-batches an epoch: the clock is looked at after the tenth.
    arguments += ["--batch", "4", "--epoch-clips", "64"]
    fit(tmp_path / "whole.pt", *arguments)

    killed = tmp_path / "killed.pt"
    folder = RunFolder(killed.with_suffix(".training"))
    process = start(command, killed, *arguments, "--save-minutes", "0.00001")
    wait_until(lambda: steps_saved(folder) in (26, 42), process)
    process.kill()
    process.wait()
    saved = steps_saved(folder)
    assert 16 < saved < 64
    assert not killed.exists()

    assert main(["fit", "--resume", str(folder.path)]) == 0
    first, second = weights(tmp_path / "whole.pt"), weights(killed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert figures(tmp_path / "whole.pt")[2:] == figures(killed)[2:]
    assert not folder.last.exists()


def test_two_processes_come_to_the_weights_of_one_that_accumulates(tmp_path, command):
    """One epoch, so that both keep its weights; they share dropout and augmentation too."""
    fit(tmp_path / "one.pt", "--devices", "1", "--accumulate", "2", "--epochs", "1")
    process = start(command, tmp_path / "two.pt", "--devices", "2", "--epochs", "1")
    assert process.wait(timeout=300) == 0
    one, two = weights(tmp_path / "one.pt"), weights(tmp_path / "two.pt")
    moved = False
    for name in one:
        if "running" in name or "batches_tracked" in name:
            continue  # each process averages what it saw itself
        moved = moved or not torch.equal(one[name], torch.zeros(()))
        torch.testing.assert_close(two[name], one[name], rtol=TOLERANCE, atol=TOLERANCE)
    assert moved


def test_two_killed_processes_go_on_together(tmp_path, command):
    arguments = ["--devices", "2", "--epochs", "3"]
    whole = start(command, tmp_path / "whole.pt", *arguments)
    assert whole.wait(timeout=300) == 0
    killed = tmp_path / "killed.pt"
    folder = RunFolder(killed.with_suffix(".training"))
    process = start(command, killed, *arguments)
    wait_until(lambda: steps_saved(folder) >= 4, process)
    process.kill()
    process.wait()
    resumed = [command("train-clips"), "fit", "--resume", str(folder.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(resumed, env=environment, check=True, timeout=300, stderr=subprocess.DEVNULL)
    first, second = weights(tmp_path / "whole.pt"), weights(killed)
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=TOLERANCE, atol=TOLERANCE)


def test_resuming_what_has_ended_is_told(tmp_path, capsys):
    fit(tmp_path / "x.pt", "--devices", "1", "--epochs", "1")
    assert main(["fit", "--resume", str(tmp_path / "x.training")]) == 2
    assert "this training has ended" in capsys.readouterr().err
