"""How every report writes the same thing: a backend, a batch, a model, a failure, a number."""

import math
import pathlib
from typing import Any, Callable, Dict, NamedTuple, Optional

Facts = Dict[str, Any]


class Signs(NamedTuple):
    """What stands for what has no figure, between factors, and behind a number."""

    dash: str
    times: str
    ratio: str  # behind a ratio
    percent: str
    thousands: str  # between thousands


PLAIN = Signs("-", "x", "x", " %", "")
PAGE = Signs("\u2013", "\u00d7", "\u00a0\u00d7", "\u00a0%", ",")

Shown = Callable[[Any, Signs], str]


def model_text(model: str, width: Optional[float]) -> str:
    """Return a model of the paper, such as ``shufflenetv1 0.5x``."""
    return model + ("" if width is None else f" {width}x")


def ran_by(one: Facts) -> str:
    """Return what ran a row or was asked for, such as ``openvino fp32``."""
    return f"{one['backend']} {one['precision']}"


def backend_text(row: Facts, signs: Signs = PLAIN) -> str:
    """Return what ran a row, such as ``openvino fp32 x2`` on two threads."""
    threads = "" if row["threads"] is None else f" {signs.times}{row['threads']}"
    return ran_by(row) + threads


def batch_text(one: Facts) -> str:
    """Return the batch, such as ``8``, or ``8, 2 streams`` where two inferences ran at once."""
    streams = "" if one["streams"] == 1 else f", {one['streams']} streams"
    return f"{one['batch']}{streams}"


def case_text(one: Facts, signs: Signs = PLAIN) -> str:
    """Return how a row or a failure came about, such as ``auto fp32, batch 8``."""
    return f"{ran_by(one)}, batch {batch_text(one)}"


def failure_name(failure: Facts) -> str:
    """Return what was tried, such as ``a.onnx (auto fp32, batch 8)``."""
    return f"{failure_file(failure)} ({case_text(failure)})"


def failure_file(failure: Facts) -> str:
    """Return the name of the file that failed, without its folder."""
    return pathlib.PurePath(failure["path"]).name


def one_line(text: str) -> str:
    """Return a message of several lines as one."""
    return " ".join(text.split())


def plain(value: Any, signs: Signs = PLAIN) -> str:
    """Write a value as it is."""
    return str(value)


def number(value: float, digits: int, signs: Signs = PLAIN) -> str:
    """Write a number with so many digits behind the point.

    Where they would leave fewer than two that count, it gets two: no value is shown as zero that
    is not.
    """
    if value and abs(value) < 10.0 ** min(0, 1 - digits):
        return significant(value, signs, 2)
    return f"{value:{signs.thousands}.{digits}f}"


def significant(value: float, signs: Signs = PLAIN, count: int = 3) -> str:
    """Write a number with so many digits that count, and no exponent."""
    digits = count - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:{signs.thousands}.{max(0, digits)}f}"


def rounded(digits: int) -> Shown:
    """Return a function that writes a number with so many digits behind the point."""
    return lambda value, signs: number(value, digits, signs)


def rate_text(clips_per_s: float, signs: Signs = PLAIN) -> str:
    """Write clips per second."""
    return number(clips_per_s, 1, signs)


def percent(share: float, signs: Signs = PLAIN) -> str:
    """Write a share of 1."""
    return number(100 * share, 1, signs) + signs.percent


def tenths_percent(share: float, signs: Signs = PLAIN) -> str:
    """Write a share of 1 with one digit behind the point, as all of its column."""
    shown = "<0.1" if 0 < share < 0.0005 else f"{100 * share:{signs.thousands}.1f}"
    return shown + signs.percent


def whole_percent(share: float, signs: Signs = PLAIN) -> str:
    """Write a share of 1 without a fraction."""
    shown = "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"
    return shown + signs.percent


def ratio_text(ratio: float, signs: Signs = PLAIN) -> str:
    """Write a ratio."""
    return number(ratio, 1 if ratio >= 10 else 2, signs) + signs.ratio
