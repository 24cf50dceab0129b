"""How fast a model can be at most: python -m clipedge.benchmarks.limit.

Two limits, both for convolutions as sums of products:

- strict: all arithmetic at the peak rate, while clips, weights and logits cross the memory bus
  once; every other number stays on the chip. Nothing that computes the sums can be faster.
- layer by layer: layers run one after the other, each on the whole batch, reading its inputs and
  weights from memory and writing its outputs; each takes the longer of arithmetic and transfer.
  Of what a layer reads, and of what it writes, as much as the cache holds need not move. An engine
  that keeps numbers on the chip across layers can beat it.

Winograd's and the Fourier transform do a dense 3x3x3 convolution in fewer products (Winograd's 2 to
4 times fewer), so that a model with much of it may beat both.
"""

import argparse
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from clipedge.benchmarks.devices import BYTES, DEVICES, Device, find_device
from clipedge.benchmarks.layer_costs import KINDS, Layer, Network, find_network, networks
from clipedge.benchmarks.study import new_study, write_study
from clipedge.jetson import paper
from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    format_table,
    nearest,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import UsageError

SCHEMA = "clipedge.limit/1"
HERE = "here"


class LayerLimit(NamedTuple):
    """The least one layer takes for a batch when it runs alone."""

    layer: Layer
    moved_bytes: float
    arithmetic_s: float
    memory_s: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.arithmetic_s, self.memory_s)


class Limit(NamedTuple):
    """The least a batch takes."""

    batch: int
    arithmetic_s: float  # of the strict limit
    memory_s: float
    layers: List[LayerLimit]

    @property
    def strict_s(self) -> float:
        """Seconds that no implementation goes below."""
        return max(self.arithmetic_s, self.memory_s)

    @property
    def by_layer_s(self) -> float:
        """Seconds below which layers one after the other do not go."""
        return max(self.strict_s, sum(layer.seconds for layer in self.layers))

    @property
    def strict_clips_per_s(self) -> float:
        """Clips per second at the strict limit."""
        return self.batch / self.strict_s

    @property
    def by_layer_clips_per_s(self) -> float:
        """Clips per second at the limit layer by layer."""
        return self.batch / self.by_layer_s

    @property
    def memory_bound_share(self) -> float:
        """Share of the layers' time in layers that wait for memory, 0 to 1."""
        waiting = sum(one.seconds for one in self.layers if one.memory_s > one.arithmetic_s)
        return waiting / sum(one.seconds for one in self.layers)

    def shares(self) -> Dict[str, float]:
        """Return each kind of layer's share of the layers' time, 0 to 1."""
        total = sum(one.seconds for one in self.layers)
        return {
            kind: sum(one.seconds for one in self.layers if one.layer.kind == kind) / total
            for kind in KINDS
        }


def limit_of(
    network: Network, device: Device, precision: str = "fp32", batch: int = paper.BATCH_SIZE
) -> Limit:
    """Return a model's limit on a device.

    Args:
        network: of ``layer_costs``, for clips of its ``clip_shape``.
        device: of ``devices``, or measured by ``machine_rates``.
        precision: fp32, tf32, bf16 or fp16, of arithmetic and of numbers in memory.
        batch: clips at once; weights are read once for all.
    """
    layers = [_layer_limit(layer, device, precision, batch) for layer in network.layers]
    once = sum(layer.weights for layer in network.layers)
    # What repeats from batch to batch can stay in the cache: the weights, and a benchmark's clips.
    moved = once + batch * (network.layers[0].inputs + network.classes)
    memory_s = max(0.0, moved * BYTES[precision] - device.cache_bytes) / device.bandwidth
    return Limit(batch, 2 * batch * network.macs / device.peak(precision), memory_s, layers)


def limit_of_row(row: Mapping[str, Any], device: Device) -> Optional[Limit]:
    """Return the limit of a row of a benchmark's document.

    Args:
        row: with ``model``, ``width``, ``classes``, ``clip_shape``, ``precision`` and ``batch``.
        device: it ran on.

    Returns:
        The limit; None where the model, its clip or the precision is not one that is counted.
    """
    network = find_network(row["model"], row["width"], row["classes"])
    if network is None or list(network.clip_shape) != list(row["clip_shape"]):
        return None
    if row["precision"] not in BYTES:
        return None
    return limit_of(network, device, row["precision"], row["batch"])


def _layer_limit(layer: Layer, device: Device, precision: str, batch: int) -> LayerLimit:
    read = BYTES[precision] * (layer.weights + batch * layer.inputs)
    written = BYTES[precision] * batch * layer.outputs
    moved = max(0.0, read - device.cache_bytes) + max(0.0, written - device.cache_bytes)
    arithmetic_s = 2 * batch * layer.macs / device.peak(precision)
    return LayerLimit(layer, moved, arithmetic_s, moved / device.bandwidth)


def published_speed(network: Network, device: Device, precision: str, batch: int) -> Optional[int]:
    """Return the paper's clips per second under these conditions; None where it has none."""
    row = paper.published(network.model, network.width)
    if row is None or (precision, batch) != ("fp32", paper.BATCH_SIZE):
        return None
    return {
        "Titan Xp": row.titan_xp_clips_per_s,
        "Jetson TX2": row.jetson_tx2_clips_per_s,
    }.get(device.name)


def limit_row(network: Network, device: Device, precision: str, batch: int) -> Dict[str, Any]:
    """Return a model's limit as plain JSON types; times in milliseconds a batch."""
    limit = limit_of(network, device, precision, batch)
    published = published_speed(network, device, precision, batch)
    return {
        "model": str(network),
        "gflop_a_clip": round(2 * network.macs / 1e9, 4),
        "strict_clips_per_s": round(limit.strict_clips_per_s, 2),
        "by_layer_clips_per_s": round(limit.by_layer_clips_per_s, 2),
        "strict_arithmetic_ms": round(limit.arithmetic_s * 1e3, 4),
        "strict_memory_ms": round(limit.memory_s * 1e3, 4),
        "memory_bound_share": round(limit.memory_bound_share, 4),
        "shares": {kind: round(share, 4) for kind, share in limit.shares().items()},
        "paper_clips_per_s": published,
        "paper_share_of_strict": published and round(published / limit.strict_clips_per_s, 4),
        "paper_share_of_by_layer": published and round(published / limit.by_layer_clips_per_s, 4),
    }


def table_text(rows: Sequence[Dict[str, Any]]) -> str:
    """Return the rows as a text table."""
    header = ("model", "GFLOP", "strict", "by layer", "paper", "of strict", "of by layer", "memory")
    return format_table(
        header + KINDS,
        [
            [
                row["model"],
                f"{row['gflop_a_clip']:.2f}",
                _rate(row["strict_clips_per_s"]),
                _rate(row["by_layer_clips_per_s"]),
                str(row["paper_clips_per_s"] or "-"),
                _percent(row["paper_share_of_strict"]),
                _percent(row["paper_share_of_by_layer"]),
                _percent(row["memory_bound_share"]),
            ]
            + [_percent(share) for share in row["shares"].values()]
            for row in rows
        ],
    )


def layers_text(limit: Limit) -> str:
    """Return a limit layer by layer as a text table."""
    total = sum(one.seconds for one in limit.layers)
    return format_table(
        ("layer", "kind", "MFLOP", "MB moved", "arithmetic us", "memory us", "share"),
        [
            [
                one.layer.name,
                one.layer.kind,
                f"{2 * limit.batch * one.layer.macs / 1e6:.1f}",
                f"{one.moved_bytes / 1e6:.2f}",
                f"{one.arithmetic_s * 1e6:.1f}",
                f"{one.memory_s * 1e6:.1f}",
                _percent(one.seconds / total),
            ]
            for one in limit.layers
        ],
    )


def _rate(clips_per_s: float) -> str:
    return f"{clips_per_s:.0f}" if clips_per_s >= 1000 else f"{clips_per_s:.4g}"


def _percent(share: Optional[float]) -> str:
    return "-" if share is None else f"{share * 100:.3g} %"


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.limit",
        description="Print how many clips per second each model can reach at most on a device.",
    )
    parser.add_argument(
        "--device",
        default="Jetson TX2",
        help="one of {}, or {} to measure this machine's CPU".format(
            ", ".join(device.name for device in DEVICES), HERE
        ),
    )
    parser.add_argument("--precision", choices=sorted(BYTES), default="fp32")
    parser.add_argument("--batch", type=positive_int, default=paper.BATCH_SIZE)
    parser.add_argument("--layers", metavar="MODEL", help="one model layer by layer, all otherwise")
    parser.add_argument("--threads", type=positive_int, help="of the CPU; as many as cores")
    parser.add_argument("--json", metavar="FILE", help="write every figure to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    by_name = {str(network): network for network in networks()}
    if arguments.layers and arguments.layers not in by_name:
        raise UsageError(
            f"There is no model '{arguments.layers}'; {nearest(arguments.layers, by_name)}"
        )
    device, conditions = _device(arguments.device, arguments.threads)
    precision, batch = arguments.precision, arguments.batch
    rows = [limit_row(network, device, precision, batch) for network in by_name.values()]
    if arguments.layers:
        text = layers_text(limit_of(by_name[arguments.layers], device, precision, batch))
    else:
        text = table_text(rows)
    peak, bandwidth = device.peak(precision) / 1e9, device.bandwidth / 1e9
    sys.stdout.write(
        f"{device.name} ({device.source}), {precision}, batch {batch}: {peak:.4g} GFLOP/s, "
        f"{bandwidth:.4g} GB/s, cache {device.cache_bytes / 2**20:.4g} MB\n{text}\n"
    )
    if arguments.json:
        study = new_study(SCHEMA, {"precision": precision, "batch": batch}, rows=rows)
        study.update(device=device.facts(), measured=conditions, complete=True)
        write_study(arguments.json, study)
    return DONE


def _device(name: str, threads: Optional[int]) -> Any:
    """Return (device, how it was measured)."""
    if name.lower() != HERE:
        return find_device(name), None
    from clipedge.benchmarks.machine_rates import measure_machine

    return measure_machine(threads)


if __name__ == "__main__":
    sys.exit(main())
