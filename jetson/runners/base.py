"""The Runner contract that every backend keeps."""

import abc
from types import TracebackType
from typing import Any, Dict, Optional, Type

import numpy as np

from clipedge.jetson.errors import ClipError
from clipedge.jetson.spec import ClipSpec


class Runner(abc.ABC):
    """A loaded model. A context manager; ``infer`` may be called any number of times.

    Attributes:
        spec: the ClipSpec the model file carries.
        backend: ``onnxruntime``, ``openvino`` or ``tensorrt``.
    """

    backend = ""

    def __init__(self, spec: ClipSpec) -> None:
        self.spec = spec
        self._open = True

    def infer(self, clips: np.ndarray) -> np.ndarray:
        """Score a batch of clips.

        Args:
            clips: (N, 3, T, H, W) float32, RGB, 0-255, N >= 1.

        Returns:
            (N, classes) float32 logits, an array of the caller's own.

        Raises:
            ClipError: shape, dtype or range is not the ClipSpec's.
        """
        self._check(clips)
        return self._infer(np.ascontiguousarray(clips))

    @abc.abstractmethod
    def _infer(self, clips: np.ndarray) -> np.ndarray:
        """Run checked, contiguous clips."""

    @abc.abstractmethod
    def describe(self) -> Dict[str, Any]:
        """Return backend, its version, device, threads and precision, as plain JSON types."""

    def close(self) -> None:
        """Free what the backend holds; a second call does nothing."""
        self._open = False

    def _check(self, clips: np.ndarray) -> None:
        expected = "(N, {}, {}, {}, {}) float32, RGB, 0-255".format(*self.spec.clip_shape)
        if not self._open:
            raise ClipError("This runner is closed; open the model file again.")
        if clips.ndim != 5 or clips.shape[1:] != self.spec.clip_shape or clips.shape[0] < 1:
            raise ClipError(f"Clips must be {expected}; got shape {clips.shape}.")
        if clips.dtype != np.float32:
            raise ClipError(f"Clips must be {expected}; got dtype {clips.dtype}.")
        low, high = float(clips.min()), float(clips.max())
        if not (low >= 0.0 and high <= 255.0):
            raise ClipError(
                f"Clips must be {expected}; got values from {low:.4g} to {high:.4g}. "
                "The model normalises inside: hand it raw pixels."
            )

    def __enter__(self) -> "Runner":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
