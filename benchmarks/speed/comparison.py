"""Backends side by side: clips per second of each model with each, and the ratio to PyTorch eager.

Of a document of ``jetson-bench --compare-backends``, whose rows were measured in turns.
"""

import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from clipedge.benchmarks.layer_costs import find_network
from clipedge.benchmarks.markup import bullets, markdown_table
from clipedge.benchmarks.speed.backends import TORCH_BACKENDS
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.noise import noise_of_ratio
from clipedge.benchmarks.speed.rows import row_name
from clipedge.benchmarks.speed.texts import (
    PLAIN,
    batch_text,
    model_text,
    percent,
    rate_text,
    ratio_text,
)
from clipedge.jetson import paper
from clipedge.jetson.command_line import format_table
from clipedge.jetson.runners.opening import TENSORRT

Row = Dict[str, Any]

EAGER = "torch-eager"  # what the ratios are to: how the paper ran its models
_NAMES = dict(TORCH_BACKENDS, onnxruntime="ONNX Runtime", openvino="OpenVINO", tensorrt="TensorRT")
_FAMILY = "PyTorch "
_ONE_PRECISION = (*TORCH_BACKENDS, "onnxruntime")  # fp32 goes without saying
_PRECISIONS = ("fp32", "bf16", "fp16")
# The 17 rows of Table 8 that the paper is about; the others are there for comparison.
EFFICIENT = ("squeezenet", "mobilenetv1", "mobilenetv2", "shufflenetv1", "shufflenetv2")
_FULL = "fp32"
_MARK = "*"
_ALIKE = 1e-3  # of two limits that are the same one


class Group(NamedTuple):
    """One network's file on one clip, batch and number of streams, with what ran it."""

    name: str
    model: str
    rows: Dict[Tuple[str, str], Row]  # by backend and precision

    def ratio(self, key: Tuple[str, str]) -> Optional[float]:
        """Return the ratio to PyTorch eager; None where either was not measured."""
        row, eager = self.rows.get(key), self.rows.get((EAGER, _FULL))
        if row is None or eager is None:
            return None
        return float(row["clips_per_s"] / eager["clips_per_s"])

    def chosen(self) -> Optional[Row]:
        """Return the row of the backend that ``auto`` picks; None where that is not known."""
        found = [row for row in self.rows.values() if row.get("auto_choice")]
        return found[0] if found else None

    def fastest(self, precision: Optional[str] = None) -> Optional[Row]:
        """Return the fastest row of a precision, or of all; None where there is none."""
        rows = [row for (_, its), row in self.rows.items() if precision in (None, its)]
        return max(rows, key=lambda row: float(row["clips_per_s"])) if rows else None

    def chosen_ratio(self) -> Optional[float]:
        """Return the ratio of auto's choice to PyTorch eager; None where it is not known."""
        chosen = self.chosen()
        if chosen is None:
            return None
        return self.ratio((chosen["backend"], chosen["precision"]))


def comparison_text(document: Document) -> str:
    """Return a table of clips per second with ratios, and what it comes to, for a terminal."""
    groups = groups_of(document)
    if not groups:
        return "No backend was measured, so there is nothing to compare."
    return "\n".join([format_table(*_table(document, groups)), *_remarks(document, groups)])


def comparison_markdown(document: Document) -> str:
    """Return the same as Markdown."""
    groups = groups_of(document)
    title = "### Backends side by side"
    if not groups:
        return f"{title}\n\nNo backend was measured, so there is nothing to compare.\n"
    table = markdown_table(*_table(document, groups))
    return f"{title}\n\n{table}\n\n{bullets(_remarks(document, groups))}\n"


def groups_of(document: Document) -> List[Group]:
    """Return the document's rows by network, clip, batch and streams, in the document's order.

    An engine is of the network's file that it was built of. Files of one model are named by their
    own names.
    """
    rows = document["rows"]
    several = len({(row["batch"], row["streams"]) for row in rows}) > 1
    files: Dict[str, Set[str]] = {}
    for row in rows:
        files.setdefault(model_text(row["model"], row["width"]), set()).add(_network_name(row))
    found: Dict[Tuple[Any, ...], Group] = {}
    for row in rows:
        name, file = model_text(row["model"], row["width"]), _network_name(row)
        key = (name, file, *row["clip_shape"], row["batch"], row["streams"])
        if len(files[name]) > 1:
            name = file
        if several:
            name += f", batch {batch_text(row)}"
        group = found.setdefault(key, Group(name, row["model"], {}))
        group.rows.setdefault((row["backend"], row["precision"]), row)
    return list(found.values())


def _network_name(row: Row) -> str:
    """Return the name of the ONNX file, without folder and suffix, also of an engine of it."""
    name, ending = row_name(row), f"_{row['precision']}"
    if row["backend"] == TENSORRT and name.endswith(ending):
        return name[: -len(ending)]
    return name


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the n-th root of the product of n ratios."""
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))


def share_of_products(document: Document, row: Row) -> Optional[float]:
    """Return a row's arithmetic as a share of this machine's matrix-product rate.

    That is the share of the strict limit where arithmetic bounds it; None where memory does, the
    limit is not known, or a GPU ran it.
    """
    limit = row["limit"]
    device = (document.get("limit_devices") or {}).get("cpu")
    network = find_network(row["model"], row["width"], row["classes"])
    if limit is None or device is None or network is None or row["threads"] is None:
        return None
    peak = max(device["peak_flops"].get(name, 0.0) for name in (_FULL, row["precision"]))
    bound = peak / (2 * network.macs)  # clips/s
    if abs(limit["strict_clips_per_s"] / bound - 1.0) > _ALIKE:
        return None
    return float(limit["share_of_strict"])


def backend_name(backend: str, precision: str) -> str:
    """Return what people call a backend with a precision."""
    name = str(_NAMES.get(backend, backend))
    if name.startswith(_FAMILY) and backend != EAGER:
        name = name[len(_FAMILY) :]  # one column says it
    if backend in _ONE_PRECISION and precision == _FULL:
        return name
    return f"{name} {precision}"


def _table(document: Document, groups: Sequence[Group]) -> Tuple[List[str], List[List[str]]]:
    """Return (header, rows): models as lines, backends as columns, the means below."""
    keys = _backends(groups)
    shares = [_share_cell(document, group) for group in groups]
    has_shares = any(share != PLAIN.dash for share in shares)
    header = ["clips/s"] + [backend_name(*key) for key in keys]
    lines = [[group.name] + [_cell(group, key) for key in keys] for group in groups]
    efficient = [group for group in groups if group.model in EFFICIENT]
    means = [_mean_line(groups, keys, f"mean, all {len(groups)}")]
    if len(efficient) not in (0, len(groups)):
        name = f"mean, {len(efficient)} efficient"
        means.insert(0, _mean_line(efficient, keys, name))
    if not any(group.rows.get((EAGER, _FULL)) for group in groups):
        means = []
    if has_shares:
        header.append("of products")
        lines = [line + [share] for line, share in zip(lines, shares)]
        means = [line + [""] for line in means]
    return header, lines + means


def _backends(groups: Sequence[Group]) -> List[Tuple[str, str]]:
    """Return what was measured in the order of columns."""
    backends, precisions = list(_NAMES), list(_PRECISIONS)

    def place(key: Tuple[str, str]) -> Tuple[int, int, Tuple[str, str]]:
        backend = backends.index(key[0]) if key[0] in backends else len(backends)
        return backend, precisions.index(key[1]) if key[1] in precisions else len(precisions), key

    return sorted({key for group in groups for key in group.rows}, key=place)


def _cell(group: Group, key: Tuple[str, str]) -> str:
    row = group.rows.get(key)
    if row is None:
        return PLAIN.dash
    text = rate_text(row["clips_per_s"])
    ratio = group.ratio(key)
    if ratio is not None and key != (EAGER, _FULL):
        text += f" ({ratio_text(ratio)})"
    return text + (_MARK if row.get("auto_choice") else "")


def _mean_line(groups: Sequence[Group], keys: Sequence[Tuple[str, str]], name: str) -> List[str]:
    cells = [name]
    for key in keys:
        ratios = [ratio for ratio in (group.ratio(key) for group in groups) if ratio is not None]
        if not ratios:
            cells.append(PLAIN.dash)
            continue
        part = "" if len(ratios) == len(groups) else f" of {len(ratios)}"
        cells.append(f"{ratio_text(geometric_mean(ratios))}{part}")
    return cells


def _share_cell(document: Document, group: Group) -> str:
    row = _for_share(group)
    share = None if row is None else share_of_products(document, row)
    return PLAIN.dash if share is None else percent(share)


def _for_share(group: Group) -> Optional[Row]:
    """Return the fp32 row whose share of the matrix-product rate is told: auto's or the fastest."""
    chosen = group.chosen()
    return chosen if chosen and chosen["precision"] == _FULL else group.fastest(_FULL)


def _remarks(document: Document, groups: Sequence[Group]) -> List[str]:
    lines = []
    if any(group.rows.get((EAGER, _FULL)) for group in groups):
        lines.append(
            "In brackets: the ratio to PyTorch eager; the means are geometric. Each model's "
            "backends were measured in turns, each in a process of its own."
        )
    if any(group.chosen() for group in groups):
        lines += [f"{_MARK} what auto picks.", *_auto_lines(groups)]
    return lines + _share_lines(document, groups)


def _auto_lines(groups: Sequence[Group]) -> List[str]:
    """Return how auto's choice stands to the fastest of the same precision."""
    known = [(group, chosen) for group, chosen in ((one, one.chosen()) for one in groups) if chosen]
    behind = []
    for group, chosen in known:
        fastest = group.fastest(chosen["precision"]) or chosen
        if fastest is not chosen:
            behind.append(f"{group.name}: {_behind(chosen, fastest)}")
    best = len(known) - len(behind)
    first = f"auto picks the fastest of its precision for {best} of {len(known)} models"
    return ["; ".join([first, *behind]) + ".", *_auto_means(groups)]


def _auto_means(groups: Sequence[Group]) -> List[str]:
    """Return auto's ratio to PyTorch eager in the mean: of the efficient models, and of all."""
    lines = []
    for which, several in (
        ("efficient models", [group for group in groups if group.model in EFFICIENT]),
        ("models in all", [group for group in groups if group.model not in EFFICIENT] and groups),
    ):
        ratios = [ratio for ratio in (group.chosen_ratio() for group in several) if ratio]
        if ratios:
            mean = ratio_text(geometric_mean(ratios))
            what = which if len(ratios) > 1 else which.replace("models", "model")
            lines.append(f"auto's choice: {mean} PyTorch eager over {len(ratios)} {what}.")
    return lines


def _behind(chosen: Row, fastest: Row) -> str:
    names = [backend_name(row["backend"], row["precision"]) for row in (chosen, fastest)]
    ratio = chosen["clips_per_s"] / fastest["clips_per_s"]
    noise = noise_of_ratio(chosen, fastest)
    text = f"{names[0]} is {100 * (1 - ratio):.1f} % behind {names[1]}"
    if noise is None:
        return f"{text}, with too few batches to tell the noise"
    place = "past" if -math.log(ratio) > noise else "within"
    return f"{text}, {place} the noise of {100 * noise:.1f} %"


def _share_lines(document: Document, groups: Sequence[Group]) -> List[str]:
    """Return what the column of shares is, and the shares of the rows that are not efficient."""
    shares = []
    for group in groups:
        row = _for_share(group)
        share = None if row is None else share_of_products(document, row)
        if share is not None:
            shares.append((group, share))
    if not shares:
        return []
    lines = [
        "Of products: the fp32 arithmetic of auto's choice, or of the fastest, as a share of this "
        "machine's rate in a large matrix product."
    ]
    large = [(group, share) for group, share in shares if _is_large(group)]
    if large:
        group, least = min(large, key=lambda one: one[1])
        lines.append(
            f"Least of the large models (ResNet, ResNeXt, I3D): {percent(least)}, {group.name}."
        )
    return lines


def _is_large(group: Group) -> bool:
    return group.model not in EFFICIENT and any(one.model == group.model for one in paper.TABLE_8)
