"""What is to be measured: the model files among files and folders."""

import pathlib
from typing import Iterator, List, NamedTuple, Sequence

from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.errors import UsageError
from clipedge.jetson.files import plain_path
from clipedge.jetson.runners.opening import AUTO, ONNX_SUFFIX, TENSORRT

DEFAULT_FOLDER = pathlib.Path("engines")  # where export-engine writes


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

    Of a folder those count that ``backend`` runs: engines, ONNX files, or both with ``auto``.

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
        paths.extend(found)
    return paths


def suffixes_of(backend: str) -> List[str]:
    """Return the suffixes of the files that a backend runs."""
    if backend == AUTO:
        return [ONNX_SUFFIX, ENGINE_SUFFIX]
    return [ENGINE_SUFFIX if backend == TENSORRT else ONNX_SUFFIX]


def models_at(path: pathlib.Path, suffixes: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yield the files with these suffixes in a folder, by name; or the path, where it is a file.

    Raises:
        UsageError: there is no such path, or its name is not UTF-8.
    """
    plain_path(path)
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix in suffixes and not file.name.startswith("."):
                yield file
    elif path.exists():
        yield path
    else:
        raise UsageError(f"{path} does not exist; check the path.")
