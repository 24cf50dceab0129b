"""Training that starts from weights: a head for other classes, a backbone that stays as it is."""

import logging
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import PathLike
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.checkpoint import (
    FORMAT,
    from_efficient3d,
    load_checkpoint,
    load_tensors,
)
from clipedge.trainside.import_weights import choose_labels, released_tensors, spec_of
from clipedge.trainside.models import ClipModel, architecture, create_model

log = logging.getLogger(__name__)

# The released weights say nothing of their data set but how many classes it has.
_BY_CLASSES = {27: "jester", 101: "ucf101", 600: "kinetics600"}


class Start(NamedTuple):
    """Weights to start from, with the ClipSpec they were trained for."""

    model: ClipModel
    spec: ClipSpec


def load_start(path: PathLike) -> Start:
    """Read a checkpoint of this project, or one of the paper's released code.

    Raises:
        UsageError: there is no such file.
        ClipedgeError: it is neither, or damaged.
    """
    if str(path).endswith(".onnx"):
        raise UsageError(f"{path} is an ONNX file; give the checkpoint that it was exported from.")
    content = load_tensors(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        model, spec, _ = load_checkpoint(path)
        return Start(model, spec)
    model = from_efficient3d(released_tensors(str(path)))
    classes = model.config.num_classes
    dataset = _BY_CLASSES.get(classes)
    if dataset is None:
        raise UsageError(
            f"{path} has {classes} classes, which none of the released data sets has: import it "
            "first, train-clips import FILE --dataset NAME, and start from that checkpoint."
        )
    log.info("%s has %d classes: taken for released weights of %s", path, classes, dataset)
    labels, _ = choose_labels(dataset, None, classes)
    return Start(model, spec_of(model.config, dataset, labels))


def model_from(start: Start, labels: tuple[str, ...], dropout: float) -> ClipModel:
    """Return a model with the weights of ``start`` and one logit for each of ``labels``.

    The same classes in another order keep their weights; for other classes the last layer is new.
    """
    config = start.model.config
    options = {**config.options, "dropout": dropout}
    model = create_model(config.name, config.width, len(labels), **options)
    tensors = dict(start.model.state_dict())
    head = architecture(config.name).head
    if set(labels) == set(start.spec.labels):
        order = torch.tensor([start.spec.labels.index(label) for label in labels])
        for name in _of_head(head, tensors):
            tensors[name] = tensors[name][order]
    else:
        log.warning(
            "The classes differ from those of the weights (%d there, %d here): the last layer is "
            "new and knows nothing. Until it has learned, accuracy is chance, %.1f %%.",
            len(start.spec.labels),
            len(labels),
            100.0 / len(labels),
        )
        fresh = model.state_dict()
        tensors.update({name: fresh[name] for name in _of_head(head, tensors)})
    model.load_state_dict(tensors)
    return model


def freeze_backbone(model: ClipModel) -> list[nn.Module]:
    """Let the last layer alone learn; return the layers that must stay in eval mode for it."""
    head = architecture(model.config.name).head
    for name, weight in model.named_parameters():
        weight.requires_grad = name.startswith(f"{head}.")
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def _of_head(head: str, tensors: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in tensors if name.startswith(f"{head}.")]
