"""What each layer of a profile is, and the least it takes on the device it ran on.

A profile names layers as the backend does. ONNX Runtime and OpenVINO keep the names of the ONNX
file's nodes, TensorRT joins those of the nodes it runs as one. What is not a node's name, such as a
change of layout in memory, is ``other``; nothing is guessed.
"""

import collections
import logging
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.benchmarks.devices import BYTES, Device
from clipedge.benchmarks.layer_costs import (
    CONV,
    DEPTHWISE,
    HEAD,
    KINDS,
    POINTWISE,
    POOL,
    STEM,
    Layer,
    Network,
    find_network,
)
from clipedge.benchmarks.limit import limit_of
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX

OTHER = "other"
PROFILE_KINDS = (*KINDS, OTHER)

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "ReduceMean")
_COPY = "Reformatting"  # how TensorRT's names of copies begin, which go on with a layer's name
_JOINED = re.compile(r" \+ | \|\| |[\x1e\x1f]")  # in TensorRT's names of layers that run as one
_OF_PROFILE = re.compile(r" \[profile \d+\]$")
_REWRITTEN = re.compile("/(conv2d|conv3d|space|time)$")  # what a graph form puts behind a name
_AGAIN = re.compile(r"_\d+$")  # of a second node of one operator in one module
_WRAPPER = "inner"  # the module that takes raw pixels, around every exported model

_NO_LIMIT = (
    "it takes a model and clip whose layers are counted, and a device whose peak rates are known: "
    "--limit measures this machine's"
)

_log = logging.getLogger(__name__)


class Graph(NamedTuple):
    """What an ONNX file says of its nodes."""

    kinds: Dict[str, str]  # of those that have one of KINDS
    made_by: Dict[str, str]  # node of each tensor
    pools: List[str]  # nodes that pool, in the file's order, without those behind the head


def annotate_row(row: Dict[str, Any], device: Optional[Device]) -> None:
    """Put kinds and limits into the profile of a row, where it has one.

    Args:
        row: of the document, its ``profile`` as the worker said it.
        device: it ran on; None where its peak rates are not known.
    """
    if row["profile"] is None:
        return
    network = find_network(row["model"], row["width"], row["classes"])
    counted = network is not None and list(network.clip_shape) == list(row["clip_shape"])
    if not counted or row["precision"] not in BYTES:
        device = None
    path = None if row["file"].endswith(ENGINE_SUFFIX) else row["file"]
    row["profile"] = annotated_profile(
        row["profile"], path, network, device, row["precision"], row["batch"]
    )


def annotated_profile(
    profile: Dict[str, Any],
    onnx_path: Optional[str],
    network: Optional[Network],
    device: Optional[Device],
    precision: str,
    batch: int,
) -> Dict[str, Any]:
    """Return a profile with what each layer is.

    Args:
        profile: ``runs``, ``layers`` of ``name`` and ``median_ms`` in the order they run, and the
            ``reason`` where they are None.
        onnx_path: the file that ran; None where it was an engine.
        network: its model's layers; None where they are not counted.
        device: it ran on; None where no limit is known.
        precision: of arithmetic.
        batch: clips at once.

    Returns:
        ``profile`` with ``kind`` and ``limit_ms`` in each layer: the least for the layer with the
        activation and addition behind it, None where no layer of the network is this one alone.
        ``by_kind`` has the ``ms`` and ``share`` of each kind, ``missing`` why no limit is known.
    """
    found = dict(profile, by_kind=None, missing={})
    if profile["layers"] is None:
        return found
    graph = None if onnx_path is None else read_graph(onnx_path)
    timed = [dict(layer, name=_node_name(layer["name"], graph)) for layer in profile["layers"]]
    layers_of_nodes = _layers_of_nodes(timed, graph, network)
    matches = [_matches(layer["name"], layers_of_nodes) for layer in timed]
    limits_ms = _limits_ms(network, device, precision, batch)
    if not limits_ms:
        found["missing"]["limit_ms"] = _NO_LIMIT
    times = collections.Counter(one.name for matched in matches for one in matched)
    found["layers"] = [
        {
            "name": layer["name"],
            "kind": _kind(layer["name"], matched, graph),
            "median_ms": layer["median_ms"],
            "limit_ms": limits_ms.get(matched[0].name)
            if len(matched) == 1 and times[matched[0].name] == 1
            else None,
        }
        for layer, matched in zip(timed, matches)
    ]
    found["by_kind"] = _by_kind(found["layers"])
    return found


def module_path(node: str) -> str:
    """Return the path in the model of the module that a node was exported from.

    ``features.1.conv.0`` of ``/inner/features/features.1/conv/conv.0/Conv``.
    """
    path: List[str] = []
    for part in _REWRITTEN.sub("", node).strip("/").split("/")[:-1]:
        if path and part.startswith(path[-1] + "."):  # a Sequential's parts have its name, too
            path.pop()
        path.append(part)
    return ".".join(path[1:] if path[:1] == [_WRAPPER] else path)


def read_graph(path: str) -> Optional[Graph]:
    """Read the nodes of an ONNX file; None without the onnx package, which boards lack."""
    try:
        import onnx

        graph = onnx.load(path, load_external_data=False).graph
    # A profile without kinds is better than none; the exceptions are protobuf's.
    except Exception as error:
        _log.info("The kinds of layers in %s are not known: %s", path, error)
        return None
    return describe_graph(graph)


def describe_graph(graph: Any) -> Graph:
    """Describe an ``onnx.GraphProto``."""
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    weighted = [node.name for node in graph.node if _has_weights(node, sizes)]
    last = weighted[-1] if weighted else None
    kinds: Dict[str, str] = {}
    pools = []
    for node in graph.node:
        if node.op_type in _POOLS and set(_attributes(node).get("kernel_shape", [2])) != {1}:
            kinds[node.name] = POOL
            if last not in kinds:
                pools.append(node.name)
        elif node.name == last:
            kinds[node.name] = HEAD
        elif _has_weights(node, sizes):
            kinds[node.name] = STEM if node.name == weighted[0] else _kind_of_weights(node, sizes)
    made_by = {output: node.name for node in graph.node for output in node.output}
    return Graph(kinds, made_by, pools)


def _has_weights(node: Any, sizes: Dict[str, Tuple[int, ...]]) -> bool:
    return node.op_type in _WEIGHTED and any(name in sizes for name in node.input[1:2])


def _kind_of_weights(node: Any, sizes: Dict[str, Tuple[int, ...]]) -> str:
    size = sizes[node.input[1]]
    if node.op_type != "Conv" or set(size[2:]) == {1}:
        return POINTWISE
    return DEPTHWISE if size[1] == 1 and _attributes(node).get("group", 1) > 1 else CONV


def _attributes(node: Any) -> Dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _node_name(name: str, graph: Optional[Graph]) -> str:
    """Return a layer's name without what the backend puts around the ONNX node's."""
    name = _OF_PROFILE.sub("", name)
    if graph is not None:  # OpenVINO calls the last layer as its output
        name = graph.made_by.get(name, name)
    return name


def _parts(name: str) -> List[str]:
    """Return the nodes that run as one layer."""
    return [] if name.startswith(_COPY) else _JOINED.split(name)


def _layers_of_nodes(
    timed: Sequence[Dict[str, Any]], graph: Optional[Graph], network: Optional[Network]
) -> Dict[str, Layer]:
    """Return the network's layer of each node that is one."""
    if network is None:
        return {}
    by_name = {layer.name: layer for layer in network.layers}
    nodes = [part for layer in timed for part in _parts(layer["name"])]
    found = {
        node: by_name[module_path(node)]
        for node in nodes
        if _operator(node) in _WEIGHTED and module_path(node) in by_name
    }
    pools = [layer for layer in network.layers if layer.kind == POOL]
    if graph is not None and len(graph.pools) == len(pools):  # both in the order they run
        found.update(zip(graph.pools, pools))
    return found


def _matches(name: str, layers: Dict[str, Layer]) -> List[Layer]:
    return [layers[part] for part in _parts(name) if part in layers]


def _operator(node: str) -> str:
    """Return the operator that the exporter puts at the end of a node's name."""
    return _AGAIN.sub("", _REWRITTEN.sub("", node).rsplit("/", 1)[-1])


def _kind(name: str, matched: Sequence[Layer], graph: Optional[Graph]) -> str:
    """Return one of PROFILE_KINDS; of several that run as one, that of the most arithmetic."""
    if matched:
        return max(matched, key=lambda layer: layer.macs).kind
    for part in _parts(name):
        if graph is not None and part in graph.kinds:
            return graph.kinds[part]
        if graph is None and _operator(part) in _POOLS:
            return POOL
    return OTHER


def _limits_ms(
    network: Optional[Network], device: Optional[Device], precision: str, batch: int
) -> Dict[str, float]:
    if network is None or device is None:
        return {}
    limit = limit_of(network, device, precision, batch)
    limits_ms = {one.layer.name: round(one.seconds * 1e3, 5) for one in limit.layers}
    # What computes no product and fits into the cache has none.
    return {name: limit_ms for name, limit_ms in limits_ms.items() if limit_ms > 0}


def _by_kind(layers: Sequence[Dict[str, Any]]) -> Dict[str, Dict[str, float]]:
    sums_ms = {
        kind: sum(layer["median_ms"] for layer in layers if layer["kind"] == kind)
        for kind in PROFILE_KINDS
    }
    total_ms = sum(sums_ms.values()) or 1.0
    return {
        kind: {"ms": round(ms, 5), "share": round(ms / total_ms, 4)}
        for kind, ms in sums_ms.items()
        if any(layer["kind"] == kind for layer in layers)
    }
