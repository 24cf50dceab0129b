import errno
import os
import pathlib
import pickle

import pytest
import torch

from clipedge.jetson.errors import ClipedgeError, SpecError, UsageError
from clipedge.jetson.spec import ClipSpec, numbered_labels
from clipedge.trainside.checkpoint import from_efficient3d, load_checkpoint, save_checkpoint
from clipedge.trainside.models import create_model, list_models, widths

LABELS = tuple(numbered_labels(5))
SMALL_MODELS = [name for name in list_models() if not name.startswith("resne")]


def spec_for(model):
    config = model.config
    return ClipSpec(
        config.name, LABELS, config.width, "jester", frames=config.frames, size=config.size
    )


def small_model(name="mobilenetv2", width=0.2, **options):
    torch.manual_seed(3)
    return create_model(name, width, num_classes=5, **options)


@pytest.fixture
def saved(tmp_path):
    model = small_model()
    path = tmp_path / "runs" / "model.pt"
    save_checkpoint(path, model, spec_for(model), epoch=7, scores=[0.5, None], note={"best": True})
    return path


def edited(path, **changes):
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save(content, path)
    return path


def fails(path):
    with pytest.raises(ClipedgeError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("name", "width"), [("mobilenetv2", 0.2), ("shufflenetv2", 0.25), ("squeezenet", None)]
)
def test_a_model_comes_back_with_its_weights_spec_and_extras(name, width, tmp_path):
    model = small_model(name, width, dropout=0.9)
    path = tmp_path / "model.pt"
    save_checkpoint(path, model, spec_for(model), epoch=7, rates=[0.1, 0.01])
    loaded = load_checkpoint(path)
    assert loaded.model.config == model.config
    assert loaded.spec == spec_for(model)
    assert loaded.extra == {"epoch": 7, "rates": [0.1, 0.01]}
    assert not loaded.model.training
    clips = torch.randn(2, 3, 16, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.model(clips), model.eval()(clips))


def test_the_shortcut_comes_back(tmp_path):
    model = small_model("resnet18", None, shortcut="B")
    save_checkpoint(tmp_path / "model.pt", model, spec_for(model))
    assert load_checkpoint(tmp_path / "model.pt").model.config.options["shortcut"] == "B"


def test_a_spec_of_another_model_is_not_saved(tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match=r"its ClipSpec says mobilenetv2 with width 1\.0"):
        save_checkpoint(tmp_path / "model.pt", model, spec_for(model)._replace(width=1.0))
    with pytest.raises(ValueError, match=r"extra\['where'\] is a PosixPath"):
        save_checkpoint(tmp_path / "model.pt", model, spec_for(model), where=pathlib.PosixPath("a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(saved, error, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(error))
    model = small_model()
    with pytest.raises((ClipedgeError, KeyboardInterrupt)):
        save_checkpoint(saved, model, spec_for(model))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_checkpoint_is_said(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept)])
    assert "damaged or truncated" in fails(saved)


def test_a_file_of_something_else_is_said(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x89PNG\r\n")
    assert "not a checkpoint" in fails(path)
    torch.save([1, 2, 3], path)
    assert "not a checkpoint of clipedge" in fails(path)


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        load_checkpoint(tmp_path / "none.pt")
    assert "it is a folder" in fails(tmp_path)


class RunsCode:
    def __reduce__(self):
        return (os.system, ("exit 1",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_wants_more_is_refused_by_name(tmp_path, zipped):
    path = tmp_path / "model.pt"
    torch.save({"state_dict": RunsCode()}, path, _use_new_zipfile_serialization=zipped)
    message = fails(path)
    assert f"{os.system.__module__}.system" in message
    assert "refused" in message


def test_a_plain_pickle_that_wants_more_is_refused_too(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(RunsCode(), protocol=2))
    assert str(path) in fails(path)


def test_released_weights_are_sent_to_import(tmp_path):
    path = tmp_path / "released.pth"
    for content in (small_model().state_dict(), {"state_dict": small_model().state_dict()}):
        torch.save(content, path)
        assert f"train-clips import {path}" in fails(path)


def test_a_newer_format_is_said(saved):
    assert "format version 2; this clipedge reads 1" in fails(edited(saved, format_version=2))


def test_a_checkpoint_with_the_weights_of_another_model_is_said(saved):
    other = small_model("squeezenet", None)
    message = fails(edited(saved, state_dict=dict(other.state_dict())))
    assert "not those of mobilenetv2" in message
    assert "missing features.0.0.weight" in message


def test_a_checkpoint_that_contradicts_itself_is_said(saved):
    spec = spec_for(small_model())._replace(labels=("one", "two"))
    assert "5 classes, its ClipSpec says" in fails(edited(saved, spec=spec.to_dict()))
    with pytest.raises(SpecError):
        load_checkpoint(edited(saved, spec={"format_version": 1}))


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"name": "vgg", "width": None, "num_classes": 5, "options": {}}},
        {"config": {"name": "squeezenet", "width": None, "num_classes": "5", "options": {}}},
        {"config": {"nonsense": 1}},
        {"config": 3},
        {"state_dict": {"weight": 3}},
        {"spec": None},
    ],
)
def test_damaged_fields_are_said(saved, changes):
    assert str(saved) in fails(edited(saved, **changes))


@pytest.mark.parametrize("name", SMALL_MODELS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_model_width_and_classes_are_read_off_the_tensors(name, prefix):
    width = widths(name)[0] if widths(name) else None
    with torch.device("meta"):
        expected = create_model(name, width, num_classes=9)
    state = create_model(name, width, num_classes=9).state_dict()
    model = from_efficient3d({prefix + key: tensor for key, tensor in state.items()})
    assert model.config == expected.config
    assert not model.training
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_the_resnets_shortcut_is_read_off_and_options_are_kept():
    state = create_model("resnet18", num_classes=5, shortcut="B").state_dict()
    model = from_efficient3d(state, "resnet18", dropout=0.9)
    assert model.config.options == {"shortcut": "B", "dropout": 0.9}
    with pytest.raises(ClipedgeError, match=r"unexpected layer2\.0\.downsample"):
        from_efficient3d(state, "resnet18", shortcut="A")


def test_weights_of_pytorch_before_0_4_1_load():
    state = small_model().state_dict()
    old = {key: tensor for key, tensor in state.items() if "num_batches" not in key}
    assert from_efficient3d(old).config.name == "mobilenetv2"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("shufflenetv1", 0.5), ["not those of shufflenetv1 0.5x", "They fit mobilenetv2 0.2x"]),
        (("mobilenetv2", 1.0), ["features.0.0.weight is 6x3x3x3x3, expected 32x3x3x3x3"]),
        (("resnet18", None), ["missing conv1.weight", "unexpected features.0.0.weight"]),
    ],
)
def test_weights_of_another_model_name_the_first_tensors_that_do_not_fit(call, said):
    with pytest.raises(ClipedgeError) as caught:
        from_efficient3d(small_model().state_dict(), *call)
    assert all(text in str(caught.value) for text in said)
    assert len(str(caught.value).splitlines()) == 1


def test_tensors_of_no_known_model_name_the_nearest():
    state = small_model().state_dict()
    state["features.0.0.weight"] = torch.zeros(6, 1, 3, 3, 3)
    with pytest.raises(ClipedgeError) as caught:
        from_efficient3d(state)
    assert "fit none of the known models; the nearest is mobilenetv2 0.2x" in str(caught.value)
    assert "features.0.0.weight is 6x1x3x3x3, expected 6x3x3x3x3 (1 in all)" in str(caught.value)


@pytest.mark.parametrize("state", [{}, {"weight": 3}, {"optimizer": {}}])
def test_what_is_no_state_dict_is_said(state):
    with pytest.raises(ClipedgeError, match="not a dict of tensors"):
        from_efficient3d(state)


def test_a_wrong_call_is_said_before_the_tensors_are_looked_at():
    state = small_model().state_dict()
    for call, said in [(("mobilnetv2",), "did you mean"), (("mobilenetv2", 0.3), "nearest")]:
        with pytest.raises(UsageError, match=said):
            from_efficient3d(state, *call)
    with pytest.raises(UsageError, match="No model has width 9"):
        from_efficient3d(state, width=9.0)
