"""Opening an engine that is not this machine's, or not whole: one error, and what to do."""

import json
import os
import re
import shlex
import shutil

import pytest
from stand_ins import TITAN_XP, TX2, Gpu

from clipedge.jetson.engine_manifest import EngineMismatchError, load_manifest, manifest_path
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.runners import open_runner

CONV3D = ("--graph", "conv3d")
FP32 = ("--precision", "fp32")
BOTH_FILES = ("tiny_fp32.engine", "tiny_fp32.engine.json")


@pytest.fixture
def engine(tx2, tiny, export_engine):
    """An fp32 engine for batches of 1 and 8, built on a TX2 with TensorRT 8.2.1."""
    done = export_engine("--onnx", tiny, "--precision", "fp32", *CONV3D, "--batch", "1", "8")
    assert done.status == 0, done.err
    return tiny.with_name("tiny_fp32.engine")


@pytest.fixture
def follow(export_engine, monkeypatch):
    """`follow(message, folder)`: type the command at the end of a message, in that folder."""

    def run(message, folder):
        command = re.search(r"export-engine .*", message).group()
        name, *arguments = shlex.split(command.replace("FILE", "tiny.onnx"))
        assert name == "export-engine"
        monkeypatch.chdir(folder)
        return export_engine(*arguments)

    return run


# At the end of an ONNX file, a field that nobody reads: another file, the same network.
UNKNOWN_FIELD = b"\xfa\x3f\x00"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def change(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(bytes(content))


def forget_manifest(path):
    manifest_path(path).unlink()


def spoil_manifest(path):
    manifest_path(path).write_text('{"format_version": 1, "spec": {}}')


def change_onnx(path):
    onnx = path.with_name("tiny.onnx")
    onnx.write_bytes(onnx.read_bytes() + UNKNOWN_FIELD)


CASES = [
    (truncate, ModelFileError, r"has \d+ bytes, its manifest says \d+: it is truncated"),
    (change, ModelFileError, "is damaged: its content is not what its manifest says"),
    (forget_manifest, ModelFileError, "has no manifest: tiny_fp32.engine.json must lie beside it"),
    (spoil_manifest, ModelFileError, "tiny_fp32.engine.json is damaged"),
    (
        change_onnx,
        EngineMismatchError,
        "was built from another tiny.onnx than the one that is here",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "message"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_a_bad_engine_is_refused_with_a_command_that_mends_it(engine, follow, spoil, kind, message):
    spoil(engine)
    with pytest.raises(kind, match=message) as caught:
        open_runner(engine)
    assert len(str(caught.value).splitlines()) == 1
    done = follow(str(caught.value), engine.parent)
    assert done.status == 0, done.err
    with open_runner(engine) as runner:
        assert runner.batch_sizes == (1, 8)


def test_the_manifest_of_another_engine_is_refused(engine, export_engine, follow, tmp_path):
    kept = tmp_path / "kept.json"
    shutil.copy(str(manifest_path(engine)), str(kept))
    onnx = engine.with_name("tiny.onnx")
    assert export_engine("--onnx", onnx, "--precision", "fp32", "--batch", "2", *CONV3D).status == 0
    shutil.copy(str(kept), str(manifest_path(engine)))
    with pytest.raises(ModelFileError, match=r"truncated or replaced|is damaged") as caught:
        open_runner(engine)
    assert follow(str(caught.value), engine.parent).status == 0
    with open_runner(engine) as runner:
        assert runner.batch_sizes == (1, 8)


MACHINES = [
    ("8.0.1", TX2, "was built with tensorrt 8.2.1.8; this machine has tensorrt 8.0.1.6"),
    (
        "8.2.1",
        Gpu("NVIDIA Tegra X1", (5, 3), 4 * 1024**3, True),
        r"was built for NVIDIA Tegra X2 \(sm_62\); this machine has NVIDIA Tegra X1 \(sm_53\)",
    ),
    (
        "8.2.1",
        Gpu("NVIDIA Tegra X2 of another kind"),
        r"this machine has NVIDIA Tegra X2 of another kind \(sm_62\)",
    ),
    (
        "8.6.1",
        TITAN_XP,
        "was built with tensorrt 8.2.1.8; this machine has tensorrt 8.6.1.6; it was built for "
        r"NVIDIA Tegra X2 \(sm_62\); this machine has NVIDIA TITAN Xp \(sm_61\)",
    ),
]


@pytest.mark.parametrize(
    ("release", "gpu", "message"), MACHINES, ids=["TensorRT", "GPU", "card", "both"]
)
def test_an_engine_of_another_machine_is_refused_with_a_command_that_mends_it(
    engine, follow, another_board, release, gpu, message
):
    with another_board(release, gpu):
        with pytest.raises(EngineMismatchError, match=message) as caught:
            open_runner(engine)
        assert follow(str(caught.value), engine.parent).status == 0
        with open_runner(engine) as runner:
            assert runner.describe()["device"].startswith(gpu.name)


def test_an_engine_of_a_package_that_is_not_here_says_which(engine, another_board):
    fields = json.loads(manifest_path(engine).read_text())
    fields["machine"]["tensorrt"] = "tensorrt_rtx 1.7.1.116"
    manifest_path(engine).write_text(json.dumps(fields))
    with pytest.raises(BackendError, match="TensorRT for RTX is not installed here"):
        open_runner(engine)


def test_an_engine_without_its_onnx_file_still_opens(engine):
    engine.with_name("tiny.onnx").unlink()
    open_runner(engine).close()


def test_an_engine_that_is_not_there_is_a_wrong_call(tx2, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        open_runner(tmp_path / "none.engine")


def test_an_engine_of_another_clipedge_runs_and_is_built_again(tx2, engine, follow, monkeypatch):
    """Its graph forms and its fp16 may be other ones."""
    monkeypatch.setattr("clipedge.export.engine_builder.own_version", lambda: "99.0")
    open_runner(engine).close()
    assert follow(load_manifest(engine).rebuild_command(engine), engine.parent).status == 0
    assert tx2.tensorrt.builds == 2
    assert load_manifest(engine).clipedge == "99.0"


def test_the_rebuild_command_repeats_all_that_was_asked_for(
    tx2, tiny, export_engine, follow, another_board
):
    onnx = tiny.with_name("my model $1.onnx")
    tiny.rename(onnx)
    flags = ("--precision", "fp16", "--batch", "2", "4", "--graph", "conv2d", "--workspace", "48")
    assert export_engine("--onnx", onnx, *flags).status == 0
    engine = onnx.with_name("my model $1_fp16.engine")
    before = load_manifest(engine)
    assert follow(before.rebuild_command(engine.name), onnx.parent).status == 0
    assert tx2.tensorrt.builds == 1  # the same key: it was there
    with another_board("8.0.1") as here:
        assert follow(before.rebuild_command(engine.name), onnx.parent).status == 0
        assert here.tensorrt.builds == 1


def test_the_rebuild_command_works_where_the_engine_was_opened(
    tx2, engine, follow, monkeypatch, another_board
):
    monkeypatch.chdir(str(engine.parent.parent))
    opened = os.path.join(engine.parent.name, engine.name)
    with another_board("8.0.1"):
        with pytest.raises(EngineMismatchError) as caught:
            open_runner(opened)
        assert follow(str(caught.value), engine.parent.parent).status == 0
        open_runner(opened).close()


def test_an_engine_for_gpus_elsewhere_is_built_again_for_the_one_that_is_here(
    tiny, export_engine, follow, another_board
):
    with another_board("rtx", TX2):
        assert export_engine("--onnx", tiny, *FP32, *CONV3D, "--target", "sm_86").status == 0
    engine = tiny.with_name("tiny_fp32_sm_86.engine")
    with another_board("8.2.1"):
        with pytest.raises(EngineMismatchError, match=r"for sm_86; .* \(sm_62\)") as caught:
            open_runner(engine)
        assert "--target" not in str(caught.value)
        assert follow(str(caught.value), engine.parent).status == 0
        open_runner(tiny.with_name("tiny_fp32.engine")).close()


def test_the_rebuild_command_finds_an_onnx_file_in_another_folder(
    tx2, tiny, export_engine, follow, tmp_path, another_board
):
    folder = tmp_path / "my engines"
    done = export_engine("--onnx", tiny, "--precision", "fp32", *CONV3D, "--output", folder)
    assert done.status == 0, done.err
    manifest = load_manifest(folder / "tiny_fp32.engine")
    assert follow(manifest.rebuild_command("tiny_fp32.engine"), folder).status == 0
    assert tx2.tensorrt.builds == 1
    tiny.write_bytes(tiny.read_bytes() + UNKNOWN_FIELD)
    with pytest.raises(EngineMismatchError, match=r"another tiny.onnx") as caught:
        open_runner(folder / "tiny_fp32.engine")
    assert follow(str(caught.value), folder).status == 0
    open_runner(folder / "tiny_fp32.engine").close()


def test_the_rebuild_command_names_builder_and_targets(tiny, export_engine, follow, another_board):
    flags = ("--precision", "fp32", "--graph", "conv3d", "--builder", "tensorrt-rtx")
    with another_board("rtx", TX2) as here:
        done = export_engine("--onnx", tiny, *flags, "--target", "sm_86", "sm_89", "8.6")
        assert done.status == 0, done.err
        manifest = load_manifest(tiny.with_name("tiny_fp32_sm_86_sm_89.engine"))
        assert manifest.targets == ("sm_86", "sm_89")
        assert (
            follow(
                manifest.rebuild_command(tiny.with_name("tiny_fp32_sm_86_sm_89.engine")),
                tiny.parent,
            ).status
            == 0
        )
        assert here.tensorrt.builds == 1
