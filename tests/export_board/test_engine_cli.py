"""export-engine as a user meets it: what is missing, a full disk, Ctrl-C, a kill, JSON."""

import collections
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from stand_ins import NO_GPU, TX2, Fault

from clipedge.export.cli import BUILD_THREAD
from clipedge.jetson.errors import UsageError
from clipedge.jetson.runners import open_runner

LAUNCH = pathlib.Path(__file__).resolve().parent.parent / "stand_ins" / "launch.py"
CONV3D = ("--graph", "conv3d")
FP32 = ("--precision", "fp32")
ENGINE_FILES = ("tiny_fp32.engine", "tiny_fp32.engine.json")

PATIENCE_S = 60  # until a process is where it is wanted; the machine may be busy
ANSWER_S = 5  # to a signal; a fraction of a second where nothing else runs
OPENED_S = 0.4  # an engine of the stand-in's opens in much less
STEP_S = 30  # of a build that is not waited for

Ended = collections.namedtuple("Ended", "status answer_s err")


def error_of(done):
    """The one line that says what is wrong."""
    (line,) = [line for line in done.err.splitlines() if line.startswith("export-engine: ")]
    assert "Traceback" not in done.err
    return line


# --- What is missing ------------------------------------------------------------------------------

ABSENT = [
    ({"release": None}, "TensorRT is not installed for this Python"),
    ({"release": "8.2.1", "gpu": NO_GPU}, "no CUDA-capable device"),
    ({"release": "8.2.1", "pycuda": False}, "pycuda, which runs engines, is not installed"),
    ({"release": "8.2.1", "libcuda": False}, "libcuda.so.1"),
]


@pytest.mark.parametrize(
    ("machine", "message"), ABSENT, ids=["no TensorRT", "no GPU", "no pycuda", "no driver"]
)
def test_what_is_missing_is_one_clear_error(tiny, export_engine, another_board, machine, message):
    with another_board(**dict({"gpu": TX2}, **machine)):
        done = export_engine("--onnx", tiny)
    assert done.status == 1
    assert message in error_of(done)
    assert done.out == ""
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.onnx"]


def test_without_onnx_runtime_the_error_comes_before_the_build(tx2, tiny, export_engine, without):
    without("onnxruntime")
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 1
    assert "pip install onnxruntime" in error_of(done)
    assert tx2.tensorrt.builds == 0


def test_an_onnx_file_that_the_reference_cannot_run_is_refused_before_the_build(
    tx2, tiny, export_engine
):
    content = tiny.read_bytes()
    tiny.write_bytes(b"\x08\x7f" + content[2:])  # an IR version to come
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 1
    assert f"{tiny}, so nothing can be compared with it: Unsupported model IR version: 127" in (
        error_of(done)
    )
    assert tx2.tensorrt.builds == 0


def test_without_the_onnx_package_strong_typing_does_fp32_alone(
    tiny, export_engine, another_board, without
):
    without("onnx")
    with another_board("11.1"):
        done = export_engine("--onnx", tiny, *CONV3D)
    assert done.status == 1
    assert "in fp16" in error_of(done)
    assert "pip install onnx" in error_of(done)
    assert [path.name for path in tiny.parent.glob("*.engine")] == ["tiny_fp32.engine"]


CALLS = [
    ("8.2.1", ("--builder", "tensorrt-rtx"), 1, "pip install tensorrt-rtx-cu12"),
    ("8.2.1", ("--target", "sm_86"), 1, "pip install tensorrt-rtx-cu12"),
    ("8.2.1", ("--builder", "tensorrt", "--target", "sm_86"), 2, "--builder tensorrt-rtx"),
    ("8.2.1", ("--no-engine",), 2, "leave it or --no-engine out"),
    ("8.2.1", ("--opset", "13"), 2, "fixed by the ONNX file"),
    ("8.2.1", ("--target", "turing"), 2, "no compute capability"),
    ("8.2.1", ("--batch", "0"), 2, "above 0"),
    ("8.2.1", ("--graph", "conv4d"), 2, "conv2d"),
]


@pytest.mark.parametrize(
    ("release", "flags", "status", "message"), CALLS, ids=[" ".join(call[1]) for call in CALLS]
)
def test_a_wrong_call_is_one_clear_error(
    tiny, export_engine, another_board, release, flags, status, message
):
    with another_board(release) as here:
        done = export_engine("--onnx", tiny, *flags)
        assert here.tensorrt.builds == 0
    assert done.status == status
    assert message in error_of(done)
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.onnx"]


def test_rtx_without_a_gpu_asks_for_a_target(tiny, export_engine, another_board):
    with another_board("rtx", NO_GPU):
        done = export_engine("--onnx", tiny, "--builder", "tensorrt-rtx")
    assert done.status == 2
    assert "such as --target sm_86" in error_of(done)


def test_a_file_that_is_no_model_is_refused(tx2, tiny, export_engine):
    tiny.write_bytes(bytes(range(256)) * 8)
    done = export_engine("--onnx", tiny)
    assert done.status == 1
    assert "tiny.onnx" in error_of(done)


# --- Files ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system that holds 100 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    with open(os.devnull, "w") as nowhere:
        if subprocess.call(mount, stderr=nowhere) != 0:
            pytest.skip("mounting a small tmpfs is not permitted here")
    yield disk
    subprocess.check_call(["umount", "-l", str(disk)])


@pytest.fixture
def make_large(model_writer, tiny):
    """`make_large()`: tiny.onnx becomes a model of 180 KB."""
    return lambda: model_writer(tiny, channels=512)


def test_a_full_disk_leaves_no_engine(tx2, tiny, make_large, export_engine, small_disk):
    make_large()
    done = export_engine("--onnx", tiny, *FP32, *CONV3D, "--output", small_disk)
    assert done.status == 1
    assert "the disk is full" in error_of(done)
    left = [path.name for path in small_disk.iterdir() if not path.name.endswith(".timing.cache")]
    assert left == []


def test_a_full_disk_leaves_the_older_engine_whole(
    tx2, tiny, make_large, export_engine, small_disk, files_in
):
    build = ("--onnx", tiny, *FP32, *CONV3D, "--output", small_disk)
    assert export_engine(*build).status == 0
    before, of_before = files_in(small_disk), tiny.read_bytes()
    make_large()
    assert export_engine(*build).status == 1
    tiny.write_bytes(of_before)
    after = files_in(small_disk)
    assert [after[name] for name in ENGINE_FILES] == [before[name] for name in ENGINE_FILES]
    open_runner(small_disk / "tiny_fp32.engine").close()


def test_a_full_temporary_folder_is_one_clear_error(
    tx2, tiny, make_large, export_engine, small_disk, monkeypatch
):
    make_large()
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 1
    assert "the disk is full" in error_of(done)
    assert list(small_disk.iterdir()) == []
    assert not list(tiny.parent.glob("*.engine*"))


@pytest.mark.parametrize(
    ("output", "message"), [("/proc/none", "/proc/none"), ("a_file", "a folder is needed")]
)
def test_a_place_that_cannot_be_written_is_heard_of_before_the_build(
    tx2, tiny, export_engine, tmp_path, output, message
):
    (tmp_path / "a_file").write_text("x")
    done = export_engine("--onnx", tiny, "--output", tmp_path / output)
    assert done.status == 1
    assert message in error_of(done)
    assert tx2.tensorrt.builds == 0


def test_a_folder_that_takes_no_files_is_heard_of_before_the_build(tx2, tiny, export_engine):
    done = export_engine("--onnx", tiny, *FP32, "--output", "/sys")
    assert done.status == 1
    assert "/sys" in error_of(done)
    assert tx2.tensorrt.builds == 0


def test_a_timing_cache_that_cannot_be_written_costs_no_engine(tx2, tiny, export_engine):
    (tiny.parent / "tensorrt_8.2.1.8_sm_62.timing.cache").mkdir()
    done = export_engine("--onnx", tiny, *FP32, *CONV3D)
    assert done.status == 0, done.err
    assert "timing.cache: it is a folder" in done.err
    open_runner(tiny.with_name("tiny_fp32.engine")).close()


def test_engines_go_to_the_folder_asked_for(tx2, tiny, export_engine, tmp_path):
    assert export_engine("--onnx", tiny, *FP32, "--output", tmp_path / "new" / "deep").status == 0
    names = {path.name for path in (tmp_path / "new" / "deep").iterdir()}
    assert names == {"tensorrt_8.2.1.8_sm_62.timing.cache", *ENGINE_FILES}
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.onnx"]


# --- Ctrl-C and kill ------------------------------------------------------------------------------


@pytest.fixture
def end(tiny, tmp_path):
    """`end(signal, reached, *flags)` -> Ended: send it once `reached(stderr, its temp folder)`."""
    own_tmp = tmp_path / "tmp"
    own_tmp.mkdir()
    errors = tmp_path / "stderr"

    def run(number, reached, *flags, **options):
        step_s = options.get("step_s", STEP_S)
        release = options.get("release", "8.2.1")
        gpu = {"8.2.1": "TX2", "10.16": "RTX_3060"}[release]
        line = [sys.executable, LAUNCH, release, "--gpu", gpu, "--build-seconds", step_s, "--"]
        line += ["export-engine", "--onnx", tiny, *flags]
        with errors.open("wb") as stderr:
            # A session of its own: Ctrl-C reaches the whole process group, as from a terminal.
            process = subprocess.Popen(
                [str(part) for part in line],
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=dict(os.environ, TMPDIR=str(own_tmp)),
            )
        deadline_s = time.monotonic() + PATIENCE_S
        while not reached(errors.read_text(), own_tmp):
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline_s, errors.read_text()
            time.sleep(0.02)
        begin_s = time.monotonic()
        os.killpg(process.pid, number)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert out == b"", errors.read_text()
        return Ended(process.returncode, time.monotonic() - begin_s, errors.read_text())

    yield run
    assert not list(own_tmp.glob("clipedge*"))


def building(err, own_tmp):
    return "building tiny, conv3d" in err


def timing(err, own_tmp):
    """An engine is open, and runs for a second in each batch size."""
    written_s = [path.stat().st_mtime for path in own_tmp.glob("clipedge-*/candidate.engine")]
    return any(time.time() - one_s > OPENED_S for one_s in written_s)


INTERRUPTS = [
    (signal.SIGINT, building, "8.2.1", STEP_S),
    (signal.SIGINT, building, "10.16", STEP_S),
    (signal.SIGTERM, building, "8.2.1", STEP_S),
    (signal.SIGINT, timing, "8.2.1", 0),
]


@pytest.mark.parametrize(
    ("number", "reached", "release", "step_s"),
    INTERRUPTS,
    ids=["Ctrl-C in 8.2", "Ctrl-C in 10", "SIGTERM", "Ctrl-C while a form is timed"],
)
def test_an_interrupt_ends_in_one_line_at_once_and_leaves_nothing(
    tiny, end, files_in, number, reached, release, step_s
):
    before = files_in(tiny.parent)
    ended = end(number, reached, "--graph", "auto", release=release, step_s=step_s)
    assert ended.status == 1, ended.err
    assert ended.answer_s < ANSWER_S
    assert ended.err.splitlines()[-1] == (
        "export-engine: interrupted; no file is left half-written."
    )
    assert "Traceback" not in ended.err
    after = files_in(tiny.parent)
    left = {name for name in after if name not in before and not name.endswith(".timing.cache")}
    assert left == set()


def test_a_build_that_cannot_be_stopped_is_left_at_once(export_engine, monkeypatch):
    """An orderly end of Python would abort in the libraries that the build still uses."""
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    over = threading.Event()
    build = threading.Thread(target=over.wait, name=BUILD_THREAD, daemon=True)
    build.start()
    assert export_engine("--model", "tiny", "--onnx", "none.onnx").status == 2
    assert ended == [2]
    over.set()
    build.join()
    assert export_engine("--model", "tiny", "--onnx", "none.onnx").status == 2
    assert ended == [2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_older_engine_outlives_a_build_that_was_ended(
    tx2, tiny, export_engine, end, files_in, number
):
    build = (*FP32, *CONV3D)
    assert export_engine("--onnx", tiny, *build).status == 0
    before = files_in(tiny.parent)
    ended = end(number, building, *build, "--force")
    assert ended.status == (1 if number == signal.SIGINT else -signal.SIGKILL)
    assert files_in(tiny.parent) == before
    open_runner(tiny.with_name("tiny_fp32.engine")).close()
    assert export_engine("--onnx", tiny, *build, "--force").status == 0


# --- What is printed ------------------------------------------------------------------------------


def test_json_is_all_that_stdout_holds(tx2, ranked, export_engine):
    onnx = ranked("conv", "gemm", "relu")
    done = export_engine("--onnx", onnx, "--json", "--profile")
    result = json.loads(done.out)
    assert [engine["precision"] for engine in result["engines"]] == ["fp32", "fp16"]
    assert result["failures"] == []
    for engine in result["engines"]:
        assert pathlib.Path(engine["file"]).exists()
        assert engine["profile"]["layers"]
    again = json.loads(export_engine("--onnx", onnx, "--json").out)
    assert [engine["cached"] for engine in again["engines"]] == [True, True]


@pytest.mark.parametrize("effect", ["nan", "inf", "1e4"])
def test_json_tells_what_failed(tx2, ranked, export_engine, effect):
    onnx = ranked("conv", "gemm", "relu")
    tx2.tensorrt.fault = Fault(("flatten",), effect)
    done = export_engine("--onnx", onnx, "--json", *CONV3D)
    assert done.status == 1
    result = json.loads(done.out, parse_constant=pytest.fail)  # NaN is no JSON
    assert [engine["precision"] for engine in result["engines"]] == ["fp32"]
    assert len(result["failures"]) == 1
    assert "tiny.onnx in fp16" in result["failures"][0]


def test_json_of_a_repaired_engine_holds_no_nan(tx2, ranked, export_engine):
    onnx = ranked("conv", "gemm", "relu")
    tx2.tensorrt.fault = Fault(("conv",), "nan")
    done = export_engine("--onnx", onnx, "--json", "--precision", "fp16", *CONV3D)
    (engine,) = json.loads(done.out, parse_constant=pytest.fail)["engines"]
    assert engine["fp32_layers"] == ["conv"]
    manifest = pathlib.Path(engine["file"] + ".json").read_text()
    json.loads(manifest, parse_constant=pytest.fail)


def test_the_summary_names_file_machine_size_and_next_command(tx2, tiny, export_engine):
    out = export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "1", "8").out
    assert f"{tiny.with_name('tiny_fp32.engine')}\n" in out
    assert "fp32, conv3d, batch 1 and 8, " in out
    assert "NVIDIA Tegra X2 (sm_62), tensorrt 8.2.1.8" in out
    assert out.endswith("next: jetson-bench {}\n".format(tiny.with_name("tiny_fp32.engine")))


def test_a_command_to_copy_quotes_a_name_with_a_blank(tx2, tiny, export_engine):
    onnx = tiny.with_name("my model.onnx")
    tiny.rename(onnx)
    out = export_engine("--onnx", onnx, *FP32, *CONV3D).out
    command = shlex.split(out.splitlines()[-1])
    assert command == ["next:", "jetson-bench", str(onnx.with_name("my model_fp32.engine"))]
    with pytest.raises(UsageError) as caught:
        open_runner(onnx, backend="tensorrt")
    assert shlex.split(str(caught.value).split("run it: ")[1])[-1] == str(onnx)


@pytest.mark.parametrize(
    ("release", "shown"), [("8.2.1", "conv3d, fp32: 0 s"), ("10.16", " of 5)")]
)
def test_a_terminal_shows_how_far_a_build_is(
    tiny, export_engine, another_board, monkeypatch, release, shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with another_board(release) as here:
        here.tensorrt.on_build = lambda step: time.sleep(0.15)
        done = export_engine("--onnx", tiny, *FP32, *CONV3D)
    assert shown in done.err
