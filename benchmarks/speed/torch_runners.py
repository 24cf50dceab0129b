"""PyTorch as a backend to compare with: the paper's way, and PyTorch's own faster ones."""

from typing import Any, Dict, Optional

import numpy as np

from clipedge.jetson.board import physical_cores
from clipedge.jetson.errors import BackendError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.model_file import read_model_spec


class TorchRunner(Runner):
    """Runs the network that an ONNX file was exported from, with random weights, on the CPU.

    What a network computes takes the same time whatever its weights are.
    """

    def __init__(
        self, path: PathLike, backend: str, threads: Optional[int], precision: str
    ) -> None:
        super().__init__(read_model_spec(path))
        raise BackendError(f"{backend} is not here yet.")

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, threads and precision."""
        return {"threads": physical_cores()}
