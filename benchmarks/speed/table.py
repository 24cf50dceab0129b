"""Which model files stand for the rows of the paper's Table 8."""

import os
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.benchmarks.speed.backends import NO_GPU_HERE, engines_run_here
from clipedge.benchmarks.speed.exporting import export_row, missing_packages
from clipedge.benchmarks.speed.plan import DEFAULT_FOLDER, left_out_text, models_at, suffixes_of
from clipedge.benchmarks.speed.rows import paper_clip_shape
from clipedge.export.graph_names import CONV3D, FORM_KEY
from clipedge.jetson import paper
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX, load_manifest
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import readable_os_error
from clipedge.jetson.onnx_metadata import read_onnx_metadata
from clipedge.jetson.runners.model_file import read_model_spec
from clipedge.jetson.runners.opening import AUTO, TENSORRT
from clipedge.jetson.spec import RANDOM_WEIGHTS, ClipSpec

NO_ROW = "Table 8 has no such model"
REWRITTEN = "a row takes the network as trained, not a rewritten graph"
ANOTHER = "another file stands for the row"
ENGINES_INSTEAD = "the row has an engine, which runs on the GPU"
ONNX_ONLY = "this backend runs ONNX files"
ENGINES_ONLY = "tensorrt runs engines"


class TableRow(NamedTuple):
    """One row of Table 8 and its files."""

    model: str
    width: Optional[float]
    paths: List[pathlib.Path]  # to be measured; empty: there is none yet
    onnx: Optional[pathlib.Path]  # the network as trained, also where engines are measured
    engines: List[pathlib.Path]  # one for each precision, where they run


class Plan(NamedTuple):
    """The way through Table 8."""

    rows: List[TableRow]  # all of them, in the paper's order
    folder: pathlib.Path  # where missing files go
    backend: str  # as asked for
    damaged: List[Tuple[pathlib.Path, ClipedgeError]]  # files of which nobody knows what they are
    left_out: Dict[str, List[pathlib.Path]]  # files, by the reason

    def notes(self) -> List[str]:
        """Return what is left out, a line for each reason."""
        return [left_out_text(paths, reason) for reason, paths in self.left_out.items()]


class _File(NamedTuple):
    path: pathlib.Path
    spec: ClipSpec
    form: str
    precision: Optional[str]  # of an engine; None: an ONNX file
    batches: Tuple[int, ...]  # that an engine takes


def table_plan(
    given: Sequence[pathlib.Path], backend: str = AUTO, batches: Sequence[int] = ()
) -> Plan:
    """Return which of the files among files and folders stand for which row of Table 8.

    A file is known by its ClipSpec, not by its name, and only clips of the paper's shape count. Of
    several ONNX files of a row the network as trained is taken, of several engines one for each
    precision; trained weights before random ones. With ``auto`` engines are measured where they
    run, ONNX files elsewhere.

    Args:
        given: files and folders; the first folder, or DEFAULT_FOLDER, is where missing files go,
            and is searched too.
        backend: one of BENCH_BACKENDS, or SIDE_BY_SIDE.
        batches: that will be measured: an engine for all of them goes before others.

    Raises:
        UsageError: a path does not exist, or no row has a file and none can be exported here.
    """
    folder = next((path for path in given if path.is_dir()), DEFAULT_FOLDER)
    places = list(given)
    if folder not in places and folder.is_dir():
        places.append(folder)
    plan = Plan([], folder, backend, [], {})
    files = _read_all(places, plan)
    files.sort(key=lambda file: _rank(file, batches))
    for row in paper.TABLE_8:
        of_row = [
            file for file in files if (file.spec.model, file.spec.width) == (row.model, row.width)
        ]
        plan.rows.append(_row(row, of_row, plan))
    _refuse_nothing(plan, places)
    return plan


def files_of(row: TableRow, plan: Plan, title: str = "") -> List[pathlib.Path]:
    """Return the files of a row; where there is none, export one.

    Args:
        row: of the plan.
        plan: that it is of.
        title: what the progress line of an export begins with.

    Raises:
        ClipedgeError: there is none, and it cannot be exported here.
    """
    if row.paths:
        return row.paths
    if plan.backend == TENSORRT:
        raise ClipedgeError("there is no engine of it; build one with export-engine --onnx FILE.")
    return [export_row(row.model, row.width, plan.folder, title)]


def _refuse_nothing(plan: Plan, places: Sequence[pathlib.Path]) -> None:
    if plan.damaged or any(row.paths for row in plan.rows):
        return
    where = " or ".join(str(place) for place in places or [DEFAULT_FOLDER])
    notes = "".join(f" {note}" for note in plan.notes())
    if plan.backend == TENSORRT:
        raise UsageError(
            f"There is no engine of a model of Table 8 in {where}.{notes} Build one on this "
            "machine: export-engine --onnx FILE"
        )
    missing = missing_packages()
    if missing:
        raise UsageError(
            "There is no file of a model of Table 8 in {}, and {}, which would export one, {} not "
            "installed here.{} Export on a workstation and name the folder: export-engine --model "
            "shufflenetv1 --width 2.0 --no-engine".format(
                where, " and ".join(missing), "is" if len(missing) == 1 else "are", notes
            )
        )


def _read_all(places: Sequence[pathlib.Path], plan: Plan) -> List[_File]:
    """Return the files that can stand for a row; the others go into the plan."""
    files: List[_File] = []
    seen = set()
    for path in (one for place in places for one in models_at(place, suffixes_of(plan.backend))):
        real = os.path.realpath(str(path))
        if real in seen:
            continue
        seen.add(real)
        try:
            file = _read(path)
        except ClipedgeError as error:
            plan.damaged.append((path, error))
            continue
        except OSError as error:  # such as a link to itself
            plan.damaged.append((path, readable_os_error(error, path)))
            continue
        reason = _why_not(file, plan.backend)
        if reason is None:
            files.append(file)
        else:
            _leave_out(plan, reason, path)
    return files


def _read(path: pathlib.Path) -> _File:
    if path.suffix == ENGINE_SUFFIX:
        manifest = load_manifest(path)
        return _File(path, manifest.spec, manifest.graph_form, manifest.precision, manifest.batches)
    spec = read_model_spec(path)
    form = read_onnx_metadata(path).get(FORM_KEY, CONV3D)
    return _File(path, spec, form, None, ())


def _why_not(file: _File, backend: str) -> Optional[str]:
    """Return why a file can stand for no row with a backend; None where it can."""
    spec = file.spec
    if paper.published(spec.model, spec.width) is None:
        return NO_ROW
    wanted = tuple(paper_clip_shape(spec.model))
    if spec.clip_shape != wanted:
        return f"its clips are {_shape_text(spec.clip_shape)}, the paper's {_shape_text(wanted)}"
    if file.precision is None:
        if backend == TENSORRT:
            return ENGINES_ONLY
        return REWRITTEN if file.form != CONV3D else None
    if backend not in (AUTO, TENSORRT):
        return ONNX_ONLY
    return NO_GPU_HERE if backend == AUTO and not engines_run_here() else None


def _row(row: paper.PublishedRow, files: Sequence[_File], plan: Plan) -> TableRow:
    chosen: Dict[Optional[str], pathlib.Path] = {}  # by precision; None: the ONNX file
    for file in files:
        if file.precision in chosen:
            _leave_out(plan, ANOTHER, file.path)
        else:
            chosen[file.precision] = file.path
    onnx = chosen.pop(None, None)
    engines = list(chosen.values())
    if engines and onnx is not None:
        _leave_out(plan, ENGINES_INSTEAD, onnx)
    paths = engines or ([] if onnx is None else [onnx])
    return TableRow(row.model, row.width, paths, onnx, engines)


def _rank(file: _File, batches: Sequence[int]) -> Any:
    """Return what sorts the better file of a row before the worse."""
    lacks_batches = file.precision is not None and not set(batches) <= set(file.batches)
    return lacks_batches, file.spec.dataset == RANDOM_WEIGHTS


def _leave_out(plan: Plan, reason: str, path: pathlib.Path) -> None:
    plan.left_out.setdefault(reason, []).append(path)


def _shape_text(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)
