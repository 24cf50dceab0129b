"""How the study of graph forms is written down: every figure as JSON, the main ones as tables."""

import re
from typing import Any, Dict, List, Sequence, Tuple

from clipedge.benchmarks.study import new_study
from clipedge.jetson import board
from clipedge.jetson.command_line import format_table

# Raised when a field changes its meaning or goes away; a new field does not raise it.
SCHEMA = "clipedge.graph-forms/1"

_MB = 1e6
_REFUSED = "refused"
_REASONS = "What could not be built or run"

_Table = Tuple[str, List[str], List[List[str]]]  # title, header, lines


def conditions(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the study's document before anything is measured."""
    return new_study(SCHEMA, settings, models=[])


def table_text(study: Dict[str, Any]) -> str:
    """Return all tables for a terminal."""
    return (
        "\n\n".join(
            f"{title}\n" + format_table(header, rows) for title, header, rows in _tables(study)
        )
        + "\n"
    )


def markdown(study: Dict[str, Any]) -> str:
    """Return all tables in Markdown, with the conditions above them."""
    settings, machine = study["settings"], study["machine"]
    packages = board.package_versions()
    versions = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    parts = [
        f"{study['started_utc'][:10]}, {settings['tensorrt']}, {versions}; {machine['cpu']}, "
        f"{settings['threads']} threads, load average {study['load_average_at_start']:.1f} at the "
        f"start; random weights, {settings['classes']} classes, profiles for batches of "
        f"{' and '.join(map(str, settings['batches']))}."
    ]
    for title, header, rows in _tables(study):
        flush = ["---"] if title == _REASONS else ["---:"]
        lines = [header, ["---"] + flush * (len(header) - 1)] + rows
        parts.append(f"{title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _tables(study: Dict[str, Any]) -> List[_Table]:
    measured = [row for row in study["models"] if "forms" in row]
    failed = [row for row in study["models"] if "error" in row]
    tables = [_engine_table(measured, precision) for precision in ("fp16", "fp32")]
    if any("clips_per_s" in form for row in measured for form in row["forms"].values()):
        tables.append(_speed_table(measured, study["settings"]["batches"][-1]))
    refusals = _refusals(measured) + [[row["model"], row["error"]] for row in failed]
    if refusals:
        tables.append((_REASONS, ["what", "reason"], refusals))
    return tables


def _engine_table(rows: Sequence[Dict[str, Any]], precision: str) -> _Table:
    forms = _forms(rows)
    targets = list(rows[0]["forms"][forms[0]]["engines"][precision]) if rows else []
    weight_bytes = 2 if precision == "fp16" else 4
    lines = []
    for row in rows:
        weights = row["weights_fp16_bytes"] * weight_bytes // 2
        line = [row["model"], f"{weights / _MB:.1f}"]
        for target in targets:
            for form in forms:
                size = row["forms"][form]["engines"][precision][target].get("bytes")
                ratio = f"{size / _MB:.1f} ({size / weights:.1f})" if size else _REFUSED
                line.append(ratio)
        lines.append(line)
    columns = [f"{target} {form}" for target in targets for form in forms]
    title = f"Engines in {precision}, MB (in brackets: times the weights in {precision})"
    return title, ["model", "weights", *columns], lines


def _speed_table(rows: Sequence[Dict[str, Any]], batch: int) -> _Table:
    forms = _forms(rows)
    backends = sorted(next(iter(rows))["forms"][forms[0]]["clips_per_s"])
    header = ["model"] + [f"{backend} {form}" for backend in backends for form in forms]
    lines = []
    for row in rows:
        results = [
            row["forms"][form]["clips_per_s"][backend] for backend in backends for form in forms
        ]
        lines.append([row["model"]] + [_speed(result) for result in results])
    return f"Clips per second on the CPU, fp32, batch {batch}", header, lines


def _speed(result: Dict[str, Any]) -> str:
    speed = result.get("clips_per_s")
    if speed is None:
        return _REFUSED
    return f"{speed:.1f}" if speed >= 1 else f"{speed:.2f}"


def _refusals(rows: Sequence[Dict[str, Any]]) -> List[List[str]]:
    """Return each reason once, with what it was given for."""
    given: Dict[str, List[str]] = {}
    for row in rows:
        for form, found in row["forms"].items():
            results = [
                (f"{form} {precision} {target}", engine)
                for precision, engines in found["engines"].items()
                for target, engine in engines.items()
            ] + [(f"{form} {name}", one) for name, one in found.get("clips_per_s", {}).items()]
            for what, result in results:
                if "error" in result:
                    given.setdefault(_in_general(result["error"]), []).append(
                        f"{row['model']} {what}"
                    )
    return [[_summed_up(what), reason] for reason, what in given.items()]


def _in_general(reason: str) -> str:
    """Return a reason without what is this model's alone: the names of layers."""
    return re.sub("'[^']*'", "...", reason).replace("|", "/")


def _summed_up(what: Sequence[str]) -> str:
    cases = sorted({one.split(" ", 1)[1] for one in what})
    return what[0] if len(what) == 1 else "{}: {} in all".format(", ".join(cases), len(what))


def _forms(rows: Sequence[Dict[str, Any]]) -> List[str]:
    return list(rows[0]["forms"]) if rows else []
