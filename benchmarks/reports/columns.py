"""What the columns of a benchmark's tables are: one list for the terminal, files and the page.

``None`` is a value the document has not; it is shown as a dash and is empty in a CSV file.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from clipedge.benchmarks.layer_costs import KINDS
from clipedge.benchmarks.speed.rows import row_name
from clipedge.benchmarks.speed.texts import (
    PLAIN,
    Shown,
    Signs,
    backend_text,
    batch_text,
    percent,
    plain,
    rate_text,
    ratio_text,
    rounded,
    significant,
    tenths_percent,
    whole_percent,
)
from clipedge.jetson import paper

Row = Dict[str, Any]

_LONGEST_NAME = 48  # of a layer


class OnPage(NamedTuple):
    """What the page says of a column."""

    group: str  # the title above those of columns beside each other
    title: str
    explanation: str


class Column(NamedTuple):
    """One column."""

    name: str  # in a CSV file, with the unit
    title: str  # above a table
    value: Callable[[Row], Any]  # of a row of the document, all digits
    shown: Shown = plain  # of a value that is not None
    path: str = ""  # where the value stands in a row, with dots; none where it is made of several
    page: OnPage = OnPage("", "", "")

    def cell(self, row: Row, signs: Signs = PLAIN) -> str:
        """Return what a table shows of a row."""
        value = self.value(row)
        return signs.dash if value is None else self.shown(value, signs)


def field(path: str) -> Callable[[Row], Any]:
    """Return a function that follows keys with dots into a row; None where one is not there."""

    def value(row: Row) -> Any:
        found: Any = row
        for key in path.split("."):
            if not isinstance(found, dict) or found.get(key) is None:
                return None
            found = found[key]
        return found

    return value


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> List[Column]:
    """Return the columns that at least one row has a value for."""
    return [one for one in columns if any(one.value(row) is not None for row in rows)]


def most_of_others(row: Row) -> Optional[float]:
    """Return the largest share of the cores' time that other programs took in a repeat."""
    known = [one["others_share"] for one in row["repeats"] if one["others_share"] is not None]
    return max(known) if known else None


def _of(path: str, name: str, title: str, shown: Shown, *page: str) -> Column:
    """Return a column of one value of the document; ``page``: group, title and explanation."""
    told = OnPage(*page) if page else OnPage("", title, "")
    return Column(name, title, field(path), shown, path, told)


def _backend_shown(value: List[Any], signs: Signs) -> str:
    return backend_text(dict(zip(("backend", "precision", "threads"), value)), signs)


def _batch_shown(value: List[Any], signs: Signs) -> str:
    return batch_text(dict(zip(("batch", "streams"), value)))


def _end_of_name(name: str, signs: Signs) -> str:
    """Return the end of a layer's name, which tells it from others, where it is long.

    It begins with a whole part of the name, where there is one.
    """
    if len(name) <= _LONGEST_NAME:
        return name
    end = name[3 - _LONGEST_NAME :]
    return "..." + end[max(0, end.find("/")) :]


_HERE, _LATENCY, _GPU = "This machine", "Latency of a batch, ms", "On the GPU, median ms"
_ENERGY, _LIMIT, _XP, _TX2 = "Energy", "Of the limit", "Paper: Titan Xp", "Paper: Jetson TX2"
_ACCURACY, _MEMORY = "Top-1 as published, %", "Memory, MiB"

MODEL = Column("name", "model", row_name, plain, "name", OnPage("", "model", "the file's name"))
BACKEND = Column(
    "ran_by",
    "backend",
    lambda row: [row["backend"], row["precision"], row["threads"]],
    _backend_shown,
    "backend",
    OnPage("", "backend", "\u00d7 threads"),
)
BATCH = Column(
    "batch_and_streams",
    "batch",
    lambda row: [row["batch"], row["streams"]],
    _batch_shown,
    "batch",
    OnPage("", "batch", "clips in a batch, inferences at once"),
)
CLIPS_PER_S = _of(
    *("clips_per_s", "clips_per_s", "clips/s", rate_text),
    *(_HERE, "clips/s", "clips inferred a second, median"),
)
SPREAD = _of(
    *("spread", "spread", "spread", tenths_percent),
    *(_HERE, "spread", "how far apart the repeats are"),
)
LATENCY = tuple(
    _of(
        *(f"latency_ms.{key}", f"latency_{key}_ms", f"{key} ms", rounded(1)),
        *(_LATENCY, key, f"{share} of the batches are faster"),
    )
    for key, share in (("median", "half"), ("p95", "95 %"), ("p99", "99 %"))
)
SPEED = (CLIPS_PER_S, SPREAD, *LATENCY)
GPU_PARTS = tuple(
    _of(
        *(f"gpu_median_ms.{key}", f"{key}_median_ms", f"{title} ms", rounded(2)),
        *(_GPU, on_page, explanation),
    )
    for key, title, on_page, explanation in (
        ("h2d", "H2D", "copy in", "host to device"),
        ("compute", "compute", "compute", "by the GPU's own clock"),
        ("d2h", "D2H", "copy out", "device to host"),
        ("staging", "staging", "staging", "the CPU copies clips to memory that the GPU reaches"),
    )
)
WITHOUT_COPIES = _of(
    *("clips_per_s_without_copies", "clips_per_s_without_copies", "without copies", rate_text),
    *(_HERE, "without copies", "clips/s: batch size over the time that the GPU computes"),
)
ON_GPU = (*GPU_PARTS, WITHOUT_COPIES)
POWER = _of(
    *("span.power_w.mean", "power_mean_w", "power W", rounded(2)),
    *(_ENERGY, "W", "mean power"),
)
ENERGY_PER_CLIP = _of(
    *("span.energy_per_clip_j", "energy_per_clip_j", "J a clip", significant),
    *(_ENERGY, "J/clip", "energy of one clip"),
)
CLIPS_PER_J = _of(
    *("span.clips_per_j", "clips_per_j", "clips a J", significant),
    *(_ENERGY, "clips/J", "clips inferred with one joule"),
)
TEMPERATURE = _of(
    *("span.temperature_c.max", "temperature_max_c", "hottest C", rounded(1)),
    *(_ENERGY, "\u00b0C", "the hottest it was meanwhile"),
)
CLOCKS = tuple(
    _of(f"span.{key}_mhz.mean", f"{key}_mean_mhz", f"{key.upper()} MHz", rounded(0))
    for key in ("gpu", "cpu", "emc")
)
ENERGY = (POWER, ENERGY_PER_CLIP, CLIPS_PER_J, TEMPERATURE, *CLOCKS)
MEMORY = (
    _of(
        *("memory.process_peak_mb", "process_peak_mb", "process MiB", rounded(0)),
        *(_MEMORY, "process", "the most it has had"),
    ),
    _of(
        *("memory.model_mb", "model_mb", "model MiB", rounded(0)),
        *(_MEMORY, "model", "what opening it took"),
    ),
    _of(
        *("memory.gpu_mb", "gpu_mb", "GPU MiB", rounded(0)),
        *(_MEMORY, "GPU", "what opening it took of the GPU's"),
    ),
)
GPU_MEMORY = MEMORY[2]
SHARE_STRICT = _of(
    *("limit.share_of_strict", "share_of_limit_strict", "of strict limit", percent),
    *(_LIMIT, "strict", "all arithmetic at peak rate, each number moved once"),
)
SHARE_BY_LAYER = _of(
    *("limit.share_of_by_layer", "share_of_limit_by_layer", "of limit", percent),
    *(_LIMIT, "by layer"),
    "each layer at peak arithmetic or bandwidth, one after the other",
)


def has_paper_batch(row: Row) -> bool:
    """Return whether the paper's speeds are of a row's batch, one at a time."""
    return bool(row["batch"] == paper.BATCH_SIZE and row["streams"] == 1)


def _where_it_compares(path: str) -> Callable[[Row], Any]:
    """Return a function that takes a speed of the paper where it has one of the row's batch."""
    value = field(path)
    return lambda row: value(row) if has_paper_batch(row) else None


TITAN_XP, JETSON_TX2 = [
    _of(
        *(f"paper.{key}_clips_per_s", f"paper_{key}_clips_per_s", f"paper: {title}", plain),
        *(group, "clips/s", "as published"),
    )._replace(value=_where_it_compares(f"paper.{key}_clips_per_s"))
    for key, title, group in (("titan_xp", "Xp", _XP), ("jetson_tx2", "TX2", _TX2))
]
RATIOS = tuple(
    _of(
        *(f"paper.ratio_to_{key}", f"ratio_to_{key}", f"to {title}", ratio_text),
        *(group, "ratio", "this figure over the paper's"),
    )
    for key, title, group in (("titan_xp", "Xp", _XP), ("jetson_tx2", "TX2", _TX2))
)
ACCURACY = tuple(
    _of(
        *(f"paper.{key}_top1_percent", f"paper_{key}_top1_percent", f"{title} %", rounded(2)),
        *(_ACCURACY, title, "Table 8"),
    )
    for key, title in (
        ("kinetics600", "Kinetics-600"),
        ("jester", "Jester"),
        ("ucf101", "UCF-101"),
    )
)


def _of_slowest(key: str) -> Callable[[Row], Any]:
    """Return a function that takes a value of a row's slowest layer."""

    def value(row: Row) -> Any:
        layers = field("profile.layers")(row)
        return max(layers, key=lambda one: float(one["median_ms"])).get(key) if layers else None

    return value


# Of a row with a profile.
LAYERS = (
    Column("slowest_layer", "slowest layer", _of_slowest("name"), _end_of_name),
    Column("slowest_layer_ms", "ms", _of_slowest("median_ms"), rounded(2)),
    Column("slowest_layer_limit_ms", "at least", _of_slowest("limit_ms"), rounded(2)),
    *[
        _of(f"profile.by_kind.{kind}.share", f"{kind}_share", kind, whole_percent)
        for kind in (*KINDS, "other")
    ],
)
# Every figure in Markdown's one table.
MARKDOWN = (
    *(MODEL, BACKEND, BATCH, *SPEED, *ON_GPU, POWER, ENERGY_PER_CLIP, *MEMORY, SHARE_BY_LAYER),
    *(TITAN_XP, RATIOS[0], JETSON_TX2, RATIOS[1], *ACCURACY),
)
# The figures of the page's table; those of one group stand together.
PAGE_FIGURES = (
    *(CLIPS_PER_S, SPREAD, WITHOUT_COPIES, *LATENCY, *GPU_PARTS),
    *(ENERGY_PER_CLIP, CLIPS_PER_J, POWER, TEMPERATURE, SHARE_STRICT, SHARE_BY_LAYER),
    *(TITAN_XP, RATIOS[0], JETSON_TX2, RATIOS[1], *ACCURACY, *MEMORY),
)


def _plain(name: str, path: str = "") -> Column:
    """Return a column of files only, by default of the row's field of its name."""
    return Column(name, name, field(path or name))


_WHAT = (
    MODEL,
    *[_plain(name) for name in ("file", "sha256", "model", "width", "dataset")],
    *[_plain(name) for name in ("random_weights", "classes")],
    Column("clip_shape", "clip", lambda row: "x".join(str(size) for size in row["clip_shape"])),
    *[_plain(name) for name in ("backend", "backend_version", "device", "threads", "precision")],
    _plain("graph", "details.graph"),
    *[_plain(name) for name in ("auto_choice", "batch", "streams")],
)
_HOW = (
    _plain("open_s"),
    _plain("warmup_s", "warmup.elapsed_s"),
    _plain("warmup_steady", "warmup.steady"),
    Column("repeats", "repeats", lambda row: len(row["repeats"])),
    Column("batches", "batches", lambda row: sum(one["batches"] for one in row["repeats"])),
    Column("others_share_max", "others", most_of_others, percent),
)
_LIMIT_FIGURES = (
    _plain("limit_device", "limit.device"),
    _plain("limit_strict_clips_per_s", "limit.strict_clips_per_s"),
    _plain("limit_by_layer_clips_per_s", "limit.by_layer_clips_per_s"),
    SHARE_STRICT,
    SHARE_BY_LAYER,
    _plain("limit_memory_bound_share", "limit.memory_bound_share"),
)
# Every column of a CSV file, in its order.
ALL = (
    *_WHAT,
    *SPEED,
    _plain("latency_min_ms", "latency_ms.min"),
    _plain("latency_max_ms", "latency_ms.max"),
    *(*ON_GPU, *ENERGY, *MEMORY, *LAYERS, *_LIMIT_FIGURES),
    *(TITAN_XP, RATIOS[0], JETSON_TX2, RATIOS[1], *ACCURACY),
    *_HOW,
    Column("warnings", "warnings", lambda row: "; ".join(row["warnings"]) or None),
)
