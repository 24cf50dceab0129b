"""Real engines, built with TensorRT for RTX for GPUs that are not here."""

import hashlib
import json
import logging
import signal

import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from stand_ins import NO_GPU, TX2, board

from clipedge.export import cli
from clipedge.export.checkpoint_source import settle_batch_norms
from clipedge.export.graph_forms import rewrite
from clipedge.export.graph_names import CONV2D, CONV3D, FORMS
from clipedge.export.onnx_graph import build_onnx
from clipedge.export.workbench import Workbench
from clipedge.jetson import trt_api
from clipedge.jetson.engine_manifest import load_manifest
from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.models import architecture, create_model, list_models, widths

RTX = "tensorrt_rtx"
pytest.importorskip(RTX, reason="tensorrt-rtx-cu12 is for x86-64 Linux", exc_type=ImportError)

SM_75, SM_86, SM_89 = (7, 5), (8, 6), (8, 9)
BATCH = 8  # one, as two compile twice; the command below has two
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The paper's clip; I3D's own, 64 frames of 224 x 224, takes ten times as long to export.
LARGEST_FRAMES, LARGEST_SIZE = 16, 112
# Of a network with more weights than this, one form in fp32 and the other in fp16 do: copying
# weights is all that the others would add.
LARGE_BYTES = 40e6


def exported(name):
    """The ONNX file of a model at its smallest width, with random weights."""
    width, entry = (widths(name) or (None,))[0], architecture(name)
    torch.manual_seed(0)
    model = create_model(name, width, num_classes=27).eval()
    spec = ClipSpec(
        model=name,
        width=width,
        labels=tuple(f"class_{index}" for index in range(27)),
        frames=min(entry.frames, LARGEST_FRAMES),
        size=min(entry.size, LARGEST_SIZE),
    )
    return build_onnx(model, spec)


@pytest.fixture
def bench(tmp_path):
    """`bench(*targets)`: a workbench with TensorRT for RTX."""
    return lambda *targets: Workbench(tmp_path, RTX, targets)


@pytest.mark.parametrize("name", list_models())
def test_every_model_builds_in_both_forms_and_precisions(bench, name):
    trained = exported(name)
    rewritten = rewrite(trained, CONV2D)
    cases = [(CONV3D, trained, False), (CONV2D, rewritten, True)]
    if len(trained) < LARGE_BYTES:
        cases += [(CONV3D, trained, True), (CONV2D, rewritten, False)]
    here = bench(SM_86)
    for form, content, fp16 in cases:
        compiled = here.compile(content, (BATCH,), fp16, (), f"{name}, {form}")
        # An engine holds its weights; in fp16 they take half the bytes.
        assert len(compiled.plan) > len(content) * (0.4 if fp16 else 0.8)
        layers = here.trt.network_layers(compiled.onnx)
        kinds = {layer.precision for layer in layers if layer.kind == "CONVOLUTION"}
        assert kinds == {"HALF" if fp16 else "FLOAT"}


# --- Targets --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_onnx():
    """MobileNetV2 0.2x for small clips."""
    torch.manual_seed(0)
    spec = ClipSpec("mobilenetv2", ("a", "b", "c"), 0.2, frames=8, size=32)
    return build_onnx(create_model("mobilenetv2", 0.2, num_classes=3).eval(), spec)


def test_one_engine_serves_several_targets(bench, small_onnx):
    one, two = (
        bench(*targets).compile(small_onnx, (1,), False, (), "small").plan
        for targets in ((SM_86,), (SM_86, SM_89))
    )
    assert len(two) > len(one)


def test_sm_75_takes_fp16_and_refuses_fp32_with_the_compilers_reason(bench, small_onnx):
    here = bench(SM_75)
    with pytest.raises(
        BackendError, match=r"TensorRT for RTX .* could not build the engine: "
    ) as no:
        here.compile(small_onnx, (1,), False, (), "small")
    reason = str(no.value).split("could not build the engine: ")[1]
    assert not reason.startswith("it gave no reason")
    assert here.compile(small_onnx, (1,), True, (), "small").plan


def test_layers_kept_in_fp32_are_fp32_in_the_network(bench, small_onnx):
    nodes = [node.name for node in onnx.load_from_string(small_onnx).graph.node]
    conv = next(name for name in nodes if "conv" in name.lower())
    here = bench(SM_86)
    compiled = here.compile(small_onnx, (1,), True, (conv,), "small")
    convolutions = {
        layer.name: layer.precision
        for layer in here.trt.network_layers(compiled.onnx)
        if layer.kind == "CONVOLUTION"
    }
    kept = {name for name, precision in convolutions.items() if precision == "FLOAT"}
    assert kept == {name for name in convolutions if trt_api.belongs_to(name, conv)}
    assert len(kept) == 1


# --- What the parser says -------------------------------------------------------------------------


def with_determinant(content):
    """The file with an operator that ONNX Runtime has and TensorRT has not, added to the logits."""
    model = onnx.load_from_string(content)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(torch.eye(2).numpy(), "eye"))
    logits = graph.output[0].name
    producer = next(node for node in graph.node if logits in node.output)
    producer.output[:] = ["before"]
    graph.node.append(helper.make_node("Det", ["eye"], ["one"], name="the_culprit"))
    graph.node.append(helper.make_node("Mul", ["before", "one"], [logits], name="last"))
    return model.SerializeToString()


def test_an_operator_tensorrt_lacks_is_told_with_node_and_reason(small_onnx):
    request = trt_api.BuildRequest(with_determinant(small_onnx), (1,), targets=(SM_86,))
    with pytest.raises(ModelFileError, match=r"node 'the_culprit' \(Det\): .*\w+"):
        trt_api.load(RTX).build(request)


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_truncated_graph_is_refused_with_the_parsers_reason(small_onnx, share):
    request = trt_api.BuildRequest(
        small_onnx[: int(share * len(small_onnx))], (1,), targets=(SM_86,)
    )
    with pytest.raises(ModelFileError, match=r"refuses the ONNX file: \w+"):
        trt_api.load(RTX).build(request)


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a small, untrained model with a small clip."""
    torch.manual_seed(3)
    spec = ClipSpec("mobilenetv1", ("wave", "swipe", "stop"), 0.5, "mine", frames=16, size=64)
    model = create_model("mobilenetv1", 0.5, num_classes=3)
    settle_batch_norms(model, spec)
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    save_checkpoint(path, model, spec)
    return path


@pytest.fixture
def export_engine(capsys):
    """`export_engine("--onnx", path, ...)` -> (status, stdout, stderr), in this process."""
    ours = logging.getLogger("clipedge")
    before = ours.handlers, ours.level
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def run(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    yield run
    ours.handlers, ours.level = before
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def built(checkpoint, tmp_path_factory):
    """The result of one command from checkpoint to engines, and their folder."""
    folder = tmp_path_factory.mktemp("engines")
    flags = ["--builder", "tensorrt-rtx", "--target", "sm_86", "sm_89", "--batch", "1", "2"]
    output = tmp_path_factory.mktemp("stdout") / "result.json"
    with output.open("w") as stdout, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stdout)
        patch.setattr(signal, "signal", lambda *_: None)
        line = ["--checkpoint", str(checkpoint), "--output", str(folder), *flags, "--json"]
        status = cli.main([*line, "--profile"])
    return status, json.loads(output.read_text()), folder


def test_one_command_takes_a_checkpoint_to_checked_engines(built):
    status, result, folder = built
    assert status == 0
    assert result["parity"]["passed"]
    assert result["failures"] == []
    stem = "mobilenetv1_0.5x_mine"
    names = {f"{stem}_{precision}_sm_86_sm_89.engine" for precision in ("fp32", "fp16")}
    assert {path.name for path in folder.glob("*.engine")} == names
    for name in names:
        manifest = load_manifest(folder / name)
        plan = (folder / name).read_bytes()
        assert manifest.engine_sha256 == hashlib.sha256(plan).hexdigest()
        assert manifest.targets == ("sm_86", "sm_89")
        assert manifest.batches == (1, 2)
        assert manifest.machine.tensorrt.startswith("tensorrt_rtx 1.")
        assert manifest.machine.gpu is manifest.machine.compute_capability is None
        assert manifest.spec.labels == ("wave", "swipe", "stop")


def test_the_manifest_says_that_the_engine_itself_was_not_checked(built):
    _, result, _ = built
    for engine in result["engines"]:
        assert "not the engine" in engine["parity"]["candidate"]
        assert ("simulated" in engine["parity"]["candidate"]) == (engine["precision"] == "fp16")
        assert engine["parity"]["relative_error"] <= engine["parity"]["limit_relative"]


def test_without_a_gpu_auto_keeps_the_smallest_engine(built):
    _, result, _ = built
    for engine in result["engines"]:
        tried = {one["graph_form"]: one for one in engine["candidates"]}
        assert list(tried) == list(FORMS)
        assert {one["latency_ms"] for one in tried.values()} == {None}
        smallest = min(tried, key=lambda form: tried[form].get("engine_bytes", float("inf")))
        assert engine["graph_form"] == smallest


def test_the_profile_lists_the_layers_with_precision(built):
    _, result, folder = built
    for engine in result["engines"]:
        layers = engine["profile"]["layers"]
        assert sum(row["share"] for row in layers) == pytest.approx(1.0)
        kinds = {row["precision"] for row in layers if row["kind"] == "CONVOLUTION"}
        assert kinds == {"HALF" if engine["precision"] == "fp16" else "FLOAT"}
        assert {row["time_ms"] for row in layers} == {None}
    assert len(list(folder.glob("*.engine.layers.json"))) == 2


def test_the_same_command_on_the_onnx_file_builds_nothing(built, export_engine):
    _, result, _ = built
    flags = ("--target", "sm_86", "sm_89", "--batch", "1", "2", "--json")
    status, out, err = export_engine("--onnx", result["files"][0], *flags)
    assert status == 0, err
    assert [engine["cached"] for engine in json.loads(out)["engines"]] == [True, True]


def test_an_unknown_target_lists_the_known_ones(built, export_engine, tmp_path):
    onnx_path = built[1]["files"][0]
    status, _, err = export_engine("--onnx", onnx_path, "--target", "sm_99", "--output", tmp_path)
    assert status == 2
    (line,) = [line for line in err.splitlines() if line.startswith("export-engine: ")]
    assert "no target sm_99; it has sm_75, sm_80, sm_86, sm_89" in line
    assert not list(tmp_path.glob("*.engine*"))


def test_fp32_for_sm_75_fails_in_one_line_and_fp16_is_built(built, export_engine, tmp_path):
    onnx_path = built[1]["files"][0]
    flags = ("--target", "sm_75", "--graph", "conv3d", "--batch", "1", "--output", tmp_path)
    status, _, err = export_engine("--onnx", onnx_path, *flags)
    assert status == 1
    (line,) = [line for line in err.splitlines() if line.startswith("export-engine: ")]
    assert "in fp32: conv3d: TensorRT for RTX" in line
    assert "could not build the engine: " in line
    (engine,) = tmp_path.glob("*.engine")
    assert engine.name.endswith("_fp16_sm_75.engine")


# --- Nothing to build engines with ----------------------------------------------------------------

NOTHING = [
    ({"release": None, "gpu": TX2}, "TensorRT is not installed"),
    ({"release": "8.2.1", "gpu": NO_GPU}, "no CUDA-capable device"),
    ({"release": "rtx", "gpu": NO_GPU}, "--target sm_86"),
]


@pytest.fixture
def exported_before(built, monkeypatch):
    """The export stage hands out what it made before: it is slow, and not what is tested."""
    result = {key: built[1][key] for key in built[1] if key not in ("engines", "failures")}
    monkeypatch.setattr(cli, "_export", lambda arguments: dict(result))


@pytest.mark.parametrize(("machine", "reason"), NOTHING, ids=["no TensorRT", "no GPU", "RTX"])
@pytest.mark.usefixtures("exported_before")
def test_without_a_gpu_a_checkpoint_still_becomes_an_onnx_file(
    checkpoint, export_engine, tmp_path, machine, reason
):
    with board(**machine):
        status, out, err = export_engine("--checkpoint", checkpoint, "--output", tmp_path)
    assert status == 0, err
    (line,) = [line for line in err.splitlines() if line.startswith("No engines were built. ")]
    assert reason in line
    assert list(tmp_path.iterdir()) == []
    assert "on the board: export-engine --onnx mobilenetv1_0.5x_mine.onnx" in out


@pytest.mark.parametrize("flags", [("--precision", "fp16"), ("--force",), ("--profile",)])
@pytest.mark.usefixtures("exported_before")
def test_who_asks_for_engines_gets_them_or_an_error(checkpoint, export_engine, tmp_path, flags):
    with board(None):
        status, _, err = export_engine("--checkpoint", checkpoint, "--output", tmp_path, *flags)
    assert status == 1
    assert "export-engine: TensorRT is not installed" in err.splitlines()[-1]
