"""Reads an ONNX file's metadata and node names without the onnx package, which boards lack.

An ONNX file is one protobuf message, ModelProto. Its fields lie one after another as a tag and a
value, and values that nest carry their length, so the graph with all its weights is skipped in one
step and only the few small fields around it are read.
"""

import io
import os
import pathlib
from typing import BinaryIO, Dict, Iterator, List, Tuple

from clipedge.jetson.errors import ModelFileError, UsageError
from clipedge.jetson.files import PathLike, readable_os_error

# Field numbers of ModelProto, StringStringEntryProto, GraphProto and NodeProto in onnx.proto3.
_GRAPH, _METADATA_PROPS = 7, 14
_KEY, _VALUE = 1, 2
_NODE = 1
_NODE_NAME, _OPERATOR = 3, 4

# Wire types of protobuf's encoding.
_VARINT, _FIXED_64, _LENGTH_DELIMITED, _FIXED_32 = 0, 1, 2, 5

_VARINT_MAX_BYTES = 10  # 64 bits, seven to a byte


class _DamagedError(Exception):
    """The bytes are no protobuf message, or end in the middle of one."""


def read_onnx_metadata(path: PathLike) -> Dict[str, str]:
    """Return the ``metadata_props`` of an ONNX file; empty where it has none.

    The file is read past its weights, not into memory. Its top level is checked to the last byte,
    so that a truncated file is noticed here.

    Raises:
        UsageError: there is no such file, or it is a folder.
        ModelFileError: the file is no ONNX model, or is truncated, or cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; an ONNX file is needed.")
    if not path.exists():
        raise UsageError(f"{path} does not exist; check the path or write one with export-engine.")
    try:
        with path.open("rb") as file:
            return _read_model(file, path.stat().st_size)
    except _DamagedError as error:
        raise ModelFileError(
            f"{path} is not a whole ONNX file ({error}); export or copy it again."
        ) from None
    except OSError as error:
        raise ModelFileError(str(readable_os_error(error, path))) from None


def read_onnx_nodes(onnx: bytes) -> List[Tuple[str, str]]:
    """Return (name, operator) of every node, in the file's order; what can be read of it."""
    file = io.BytesIO(onnx)
    nodes: List[Tuple[str, str]] = []
    try:
        for field, length in _fields(file, len(onnx)):
            after = file.tell() + length
            if field == _GRAPH:
                nodes.extend(_read_nodes(file, after))
            file.seek(after)
    except _DamagedError:
        pass
    return nodes


def _read_nodes(file: BinaryIO, end: int) -> Iterator[Tuple[str, str]]:
    for field, length in _fields(file, end):
        after = file.tell() + length
        if field == _NODE:
            yield _read_texts(file, after, _NODE_NAME, _OPERATOR)
        file.seek(after)


def _read_model(file: BinaryIO, size: int) -> Dict[str, str]:
    metadata: Dict[str, str] = {}
    has_graph = False
    for field, length in _fields(file, size):
        after = file.tell() + length
        if field == _GRAPH:
            has_graph = True
        elif field == _METADATA_PROPS:
            key, value = _read_texts(file, after, _KEY, _VALUE)
            metadata[key] = value
        file.seek(after)
    if not has_graph:
        raise _DamagedError("it is empty" if size == 0 else "it holds no graph")
    return metadata


def _read_texts(file: BinaryIO, end: int, first: int, second: int) -> Tuple[str, str]:
    """Return two text fields of the message that ends at ``end``; empty where one is not there."""
    texts = {first: "", second: ""}
    for field, length in _fields(file, end):
        raw = file.read(length)
        if field not in texts:
            continue
        try:
            texts[field] = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise _DamagedError("its metadata is not text") from None
    return texts[first], texts[second]


def _fields(file: BinaryIO, end: int) -> Iterator[Tuple[int, int]]:
    """Yield (field number, bytes) of each length-delimited value; the caller moves past it."""
    while file.tell() < end:
        tag = _read_varint(file)
        field, wire_type = tag >> 3, tag & 7
        if field == 0:
            raise _DamagedError("it is no protobuf message")
        if wire_type == _VARINT:
            _read_varint(file)
        elif wire_type == _LENGTH_DELIMITED:
            length = _read_varint(file)
            _check_room(file, length, end)
            yield field, length
        elif wire_type in (_FIXED_64, _FIXED_32):
            length = 8 if wire_type == _FIXED_64 else 4
            _check_room(file, length, end)
            file.seek(length, os.SEEK_CUR)
        else:
            raise _DamagedError("it is no protobuf message")


def _check_room(file: BinaryIO, length: int, end: int) -> None:
    if file.tell() + length > end:
        raise _DamagedError("it is truncated or no protobuf message")


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for index in range(_VARINT_MAX_BYTES):
        byte = file.read(1)
        if not byte:
            raise _DamagedError("it is truncated")
        value |= (byte[0] & 0x7F) << (7 * index)
        if byte[0] < 0x80:
            return value
    raise _DamagedError("it is no protobuf message")
