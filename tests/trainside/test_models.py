import copy
import dataclasses
import importlib.util
import io
import json
import math
import pathlib
import warnings
import zlib

import numpy as np
import pytest
import torch

from clipedge.jetson.errors import UsageError
from clipedge.trainside.checkpoint import create_model_like, from_efficient3d
from clipedge.trainside.models import architecture, create_model, list_models, widths
from clipedge.trainside.models.layers import channel_shuffle
from clipedge.trainside.models.resnet import BasicBlock

EVERY_MODEL = [(name, width) for name in list_models() for width in widths(name) or (None,)]
# Logits of weights and a clip that the functions below fill: recorded when the same modules agreed
# with the released code's logits, and held here for machines without those.
RECORDED = json.loads((pathlib.Path(__file__).parent / "data" / "recorded_logits.json").read_text())
RELATIVE_TOLERANCE = 1e-4  # of the largest logit


def waves(key, shape):
    """Fixed values in -1..1 that look random, from a text and a shape alone."""
    count = math.prod(shape)
    step = 1.0 + (zlib.crc32(key.encode()) % 9973) / 997.0
    return np.sin(step * np.arange(1, count + 1, dtype=np.float64) ** 1.5).reshape(shape)


def filled(model):
    tensors = {}
    for name, tensor in model.state_dict().items():
        values = waves(name, tuple(tensor.shape))
        if name.endswith("num_batches_tracked"):
            values = np.zeros(())
        elif name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
            values = 1.0 + 0.5 * values
        elif tensor.dim() == 1:
            values = 0.1 * values
        else:
            values = values * 2.0 / math.sqrt(math.prod(tensor.shape[1:]))
        tensors[name] = torch.from_numpy(values).to(tensor.dtype)
    model.load_state_dict(tensors)
    return model.eval()


def clips(batch, frames=16, size=64, key="clip"):
    values = 50.0 * waves(key, (batch, 3, frames, size, size))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture
def reference(shared):
    folder = shared / "reference" / "efficient3d"
    if not folder.is_dir():
        pytest.skip(f"no released names and logits at {folder}")
    return folder


def split_key(key):
    name, _, width = key.partition("-")
    return name, float(width) if width else None


@pytest.mark.parametrize(("name", "width"), EVERY_MODEL)
def test_every_model_turns_clips_of_its_own_size_into_logits(name, width):
    with torch.device("meta"):
        model = create_model(name, width, num_classes=11)
        config = model.config
        logits = model(torch.empty(2, 3, config.frames, config.size, config.size))
    assert logits.shape == (2, 11)
    assert (config.name, config.width, config.num_classes) == (name, width, 11)


@pytest.mark.parametrize(("name", "width"), EVERY_MODEL)
@pytest.mark.parametrize("size", [64, 96])
def test_smaller_frames_work_too(name, width, size):
    with torch.device("meta"):
        assert create_model(name, width)(torch.empty(1, 3, 16, size, size)).shape == (1, 27)


@pytest.mark.parametrize("name", list_models())
def test_the_config_builds_the_same_tensors_again(name):
    with torch.device("meta"):
        model = create_model(name, num_classes=5, dropout=0.5)
        again = create_model_like(model.config)
    assert again.config == model.config
    assert model.config.options["dropout"] == 0.5
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in again.state_dict().items()}
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.config.name = "other"


@pytest.mark.parametrize("name", list_models())
def test_the_head_named_in_the_registry_has_one_row_a_class(name):
    with torch.device("meta"):
        tensors = create_model(name, num_classes=13).state_dict()
    assert tensors[f"{architecture(name).head}.weight"].shape[0] == 13


def test_width_is_one_where_there_are_widths_and_none_is_given():
    with torch.device("meta"):
        assert create_model("mobilenetv2").config.width == 1.0
        assert create_model("squeezenet").config.width is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("shuflenetv1", 2.0), "did you mean shufflenetv1"),
        (("vgg", None), "known: i3d"),
        (("shufflenetv1", 3.0), "no width 3; the nearest are 1.5 and 2.0"),
        (("mobilenetv2", 0.5), "the nearest are 0.45 and 0.7"),
        (("resnet18", 2.0), "resnet18 has no width multiplier"),
        (("squeezenet", None, 0), "at least 1 class"),
    ],
)
def test_an_unknown_name_or_width_names_the_nearest(call, said):
    with pytest.raises(UsageError, match=said):
        create_model(*call)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("squeezenet", {"shortcut": "A"}, "no option 'shortcut'"),
        ("resnet18", {"shortcut": "C"}, "shortcut must be A or B"),
        ("resnet18", {"dropout": 1.0}, "dropout must be"),
        ("resnet18", {"dropot": 0.1}, "did you mean dropout"),
    ],
)
def test_an_unknown_option_or_value_is_said(name, options, said):
    with pytest.raises(UsageError, match=said):
        create_model(name, **options)


def test_shuffle_deals_channels_out_over_the_groups():
    x = torch.arange(6.0).reshape(1, 6, 1, 1, 1).expand(2, 6, 2, 3, 4)
    shuffled = channel_shuffle(x, 3)
    assert shuffled.shape == x.shape
    assert shuffled[1, :, 1, 2, 3].tolist() == [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_both_shortcuts_train(shortcut):
    model = create_model("resnet18", num_classes=3, shortcut=shortcut)
    model(clips(2, size=32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("key", list(RECORDED))
def test_logits_are_the_recorded_ones_and_a_clip_does_not_change_its_neighbour(key):
    model = filled(create_model(*split_key(key), num_classes=4))
    with torch.inference_mode():
        logits = model(clips(2)).numpy()
        alone = model(clips(2)[1:]).numpy()
    recorded = np.array(RECORDED[key])
    assert np.abs(logits - recorded).max() <= RELATIVE_TOLERANCE * np.abs(recorded).max()
    assert np.abs(alone - logits[1:]).max() <= RELATIVE_TOLERANCE * np.abs(recorded).max()


def traceable(key):
    torch.manual_seed(0)
    if key == "shortcut A":
        return BasicBlock(3, 6, 2, "A").eval()
    return create_model(*split_key(key), num_classes=4).eval()


@pytest.mark.parametrize("key", ["shortcut A", "shufflenetv1-0.5", "shufflenetv2-0.25"])
def test_a_traced_graph_agrees_on_clips_and_batches_it_was_not_traced_with(key):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = traceable(key)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            (clips(1, size=48, key="traced"),),
            buffer,
            dynamo=False,
            opset_version=13,
            input_names=["clips"],
            output_names=["out"],
            dynamic_axes={"clips": {0: "batch"}, "out": {0: "batch"}},
        )
    graph = onnx.load_from_string(buffer.getvalue()).graph
    assert not {"Shape", "Pad", "Cast"} & {node.op_type for node in graph.node}
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    other = clips(3, size=48, key="other")
    (out,) = session.run(None, {"clips": other.numpy()})
    with torch.inference_mode():
        expected = model(other).numpy()
    assert np.abs(out - expected).max() <= RELATIVE_TOLERANCE * np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max(), "clips look all alike"


def test_released_names_and_shapes_are_ours(reference):
    for key, entries in json.loads((reference / "state_dicts.json").read_text()).items():
        with torch.device("meta"):
            ours = create_model(*split_key(key)).state_dict()
        theirs = {entry[0]: tuple(entry[1]) for entry in entries}
        assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == theirs, key


GOLDEN = [
    *("squeezenet", "shufflenetv1-0.5", "shufflenetv1-2.0", "shufflenetv2-0.25"),
    *("shufflenetv2-2.0", "mobilenetv1-1.0", "mobilenetv2-0.45", "mobilenetv2-1.0"),
    *("resnet18", "resnet50", "resnext101"),
]


@pytest.mark.parametrize("key", GOLDEN)
def test_logits_agree_with_the_released_code(key, reference):
    golden = json.loads((reference / "golden_logits.json").read_text())
    assert sorted(golden) == sorted(GOLDEN)
    source = importlib.util.spec_from_file_location("fill", reference / "fill.py")
    filling = importlib.util.module_from_spec(source)
    source.loader.exec_module(filling)
    names = json.loads((reference / "state_dicts.json").read_text())[key]
    state = {
        f"module.{name}": torch.from_numpy(filling.fill(name, shape, golden[key]["seed"]))
        for name, shape, *_ in names
    }
    model = from_efficient3d(state)
    name, width = split_key(key)
    assert (model.config.name, model.config.width) == (name, width)
    assert not model.training
    with torch.inference_mode():
        logits = model(torch.from_numpy(filling.clip()))[0].numpy()
    expected = np.array(golden[key]["logits"])
    assert np.abs(logits - expected).max() <= RELATIVE_TOLERANCE * np.abs(expected).max()


def test_a_model_can_be_copied():
    model = create_model("mobilenetv1", 0.5)
    assert copy.deepcopy(model).config == model.config
