"""export-engine --onnx FILE on a board: what it writes, and when it builds again."""

import gc
import json
import weakref

import numpy as np
import pytest
from stand_ins import TITAN_XP, TX2, Fault, Gpu
from stand_ins.plan import read_plan

from clipedge.export.graph_names import FORMS, TENSORCORE
from clipedge.jetson import trt_api
from clipedge.jetson.engine_manifest import Manifest, load_manifest, manifest_path, sha256_of
from clipedge.jetson.errors import BackendError
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
    assert shapes == [((batch, 3, 4, 16, 16),) * 3 for batch in (8, 2)]


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


# --- fp16 -----------------------------------------------------------------------------------------

NATIVE = ("8.0.1", "8.2.1", "8.6.1", "10.16")


@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
@pytest.mark.parametrize("effect", ["nan", "inf", "50"])
def test_the_layer_that_fp16_spoils_goes_back_to_fp32(
    here, ranked, export_engine, clips, logits_of_onnx, effect, graph
):
    onnx = ranked("conv", "gemm", "relu")
    here.tensorrt.fault = Fault(("conv",), effect)
    done = export_engine("--onnx", onnx, *FP16, "--graph", graph, "--batch", "8")
    assert done.status == 0, done.err
    path = onnx.with_name("tiny_fp16.engine")
    manifest = load_manifest(path)
    assert manifest.fp32_layers == ("conv",)
    assert [one["passed"] for one in manifest.parity["rounds"]] == [False, True]
    assert "1 layers in fp32" in done.out
    plan = read_plan(path.read_bytes())
    if here.tensorrt.key in NATIVE:
        assert plan.held
        assert all(name.split("/")[0] == "conv" for name in plan.held)
    with open_runner(path) as runner:
        expected = logits_of_onnx(onnx)
        assert np.abs(runner.infer(clips) - expected).max() <= 2e-3 * np.abs(expected).max()


def test_layers_go_back_in_the_order_of_the_file_until_it_passes(tx2, ranked, export_engine):
    onnx = ranked("gemm", "conv", "relu", "sub")
    tx2.tensorrt.fault = Fault(("conv",), "nan")
    assert export_engine("--onnx", onnx, *FP16, *CONV3D).status == 0
    manifest = load_manifest(onnx.with_name("tiny_fp16.engine"))
    assert manifest.fp32_layers == ("gemm", "conv")
    tried = [tuple(one["fp32_layers"]) for one in manifest.parity["rounds"]]
    assert tried == [(), ("gemm",), ("gemm", "conv")]
    assert tx2.tensorrt.builds == 3


def test_fp16_that_cannot_be_mended_fails_by_name_and_fp32_stays(tx2, ranked, export_engine):
    onnx = ranked("conv", "gemm", "relu")
    tx2.tensorrt.fault = Fault(("flatten",), "nan")
    done = export_engine("--onnx", onnx, "--precision", "fp16", "fp32", *CONV3D)
    assert done.status == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("export-engine: ")]
    assert "tiny.onnx in fp16" in line
    assert "To blame most: conv, gemm" in line
    assert "--precision fp32" in line
    assert [path.name for path in onnx.parent.glob("*.engine")] == ["tiny_fp32.engine"]
    assert not list(onnx.parent.glob("*fp16*"))
    open_runner(onnx.with_name("tiny_fp32.engine")).close()


def test_a_failed_build_leaves_the_older_engine_whole(tx2, ranked, export_engine, files_in):
    onnx = ranked("conv", "gemm", "relu")
    build = ("--onnx", onnx, *FP16, *CONV3D)
    assert export_engine(*build).status == 0
    before = files_in(onnx.parent)
    tx2.tensorrt.fault = Fault(("flatten",), "inf")
    assert export_engine(*build, "--force").status == 1
    after = files_in(onnx.parent)
    for name in ("tiny_fp16.engine", "tiny_fp16.engine.json"):
        assert after[name] == before[name]


def test_fp16_on_a_titan_xp_warns_with_the_reason(tiny, export_engine, another_board):
    with another_board("8.6.1"):
        done = export_engine("--onnx", tiny, *CONV3D)
        fp32_alone = export_engine("--onnx", tiny, *FP32, *CONV3D, "--force")
    assert done.status == 0
    assert "fp16 on sm_61: this GPU computes in fp16 far slower than in fp32" in done.err
    assert tiny.with_name("tiny_fp16.engine").exists()
    assert "fp16" not in fp32_alone.err


@pytest.mark.parametrize("release", ["10.16", "11.1"])
def test_a_tensorrt_that_dropped_the_gpu_names_the_one_that_serves_it(
    tiny, export_engine, another_board, release
):
    with another_board(release, TITAN_XP) as here:
        done = export_engine("--onnx", tiny)
        assert here.tensorrt.builds == 0
    assert done.status == 1
    assert "does not serve NVIDIA TITAN Xp (sm_61); TensorRT 8.6 is the last that does" in done.err
    assert "pip install 'tensorrt<10.0'" in done.err


def test_fp16_on_a_tx2_warns_of_nothing(tx2, tiny, export_engine):
    assert "slower" not in export_engine("--onnx", tiny, *CONV3D).err


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ("8.2.1", "int8: a GPU of sm_62 has no int8 arithmetic"),
        ("8.6.1", "int8 needs a calibration"),
    ],
)
def test_int8_is_refused_by_name(tiny, export_engine, another_board, release, message):
    with another_board(release) as here:
        done = export_engine("--onnx", tiny, "--precision", "fp32", "int8")
        assert here.tensorrt.builds == 0
    assert done.status == 2
    assert message in done.err
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.onnx"]


# --- Graph forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fastest", FORMS)
def test_auto_keeps_the_fastest_graph_form_and_all_timings(
    another_board, tiny, export_engine, monkeypatch, fastest
):
    def latency_ms(runner, batch):
        return batch * (2.0 if runner.describe()["graph"] == fastest else 3.0)

    monkeypatch.setattr("clipedge.export.engine_builder._latency_ms", latency_ms)
    with another_board("10.16") as here:
        done = export_engine("--onnx", tiny, *FP32, "--graph", "auto", "--batch", "1", "8")
        assert done.status == 0, done.err
        assert here.tensorrt.builds == len(FORMS)
        with open_runner(tiny.with_name("tiny_fp32.engine")) as runner:
            assert runner.describe()["graph"] == fastest
    assert f"Graph form: {fastest}, the fastest here" in done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    assert (manifest.graph, manifest.graph_form) == ("auto", fastest)
    times = {one["graph_form"]: one["latency_ms"] for one in manifest.candidates}
    assert times == {
        form: {"1": 2.0, "8": 16.0} if form == fastest else {"1": 3.0, "8": 24.0} for form in FORMS
    }


def test_a_gpu_without_tensor_cores_is_spared_their_form(tx2, tiny, export_engine):
    done = export_engine("--onnx", tiny, *FP32, "--graph", "auto")
    assert done.status == 0, done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    forms = [one["graph_form"] for one in manifest.candidates]
    assert forms == [form for form in FORMS if form != TENSORCORE]


def test_each_batch_size_weighs_the_same_in_the_choice(tx2, tiny, export_engine, monkeypatch):
    """conv2d is twice as fast for one clip, and a tenth slower, but more milliseconds, for 8."""
    times_ms = {("conv2d", 1): 1.0, ("conv3d", 1): 2.0, ("conv2d", 8): 110.0, ("conv3d", 8): 100.0}

    def latency_ms(runner, batch):
        return times_ms.get((runner.describe()["graph"], batch), 500.0)

    monkeypatch.setattr("clipedge.export.engine_builder._latency_ms", latency_ms)
    assert export_engine("--onnx", tiny, *FP32, "--batch", "1", "8").status == 0
    assert load_manifest(tiny.with_name("tiny_fp32.engine")).graph_form == "conv2d"


def test_a_graph_form_is_really_timed(tx2, tiny, export_engine):
    assert export_engine("--onnx", tiny, *FP32, "--batch", "2").status == 0
    for one in load_manifest(tiny.with_name("tiny_fp32.engine")).candidates:
        assert 0 < one["latency_ms"]["2"] < 10e3


def test_a_form_that_cannot_be_built_is_left_out_with_the_reason(
    tx2, tiny, export_engine, monkeypatch
):
    monkeypatch.delitem(__import__("stand_ins.trt_build").trt_build.LAYER_OF, "Reshape")
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 0, done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    assert manifest.graph_form == "conv3d"
    tried = {one["graph_form"]: one for one in manifest.candidates}
    assert "engine_bytes" in tried["conv3d"]
    assert "Reshape" in tried["conv2d"]["error"]
    assert "conv2d" in done.err
    assert "Reshape" in done.err


def test_where_no_form_can_be_built_the_reason_is_the_error(tx2, tiny, export_engine, monkeypatch):
    monkeypatch.delitem(__import__("stand_ins.trt_build").trt_build.LAYER_OF, "Gemm")
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("export-engine: ")]
    assert "node 'gemm' (Gemm)" in line
    assert line.count("refuses the ONNX file") == 1
    assert not list(tiny.parent.glob("*.engine*"))


def test_a_form_that_cannot_run_is_left_out_with_the_reason(tx2, tiny, export_engine, monkeypatch):
    """A form may be built and still need more memory than is left."""

    def latency_ms(runner, batch):
        if runner.describe()["graph"] == "conv3d":
            raise BackendError("no memory for a batch of 8")
        return 1.0

    monkeypatch.setattr("clipedge.export.engine_builder._latency_ms", latency_ms)
    done = export_engine("--onnx", tiny, *FP32)
    assert done.status == 0, done.err
    manifest = load_manifest(tiny.with_name("tiny_fp32.engine"))
    assert manifest.graph_form == "conv2d"
    tried = {one["graph_form"]: one for one in manifest.candidates}
    assert tried["conv3d"]["error"] == "no memory for a batch of 8"


# --- Memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "gpu", "fits"),
    [("8.2.1", TX2, False), ("10.16", ORIN, False), ("10.16", None, True)],
)
def test_a_board_leaves_memory_to_others_unless_it_is_told(
    tiny, export_engine, another_board, release, gpu, fits
):
    build = ("--onnx", tiny, *FP32, *CONV3D)
    with another_board(release, gpu) as here:
        here.tensorrt.workspace_needed_bytes = (1 << 30) + 1
        assert export_engine(*build).status == (0 if fits else 1)
        assert export_engine(*build, "--workspace", "2048").status == 0


def test_a_failed_build_is_not_kept_in_memory(tx2, tiny, export_engine, monkeypatch):
    """Builder and network hold the weights, on a board where nothing is to spare."""
    networks, alive = [], []

    class Network:
        pass

    def build(self, request, progress=None):
        alive.append(sum(one() is not None for one in networks))
        network = Network()
        networks.append(weakref.ref(network))
        raise BackendError("no tactic")

    monkeypatch.setattr(trt_api.TensorRT, "build", build)
    gc.disable()
    try:
        assert export_engine("--onnx", tiny, *FP32).status == 1
    finally:
        gc.enable()
    assert alive == [0, 0]
