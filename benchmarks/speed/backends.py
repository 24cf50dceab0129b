"""What can run a model in a benchmark: the backends of the board, and PyTorch in three ways."""

from typing import Dict, Optional

from clipedge.jetson.runners import BACKENDS, open_runner
from clipedge.jetson.runners.base import Runner

# PyTorch as the paper ran it, in the memory layout that convolutions like, and compiled.
TORCH_BACKENDS: Dict[str, str] = {
    "torch-eager": "PyTorch eager",
    "torch-channels-last": "PyTorch channels-last",
    "torch-compile": "torch.compile",
}
BENCH_BACKENDS = (*BACKENDS, *TORCH_BACKENDS)


def open_backend(
    path: str, backend: str, threads: Optional[int], precision: str, batch: int
) -> Runner:
    """Open a model file with a backend of BENCH_BACKENDS, for batches of ``batch`` clips.

    Raises:
        ClipedgeError: as of ``open_runner``.
    """
    if backend in TORCH_BACKENDS:
        from clipedge.benchmarks.speed.torch_runners import TorchRunner

        return TorchRunner(path, backend, threads, precision)
    return open_runner(path, backend, threads, precision, batch)
