"""PyTorch as a benchmark's backend: it must be the network of the file that is timed."""

import sys

import numpy as np
import pytest
import torch

from clipedge.benchmarks.speed import torch_runners
from clipedge.benchmarks.speed.backends import TORCH_BACKENDS, open_backend
from clipedge.benchmarks.speed.torch_runners import TorchRunner
from clipedge.export.export_model import export_model
from clipedge.jetson.errors import BackendError, ClipError
from clipedge.jetson.runners import open_runner
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.models import create_model
from clipedge.trainside.models.layers import channel_shuffle

NOT_COMPILED = [name for name in TORCH_BACKENDS if name != "torch-compile"]
SMALL = ClipSpec(
    model="shufflenetv2", width=0.25, labels=("wave", "stop"), dataset="mine", frames=8, size=32
)


def pixels(spec, count):
    return np.random.RandomState(5).randint(0, 256, (count, *spec.clip_shape)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def random_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    return export_model("mobilenetv2", 0.2, batches=[1], output=folder, graph="conv3d").files[0]


@pytest.fixture(scope="module")
def trained_file(tmp_path_factory):
    """An ONNX file with the checkpoint it is of beside it."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(11)
    checkpoint = folder / "shufflenetv2_0.25x_mine.pt"
    save_checkpoint(checkpoint, create_model("shufflenetv2", 0.25, num_classes=2).eval(), SMALL)
    result = export_model(checkpoint=str(checkpoint), batches=[1], output=folder, graph="conv3d")
    return result.files[0]


@pytest.mark.parametrize("backend", NOT_COMPILED)
@pytest.mark.parametrize("which", ["random_file", "trained_file"])
def test_it_computes_what_the_file_computes(backend, which, request):
    path = request.getfixturevalue(which)
    with open_runner(path, "onnxruntime") as runner:
        clips = pixels(runner.spec, 2)
        expected = runner.infer(clips)
    with open_backend(str(path), backend, 1, "fp32", 2) as runner:
        logits = runner.infer(clips)
        facts = runner.describe()
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
    weights = "random" if which == "random_file" else "shufflenetv2_0.25x_mine.pt"
    assert (facts["backend"], facts["threads"], facts["weights"]) == (backend, 1, weights)
    assert facts["version"] == torch.__version__


def test_a_checkpoint_of_other_classes_is_not_taken_for_the_files(trained_file, tmp_path):
    path = tmp_path / trained_file.name
    path.write_bytes(trained_file.read_bytes())
    other = SMALL._replace(labels=("a", "b", "c"))
    model = create_model("shufflenetv2", 0.25, num_classes=3).eval()
    save_checkpoint(path.with_suffix(".pt"), model, other)
    with TorchRunner(path, "torch-eager", 1, "fp32") as runner:
        assert runner.describe()["weights"] == "random"
        assert runner.infer(pixels(SMALL, 1)).shape == (1, 2)


def test_weights_and_clips_lie_channels_last(random_file):
    seen = []
    with TorchRunner(random_file, "torch-channels-last", 1, "fp32") as runner:
        first = next(one for one in runner._module.modules() if isinstance(one, torch.nn.Conv3d))
        first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        runner.infer(pixels(runner.spec, 2))
        assert first.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert seen[0].is_contiguous(memory_format=torch.channels_last_3d)
    assert not seen[0].is_contiguous()


def test_the_papers_way_is_eval_mode_without_gradients_and_contiguous(random_file):
    seen = []
    with TorchRunner(random_file, "torch-eager", 1, "fp32") as runner:
        assert not any(module.training for module in runner._module.modules())
        runner._module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        runner.infer(pixels(runner.spec, 2))
    assert seen[0].is_inference()
    assert seen[0].is_contiguous()


def test_clips_are_checked_as_by_every_runner(random_file):
    with TorchRunner(random_file, "torch-eager", 1, "fp32") as runner:
        with pytest.raises(ClipError, match="got shape"):
            runner.infer(np.zeros((1, 3, 4, 4, 4), np.float32))
        with pytest.raises(ClipError, match="hand it raw pixels"):
            runner.infer(pixels(runner.spec, 1) - 128)


def test_the_network_is_compiled_when_it_is_opened_and_answers_as_the_eager_one(
    random_file, monkeypatch
):
    """Dynamo alone: inductor's C++ takes ten seconds even for one layer."""
    if torch_runners.why_not_compiled():
        pytest.skip(torch_runners.why_not_compiled())
    compiled = torch.compile
    traced = []

    def backend(graph, example_inputs):
        traced.append(example_inputs)
        return graph.forward

    def with_dynamo_alone(network, dynamic, options):
        compiled(network, dynamic=dynamic, options=options)  # refuses options that it has not
        return compiled(network, dynamic=dynamic, backend=backend, fullgraph=True)

    monkeypatch.setattr(torch, "compile", with_dynamo_alone)
    with TorchRunner(random_file, "torch-eager", 1, "fp32") as runner:
        clips = pixels(runner.spec, 1)
        expected = runner.infer(clips)
        assert runner.describe()["compile"] is None
    with open_backend(str(random_file), "torch-compile", 1, "fp32", 1) as runner:
        assert len(traced) == 1  # no measurement waits for it
        logits = runner.infer(clips)
        assert runner.describe()["compile"] == {"freezing": True, "dynamic": False}
    assert len(traced) == 1
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_compiler_can_follow_the_shuffle_of_channels():
    clips = torch.arange(2.0 * 6 * 2 * 2 * 2).reshape(2, 6, 2, 2, 2)
    whole = torch.compile(channel_shuffle, fullgraph=True, backend="eager")
    assert torch.equal(whole(clips, 3), channel_shuffle(clips, 3))


class TestWhatCannotBe:
    def test_another_precision(self, random_file):
        with pytest.raises(BackendError, match="torch-eager runs models in fp32"):
            TorchRunner(random_file, "torch-eager", 1, "bf16")

    def test_an_architecture_from_elsewhere(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        path = tmp_path / "tiny.onnx"
        model = onnx.helper.make_model(onnx.helper.make_graph([], "tiny", [], []))
        entry = model.metadata_props.add()
        entry.key, entry.value = "clipedge.spec", SMALL._replace(model="tiny").to_json()
        path.write_bytes(model.SerializeToString())
        with pytest.raises(BackendError, match=r"cannot build the network of .*tiny.onnx: .*tiny"):
            TorchRunner(path, "torch-eager", 1, "fp32")

    def test_compiling_without_a_compiler(self, random_file, monkeypatch):
        monkeypatch.setenv("CXX", "no-such-compiler")
        with pytest.raises(BackendError, match=r"no no-such-compiler here.*apt-get install g\+\+"):
            TorchRunner(random_file, "torch-compile", 1, "fp32")

    def test_without_torch_it_says_how_to_install_it(self, random_file, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(BackendError, match="pip install torch"):
            TorchRunner(random_file, "torch-eager", 1, "fp32")
