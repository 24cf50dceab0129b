"""How the cost of the live path is written down: every figure as JSON, medians as tables."""

import statistics
from typing import Any, Dict, List

from clipedge.benchmarks.study import new_study
from clipedge.jetson import board
from clipedge.jetson.command_line import format_table

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.live/1"

# In the order in which they run. The runner's is what it checks around an inference.
PARTS = ("preprocess", "push", "clip", "runner", "recogniser")


def conditions(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the document before anything is measured."""
    return new_study(
        SCHEMA,
        settings,
        busy_share_at_start=board.busy_share(),
        pil=None,
        cases=[],
        parts=[],
    )


def table_text(study: Dict[str, Any]) -> str:
    """Return the tables for a terminal: the cases, and the parts of a frame's cost."""
    header = ["camera", "scored", "ms a frame", "p95", "ms a clip", "PIL, ms a clip", "ratio", ""]
    rows = [_row(case) for case in study["cases"]]
    text = format_table(header, rows) + "\n\n" + _parts_table(study["parts"]) + "\n\n"
    text += (
        "Medians of the processor's time, besides inference and capture, in one thread. ms a\n"
        "clip: with the frames since the one before. Ratio: of PIL's way to ours within a turn,\n"
        "median and range.\n"
    )
    if not study["pil"]:
        text += "PIL is not installed: pip install pillow, and its columns are filled.\n"
    return text


def case_figures(case: Dict[str, Any]) -> Dict[str, Any]:
    """Return a case's medians.

    Returns:
        ``frame_ms`` and ``frame_p95_ms`` over all frames; ``clip_ms``, of a clip with the frames
        since the one before; ``pil_clip_ms`` and each turn's ``ratios``, None without PIL.
    """
    turns = case["turns"]
    frames_ms = sorted(one for turn in turns for one in turn["frame_ms"])
    ours = [statistics.median(turn["clip_ms"]) for turn in turns]
    theirs = [statistics.median(turn["pil_clip_ms"]) for turn in turns if turn["pil_clip_ms"]]
    return {
        "frame_ms": statistics.median(frames_ms),
        "frame_p95_ms": frames_ms[int(0.95 * (len(frames_ms) - 1))],
        "clip_ms": statistics.median(ours),
        "pil_clip_ms": statistics.median(theirs) if theirs else None,
        "ratios": [their / our for our, their in zip(ours, theirs)] if theirs else None,
    }


def _row(case: Dict[str, Any]) -> List[str]:
    figures = case_figures(case)
    camera = f"{case['width']} x {case['height']}, {case['rate_hz']:g} Hz"
    row = [camera, case["scored"]]
    row += [f"{figures[name]:.2f}" for name in ("frame_ms", "frame_p95_ms", "clip_ms")]
    if figures["ratios"] is None:
        return row + ["-", "-", ""]
    ratios = figures["ratios"]
    return row + [
        "{:.1f}".format(figures["pil_clip_ms"]),
        f"{statistics.median(ratios):.1f}",
        f"{min(ratios):.1f}-{max(ratios):.1f}",
    ]


def _parts_table(turns: List[List[Dict[str, Any]]]) -> str:
    """Return the medians over the turns of each part's median."""
    rows = []
    for shapes in zip(*turns):
        medians = [
            statistics.median(shape["median_ms"][part] for shape in shapes) for part in PARTS
        ]
        shape = f"{shapes[0]['width']} x {shapes[0]['height']}"
        rows.append([shape] + [f"{median * 1e3:.0f}" for median in medians])
    return format_table(["part, microseconds"] + list(PARTS), rows)
