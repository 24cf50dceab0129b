"""The stand-ins' engine file: a checksummed header that says what was built, and the ONNX file.

Like a real plan it opens in the TensorRT release and on the GPU that it was built for, only.
"""

import hashlib
import json
import struct
from typing import Any, Dict, NamedTuple, Tuple

MAGIC = b"ptrt-stand-in\0"
_LENGTH = struct.Struct("<QQ")
_CHECKSUM_BYTES = 32

Shapes = Dict[str, Tuple[Tuple[int, ...], Tuple[int, ...], Tuple[int, ...]]]


class Plan(NamedTuple):
    """What was built.

    `profiles` has (min, opt, max) of each input for each profile, `half` says that the FP16 flag
    was set, `held` are the layers kept in fp32, `fault` is what fp16 does to the logits ("", "nan",
    "inf" or a number to add), `capabilities` are those of the GPUs it runs on.
    """

    release: str
    capabilities: Tuple[Tuple[int, int], ...]
    half: bool
    held: Tuple[str, ...]
    fault: str
    detailed: str
    profiles: Tuple[Shapes, ...]
    onnx: bytes


class PlanError(Exception):
    """The bytes are no whole plan."""


def write_plan(plan: Plan) -> bytes:
    """The bytes of an engine file."""
    fields: Dict[str, Any] = dict(plan._asdict())
    onnx = fields.pop("onnx")
    header = json.dumps(fields, sort_keys=True).encode("utf-8")
    body = _LENGTH.pack(len(header), len(onnx)) + header + onnx
    return MAGIC + hashlib.sha256(body).digest() + body


def read_plan(raw: bytes) -> Plan:
    """The plan in the bytes; PlanError says in TensorRT's words what is wrong with them."""
    if not raw.startswith(MAGIC):
        raise PlanError(
            "Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match"
        )
    checksum, body = raw[len(MAGIC) :][:_CHECKSUM_BYTES], raw[len(MAGIC) + _CHECKSUM_BYTES :]
    if len(body) < _LENGTH.size:
        raise PlanError("Serialization assertion safeRead failed.Size is too small")
    header_size, onnx_size = _LENGTH.unpack_from(body)
    if len(body) != _LENGTH.size + header_size + onnx_size:
        raise PlanError("Serialization assertion sizeRead == mSize failed.Plan has another size")
    if hashlib.sha256(body).digest() != checksum:
        raise PlanError("Serialization assertion checksum failed.Plan is corrupted")
    fields = json.loads(body[_LENGTH.size :][:header_size].decode("utf-8"))
    fields["capabilities"] = tuple(tuple(pair) for pair in fields["capabilities"])
    fields["held"] = tuple(fields["held"])
    fields["profiles"] = tuple(
        {name: tuple(tuple(shape) for shape in three) for name, three in profile.items()}
        for profile in fields["profiles"]
    )
    return Plan(onnx=body[_LENGTH.size + header_size :], **fields)
