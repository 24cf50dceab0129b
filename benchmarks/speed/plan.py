"""What is to be measured: the model files among files and folders."""

import logging
import os
import pathlib
import shlex
from typing import Iterator, List, NamedTuple, Sequence

from clipedge.benchmarks.speed.backends import NO_GPU_HERE, engines_run_here
from clipedge.export.graph_names import SOURCE_KEY
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX, load_manifest, sha256_of
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import plain_path, readable_os_error
from clipedge.jetson.onnx_metadata import read_onnx_metadata
from clipedge.jetson.runners.opening import AUTO, CHECKPOINT_SUFFIXES, ONNX_SUFFIX, TENSORRT

DEFAULT_FOLDER = pathlib.Path("engines")  # where export-engine writes
# In place of a backend: several, which run ONNX files and take the engines beside them.
SIDE_BY_SIDE = "several"

_ENGINE_INSTEAD = "its engine, which runs on the GPU, stands beside it"
_REWRITTEN = "the network as trained is measured, not its rewritten graph; name it to measure it"
_NAMES_SHOWN = 3  # of the files that are left out for one reason

_log = logging.getLogger(__name__)


class Job(NamedTuple):
    """One model file at one batch size."""

    path: pathlib.Path
    batch: int
    streams: int


def jobs_of(
    paths: Sequence[pathlib.Path], batches: Sequence[int], streams: Sequence[int]
) -> List[Job]:
    """Return the jobs of files: each at every batch size, with every count of streams."""
    return [Job(path, batch, count) for path in paths for batch in batches for count in streams]


def find_models(given: Sequence[pathlib.Path], backend: str = AUTO) -> List[pathlib.Path]:
    """Return the model files among files and folders, those of a folder by name.

    Of a folder those count that ``backend`` runs: engines or ONNX files. With ``auto`` they are
    engines where engines run, with the ONNX files that have none; elsewhere ONNX files. A rewritten
    graph is left out where the network that it was made of is in the folder. What is left out is
    logged.

    Args:
        given: files, which all count, and folders; DEFAULT_FOLDER where there are none.
        backend: one of BENCH_BACKENDS, or SIDE_BY_SIDE.

    Raises:
        UsageError: a path does not exist, a folder holds no model file, or nothing was given and
            there is no default folder.
    """
    if not given and not DEFAULT_FOLDER.is_dir():
        raise UsageError(
            f"No files were given and there is no folder {DEFAULT_FOLDER} here. Write a model with "
            "export-engine --model shufflenetv1 --width 2.0, or name ONNX files or engines."
        )
    suffixes = suffixes_of(backend)
    paths: List[pathlib.Path] = []
    for path in given or [DEFAULT_FOLDER]:
        found = list(models_at(path, suffixes))
        if not found:
            kinds = " or ".join(suffixes)
            raise UsageError(
                f"The folder {path} holds no {kinds} file; write one with export-engine."
            )
        if path.is_dir():
            found = _as_trained(found)
            found = _one_of_each(found) if backend == AUTO else found
        paths.extend(found)
    return paths


def _as_trained(found: Sequence[pathlib.Path]) -> List[pathlib.Path]:
    """Return the files of a folder without rewritten graphs of others that are there."""
    rewritten = {path: source for path in found for source in _source_sha256(path)}
    if not rewritten:
        return list(found)
    there = {sha256 for path in found if path not in rewritten for sha256 in _sha256(path)}
    left_out = [path for path, source in rewritten.items() if source in there]
    if left_out:
        _log.info("%s", left_out_text(left_out, _REWRITTEN))
    return [path for path in found if path not in left_out]


def _source_sha256(path: pathlib.Path) -> List[str]:
    """Return the digest of the file that a rewritten graph was made of; none for other files."""
    try:
        metadata = read_onnx_metadata(path) if path.suffix == ONNX_SUFFIX else {}
    except (ClipedgeError, OSError):  # said when it is measured
        return []
    return [metadata[SOURCE_KEY]] if SOURCE_KEY in metadata else []


def _sha256(path: pathlib.Path) -> List[str]:
    try:
        return [sha256_of(path)]
    except (ClipedgeError, OSError):
        return []


def _one_of_each(found: Sequence[pathlib.Path]) -> List[pathlib.Path]:
    """Return the files of a folder without those of which another one is measured."""
    engines = [path for path in found if path.suffix == ENGINE_SUFFIX]
    if len(engines) in (0, len(found)):
        return list(found)
    if engines_run_here():
        sources = {source for engine in engines for source in _source_of(engine)}
        left_out, reason = [path for path in found if _real(path) in sources], _ENGINE_INSTEAD
    else:
        left_out, reason = engines, NO_GPU_HERE
    if left_out:
        _log.info("%s", left_out_text(left_out, reason))
    return [path for path in found if path not in left_out]


def _source_of(engine: pathlib.Path) -> List[str]:
    """Return the ONNX file that an engine was built from; none where nobody knows."""
    try:
        return [_real(engine.parent / load_manifest(engine).onnx_file)]
    except ClipedgeError:
        return []


def _real(path: pathlib.Path) -> str:
    return os.path.realpath(str(path))


def left_out_text(paths: Sequence[pathlib.Path], reason: str) -> str:
    """Return a line that says which files are left out, and why."""
    names = ", ".join(str(path) for path in paths[:_NAMES_SHOWN])
    more = len(paths) - _NAMES_SHOWN
    return f"Left out {names}{f' and {more} more' if more > 0 else ''}: {reason}."


def _check_kind(path: pathlib.Path) -> None:
    if path.suffix in CHECKPOINT_SUFFIXES:
        raise UsageError(
            f"{path} is a checkpoint. Make an ONNX file of it: "
            f"export-engine --checkpoint {shlex.quote(str(path))} --no-engine"
        )
    if path.suffix not in (ONNX_SUFFIX, ENGINE_SUFFIX):
        raise UsageError(
            f"{path} is no model: give {ONNX_SUFFIX} or {ENGINE_SUFFIX} files of export-engine, "
            "folders of them, or one .json file that jetson-bench --json wrote."
        )


def suffixes_of(backend: str) -> List[str]:
    """Return the suffixes of the files that a backend runs."""
    if backend == AUTO:
        return [ONNX_SUFFIX, ENGINE_SUFFIX]
    return [ENGINE_SUFFIX if backend == TENSORRT else ONNX_SUFFIX]


def models_at(path: pathlib.Path, suffixes: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yield the files with these suffixes in a folder, by name; or the path, where it is a file.

    Raises:
        UsageError: there is no such path, its name is not UTF-8, or it is a file of another kind.
        ClipedgeError: the folder cannot be read.
    """
    plain_path(path)
    try:
        if not path.exists():
            raise UsageError(f"{path} does not exist; check the path.")
        files = sorted(path.iterdir()) if path.is_dir() else None
    except OSError as error:
        raise readable_os_error(error, path) from None
    if files is None:
        _check_kind(path)
        yield path
        return
    for file in files:
        if file.suffix in suffixes and not file.name.startswith("."):
            yield file
