"""From a PyTorch module to an ONNX graph that takes raw pixels and carries its ClipSpec."""

import copy
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from clipedge.export.constant_folding import fold_constants
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.spec import METADATA_KEY, ClipSpec
from clipedge.jetson.version import own_version

if TYPE_CHECKING:
    import torch

INPUT_NAME = "clips"
OUTPUT_NAME = "logits"
BATCH_AXIS = "batch"

# TensorRT 8.2 parses opset 13 at most; 11 is the first whose Pad and Slice the exporter emits well.
LOWEST_OPSET, HIGHEST_OPSET = 11, 17

# What only makes sense while training, or what folding must have removed.
LEFTOVERS = ("BatchNormalization", "Dropout", "Identity", "RandomNormal", "RandomUniform")

# The oldest ONNX IR that holds each opset (onnx's Versioning.md): the board's readers are old, and
# the onnx package would stamp its own newest IR on the file.
IR_OF_OPSET = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8}


def build_onnx(model: "torch.nn.Module", spec: ClipSpec, opset: int = 13) -> bytes:
    """Export ``model`` as a self-contained ONNX file.

    The graph takes ``clips``: (N, 3, T, H, W) float32, RGB, 0-255, N dynamic, and returns
    ``logits``: (N, classes) float32. Batch norms are folded into convolutions; the weights' colour
    order and std are folded into the first convolution, so that subtracting the mean is all that
    is left of the preprocessing. (The mean cannot be folded: the convolution pads with zeros.)

    Args:
        model: takes (N, 3, T, H, W) float32, normalised as ``spec`` says; it is not changed.
        spec: goes into the file's metadata.
        opset: 11 to 17; TensorRT 8.2 takes 13 at most.

    Raises:
        ClipedgeError: the first layer is no convolution over colours, or training leftovers stayed.
    """
    import onnx
    import torch

    wrapped = with_raw_pixels(model, spec)
    # Any clip will do to trace with; parity is checked on others.
    traced_clip = torch.from_numpy(
        np.random.default_rng(0).uniform(0, 255, (2, *spec.clip_shape)).astype(np.float32)
    )
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter announces its own retirement at length
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            wrapped,
            (traced_clip,),
            buffer,  # type: ignore[arg-type]  # a file object works, its annotation forgets it
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: BATCH_AXIS}, OUTPUT_NAME: {0: BATCH_AXIS}},
            opset_version=opset,
            # The newer exporter starts at opset 18, which TensorRT 8.2 does not parse.
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    fold_constants(graph)
    _refuse_leftovers(graph)
    _tidy(graph, spec, opset)
    onnx_bytes: bytes = graph.SerializeToString()
    onnx.checker.check_model(onnx_bytes, full_check=True)
    return onnx_bytes


def with_raw_pixels(model: "torch.nn.Module", spec: ClipSpec) -> "torch.nn.Module":
    """Return the module that is exported: a copy of ``model``, in eval mode, on the CPU.

    It takes (N, 3, T, H, W) float32, RGB, 0-255, and returns (N, classes) float32 logits.

    Raises:
        ClipedgeError: the first layer is no convolution over colours.
    """
    import torch

    class RawPixels(torch.nn.Module):
        mean: torch.Tensor

        def __init__(self, inner: torch.nn.Module, mean: torch.Tensor) -> None:
            super().__init__()
            self.inner = inner
            self.register_buffer("mean", mean.reshape(1, 3, 1, 1, 1))

        def forward(self, clips: torch.Tensor) -> Any:
            return self.inner(clips - self.mean)

    inner = copy.deepcopy(model).eval().cpu().float()
    mean = _fold_colours(inner, spec)
    return RawPixels(inner, mean).eval()


def _fold_colours(model: "torch.nn.Module", spec: ClipSpec) -> "torch.Tensor":
    """Fold colour order and std into the first convolution in place; return the mean in RGB."""
    import torch

    first = next((layer for layer in model.modules() if isinstance(layer, torch.nn.Conv3d)), None)
    if first is None or first.in_channels != 3:
        raise ClipedgeError(
            f"{spec.architecture}: the first layer is not a 3D convolution over three colours, "
            "so raw pixels cannot be fed to it."
        )
    to_rgb = [0, 1, 2] if spec.channel_order == "RGB" else [2, 1, 0]
    std = torch.tensor(spec.std).reshape(1, 3, 1, 1, 1)
    with torch.no_grad():
        first.weight.copy_((first.weight / std)[:, to_rgb])
    return torch.tensor(spec.mean)[to_rgb]


def _refuse_leftovers(graph: Any) -> None:
    found = sorted({node.op_type for node in graph.graph.node} & set(LEFTOVERS))
    if found:
        raise ClipedgeError(
            "The exported graph still holds {}: this model's layers cannot be folded. Please "
            "report it with the model's name.".format(", ".join(found))
        )


def _tidy(graph: Any, spec: ClipSpec, opset: int) -> None:
    graph.ir_version = IR_OF_OPSET[opset]
    graph.producer_name = "clipedge"
    graph.producer_version = own_version()
    graph.graph.name = spec.file_stem
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, spec.to_json()
