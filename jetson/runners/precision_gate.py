"""Is arithmetic in fewer bits good enough? Compared with fp32 on clips, and refused where not."""

import contextlib
import json
import logging
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np

from clipedge.jetson.errors import BackendError, ClipedgeError, ModelFileError
from clipedge.jetson.files import PathLike
from clipedge.jetson.logits import check_clips, compare, response
from clipedge.jetson.onnx_metadata import read_onnx_metadata
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import METADATA_KEY, RANDOM_WEIGHTS

_log = logging.getLogger(__name__)

ORDER_KEY = "clipedge.fp16_order"  # in the ONNX file's metadata_props; fp16_ranking writes it
SIMULATED = "simulated_relative_error"  # in that entry

# Of the largest logit. One rounding to fp16's 11 bits is off by 2^-11 = 5e-4 at most; fifty layers
# in a row add up to 50 x 5e-4 = 2.4e-2 where all err to the same side. Simulated, ShuffleNetV1 that
# learned the synthetic gestures moves by 4e-4 to 8e-4 and MobileNetV2 that had hardly begun to by
# 7e-3: past the limit something is wrong.
RELATIVE_ERROR = 2e-2

# bf16 keeps 8 bits, so each rounding, and with it every limit, is 2^3 times fp16's. With OpenVINO
# on an AMD EPYC with AVX512_BF16, two ShuffleNetV1 0.5x that learned the synthetic gestures move by
# 4.3e-3 and 3.6e-3 (8 times what fp16 was simulated to do: 4.6e-3 and 9.9e-3), and Table 8's models
# with random weights by 9e-3 (ResNet-18) to 0.16 (MobileNetV2 0.45x) and 0.24 (ResNet-101), which
# is 0.05 to 0.5 of their limits.
FP16 = "fp16"
ROUNDING_OF_FP16 = {FP16: 1, "bf16": 2**3}

# Random weights amplify any rounding: simulated fp16 moves the logits by 2e-3 (ResNet-18) to 6e-2
# (MobileNetV2) of a clip's largest, and by 0.2 in the hundred layers of ResNet-101 and ResNeXt-101,
# where no layer is to blame. A model of theirs may be off by this many times what rounding alone
# does to the worst clip (kernels may add up in fewer bits too). Their answers mean nothing; all
# that can be asked is that they have to do with fp32's at all: those of another model are off by 1.
RANDOM_ROUNDINGS = 3
LARGEST_RANDOM_ERROR = 0.5

# A model whose logits move less than this from clip to clip, of the largest, answers every clip
# alike: whatever is wrong hardly shows.
LEAST_RESPONSE = 0.1

# For opening a file: one clip of each kind that check_clips makes.
CLIPS, SEED = 3, 1887


class Limits(NamedTuple):
    """What fewer bits may be off by, relative to the largest logit."""

    relative_error: float = RELATIVE_ERROR


class Judgement(NamedTuple):
    """What a comparison with fp32 found.

    Attributes:
        relative_error: largest error of a logit, of the largest reference logit; NaN or infinity
            where a logit is.
        top1_agree: clips whose highest logit is the same class.
        disagreements: clips with another class on top though the reference prefers its own by more
            than the error allowed; the others are ties.
        nan_clips: clips with a NaN among their logits.
        infinite_clips: clips with an infinity among them.
        passed: none of these, and the error within the limit.
    """

    relative_error: float
    top1_agree: int
    disagreements: int
    nan_clips: int
    infinite_clips: int
    passed: bool

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types; an error that is no number is None."""
        fields = dict(self._asdict())
        if not np.isfinite(self.relative_error):
            fields["relative_error"] = None
        return fields

    def __str__(self) -> str:
        if self.nan_clips or self.infinite_clips:
            return f"NaN in {self.nan_clips} clips, infinity in {self.infinite_clips}"
        return (
            f"largest error {self.relative_error:.1e} of the largest logit, another class on top "
            f"in {self.disagreements} clips"
        )


DEFAULT_LIMITS = Limits()


def require_finite(reference: np.ndarray) -> None:
    """Raise ClipedgeError where logits in fp32 are no numbers to compare with."""
    if not np.isfinite(reference).all():
        raise ClipedgeError(
            "The fp32 logits hold NaN or infinity, so nothing can be compared with them. The "
            "weights are damaged; export another checkpoint."
        )


def judge(
    reference: np.ndarray, logits: np.ndarray, limits: Limits, checked: str = "The fp16 engine"
) -> Judgement:
    """Compare logits (clips, classes) with those in fp32.

    Raises:
        ClipedgeError: the shapes differ.
    """
    if logits.shape != reference.shape:
        raise ClipedgeError(
            f"{checked} gives logits of shape {logits.shape} and fp32 {reference.shape}; "
            "they are not of one model."
        )
    compared = compare(len(reference), reference, logits)
    disagreements = 0
    if compared.finite:
        rows = np.arange(len(reference))
        preferred = reference.max(axis=1) - reference[rows, logits.argmax(axis=1)]
        disagreements = int((preferred > limits.relative_error * np.abs(reference).max()).sum())
    within = compared.finite and compared.relative_error <= limits.relative_error
    return Judgement(
        compared.relative_error,
        compared.top1_agree,
        disagreements,
        int(np.isnan(logits).any(axis=1).sum()),
        int(np.isinf(logits).any(axis=1).sum()),
        within and disagreements == 0,
    )


def limits_for(metadata: Dict[str, str], precision: str = FP16) -> Limits:
    """Return what may be asked of a model in ``fp16`` or ``bf16``, from an ONNX file's metadata.

    Raises:
        ModelFileError: the entry is damaged.
    """
    coarser = ROUNDING_OF_FP16[precision]
    simulated = coarser * float(read_entry(metadata, ORDER_KEY).get(SIMULATED) or 0.0)
    limit = coarser * RELATIVE_ERROR
    if read_entry(metadata, METADATA_KEY).get("dataset") != RANDOM_WEIGHTS:
        return Limits(limit)
    return Limits(min(max(limit, RANDOM_ROUNDINGS * simulated), LARGEST_RANDOM_ERROR))


def read_entry(metadata: Dict[str, str], key: str) -> Dict[str, Any]:
    """Return an entry of an ONNX file's metadata; empty where there is none.

    Raises:
        ModelFileError: it is damaged.
    """
    try:
        content = json.loads(metadata.get(key, "{}"))
        for group in content.get("order", []):
            group["layers"][0]
        float(content.get(SIMULATED) or 0.0)
    except (ValueError, AttributeError, TypeError, LookupError):
        raise ModelFileError(
            f"The ONNX file's metadata entry {key} is damaged. Export the model again."
        ) from None
    return dict(content)


def open_compared(opener: Callable[[str], Runner], path: PathLike, precision: str) -> Runner:
    """Open an ONNX file in ``fp16`` or ``bf16`` once its logits are near enough to fp32's.

    It costs a second opening and six inferences, of one clip each. The two are never open at once:
    the memory of both would stand in a benchmark as that of one.

    Args:
        opener: opens the file in the precision it is given.
        path: the file.
        precision: what is asked for.

    Returns:
        The runner; its ``parity`` says what the comparison found.

    Raises:
        BackendError: the logits are too far from fp32's.
        ClipedgeError: as of ``opener``.
    """
    limits = limits_for(read_onnx_metadata(path), precision)
    with opener("fp32") as exact:
        clips = check_clips(exact.spec, CLIPS, SEED)
        reference = _logits(exact, clips)
    require_finite(reference)
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(opener(precision))
        checked = f"{path} in {precision} with {runner.backend}"
        judged = judge(reference, _logits(runner, clips), limits, checked)
        if not judged.passed:
            raise BackendError(
                f"{checked} is too far from fp32, on {CLIPS} clips: {judged}; allowed is "
                f"{limits.relative_error:.1e}. Use --precision fp32."
            )
        stack.pop_all()
    conclusive = response(reference) >= LEAST_RESPONSE
    if not conclusive:
        _log.warning(
            "The model answers every check clip nearly alike, so comparing %s with fp32 proves "
            "little. Was this model trained?",
            precision,
        )
    runner.parity = dict(
        judged.to_dict(),
        reference=f"{runner.backend} fp32",
        clips=CLIPS,
        limit_relative=limits.relative_error,
        conclusive=conclusive,
    )
    return runner


def _logits(runner: Runner, clips: np.ndarray) -> np.ndarray:
    """Return the logits of each clip alone; where the file takes no single one, many times."""
    count = 1 if runner.batch_sizes is None else runner.batch_sizes[0]
    rows: List[np.ndarray] = []
    for index in range(len(clips)):
        rows.append(runner.raw_logits(np.repeat(clips[index : index + 1], count, axis=0))[:1])
    logits: np.ndarray = np.concatenate(rows)
    return logits
