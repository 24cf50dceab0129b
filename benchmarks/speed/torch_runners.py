"""PyTorch as a backend to compare with: the paper's way, and PyTorch's own faster ones."""

import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.board import physical_cores
from clipedge.jetson.errors import BackendError, ClipedgeError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.model_file import read_model_spec, reason_of
from clipedge.jetson.runners.opening import DEFAULT_PRECISION
from clipedge.jetson.spec import ClipSpec

if TYPE_CHECKING:
    import torch

RANDOM = "random"


class _Way(NamedTuple):
    channels_last: bool
    compiled: bool


_WAYS: Dict[str, _Way] = {
    "torch-eager": _Way(channels_last=False, compiled=False),
    "torch-channels-last": _Way(channels_last=True, compiled=False),
    "torch-compile": _Way(channels_last=True, compiled=True),
}

# `freezing` lets inductor fold batch norms and lay out weights ahead: on MobileNetV2 with channels
# last 13.9 clips/s against 9.6 without it, 3.3 with freezing alone and 2.6 eager, in turns on two
# busy cores. `dynamic` stays off: with sizes left open inductor of torch 2.13 fails on ShuffleNets.
COMPILE_OPTIONS: Dict[str, bool] = {"freezing": True}


class TorchRunner(Runner):
    """Runs the network that an ONNX file was exported from on the CPU, in fp32.

    The weights are those of the checkpoint beside the file, ``NAME.pt``, where it is of the same
    ClipSpec; else random ones, those of ``export-engine --model``. What a network computes takes
    the same time whatever its weights are. Like the file, it takes raw pixels.
    """

    def __init__(
        self,
        path: PathLike,
        backend: str,
        threads: Optional[int],
        precision: str,
        batch: Optional[int] = None,
    ) -> None:
        """Build the network.

        Args:
            path: the ONNX file; only its ClipSpec is read.
            backend: ``torch-eager`` (eval mode, inference mode, contiguous: the paper's way),
                ``torch-channels-last`` (weights and clips in channels_last_3d) or ``torch-compile``
                (that, compiled by inductor for each batch size, which takes a minute).
            threads: of the CPU, for all of this process; None: its physical cores.
            precision: ``fp32``.
            batch: the size to compile for at once; None: when it is first run.

        Raises:
            BackendError: torch is not installed, the precision is another, or torch-compile finds
                no C++ compiler or cannot compile.
            ClipedgeError: the file is none, or its architecture is not one of this project.
        """
        super().__init__(read_model_spec(path))
        self.backend = backend
        if precision != DEFAULT_PRECISION:
            raise BackendError(
                f"{backend} runs models in {DEFAULT_PRECISION}; for {precision} choose another "
                "backend."
            )
        torch = _torch()
        self._way = _WAYS[backend]
        if self._way.compiled:
            _require_compiler()
        self._threads = physical_cores() if threads is None else threads
        torch.set_num_threads(self._threads)
        self._layout = (
            torch.channels_last_3d if self._way.channels_last else torch.contiguous_format
        )
        network, self._weights = _network(pathlib.Path(path), self.spec)
        # The overloads of Module.to leave a layout without a device out.
        network = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self._module: Any = network
        if self._way.compiled:
            self._module = torch.compile(network, dynamic=False, options=dict(COMPILE_OPTIONS))
            if batch is not None:
                self.infer(np.zeros((batch, *self.spec.clip_shape), np.float32))

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        import torch

        try:
            with torch.inference_mode():
                pixels = torch.from_numpy(clips).contiguous(memory_format=self._layout)
                logits: np.ndarray = self._module(pixels).numpy()
        # The compiler's exceptions share no base but this one.
        except Exception as error:
            message = f"{self.backend} could not run a batch of {len(clips)}: {reason_of(error)}."
            raise BackendError(message) from None
        return logits

    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, threads and precision, and how PyTorch was set.

        ``layout`` is that of weights and clips, ``compile`` the options of torch.compile (None
        where it is not used), ``weights`` the checkpoint's file name or ``random``.
        """
        import torch

        compiled = dict(COMPILE_OPTIONS, dynamic=False) if self._way.compiled else None
        return {
            "backend": self.backend,
            "version": torch.__version__,
            "device": "CPU",
            "threads": self._threads,
            "precision": DEFAULT_PRECISION,
            "layout": "channels_last_3d" if self._way.channels_last else "contiguous",
            "compile": compiled,
            "weights": self._weights,
        }

    def close(self) -> None:
        """Free the network."""
        super().close()
        self._module = None


def _torch() -> Any:
    try:
        import torch
    except (ImportError, OSError) as error:
        raise BackendError(
            f"PyTorch cannot be used here ({reason_of(error)}). Install it with pip install torch "
            "on a workstation with Python 3.10 or newer, or choose another backend."
        ) from None
    return torch


def why_not_compiled() -> Optional[str]:
    """Return why torch.compile cannot work here, None where nothing is known against it."""
    compiler = os.environ.get("CXX") or "g++"  # as inductor looks for it
    if shutil.which(compiler) is None:
        return f"torch-compile needs a C++ compiler, and there is no {compiler} here"
    return None


def _require_compiler() -> None:
    reason = why_not_compiled()
    if reason is not None:
        raise BackendError(
            f"{reason}. Install one (apt-get install g++), name it in the variable CXX, or choose "
            "torch-channels-last."
        )


def _network(path: pathlib.Path, spec: ClipSpec) -> Tuple["torch.nn.Module", str]:
    """Return the module that takes raw pixels, in eval mode, and where its weights are from."""
    from clipedge.export.checkpoint_source import from_checkpoint, with_random_weights
    from clipedge.export.onnx_graph import with_raw_pixels

    beside = path.with_suffix(".pt")
    if beside.is_file():
        source = from_checkpoint(str(beside))
        if source.spec == spec:
            return with_raw_pixels(source.model, spec), beside.name
    try:
        model = with_random_weights(spec.model, spec.width, spec.num_classes).model
    except ClipedgeError as error:
        raise BackendError(f"PyTorch cannot build the network of {path}: {error}") from None
    return with_raw_pixels(model, spec), RANDOM
