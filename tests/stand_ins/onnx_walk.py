"""What a parser learns of an ONNX file, read without the onnx package; ONNX Runtime does the rest.

An ONNX file is a protobuf message: fields as (tag, value), the nested ones with their length.
"""

import collections
import hashlib
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import onnxruntime

# Field numbers in onnx.proto3.
_GRAPH, _OPSET_IMPORT = 7, 8
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
_FLOAT16 = 10  # TensorProto.DataType

_SESSIONS_KEPT = 16  # they are small, and making one takes longer than running it
_sessions: "collections.OrderedDict[str, Any]" = collections.OrderedDict()


class OnnxNode(NamedTuple):
    name: str
    operator: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]


class Initializer(NamedTuple):
    data_type: int  # TensorProto.DataType
    shape: Tuple[int, ...]

    @property
    def is_half(self) -> bool:
        return self.data_type == _FLOAT16


class OnnxGraph(NamedTuple):
    """The nodes, the initializers by name, and the opset of the file."""

    nodes: Tuple[OnnxNode, ...]
    initializers: Dict[str, Initializer]
    opset: int


class NotOnnxError(Exception):
    """The bytes are no whole ONNX model."""


def read_graph(model: bytes) -> OnnxGraph:
    """The graph of an ONNX file; NotOnnxError where the bytes are none."""
    nodes: List[OnnxNode] = []
    initializers: Dict[str, Initializer] = {}
    opset = 0
    found = False
    for field, value in _fields(model):
        if field == _OPSET_IMPORT and isinstance(value, bytes):
            entries = dict(_fields(value))
            if entries.get(1, b"") in (b"", b"ai.onnx"):
                opset = int(entries.get(2, 0))  # type: ignore[arg-type]
        if field == _GRAPH and isinstance(value, bytes):
            found = True
            for part, content in _fields(value):
                if part == _NODE and isinstance(content, bytes):
                    nodes.append(_node(content))
                elif part == _INITIALIZER and isinstance(content, bytes):
                    name, initializer = _initializer(content)
                    initializers[name] = initializer
    if not found or not nodes:
        raise NotOnnxError
    return OnnxGraph(tuple(nodes), initializers, opset)


def is_half(graph: OnnxGraph, node: OnnxNode) -> bool:
    """Whether a node of a strongly typed network computes in fp16, by its weights."""
    weights = [graph.initializers[name] for name in node.inputs if name in graph.initializers]
    return any(weight.is_half for weight in weights)


def session(model: bytes) -> Any:
    """An ONNX Runtime session of the model: the same bytes, the same session."""
    key = hashlib.sha256(model).hexdigest()
    if key not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        _sessions[key] = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        while len(_sessions) > _SESSIONS_KEPT:
            _sessions.popitem(last=False)
    _sessions.move_to_end(key)
    return _sessions[key]


def run(model: bytes, clips: np.ndarray) -> np.ndarray:
    """The logits of clips, by ONNX Runtime."""
    runner = session(model)
    logits: np.ndarray = runner.run(None, {runner.get_inputs()[0].name: clips})[0]
    return logits


def tensor_shapes(model: bytes, names: List[str]) -> Dict[str, Tuple[Tuple[int, ...], str]]:
    """(shape with -1 where it is dynamic, ONNX Runtime's type) of tensors inside the graph."""
    # Parts of a message that comes twice are joined: these are outputs added to the graph.
    declared = b"".join(_field(_OUTPUT, _field(1, name.encode("utf-8"))) for name in names)
    known = session(model + _field(_GRAPH, declared)).get_outputs()
    return {entry.name: (_shape(entry.shape), entry.type) for entry in known}


def _shape(shape: Optional[List[Any]]) -> Tuple[int, ...]:
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in shape or ())


def _node(message: bytes) -> OnnxNode:
    texts: Dict[int, List[str]] = {1: [], 2: [], 3: [], 4: []}
    for field, value in _fields(message):
        if field in texts and isinstance(value, bytes):
            texts[field].append(value.decode("utf-8"))
    name, operator = ("".join(texts[field]) for field in (3, 4))
    return OnnxNode(name, operator, tuple(texts[1]), tuple(texts[2]))


def _initializer(message: bytes) -> Tuple[str, Initializer]:
    entries = dict(_fields(message))
    dims = [value for field, value in _fields(message) if field == 1 and isinstance(value, int)]
    name = bytes(entries.get(8, b"")).decode("utf-8")  # type: ignore[arg-type]
    return name, Initializer(int(entries.get(2, 0)), tuple(dims))  # type: ignore[arg-type]


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts + [value])


def _fields(message: bytes) -> Iterator[Tuple[int, Union[int, bytes]]]:
    """(field number, value) of a message: bytes where it carries its length, else a number."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in (0, 1, 2, 5):
            raise NotOnnxError
        if kind == 0:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        length, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _read_varint(message, at)
        if at + length > len(message):
            raise NotOnnxError
        yield number, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise NotOnnxError
        value |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80:
            return value, at
