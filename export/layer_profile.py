"""Which layers take the time: measured on the GPU, elsewhere the list of what is to be run."""

import json
import logging
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.jetson.errors import BackendError
from clipedge.jetson.trt_api import NetworkLayer

log = logging.getLogger(__name__)

LAYERS_SUFFIX = ".layers.json"  # appended: NAME.engine.layers.json
RUNS = 20  # timed, after as many that warm up
SHOWN = 15  # rows of the table; the file has them all

_ELEMENT_BYTES = {"FLOAT": 4, "HALF": 2, "INT32": 4, "INT64": 8, "BOOL": 1, "INT8": 1}
# Each optimization profile has layers of its own; those of the first have no such ending.
_OF_PROFILE = re.compile(r" \[profile \d+\]$")
# What separates the names of fused layers, from 8.6 on.
_SEPARATORS = re.compile("[\x1e\x1f]")

_INSPECTOR_PRECISIONS = (("FP16", "HALF"), ("FP32", "FLOAT"), ("Int32", "INT32"), ("INT8", "INT8"))


class LayerRow(NamedTuple):
    """One layer; None where nothing tells.

    ``bytes`` are those of its output, and ``share`` is its part of all layers' time, or without
    times of all layers' bytes.
    """

    name: str
    kind: str
    precision: str
    bytes: Optional[int]
    time_ms: Optional[float]
    share: Optional[float]


class LayerProfile(NamedTuple):
    """The layers of an engine, the largest share first."""

    source: str
    batch: int
    layers: List[LayerRow]

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types."""
        return {
            "source": self.source,
            "batch": self.batch,
            "layers": [dict(row._asdict()) for row in self.layers],
            "text": self.lines(),
        }

    def to_json(self) -> str:
        """Return indented JSON text."""
        fields = self.to_dict()
        del fields["text"]
        return json.dumps(fields, indent=2) + "\n"

    def lines(self) -> List[str]:
        """Return the table's first rows as text."""
        lines = [
            f"  layers  {self.source}, batch {self.batch}",
            "  {:>7} {:>9} {:>9}  {:<9} {:<15} {}".format(
                "share", "ms", "KB out", "precision", "kind", "layer"
            ),
        ]
        for row in self.layers[:SHOWN]:
            lines.append(
                "  {:>7} {:>9} {:>9}  {:<9} {:<15} {}".format(
                    _text(row.share, "{:.1%}"),
                    _text(row.time_ms, "{:.3f}"),
                    _text(None if row.bytes is None else row.bytes / 1e3, "{:.0f}"),
                    row.precision,
                    row.kind[:15],
                    row.name,
                )
            )
        if len(self.layers) > SHOWN:
            rest = [row.share or 0.0 for row in self.layers[SHOWN:]]
            lines.append(f"  {sum(rest):>7.1%} in {len(rest)} other layers")
        return lines


def profile_of_engine(runner: Any, batch: int) -> LayerProfile:
    """Time every layer of an engine on the GPU.

    Args:
        runner: of the engine.
        batch: one of its batch sizes.
    """
    clips = np.full((batch, *runner.spec.clip_shape), 128.0, np.float32)
    times_ms = runner.layer_times_ms(clips, RUNS)
    try:
        described = {row.name: row for row in _inspected(runner.layer_information())}
    except BackendError as error:  # times alone are worth showing
        log.info("%s", error)
        described = {}
    total_ms = sum(times_ms.values()) or 1.0
    rows = []
    for name, time_ms in times_ms.items():
        nothing = LayerRow(name, "", "", None, None, None)
        known = described.get(name) or described.get(_OF_PROFILE.sub("", name)) or nothing
        rows.append(
            known._replace(
                name=_SEPARATORS.sub(" + ", _OF_PROFILE.sub("", name)),
                time_ms=round(time_ms, 4),
                share=time_ms / total_ms,
            )
        )
    source = f"measured, median of {RUNS} runs"
    return LayerProfile(source, batch, sorted(rows, key=lambda row: -(row.share or 0.0)))


def profile_of_network(layers: Sequence[NetworkLayer]) -> LayerProfile:
    """List the layers TensorRT's parser makes, where no GPU is here to run them on."""
    computed = [layer for layer in layers if layer.kind != "CONSTANT"]
    sizes = [_output_bytes(layer.shape, layer.precision) for layer in computed]
    total = sum(sizes) or 1
    rows = [
        LayerRow(layer.name, layer.kind, layer.precision, size, None, size / total)
        for layer, size in zip(computed, sizes)
    ]
    source = "before fusion, not measured: the engine cannot run here; share of bytes"
    return LayerProfile(source, 1, sorted(rows, key=lambda row: -(row.share or 0.0)))


def _inspected(text: str) -> List[LayerRow]:
    """Read the inspector's JSON; releases differ in what they put there."""
    try:
        layers = json.loads(text, strict=False).get("Layers", [])
    except (ValueError, AttributeError):
        return []
    rows = []
    for layer in layers:
        if isinstance(layer, str):  # only the name is known
            rows.append(LayerRow(layer, "", "", None, None, None))
            continue
        output = (layer.get("Outputs") or [{}])[0]
        precision = _inspector_precision(str(output.get("Format/Datatype", "")))
        shape = tuple(output.get("Dimensions") or ())
        size = _output_bytes(shape, precision) if shape else None
        kind = str(layer.get("ParameterType") or layer.get("LayerType") or "")
        rows.append(LayerRow(str(layer.get("Name", "")), kind, precision, size, None, None))
    return rows


def _inspector_precision(text: str) -> str:
    """``HALF`` of ``Channel major FP16 format where channel % 2 == 0`` and of ``Half``."""
    for written, name in _INSPECTOR_PRECISIONS:
        if written.lower() in text.lower() or name.lower() in text.lower():
            return name
    return "" if text.startswith("N/A") else text  # "N/A due to dynamic shapes"


def _output_bytes(shape: Tuple[int, ...], precision: str) -> int:
    """Return the bytes of a tensor of one clip."""
    sizes = [1 if size < 0 else size for size in shape]
    return int(np.prod(sizes, dtype=np.int64)) * _ELEMENT_BYTES.get(precision, 4)


def _text(value: Optional[float], form: str) -> str:
    return "-" if value is None else form.format(value)
