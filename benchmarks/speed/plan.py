"""What is to be measured: the model files among files and folders."""

import pathlib
from typing import List, NamedTuple, Sequence

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


def find_models(given: Sequence[pathlib.Path], backend: str = AUTO) -> List[pathlib.Path]:
    """Return the model files among files and folders, those of a folder by name.

    Of a folder those count that ``backend`` runs: engines, ONNX files, or both with ``auto``.

    Raises:
        UsageError: a path does not exist, a folder holds no model file, or nothing was given and
            there is no default folder.
    """
    suffixes = [ONNX_SUFFIX, ENGINE_SUFFIX]
    if backend != AUTO:
        suffixes = [ENGINE_SUFFIX if backend == TENSORRT else ONNX_SUFFIX]
    if not given and not DEFAULT_FOLDER.is_dir():
        raise UsageError(
            f"No files were given and there is no folder {DEFAULT_FOLDER} here. Write a model with "
            "export-engine --model shufflenetv1 --width 2.0, or name ONNX files or engines."
        )
    paths: List[pathlib.Path] = []
    for path in given or [DEFAULT_FOLDER]:
        plain_path(path)
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if file.suffix in suffixes and not file.name.startswith(".")
            )
            if not found:
                kinds = " or ".join(suffixes)
                raise UsageError(
                    f"The folder {path} holds no {kinds} file; write one with export-engine."
                )
            paths.extend(found)
        elif path.exists():
            paths.append(path)
        else:
            raise UsageError(f"{path} does not exist; check the path.")
    return paths
