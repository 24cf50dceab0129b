"""Training that starts from weights: which are kept, which are new, which stay."""

import logging

import pytest
import torch

from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import save_checkpoint
from clipedge.trainside.models import create_model, list_models
from clipedge.trainside.transfer import Start, freeze_backbone, load_start, model_from

LABELS = ("left", "right", "still")


def start(labels=LABELS, **fields):
    torch.manual_seed(1)
    model = create_model("shufflenetv2", 0.25, len(labels), dropout=0.2)
    model.get_submodule("classifier.1").bias.data.uniform_(1.0, 2.0)  # fresh ones are 0
    return Start(model, ClipSpec("shufflenetv2", labels, width=0.25, **fields))


def scores_by_label(model, labels):
    torch.manual_seed(0)
    with torch.inference_mode():
        logits = model.eval()(torch.randn(2, 3, 16, 112, 112))
    return {label: logits[:, place] for place, label in enumerate(labels)}


def test_the_same_classes_in_another_order_keep_what_they_know():
    known = start()
    other = ("still", "left", "right")
    before = scores_by_label(known.model, LABELS)
    after = scores_by_label(model_from(known, other, 0.0), other)
    for label in LABELS:
        torch.testing.assert_close(after[label], before[label])


def test_other_classes_keep_all_but_the_last_layer_and_that_is_said(caplog):
    known = start()
    with caplog.at_level(logging.WARNING, "clipedge"):
        model = model_from(known, ("left", "right", "up"), 0.9)
    assert "accuracy is chance, 33.3 %" in caplog.text
    before, after = known.model.state_dict(), model.state_dict()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}
    assert model.config.options == {"dropout": 0.9}


@pytest.mark.parametrize("name", list_models())
def test_a_frozen_backbone_leaves_the_last_layer_of_every_model_to_learn(name):
    with torch.device("meta"):
        model = create_model(name, None, 5)
    still = freeze_backbone(model)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    assert sorted(len(weight) for weight in learning) == [5, 5]
    assert len(still) == sum("BatchNorm" in type(layer).__name__ for layer in model.modules())


def test_weights_come_with_their_clip_and_normalisation(tmp_path):
    known = start(
        frames=8, stride_frames=1, frame_rate_hz=30.0, channel_order="BGR", std=(5.0, 6.0, 7.0)
    )
    save_checkpoint(tmp_path / "own.pt", known.model, known.spec)
    assert load_start(tmp_path / "own.pt").spec == known.spec


def test_released_weights_of_no_known_data_set_are_refused(tmp_path):
    model = create_model("shufflenetv2", 0.25, 5)
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1, "arch": "x"}, tmp_path / "five.pth")
    with pytest.raises(UsageError, match="import it first"):
        load_start(tmp_path / "five.pth")


def test_released_weights_of_kinetics_come_with_its_order_of_colours(tmp_path):
    model = create_model("shufflenetv2", 0.25, 600)
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1, "arch": "x"}, tmp_path / "k.pth")
    spec = load_start(tmp_path / "k.pth").spec
    assert (spec.dataset, spec.channel_order, spec.frame_rate_hz) == ("kinetics600", "BGR", 30.0)
