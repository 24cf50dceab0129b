"""How much memory a measurement takes, told before it is tried.

A machine that runs out of memory swaps for minutes or ends programs, and not only ours.
"""

import pathlib
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from clipedge.benchmarks.layer_costs import Network, find_network
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson import board
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.runners.model_file import read_model_spec
from clipedge.jetson.runners.opening import AUTO, BACKENDS, TENSORRT, is_installed

_MIB = 2.0**20
_FLOAT_BYTES = 4


class _Cost(NamedTuple):
    base_mb: float  # the process with its libraries
    weights: float  # times the network's weights: the file, and what the backend makes of it
    layer: float  # times the numbers that the largest layer reads and writes


# Fitted to the peak memory of the process in batches of 1 and 8, over networks with 1 to 280 MiB of
# weights and layers of up to 1.1 GiB; off by at most 40 %.
_COSTS: Dict[str, _Cost] = {
    "onnxruntime": _Cost(80.0, 1.3, 2.5),
    "openvino": _Cost(150.0, 3.0, 1.0),
    "torch-eager": _Cost(230.0, 1.1, 2.0),
    "torch-channels-last": _Cost(230.0, 1.1, 2.0),
    "torch-compile": _Cost(450.0, 2.0, 1.0),
}
_CLIPS = 2.0  # times the clips
# Of export-engine, which compares with PyTorch in fp64; its clips are in it.
_EXPORT = _Cost(400.0, 9.5, 3.7)
_EXPORT_BATCH = 8


def memory_needed_mb(
    model: str,
    width: Optional[float],
    classes: int,
    batch: int,
    backend: str = AUTO,
    streams: int = 1,
) -> Optional[float]:
    """Return about how much memory it takes to measure a network, in MiB.

    Args:
        model: architecture.
        width: its width multiplier.
        classes: of its head.
        batch: clips at once.
        backend: of BENCH_BACKENDS but ``tensorrt``; ``auto`` has all that are installed in memory
            while it chooses.
        streams: inferences at once.

    Returns:
        MiB; None where the network is not one of ``layer_costs``.
    """
    network = find_network(model, width, classes)
    if network is None:
        return None
    clips_mb = _mib(batch * int(np.prod(network.clip_shape)))
    return _CLIPS * clips_mb + sum(
        _takes_mb(_COSTS[name], network, batch, streams) for name in _at_once(backend)
    )


def export_needs_mb(model: str, width: Optional[float]) -> Optional[float]:
    """Return about how much memory the export of a network takes, in MiB; None where unknown."""
    network = find_network(model, width)
    return None if network is None else _takes_mb(_EXPORT, network, _EXPORT_BATCH, 1)


def require_room(order: Order) -> None:
    """Refuse to open an ONNX file where the memory that is left does not suffice.

    An engine's memory is the GPU's, and its library tells what is missing.

    Raises:
        UsageError: there is too little.
        ClipedgeError: the file cannot be read.
    """
    if order.path.endswith(ENGINE_SUFFIX) or order.backend == TENSORRT:
        return
    spec = read_model_spec(order.path)
    network = find_network(spec.model, spec.width)
    if network is None or network.clip_shape != spec.clip_shape:
        return
    needed_mb = memory_needed_mb(
        spec.model, spec.width, spec.num_classes, order.batch, order.backend, order.streams
    )
    if needed_mb is not None:
        name = pathlib.Path(order.path).name
        board.require_memory(needed_mb, f"{name} in batches of {order.batch}")


def _at_once(backend: str) -> List[str]:
    if backend != AUTO:
        return [backend]
    return [name for name in BACKENDS if name in _COSTS and is_installed(name)]


def _takes_mb(cost: _Cost, network: Network, batch: int, streams: int) -> float:
    weights_mb = _mib(sum(layer.weights for layer in network.layers))
    layer_mb = _mib(batch * max(layer.inputs + layer.outputs for layer in network.layers))
    return cost.base_mb + streams * (cost.weights * weights_mb + cost.layer * layer_mb)


def _mib(numbers: int) -> float:
    return numbers * _FLOAT_BYTES / _MIB
