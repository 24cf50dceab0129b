"""Does the exported file compute what the trained model computes? Checked on clips it never saw."""

import copy
import logging
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from clipedge.jetson.board import require_memory
from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.logits import Comparison, check_clips, compare, response
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.spec import ClipSpec

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# Of the largest logit. Sums in another order differ by about 1e-6, a wrong graph by about 1e-2.
TOLERANCE = 1e-4

# A hundred layers amplify rounding: PyTorch in fp32 is up to 1e-4 away from itself in fp64 on
# ResNeXt-101 with random weights. A right file may be off by this many times that, no more.
ROUNDINGS = 10
LARGEST_TOLERANCE = 1e-3

# A model that answers every clip alike would pass with any file. Its logits must move from clip to
# clip by at least this many tolerances, or the check is called inconclusive.
LEAST_RESPONSE = 10
LEAST_CLIPS = 3  # of each kind of check clip one

Infer = Callable[[np.ndarray], np.ndarray]


class ParityError(ClipedgeError):
    """The exported file computes something else than the model."""


class ParityReport(NamedTuple):
    """All batches of one file, compared with a reference.

    ``rounding`` is how far the reference in fp32 is from itself in fp64, and ``response`` how far
    its logits move from clip to clip; both of the largest logit.
    """

    reference: str
    candidate: str
    rounding: float
    response: float
    comparisons: List[Comparison]

    @property
    def answers(self) -> int:
        """Number of answers compared: a clip counts once for every batch size it ran in."""
        return sum(one.answers for one in self.comparisons)

    @property
    def max_abs_error(self) -> float:
        """Largest difference of a logit over all batches."""
        return max(one.max_abs_error for one in self.comparisons)

    @property
    def relative_error(self) -> float:
        """Largest relative error over all batches."""
        return max(one.relative_error for one in self.comparisons)

    @property
    def top1_agree(self) -> int:
        """Answers whose highest logit is the same class."""
        return sum(one.top1_agree for one in self.comparisons)

    @property
    def tolerance(self) -> float:
        """Largest relative error that still passes."""
        return min(max(TOLERANCE, ROUNDINGS * self.rounding), LARGEST_TOLERANCE)

    @property
    def passed(self) -> bool:
        """Every logit is finite and within the tolerance."""
        return all(one.finite and one.relative_error <= self.tolerance for one in self.comparisons)

    @property
    def conclusive(self) -> bool:
        """The model tells the clips apart, so that a wrong file would have been seen."""
        return self.response >= LEAST_RESPONSE * self.tolerance

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types."""
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "tolerance_relative": self.tolerance,
            "reference_rounding_relative": self.rounding,
            "passed": self.passed,
            "conclusive": self.conclusive,
            "answers": self.answers,
            "max_abs_error": self.max_abs_error,
            "relative_error": self.relative_error,
            "top1_agree": self.top1_agree,
            "batches": [dict(one._asdict()) for one in self.comparisons],
        }

    def __str__(self) -> str:
        batches = " and ".join(str(one.batch) for one in self.comparisons)
        return (
            f"{self.candidate} against {self.reference} in batches of {batches}: largest error "
            f"{self.max_abs_error:.2g} ({self.relative_error:.1e} of the largest logit), "
            f"top-1 agrees on {self.top1_agree} of {self.answers}"
        )


def check_parity(
    model: "torch.nn.Module", onnx_bytes: bytes, spec: ClipSpec, batches: Sequence[int] = (1, 8)
) -> ParityReport:
    """Compare an ONNX file, run by ONNX Runtime, with the PyTorch model it came from.

    The reference runs in fp64, so that the difference seen is the file's and not the reference's
    own rounding. It normalises as training does, outside the graph, so that folding colour order,
    mean and std into the graph is checked too, and clip by clip, so that mixing up a batch is.

    Args:
        model: takes normalised clips; in eval mode; it is not changed.
        onnx_bytes: the file's content.
        spec: what both are said to be.
        batches: batch sizes to run.

    Raises:
        ParityError: a logit is off by more than the tolerance or not finite; the file is wrong.
    """
    single = _torch_infer(model, spec)
    double = _torch_infer(copy.deepcopy(model).double(), spec)
    candidate = onnxruntime_infer(onnx_bytes)
    count = max(*batches, LEAST_CLIPS)
    # Clips, normalised clips, and what the first layers make of a batch.
    clip_mb = np.prod(spec.clip_shape, dtype=float) * 4 / 2**20
    require_memory(6 * count * clip_mb, f"Checking a batch of {count} clips")
    clips = check_clips(spec, count, seed=2019)
    with ProgressLine("checking it against PyTorch", unit="clips") as progress:
        exact = _in_batches(double, clips, 1, progress)
    # A few clips tell the rounding, and a small batch; all of them would only cost time.
    rounding = compare(1, exact[:1], single(clips[:1])).relative_error
    comparisons = []
    for batch in batches:
        some = clips[: max(batch, LEAST_CLIPS)]
        comparisons.append(compare(batch, exact[: len(some)], _in_batches(candidate, some, batch)))
    report = ParityReport("PyTorch", "ONNX Runtime", rounding, response(exact), comparisons)
    if not report.passed:
        raise ParityError(
            f"{spec.file_stem}: the exported graph is wrong, so no file was written: {report}; "
            f"allowed is {report.tolerance:.0e}. Please report it with the model's name."
        )
    if not report.conclusive:
        log.warning(
            "%s answers every check clip nearly alike, so the parity check proves little. "
            "Was this model trained?",
            spec.file_stem,
        )
    return report


def _torch_infer(model: "torch.nn.Module", spec: ClipSpec) -> Infer:
    import torch

    from clipedge.trainside.normalisation import normalise

    dtype = next(model.parameters()).dtype

    def infer(clips: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(clips).to(dtype), spec)
            logits: np.ndarray = model(pixels).numpy()
        return logits

    return infer


def _in_batches(
    infer: Infer, clips: np.ndarray, batch: int, progress: Optional[ProgressLine] = None
) -> np.ndarray:
    logits = []
    for start in range(0, len(clips), batch):
        logits.append(infer(clips[start : start + batch]))
        if progress is not None:
            progress(start + batch, len(clips))
    return np.concatenate(logits)


def onnxruntime_infer(onnx_bytes: bytes) -> Infer:
    """Return a function from clips to logits that runs an ONNX file on the CPU.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def infer(clips: np.ndarray) -> np.ndarray:
        logits: np.ndarray = session.run(None, {name: clips})[0]
        return logits

    return infer
