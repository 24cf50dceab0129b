"""The kept costs of all layers: as the models are, and as automatic differentiation sees them."""

import pytest
import torch

from clipedge.benchmarks import layer_costs
from clipedge.benchmarks.layer_costs import DEPTHWISE, POOL, find_network
from clipedge.trainside.models import create_model


def test_the_file_is_as_the_models_are(capsys):
    assert layer_costs.main([]) == 0
    assert "as the models are" in capsys.readouterr().out


def test_a_file_that_is_not_as_the_models_is_told_and_made_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layer_costs, "count_all", lambda: "new\n")
    monkeypatch.setattr(layer_costs, "FILE", tmp_path / "costs.json")
    assert layer_costs.main([]) == 1
    assert "--write" in capsys.readouterr().out
    assert layer_costs.main(["--write"]) == 0
    assert (tmp_path / "costs.json").read_text() == "new\n"


def runs_of(model, width):
    """Yield (name, module, input shape) of every convolution, in the order in which they run."""
    seen = []
    module = create_model(model, width, 600).eval()
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.Conv3d):
            part.register_forward_hook(
                lambda conv, inputs, _, name=name: seen.append((name, conv, inputs[0].shape))
            )
    with torch.no_grad():
        module(torch.zeros(1, 3, 16, 112, 112))
    return seen


@pytest.mark.parametrize(
    ("model", "width"), [("shufflenetv1", 0.5), ("mobilenetv2", 0.2), ("shufflenetv2", 0.25)]
)
def test_products_and_weights_are_those_that_a_clip_meets(model, width):
    layers = {layer.name: layer for layer in find_network(model, width).layers}
    runs = runs_of(model, width)
    for name, conv, shape in runs:
        # Ones everywhere: a convolution counts its products that do not fall on padding.
        ones = torch.ones(shape, requires_grad=True)
        weight = torch.ones_like(conv.weight, requires_grad=True)
        made = torch.nn.functional.conv3d(
            ones, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups
        )
        made.sum().backward()
        layer = layers[name]
        assert layer.macs == int(made.double().sum()), name
        assert layer.weights == int((weight.grad != 0).sum()), name
        assert layer.outputs == made.numel(), name
        if layer.kind == DEPTHWISE:
            assert layer.inputs == int((ones.grad != 0).sum()), name
    pools = sum(layer.kind == POOL for layer in layers.values())
    assert len(layers) == len(runs) + pools + 1  # the classifier


def test_a_strided_pointwise_convolution_reads_only_where_it_lands():
    reach = layer_costs._reach(size=8, made=4, kernel=1, stride=2, padding=0)
    assert reach == (4, 1, 4)


def test_what_layers_add_they_read_and_what_they_share_they_read_once():
    layers = {layer.name: layer for layer in find_network("resnet18", None).layers}
    both = layers["layer1.0.conv2"]
    assert both.inputs == 2 * both.outputs  # what it filters, and the shortcut
    half = layers["layer2.0.conv2"]
    assert half.inputs == half.outputs * 3 // 2  # half of this shortcut is zeros
    fire = {layer.name: layer for layer in find_network("squeezenet", None).layers}
    assert fire["features.4.expand1x1"].inputs == fire["features.4.squeeze"].outputs
    assert fire["features.4.expand3x3"].inputs == 0
