"""Exports a model of Table 8 that has no file yet, in a process of its own."""

import contextlib
import importlib.util
import pathlib
import subprocess
import tempfile
import time
from typing import Iterator, List, Optional

from clipedge.benchmarks.speed.memory import export_needs_mb
from clipedge.export.graph_names import CONV3D
from clipedge.jetson import board
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.files import writable_folder
from clipedge.jetson.own_process import module_command
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.recogniser_settings import settings_path
from clipedge.jetson.runners.opening import ONNX_SUFFIX
from clipedge.jetson.spec import ClipSpec

EXPORTER = module_command("clipedge.export.cli")
PACKAGES = ("torch", "onnx", "onnxruntime")
_LEAVE_S = 3.0  # that it gets to end by itself
_LOOK_S = 0.2


class CannotExportError(ClipedgeError):
    """What exports is not installed here, so that no missing file can be made."""


def missing_packages() -> List[str]:
    """Return what an export needs and is not installed here; nothing is imported."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def exported_path(model: str, width: Optional[float], folder: pathlib.Path) -> pathlib.Path:
    """Return where the ONNX file of a model with random weights goes."""
    return folder / (ClipSpec(model, (), width).file_stem + ONNX_SUFFIX)


def export_row(
    model: str, width: Optional[float], folder: pathlib.Path, title: str = ""
) -> pathlib.Path:
    """Export a model with random weights; return its ONNX file.

    The folder gets the whole set of files or nothing, also after an interrupt.

    Args:
        model: of Table 8.
        width: its width multiplier.
        folder: for the files; made if missing.
        title: what the progress line begins with, such as "[3/22] ".

    Raises:
        CannotExportError: a package is missing.
        ClipedgeError: memory is missing, a file of that name is there already, or the
            export failed.
    """
    path = exported_path(model, width, folder)
    _check(path, model, width)
    writable_folder(folder)
    # A process that has to be killed leaves its half-written files in there.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=str(folder)) as name:
        made = pathlib.Path(name)
        command = [*EXPORTER, *_flags(model, width), "--output", name]
        _run(command, f"{title}exporting {path.stem}")
        _move(made, path)
    return path


def _flags(model: str, width: Optional[float]) -> List[str]:
    widths = [] if width is None else ["--width", str(width)]
    return ["--model", model, *widths, "--no-engine", "--graph", CONV3D]


def _check(path: pathlib.Path, model: str, width: Optional[float]) -> None:
    missing = missing_packages()
    flags = " ".join(_flags(model, width))
    if missing:
        raise CannotExportError(
            "there is no file of {}, and {}, which would export one, {} not installed here. On a "
            "workstation: export-engine {}".format(
                path.stem,
                " and ".join(missing),
                "is" if len(missing) == 1 else "are",
                flags,
            )
        )
    if path.exists():
        raise ClipedgeError(
            f"{path} is there and is not a file of this row; it is not replaced. Move it away, or "
            "give another folder."
        )
    needed_mb, left_mb = export_needs_mb(model, width), board.available_memory_mb()
    if needed_mb is not None and left_mb is not None and needed_mb > left_mb:
        raise ClipedgeError(
            f"there is no file of {path.stem}; its export needs about {needed_mb:.0f} MiB of "
            f"memory and {left_mb} MiB are left. On a larger machine: export-engine {flags}"
        )


def _run(command: List[str], title: str) -> None:
    """Run an export to its end; what it says is kept for an error.

    Raises:
        ClipedgeError: it failed; with the last line that it said.
    """
    with tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=talk
        )
        start_s = time.monotonic()
        with _ended(process), ProgressLine(title) as progress:
            while process.poll() is None:
                progress.show(f"{time.monotonic() - start_s:.0f} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
        if process.returncode != 0:
            talk.seek(0)
            lines = talk.read().decode("utf-8", "replace").strip().splitlines()
            raise ClipedgeError(f"its export failed: {_why(process.returncode, lines)}")


def _why(status: int, lines: List[str]) -> str:
    if status < 0:
        return f"it was ended by signal {-status}, for want of memory if that is 9."
    return lines[-1].strip() if lines else f"it ended with status {status}."


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """End the process where the block is left before it has ended."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _move(made: pathlib.Path, path: pathlib.Path) -> None:
    """Move what was exported to where ``path`` is, the ONNX file last."""
    onnx = made / path.name
    if not onnx.is_file():
        raise ClipedgeError(f"its export wrote no {path.name}; export it with export-engine.")
    settings = settings_path(path)
    for file in made.iterdir():
        target = path.with_name(file.name)
        if file != onnx and not (target == settings and target.exists()):  # they may be tuned
            file.replace(target)
    onnx.replace(path)
