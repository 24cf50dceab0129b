"""What the columns of a benchmark's tables are: name in files, title for people, value, rounding.

``None`` is a value the document has not; it is shown as a dash and is empty in a CSV file.
"""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from clipedge.benchmarks.layer_costs import KINDS
from clipedge.benchmarks.speed.rows import row_name

Row = Dict[str, Any]

DASH = "-"
_LONGEST_NAME = 24  # of a layer


class Column(NamedTuple):
    """One column."""

    name: str  # in a CSV file, with the unit
    title: str  # above a table
    value: Callable[[Row], Any]  # of a row of the document, all digits
    shown: Callable[[Any], str] = str  # of a value that is not None

    def cell(self, row: Row) -> str:
        """Return what a table shows of a row."""
        value = self.value(row)
        return DASH if value is None else self.shown(value)


def field(*path: str) -> Callable[[Row], Any]:
    """Return a function that follows keys into a row; None where one of them is not there."""

    def value(row: Row) -> Any:
        found: Any = row
        for key in path:
            if not isinstance(found, dict) or found.get(key) is None:
                return None
            found = found[key]
        return found

    return value


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> List[Column]:
    """Return the columns that at least one row has a value for."""
    return [one for one in columns if any(one.value(row) is not None for row in rows)]


def rounded(digits: int) -> Callable[[float], str]:
    """Return a function that writes a number with so many digits behind the point."""
    return lambda value: f"{value:.{digits}f}"


def significant(value: float) -> str:
    """Write a number with three digits that count."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits)}f}"


def percent(share: float) -> str:
    """Write a share of 1."""
    return f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    """Write a share of 1 without a fraction."""
    return f"{100 * share:.0f} %"


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"{ratio:.2f}x"


def backend_text(row: Row) -> str:
    """Return what ran a row, such as ``openvino fp32 x2`` on two threads."""
    threads = "" if row["threads"] is None else f" x{row['threads']}"
    return f"{row['backend']} {row['precision']}{threads}"


def batch_text(row: Row) -> str:
    """Return the batch, such as ``8``, or ``8 x 2`` where two inferences ran at once."""
    return str(row["batch"]) + ("" if row["streams"] == 1 else f" x {row['streams']}")


def most_of_others(row: Row) -> Optional[float]:
    """Return the largest share of the cores' time that other programs took in a repeat."""
    known = [one["others_share"] for one in row["repeats"] if one["others_share"] is not None]
    return max(known) if known else None


def _end_of_name(name: str) -> str:
    """Return the end of a layer's name, which tells it from others, where it is long."""
    return name if len(name) <= _LONGEST_NAME else "..." + name[3 - _LONGEST_NAME :]


MODEL = Column("name", "model", row_name)
BACKEND = Column("ran_by", "backend", backend_text)
BATCH = Column("batch_and_streams", "batch", batch_text)
CLIPS_PER_S = Column("clips_per_s", "clips/s", field("clips_per_s"), rounded(1))

SPEED = (
    CLIPS_PER_S,
    Column("spread", "spread", field("spread"), percent),
    Column("latency_median_ms", "median ms", field("latency_ms", "median"), rounded(1)),
    Column("latency_p95_ms", "p95 ms", field("latency_ms", "p95"), rounded(1)),
    Column("latency_p99_ms", "p99 ms", field("latency_ms", "p99"), rounded(1)),
)
SHARE_BY_LAYER = Column(
    "share_of_limit_by_layer", "of limit", field("limit", "share_of_by_layer"), percent
)
TITAN_XP = Column("paper_titan_xp_clips_per_s", "paper: Xp", field("paper", "titan_xp_clips_per_s"))
JETSON_TX2 = Column(
    "paper_jetson_tx2_clips_per_s", "paper: TX2", field("paper", "jetson_tx2_clips_per_s")
)
ON_GPU = (
    Column("h2d_median_ms", "H2D ms", field("gpu_median_ms", "h2d"), rounded(2)),
    Column("compute_median_ms", "compute ms", field("gpu_median_ms", "compute"), rounded(2)),
    Column("d2h_median_ms", "D2H ms", field("gpu_median_ms", "d2h"), rounded(2)),
    Column("staging_median_ms", "staging ms", field("gpu_median_ms", "staging"), rounded(2)),
    Column(
        "clips_per_s_without_copies",
        "without copies",
        field("clips_per_s_without_copies"),
        rounded(1),
    ),
)
ENERGY = (
    Column("power_mean_w", "power W", field("span", "power_w", "mean"), rounded(2)),
    Column("energy_per_clip_j", "J a clip", field("span", "energy_per_clip_j"), significant),
    Column("clips_per_j", "clips a J", field("span", "clips_per_j"), significant),
    Column("temperature_max_c", "hottest C", field("span", "temperature_c", "max"), rounded(1)),
    Column("gpu_mean_mhz", "GPU MHz", field("span", "gpu_mhz", "mean"), rounded(0)),
    Column("cpu_mean_mhz", "CPU MHz", field("span", "cpu_mhz", "mean"), rounded(0)),
    Column("emc_mean_mhz", "EMC MHz", field("span", "emc_mhz", "mean"), rounded(0)),
)
GPU_MEMORY = Column("gpu_mb", "GPU MiB", field("memory", "gpu_mb"), rounded(0))
MEMORY = (
    Column("process_peak_mb", "process MiB", field("memory", "process_peak_mb"), rounded(0)),
    Column("model_mb", "model MiB", field("memory", "model_mb"), rounded(0)),
    GPU_MEMORY,
)
RATIOS = (
    Column("ratio_to_titan_xp", "to Xp", field("paper", "ratio_to_titan_xp"), times),
    Column("ratio_to_jetson_tx2", "to TX2", field("paper", "ratio_to_jetson_tx2"), times),
)
ACCURACY = (
    Column(
        "paper_kinetics600_top1_percent",
        "Kinetics-600 %",
        field("paper", "kinetics600_top1_percent"),
        rounded(2),
    ),
    Column(
        "paper_jester_top1_percent", "Jester %", field("paper", "jester_top1_percent"), rounded(2)
    ),
    Column(
        "paper_ucf101_top1_percent", "UCF-101 %", field("paper", "ucf101_top1_percent"), rounded(2)
    ),
)


def _of_slowest(key: str) -> Callable[[Row], Any]:
    """Return a function that takes a value of a row's slowest layer."""

    def value(row: Row) -> Any:
        layers = field("profile", "layers")(row)
        return max(layers, key=lambda one: float(one["median_ms"])).get(key) if layers else None

    return value


# Of a row with a profile.
LAYERS = (
    Column("slowest_layer", "slowest layer", _of_slowest("name"), _end_of_name),
    Column("slowest_layer_ms", "ms", _of_slowest("median_ms"), rounded(2)),
    Column("slowest_layer_limit_ms", "at least", _of_slowest("limit_ms"), rounded(2)),
    *[
        Column(f"{kind}_share", kind, field("profile", "by_kind", kind, "share"), whole_percent)
        for kind in (*KINDS, "other")
    ],
)


def _plain(name: str, *path: str) -> Column:
    """Return a column of files only, by default of the row's field of its name."""
    return Column(name, name, field(*(path or (name,))))


_WHAT = (
    MODEL,
    *[_plain(name) for name in ("file", "sha256", "model", "width", "dataset")],
    *[_plain(name) for name in ("random_weights", "classes")],
    Column("clip_shape", "clip", lambda row: "x".join(str(size) for size in row["clip_shape"])),
    *[_plain(name) for name in ("backend", "backend_version", "device", "threads", "precision")],
    _plain("graph", "details", "graph"),
    *[_plain(name) for name in ("auto_choice", "batch", "streams")],
)
_HOW = (
    _plain("open_s"),
    _plain("warmup_s", "warmup", "elapsed_s"),
    _plain("warmup_steady", "warmup", "steady"),
    Column("repeats", "repeats", lambda row: len(row["repeats"])),
    Column("batches", "batches", lambda row: sum(one["batches"] for one in row["repeats"])),
    Column("others_share_max", "others", most_of_others, percent),
)
_LIMIT = (
    _plain("limit_device", "limit", "device"),
    _plain("limit_strict_clips_per_s", "limit", "strict_clips_per_s"),
    _plain("limit_by_layer_clips_per_s", "limit", "by_layer_clips_per_s"),
    _plain("share_of_limit_strict", "limit", "share_of_strict"),
    SHARE_BY_LAYER,
    _plain("limit_memory_bound_share", "limit", "memory_bound_share"),
)
# Every column of a CSV file, in its order.
ALL = (
    *_WHAT,
    *SPEED,
    _plain("latency_min_ms", "latency_ms", "min"),
    _plain("latency_max_ms", "latency_ms", "max"),
    *ON_GPU,
    *ENERGY,
    *MEMORY,
    *LAYERS,
    *_LIMIT,
    TITAN_XP,
    RATIOS[0],
    JETSON_TX2,
    RATIOS[1],
    *ACCURACY,
    *_HOW,
    Column("warnings", "warnings", lambda row: "; ".join(row["warnings"]) or None),
)
