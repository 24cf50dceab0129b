"""Bad input gets an error of two lines at most, exit status 1 or 2, and nothing half-written.

Each case runs the installed command as a user does.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest
import torch

from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.models import create_model

TIMEOUT_S = 120


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A good checkpoint, and files that are each bad in one way."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(0)
    spec = ClipSpec("shufflenetv2", ("a", "b", "c"), 0.25, dataset="mine", frames=8, size=32)
    model = create_model("shufflenetv2", 0.25, num_classes=3).eval()
    save_checkpoint(folder / "good.pt", model, spec)
    whole = (folder / "good.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": model.state_dict()}, folder / "released.pth")
    torch.save({"arch": pathlib.Path("x")}, folder / "wants_more.pth")
    noise = random.Random(0).getrandbits(8 * 5000).to_bytes(5000, "little")
    for name in ("noise.onnx", "noise.mp4", "noise.pt"):
        (folder / name).write_bytes(noise)
    # Begins as a pickle does, of a protocol that there is not: torch warns of it.
    (folder / "protocol_252.pt").write_bytes(b"\x80\xfc" + noise)
    (folder / "empty").mkdir()
    (folder / "a_file").write_text("x")
    # Names something again and again, whatever it sees.
    (folder / "eager.json").write_text(
        '{"threshold": 0.01, "presence_on": 0, "presence_off": 0, "early_lead": 0, "rearm_dip": 1}'
    )
    return folder


def run(command, line, cwd):
    name, *arguments = line.split()
    return subprocess.run(
        [command(name), *arguments], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S
    )


# What a command says of its progress before the error; anything else counts as error.
TALK = (
    "loading ", "exporting ", "checking ", "ranking ", "RANDOM WEIGHTS", "This machine is busy",
    "Backend:", "[1/1] ", "The classes are numbered",
)  # fmt: skip


def assert_refused(done, name, message):
    """All that stderr holds beside progress is the error: two lines at most."""
    assert done.returncode in (1, 2), done.stderr
    error = [line for line in done.stderr.splitlines() if not line.startswith(TALK)]
    assert 1 <= len(error) <= 2, done.stderr
    assert error[0].startswith(f"{name}"), done.stderr
    assert message in " ".join(error), done.stderr


def everything_in(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


CASES = [
    ("export-engine --model shuflenetv1 --output out", "shufflenetv1"),
    ("export-engine --model shuflenetv1 --output new/deep", "shufflenetv1"),
    ("export-engine --model shufflenetv1 --width 3.0 --output out", "2.0"),
    ("export-engine --model shufflenetv1 --batch 100000000 --output out", "MiB of memory"),
    ("export-engine --model squeezenet --width 2.0 --output out", "width"),
    ("export-engine --checkpoint none.pt --output out", "none.pt"),
    ("export-engine --checkpoint truncated.pt --output out", "truncated.pt"),
    ("export-engine --checkpoint noise.pt --output out", "noise.pt"),
    ("export-engine --checkpoint protocol_252.pt --output out", "protocol_252.pt"),
    ("export-engine --checkpoint released.pth --output out", "train-clips import"),
    ("export-engine --checkpoint wants_more.pth --output out", "wants_more.pth"),
    ("export-engine --checkpoint good.pt --output a_file", "a folder is needed"),
    ("export-engine --checkpoint good.pt --output /proc/none", "/proc/none"),
    ("export-engine --checkpoint good.pt --width 1.0 --output out", "leave it out"),
    ("export-engine --output out", "--checkpoint FILE"),
    (
        "train-clips import released.pth --dataset jester --model mobilenetv2 --output o.pt",
        "mobilenet",
    ),
    ("train-clips import released.pth --dataset jester --model shufflenetv2 --width 9", "0.25"),
    ("train-clips import truncated.pt --dataset jester --output out.pt", "truncated.pt"),
    ("train-clips import wants_more.pth --dataset jester --output out.pt", "PosixPath"),
    ("train-clips summary --model resnet19", "resnet18"),
    ("train-clips fit --model shuflenetv1 --output out.pt", "shufflenetv1"),
    ("train-clips fit --model shufflenetv2 --width 7 --output out.pt", "0.25"),
    ("train-clips fit --model shufflenetv2 --width 0.25 --data empty --output out.pt", "empty"),
    ("train-clips fit --model shufflenetv2 --width 0.25 --data none --output out.pt", "none"),
    ("train-clips fit --model shufflenetv2 --width 0.25 --output /proc/none/m.pt", "/proc/none"),
    ("train-clips evaluate --checkpoint noise.pt", "noise.pt"),
    ("train-clips evaluate --checkpoint protocol_252.pt", "protocol_252.pt"),
    ("train-clips evaluate --checkpoint good.pt --data empty", "empty"),
    ("jetson-bench noise.onnx --duration 1", "noise.onnx"),
    ("jetson-bench none.onnx --duration 1", "none.onnx"),
    ("jetson-bench empty --duration 1", "empty"),
    ("jetson-bench noise.onnx --batch 0", "above 0"),
    ("jetson-bench good.onnx --batch 100000000000000000", "MiB of memory"),
    ("jetson-bench good.onnx --json good.onnx/b.json", "a folder is needed"),
    ("gesture-demo --model noise.onnx --source noise.mp4", "noise.onnx"),
    ("gesture-demo --model none.onnx --source noise.mp4", "none.onnx"),
    ("gesture-demo --model good.onnx --source noise.mp4", "not a video"),
    ("gesture-demo --model good.onnx --source none.mp4", "no such source"),
    ("gesture-demo --model good.onnx --source empty", "no frames in this folder"),
    ("gesture-demo --model good.onnx --source none.mp4 --events /proc/none", "no such source"),
    ("gesture-demo --model good.onnx --source 97", "97"),
    ("gesture-demo --model good.onnx --source http://127.0.0.1:9/", "127.0.0.1:9"),
    ("gesture-demo --model good.onnx", "--source and --replay"),
    ("gesture-demo --model good.onnx --replay none.session", "none.session"),
    ("gesture-demo --model good.onnx --replay noise.mp4", "noise.mp4"),
    ("gesture-demo --model good.onnx --source VIDEO --deny wave", "'wave'"),
    ("gesture-demo --model good.onnx --source VIDEO --recogniser a_file", "a_file"),
    ("gesture-demo --model good.onnx --source VIDEO --display window", "--display web"),
    ("gesture-demo --model good.onnx --source VIDEO --display web --web 127.0.0.1:BUSY", "BUSY"),
    ("gesture-demo --model good.onnx --source VIDEO --display web --web 203.0.113.1:80", "203."),
]


@pytest.fixture(scope="module")
def place(material, command):
    """A working folder with the material and an exported good.onnx."""
    done = run(command, "export-engine --checkpoint good.pt --output made --no-engine", material)
    assert done.returncode == 0, done.stderr
    shutil.copy(material / "made" / "shufflenetv2_0.25x_mine.onnx", material / "good.onnx")
    (material / "out").mkdir()
    return material


@pytest.fixture(scope="module")
def noisy_video(tmp_path_factory):
    """A video that does not compress, a minute long."""
    import cv2
    import numpy as np

    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 24, (320, 240))
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (8, 240, 320, 3), dtype=np.uint8)
    for number in range(1440):
        writer.write(noise[number % 8])
    writer.release()
    return path


@pytest.fixture(scope="module")
def busy_port():
    """A port of loopback that somebody else listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize(("line", "message"), CASES, ids=[line for line, _ in CASES])
def test_bad_input_is_refused_in_two_lines_and_leaves_nothing(
    command, place, noisy_video, busy_port, line, message
):
    line, message = (
        text.replace("VIDEO", str(noisy_video)).replace("BUSY", str(busy_port))
        for text in (line, message)
    )
    before = everything_in(place)
    done = run(command, line, place)
    assert_refused(done, line.split()[0], message)
    assert everything_in(place) == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system that holds 100 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "line",
    [
        "export-engine --checkpoint good.pt --output DISK",
        "train-clips import released.pth --dataset jester --output DISK/out.pt",
    ],
)
def test_a_full_disk_leaves_no_file(command, place, small_disk, line):
    done = run(command, line.replace("DISK", str(small_disk)), place)
    assert_refused(done, line.split()[0], "the disk is full")
    assert everything_in(small_disk) == {}


@pytest.mark.parametrize("output", ["--record DISK/r.mp4", "--save-session DISK/s.session"])
def test_what_fills_the_disk_ends_alone_and_every_event_is_kept(
    command, place, small_disk, noisy_video, output
):
    line = f"gesture-demo --model good.onnx --source {noisy_video} --recogniser eager.json "
    whole = run(command, line, place)
    done = run(command, line + output.replace("DISK", str(small_disk)), place)
    assert whole.returncode == 0
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == len(whole.stdout.splitlines()) > 0
    assert "the disk is full" in done.stderr
    assert not list(small_disk.glob("*.mp4"))


INTERRUPTED = [
    ("export-engine --model shufflenetv1 --width 2.0 --output out", 0.3),
    ("export-engine --model shufflenetv1 --width 2.0 --output out", 1.0),
    ("export-engine --model shufflenetv1 --width 2.0 --output out", 2.5),
    ("export-engine --model resnet50 --output out", 4.0),
    ("jetson-bench good.onnx --duration 60 --json out/bench.json", 2.0),
    ("train-clips fit --model shufflenetv2 --width 0.25 --output out/m.pt", 1.0),
    ("train-clips fit --model shufflenetv2 --width 0.25 --output out/m.pt", 8.0),
]


@pytest.mark.parametrize(("line", "after_s"), INTERRUPTED)
def test_ctrl_c_ends_in_one_line_and_leaves_nothing(command, place, noisy_video, line, after_s):
    before = everything_in(place)
    name, *arguments = line.replace("VIDEO", str(noisy_video)).split()
    # A session of its own: Ctrl-C reaches the whole process group, as from a terminal.
    process = subprocess.Popen(
        [command(name), *arguments],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(after_s)
    assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "interrupted" in err.splitlines()[-1]
    assert everything_in(place) == before
    assert_gone(process.pid)


def test_ctrl_c_keeps_what_was_recorded_of_a_file(command, place, noisy_video, tmp_path):
    record = tmp_path / "r.mp4"
    line = f"gesture-demo --model good.onnx --source {noisy_video} --rate 1000 --record {record}"
    name, *arguments = line.split()
    process = subprocess.Popen(
        [command(name), *arguments],
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end_s = time.monotonic() + 60
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".r.*")):
        assert process.poll() is None and time.monotonic() < end_s
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert "Traceback" not in err and "half-written" not in err
    assert "stopped before its end" in err and "clips scored" in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [record]
    assert record.stat().st_size > 100_000
    assert_gone(process.pid)


def assert_gone(group):
    """No worker is left behind; the last may take a moment to go."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process of the command still runs")
