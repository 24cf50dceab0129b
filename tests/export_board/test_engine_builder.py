"""export-engine --onnx FILE on a board: what it writes, and when it builds again."""

import json

import numpy as np
import pytest
from stand_ins import TX2, Gpu
from stand_ins.plan import read_plan

from clipedge.jetson import trt_api
from clipedge.jetson.engine_manifest import Manifest, load_manifest, manifest_path, sha256_of
from clipedge.jetson.runners import open_runner
from clipedge.jetson.runners.model_file import read_model_spec
from clipedge.jetson.version import own_version

CONV3D = ("--graph", "conv3d")
FP32 = ("--precision", "fp32")
FP16 = ("--precision", "fp16")
ORIN = Gpu("Orin", (8, 7), 8 * 1024**3, True, (12, 6))
LAYERS = 5  # of the tiny model's engine: its Relu is fused into its convolution


def cache_of(folder):
    (path,) = folder.glob("*.timing.cache")
    return path


def test_one_command_makes_engines_that_answer_like_the_onnx_file(
    here, tiny, export_engine, clips, logits_of_onnx
):
    done = export_engine("--onnx", tiny, "--precision", "fp32", "fp16", "--batch", "1", "8")
    assert done.status == 0, done.err
    expected = logits_of_onnx(tiny)
    answers = {}
    for precision, tolerance in (("fp32", 1e-5), ("fp16", 2e-3)):
        path = tiny.with_name(f"tiny_{precision}.engine")
        with open_runner(path) as runner:
            assert runner.describe()["precision"] == precision
            assert runner.batch_sizes == (1, 8)
            answers[precision] = runner.infer(clips)
            one_by_one = np.concatenate([runner.infer(clip[np.newaxis]) for clip in clips])
        for logits in (answers[precision], one_by_one):
            assert np.abs(logits - expected).max() <= tolerance * np.abs(expected).max()
    assert np.abs(answers["fp32"] - answers["fp16"]).max() > 0  # fp16 rounds


def test_an_engine_has_one_profile_of_exactly_each_batch_size(here, tiny, export_engine):
    done = export_engine("--onnx", tiny, *FP32, *CONV3D, "--batch", "8", "2", "8")
    assert done.status == 0, done.err
    plan = read_plan(tiny.with_name("tiny_fp32.engine").read_bytes())
    shapes = [profile["clips"] for profile in plan.profiles]
    assert shapes == [((batch, 3, 4, 16, 16),) * 3 for batch in (2, 8)]


def test_the_manifest_says_what_the_engine_was_built_from_with_and_for(here, tiny, export_engine):
    done = export_engine("--onnx", tiny, *FP16, *CONV3D, "--batch", "1", "8", "--workspace", "64")
    assert done.status == 0, done.err
    path, gpu = tiny.with_name("tiny_fp16.engine"), here.machine.gpu
    manifest = load_manifest(path)
    assert manifest.machine._asdict() == {
        "tensorrt": "tensorrt " + here.tensorrt.release.version,
        "gpu": gpu.name,
        "compute_capability": "sm_{}{}".format(*gpu.compute_capability),
        "cuda": "{}.{}".format(*gpu.cuda_version),
    }
    assert manifest == Manifest(
        spec=read_model_spec(tiny),
        machine=manifest.machine,
        targets=(),
        onnx_file="tiny.onnx",
        onnx_sha256=sha256_of(tiny),
        graph="conv3d",
        graph_form="conv3d",
        precision="fp16",
        batches=(1, 8),
        workspace_bytes=64 << 20,
        fp32_layers=(),
        engine_sha256=sha256_of(path),
        engine_bytes=path.stat().st_size,
        build_s=manifest.build_s,
        clipedge=own_version(),
        parity=manifest.parity,
        candidates=manifest.candidates,
    )
    assert 0 <= manifest.build_s < 60
    parity = manifest.parity
    assert (parity["candidate"], parity["clips"]) == ("this engine", 24)  # 12 in each batch size
    assert 0 < parity["relative_error"] <= parity["limit_relative"] < 0.1
    assert parity["top1_agree"] == 24
    assert [one["graph_form"] for one in manifest.candidates] == ["conv3d"]
    assert manifest.candidates[0]["engine_bytes"] == manifest.engine_bytes


def test_an_engine_that_answers_wrongly_is_not_written(
    tx2, tiny, export_engine, model_writer, tmp_path, monkeypatch
):
    right = trt_api.TensorRT.build
    other = model_writer(tmp_path / "other.onnx", channels=6).read_bytes()

    def wrong(self, request, progress=None):
        return right(self, request._replace(onnx=other), progress)

    monkeypatch.setattr(trt_api.TensorRT, "build", wrong)
    done = export_engine("--onnx", tiny, *FP32, *CONV3D)
    assert done.status == 1
    assert "The fp32 engine is wrong, so it was not written" in done.err
    assert not list(tiny.parent.glob("*.engine*"))


# --- The timing cache -----------------------------------------------------------------------------


def test_the_timing_cache_lies_beside_the_engines_and_serves_the_next(here, tiny, export_engine):
    tensorrt, first = here.tensorrt, ("--onnx", tiny, *FP32, *CONV3D)
    assert export_engine(*first, "--batch", "1", "8").status == 0
    assert (tensorrt.timing_cache_misses, tensorrt.timing_cache_hits) == (LAYERS, 0)
    name = cache_of(tiny.parent).name
    assert tensorrt.release.version in name
    assert "sm_{}{}".format(*here.machine.gpu.compute_capability) in name
    assert export_engine(*first, "--batch", "2", "4").status == 0
    assert (tensorrt.timing_cache_misses, tensorrt.timing_cache_hits) == (LAYERS, LAYERS)


@pytest.mark.parametrize("content", [b"", b"noise" * 99, "truncated", "of another release"])
def test_a_useless_timing_cache_is_replaced(tx2, tiny, export_engine, another_board, content):
    build = ("--onnx", tiny, *FP32, *CONV3D, "--force")
    assert export_engine(*build).status == 0
    cache = cache_of(tiny.parent)
    if content == "truncated":
        content = cache.read_bytes()[:-9]
    elif content == "of another release":
        cache.unlink()
        with another_board("8.0.1"):
            assert export_engine(*build).status == 0
        content = cache_of(tiny.parent).read_bytes()
        cache_of(tiny.parent).unlink()
    cache.write_bytes(content)
    tx2.tensorrt.timing_cache_misses = tx2.tensorrt.timing_cache_hits = 0
    assert export_engine(*build).status == 0
    assert (tx2.tensorrt.timing_cache_misses, tx2.tensorrt.timing_cache_hits) == (LAYERS, 0)
    assert export_engine(*build).status == 0
    assert tx2.tensorrt.timing_cache_hits == LAYERS


# --- What is there already ------------------------------------------------------------------------


def test_the_same_command_again_builds_nothing_and_says_so(here, tiny, export_engine, files_in):
    build = ("--onnx", tiny, "--batch", "1", "8")
    assert export_engine(*build).status == 0
    before, builds = files_in(tiny.parent), here.tensorrt.builds
    again = export_engine(*build)
    assert (again.status, here.tensorrt.builds) == (0, builds)
    assert files_in(tiny.parent) == before
    for precision in ("fp32", "fp16"):
        name = f"tiny_{precision}.engine"
        assert f"{name} is up to date; --force builds it again" in again.err
        assert f"{name} (was there already)" in again.out
    engines = json.loads(export_engine(*build, "--json").out)["engines"]
    assert [engine["cached"] for engine in engines] == [True, True]


def test_force_builds_again_what_is_up_to_date(tx2, tiny, export_engine):
    build = ("--onnx", tiny, *FP32, *CONV3D)
    assert export_engine(*build).status == 0
    forced = export_engine(*build, "--force", "--json")
    assert tx2.tensorrt.builds == 2
    assert json.loads(forced.out)["engines"][0]["cached"] is False


def test_another_precision_builds_that_one_alone(tx2, tiny, export_engine):
    assert export_engine("--onnx", tiny, *FP32, *CONV3D).status == 0
    assert export_engine("--onnx", tiny, "--precision", "fp32", "fp16", *CONV3D).status == 0
    assert tx2.tensorrt.builds == 2


@pytest.mark.parametrize(
    "flags", [("--batch", "4"), ("--workspace", "64"), ("--graph", "conv2d")], ids=" ".join
)
def test_other_settings_build_again(tx2, tiny, export_engine, flags):
    assert export_engine("--onnx", tiny, *FP32, *CONV3D).status == 0
    assert export_engine("--onnx", tiny, *FP32, *CONV3D, *flags).status == 0
    assert tx2.tensorrt.builds == 2


def test_a_changed_onnx_file_builds_again(tx2, tiny, export_engine, model_writer):
    assert export_engine("--onnx", tiny, *FP32, *CONV3D).status == 0
    model_writer(tiny, channels=6)
    assert export_engine("--onnx", tiny, *FP32, *CONV3D).status == 0
    assert tx2.tensorrt.builds == 2
    with open_runner(tiny.with_name("tiny_fp32.engine")) as runner:
        assert runner.batch_sizes == (1, 8)


OTHER_PASCAL = Gpu("NVIDIA GeForce GTX 1050", (6, 1), 2 * 1024**3, False, (12, 2))
OTHER_SM = Gpu("NVIDIA TITAN RTX", (7, 5), 24 * 1024**3, False, (12, 2))


@pytest.mark.parametrize(
    ("release", "gpu"),
    [("8.0.1", TX2), ("8.6.1", OTHER_PASCAL), ("8.6.1", OTHER_SM)],
    ids=["another TensorRT", "another card", "another architecture"],
)
def test_an_engine_of_another_machine_is_built_again(
    tiny, export_engine, another_board, release, gpu
):
    build = ("--onnx", tiny, *FP32, *CONV3D)
    with another_board("8.2.1" if release == "8.0.1" else release):
        assert export_engine(*build).status == 0
    with another_board(release, gpu) as here:
        assert export_engine(*build).status == 0
        assert here.tensorrt.builds == 1
        with open_runner(tiny.with_name("tiny_fp32.engine")) as runner:
            assert gpu.name in runner.describe()["device"]


def test_a_newer_driver_alone_builds_nothing(tiny, export_engine, another_board):
    build = ("--onnx", tiny, *FP32, *CONV3D)
    old = Gpu("GeForce RTX 2080", (7, 5), 8 * 1024**3, False, (11, 4))
    with another_board("8.6.1", old):
        assert export_engine(*build).status == 0
    with another_board(
        "8.6.1", old._replace(name="NVIDIA " + old.name, cuda_version=(12, 2))
    ) as here:
        assert export_engine(*build).status == 0
        assert here.tensorrt.builds == 0


def spoil(what, path):
    manifest = manifest_path(path)
    if what == "truncated engine":
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "changed engine":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    elif what == "no manifest":
        manifest.unlink()
    elif what == "noise for a manifest":
        manifest.write_bytes(b"\xff\xfe{")
    else:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        if what == "a manifest of a later format":
            fields["format_version"] += 1
        else:
            del fields["machine"]
        manifest.write_text(json.dumps(fields), encoding="utf-8")


DAMAGE = [
    "truncated engine",
    "changed engine",
    "no manifest",
    "noise for a manifest",
    "a manifest of a later format",
    "a manifest that lacks a part",
]


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_damaged_is_built_again(tx2, tiny, export_engine, what):
    build, path = ("--onnx", tiny, *FP32, *CONV3D), tiny.with_name("tiny_fp32.engine")
    assert export_engine(*build).status == 0
    spoil(what, path)
    again = export_engine(*build)
    assert (again.status, tx2.tensorrt.builds) == (0, 2)
    assert "Building again: " in again.err
    open_runner(path).close()
