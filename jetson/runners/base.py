"""The Runner contract that every backend keeps."""

import abc
import threading
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from clipedge.jetson.closing import Closing
from clipedge.jetson.errors import BackendError, ClipError, UsageError
from clipedge.jetson.spec import ClipSpec

MAX_PIXEL = 255.0

# So many values of a clip, spread evenly, are looked at. Normalised pixels, a wrong scale or a
# frame of NaN never pass. Looking at all of them costs 5 % of the smallest model's batch of eight.
SAMPLES_A_CLIP = 600


def in_pixel_range(values: np.ndarray) -> bool:
    """Return whether every value is from 0 to 255; NaN is not."""
    # A NaN makes min and max NaN and both comparisons false.
    return bool(values.min() >= 0.0 and values.max() <= MAX_PIXEL)


class TimingMs(NamedTuple):
    """Where an inference on a GPU spent its time, milliseconds; all but the last by its clock."""

    h2d: float  # copying the clips to the GPU's memory; 0 where it reads the host's
    compute: float
    d2h: float  # copying the logits back, likewise
    staging: float  # the CPU, copying the clips to memory that the GPU reaches


class Runner(Closing, abc.ABC):
    """A loaded model. A context manager; ``infer`` may be called any number of times.

    Several threads may call it; they wait for each other.

    Attributes:
        spec: the ClipSpec the model file carries.
        backend: ``onnxruntime``, ``openvino`` or ``tensorrt``.
        batch_sizes: those the file takes, ascending; None where it takes any.
        last_timing_ms: of the last inference, where the backend runs on a GPU; else None.
        parity: what the comparison with fp32 found, where the precision is another; else empty.
        auto_trial_ms: what ``auto`` measured of each backend before it chose this one; else empty.
    """

    backend = ""

    def __init__(self, spec: ClipSpec, batch_sizes: Optional[Tuple[int, ...]] = None) -> None:
        self.spec = spec
        self.batch_sizes = batch_sizes
        self.last_timing_ms: Optional[TimingMs] = None
        self.parity: Dict[str, Any] = {}
        self.auto_trial_ms: Dict[str, float] = {}
        # Odd, so that the sample does not stay in the same columns of every row.
        self._sample_stride = int(np.prod(spec.clip_shape)) // SAMPLES_A_CLIP | 1
        self._open = True
        self._lock = threading.Lock()  # backends keep buffers that two threads would overwrite

    def infer(self, clips: np.ndarray) -> np.ndarray:
        """Score a batch of clips.

        Args:
            clips: (N, 3, T, H, W) float32, RGB, 0-255, N >= 1.

        Returns:
            (N, classes) float32 logits, an array of the caller's own: no later call changes it.

        Raises:
            ClipError: shape, dtype or range is not the ClipSpec's, or the file does not take this
                batch size. Of the range a sample is looked at: a single odd pixel can pass.
            UsageError: the runner is closed.
            BackendError: the backend could not run the clips, or a logit is NaN or infinite.
        """
        logits = self.raw_logits(clips)
        if not np.isfinite(logits).all():
            raise BackendError(
                f"{self.backend} returned logits that are not finite. Arithmetic in less than fp32 "
                "may have overflowed: try --precision fp32, or look at the model's weights."
            )
        return logits

    def raw_logits(self, clips: np.ndarray) -> np.ndarray:
        """Score clips as ``infer`` does, but hand out NaN and infinity: to judge a precision."""
        checked = self._checked(clips)
        with self._lock:
            logits = self._infer(checked)
        expected = (len(clips), self.spec.num_classes)
        if logits.shape != expected:
            raise BackendError(
                f"{self.backend} returned logits of shape {logits.shape}; expected {expected}. "
                "The model does not fit its ClipSpec; export it again."
            )
        return logits.astype(np.float32, copy=False)

    @abc.abstractmethod
    def _infer(self, clips: np.ndarray) -> np.ndarray:
        """Run checked, contiguous clips; return logits in memory that no later call writes to."""

    @abc.abstractmethod
    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, threads and precision, as plain JSON types.

        ``threads`` is None where it is not the CPU that computes.
        """

    def layer_times_ms(self, clips: np.ndarray, runs: int) -> Dict[str, float]:
        """Return the median time of each layer in milliseconds, in the order they run.

        Args:
            clips: as ``infer`` takes them.
            runs: how often to run them.

        Raises:
            BackendError: this backend tells no times of layers.
        """
        raise BackendError(f"{self.backend} tells no times of layers.")

    def check_batch(self, count: int) -> None:
        """Raise ClipError where the file does not take batches of ``count`` clips."""
        if self.batch_sizes is not None and count not in self.batch_sizes:
            raise self._refusal(f"a batch of {count}", self._advice_on_batch(count))

    def _advice_on_batch(self, count: int) -> str:
        """Return what to do to run a batch size that the file does not take."""
        return ""

    def close(self) -> None:
        """Free what the backend holds; a second call does nothing."""
        self._open = False

    def _checked(self, clips: np.ndarray) -> np.ndarray:
        if not self._open:
            raise UsageError("This runner is closed; open the model file again.")
        if not isinstance(clips, np.ndarray):
            raise self._refusal(f"{type(clips).__name__}, not a numpy array")
        if clips.ndim != 5 or clips.shape[1:] != self.spec.clip_shape or clips.shape[0] < 1:
            raise self._refusal(f"shape {clips.shape}")
        self.check_batch(clips.shape[0])
        if clips.dtype != np.float32:
            raise self._refusal(f"dtype {clips.dtype}")
        clips = np.ascontiguousarray(clips)
        if not in_pixel_range(clips.reshape(-1)[:: self._sample_stride]):
            low, high = float(clips.min()), float(clips.max())
            raise self._refusal(
                f"values from {low:.4g} to {high:.4g}",
                "The model normalises inside: hand it raw pixels.",
            )
        return clips

    def _refusal(self, got: str, advice: str = "") -> ClipError:
        count = "N" if self.batch_sizes is None else _either(self.batch_sizes)
        shape = "({}, {}, {}, {}, {})".format(count, *self.spec.clip_shape)
        return ClipError(f"Clips must be {shape} float32, RGB, 0-255; got {got}. {advice}".rstrip())


def _either(sizes: Tuple[int, ...]) -> str:
    """Return ``1, 4 or 8``."""
    *most, last = [str(size) for size in sizes]
    return f"{', '.join(most)} or {last}" if most else last
