"""Is an fp16 engine good enough? Compared with fp32 on clips; layers go back to fp32 until it is.

Runs on the board: numpy alone.
"""

import json
import logging
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.export.parity import compare
from clipedge.jetson.errors import BackendError, ClipedgeError, ModelFileError, UsageError
from clipedge.jetson.gpu_facts import ComputeCapability, has_fast_fp16, has_int8, sm_name
from clipedge.jetson.spec import METADATA_KEY, RANDOM_WEIGHTS

log = logging.getLogger(__name__)

ORDER_KEY = "clipedge.fp16_order"  # in the ONNX file's metadata_props; fp16_ranking writes it
SIMULATED = "simulated_relative_error"  # in that entry

# Of the largest logit. One rounding to fp16's 11 bits is off by 2^-11 = 5e-4 at most; fifty layers
# in a row add up to 50 x 5e-4 = 2.4e-2 where all err to the same side. Simulated, ShuffleNetV1 that
# learned the synthetic gestures moves by 4e-4 to 8e-4 and MobileNetV2 that had hardly begun to by
# 7e-3: past the limit something is wrong.
RELATIVE_ERROR = 2e-2

# Random weights amplify any rounding: simulated fp16 moves the logits by 2e-3 (ResNet-18) to 6e-2
# (MobileNetV2) of a clip's largest, and by 0.2 in the hundred layers of ResNet-101 and ResNeXt-101,
# where no layer is to blame. An engine of theirs may be off by this many times what rounding alone
# does to the worst clip (its kernels may add up in fp16 too). Their answers mean nothing; all that
# can be asked is that an engine's have to do with them at all: those of another model are off by 1.
RANDOM_ROUNDINGS = 3
LARGEST_RANDOM_ERROR = 0.5

# A model whose logits move less than this from clip to clip, of the largest, answers every clip
# alike: whatever an engine gets wrong hardly shows.
LEAST_RESPONSE = 0.1

_NAMES_SHOWN = 5

Order = Sequence[Sequence[str]]
Candidate = Callable[[Tuple[str, ...]], np.ndarray]


class Fp16GateError(ClipedgeError):
    """No engine with enough fp16 layers to be worth it agrees with fp32."""


class Limits(NamedTuple):
    """What an fp16 engine may be off by, relative to the largest logit."""

    relative_error: float = RELATIVE_ERROR


DEFAULT_LIMITS = Limits()


class GateRound(NamedTuple):
    """One engine, compared.

    Attributes:
        fp32_layers: layers that were kept in fp32.
        relative_error: largest error of a logit, of the largest reference logit; NaN or infinity
            where a logit is.
        top1_agree: clips whose highest logit is the same class.
        disagreements: clips with another class on top though the reference prefers its own by more
            than the error allowed; the others are ties.
        nan_clips: clips with a NaN among their logits.
        infinite_clips: clips with an infinity among them.
        passed: none of these, and the error within the limit.
    """

    fp32_layers: Tuple[str, ...]
    relative_error: float
    top1_agree: int
    disagreements: int
    nan_clips: int
    infinite_clips: int
    passed: bool

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types; an error that is no number is None."""
        fields = dict(self._asdict(), fp32_layers=list(self.fp32_layers))
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


class GateReport(NamedTuple):
    """How an fp16 engine came through; the last of ``rounds`` is the engine's.

    Attributes:
        checked: what ran, such as "the engine" or "the fp16 ONNX file, simulated".
        clips: number of clips compared.
        limit: largest relative error that passes.
        response: how far the reference's logits move from clip to clip, of the largest.
        rounds: all that was tried, in order.
    """

    checked: str
    clips: int
    limit: float
    response: float
    rounds: Tuple[GateRound, ...]

    @property
    def fp32_layers(self) -> Tuple[str, ...]:
        """Layers that stay in fp32."""
        return self.rounds[-1].fp32_layers

    @property
    def passed(self) -> bool:
        """The last engine is within the limits."""
        return self.rounds[-1].passed

    @property
    def conclusive(self) -> bool:
        """The model tells the clips apart, so that a bad engine would have been seen."""
        return self.response >= LEAST_RESPONSE

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types."""
        last = self.rounds[-1].to_dict()
        return dict(
            last,
            checked=self.checked,
            clips=self.clips,
            limit_relative=self.limit,
            conclusive=self.conclusive,
            rounds=[one.to_dict() for one in self.rounds],
        )

    def __str__(self) -> str:
        last = self.rounds[-1]
        kept = f", {len(last.fp32_layers)} layers in fp32" if last.fp32_layers else ""
        return (
            f"{self.checked} against fp32 on {self.clips} clips: {last} (allowed "
            f"{self.limit:.1e}), top-1 agrees on {last.top1_agree} of {self.clips}{kept}"
        )


def run_gate(
    reference: np.ndarray,
    candidate: Candidate,
    order: Order,
    limits: Limits = DEFAULT_LIMITS,
    checked: str = "the fp16 engine",
    progress: Callable[[str], None] = log.info,
) -> GateReport:
    """Compare an fp16 engine with fp32, and put layers back to fp32 until it passes.

    The first try has none in fp32; then come the first 1, 2, 4, 8 ... entries of ``order``, as
    every try is an engine build, and at most half of them: with more, fp16 gains too little to be
    worth its error.

    Args:
        reference: (clips, classes) float32, the logits in fp32.
        candidate: makes the engine with these layers in fp32 and returns its logits for the same
            clips.
        order: layers to put back together, most harmful first, as ``read_fp16_order`` returns it.
        limits: as ``limits_for`` returns them.
        checked: what the candidate runs, for the report.
        progress: told of each try that failed.

    Returns:
        The report; the engine to keep is the one of the candidate's last call.

    Raises:
        Fp16GateError: all tries failed; the message names the layers to blame.
        ClipedgeError: the reference itself is not finite.
    """
    if not np.isfinite(reference).all():
        raise ClipedgeError(
            "The fp32 logits hold NaN or infinity, so nothing can be compared with them. The "
            "weights are damaged; export another checkpoint."
        )
    rounds: List[GateRound] = []
    for count in _counts(len(order)):
        layers = tuple(name for group in order[:count] for name in group)
        try:
            logits = candidate(layers)
        except BackendError as error:
            if not layers:
                raise
            # TensorRT need not have a kernel in fp32 for every layer that is put back.
            progress(f"fp16 with {len(layers)} layers in fp32 cannot be built: {error}")
            continue
        rounds.append(_try(reference, logits, layers, limits))
        if rounds[-1].passed:
            break
        progress(f"fp16 with {len(layers)} layers in fp32 is not good enough: {rounds[-1]}")
    report = GateReport(
        checked, len(reference), limits.relative_error, _response(reference), tuple(rounds)
    )
    if not report.passed:
        raise Fp16GateError(_blame(report, order))
    if not report.conclusive:
        log.warning(
            "The model answers every check clip nearly alike, so comparing fp16 with fp32 proves "
            "little. Was this model trained?"
        )
    return report


def read_fp16_order(metadata: Dict[str, str]) -> List[Tuple[str, ...]]:
    """Return the layers to put back, most harmful first, from an ONNX file's metadata.

    Each entry holds the layers that must go back together. Empty where the file has no order.

    Raises:
        ModelFileError: the entry is damaged.
    """
    return [tuple(map(str, one["layers"])) for one in _read(metadata, ORDER_KEY).get("order", [])]


def limits_for(metadata: Dict[str, str]) -> Limits:
    """Return what may be asked of an fp16 engine of this model, from an ONNX file's metadata.

    Raises:
        ModelFileError: the entry is damaged.
    """
    simulated = float(_read(metadata, ORDER_KEY).get(SIMULATED) or 0.0)
    if _read(metadata, METADATA_KEY).get("dataset") != RANDOM_WEIGHTS:
        return DEFAULT_LIMITS
    return Limits(min(max(RELATIVE_ERROR, RANDOM_ROUNDINGS * simulated), LARGEST_RANDOM_ERROR))


def refuse_int8(capability: ComputeCapability) -> None:
    """Raise UsageError where this GPU, such as (6, 2), has no int8."""
    if not has_int8(capability):
        raise UsageError(
            f"int8: a GPU of {sm_name(capability)} has no int8 arithmetic, and TensorRT refuses "
            "it. Use --precision fp16 or fp32."
        )


def slow_fp16_warning(capability: ComputeCapability) -> Optional[str]:
    """Return why fp16 does not pay on this GPU, such as (6, 1), or None where it does."""
    if has_fast_fp16(capability):
        return None
    return (
        f"fp16 on {sm_name(capability)}: this GPU computes in fp16 far slower than in fp32 (on "
        "sm_61 at 1/64 of the rate), so the engine will hardly be faster, if at all. "
        "--precision fp32 is right here."
    )


def _counts(groups: int) -> List[int]:
    half = (groups + 1) // 2
    counts = [0]
    while counts[-1] < half:
        counts.append(min(2 * counts[-1] or 1, half))
    return counts


def _try(
    reference: np.ndarray, logits: np.ndarray, layers: Tuple[str, ...], limits: Limits
) -> GateRound:
    if logits.shape != reference.shape:
        raise ClipedgeError(
            f"The fp16 engine gives logits of shape {logits.shape} and fp32 {reference.shape}; "
            "they are not of one model."
        )
    compared = compare(len(reference), reference, logits)
    nan = np.isnan(logits).any(axis=1)
    infinite = np.isinf(logits).any(axis=1)
    disagreements = 0
    if compared.finite:
        rows = np.arange(len(reference))
        preferred = reference.max(axis=1) - reference[rows, logits.argmax(axis=1)]
        disagreements = int((preferred > limits.relative_error * np.abs(reference).max()).sum())
    passed = (
        compared.finite and disagreements == 0 and compared.relative_error <= limits.relative_error
    )
    return GateRound(
        layers,
        compared.relative_error,
        compared.top1_agree,
        disagreements,
        int(nan.sum()),
        int(infinite.sum()),
        passed,
    )


def _response(logits: np.ndarray) -> float:
    """How far the logits of a class move between clips at most, of the largest logit."""
    return float(np.ptp(logits, axis=0).max()) / (float(np.abs(logits).max()) or 1.0)


def _blame(report: GateReport, order: Order) -> str:
    message = f"{report}: not good enough"
    if not order:
        return (
            message + ", and the ONNX file does not say which layers to put back to fp32. Export "
            "it again, or use --precision fp32."
        )
    kept = report.fp32_layers
    more = f" and {len(kept) - _NAMES_SHOWN} more" if len(kept) > _NAMES_SHOWN else ""
    return (
        f"{message}, though half of all layers are in fp32. To blame most: "
        f"{', '.join(kept[:_NAMES_SHOWN])}{more}. Use --precision fp32."
    )


def _read(metadata: Dict[str, str], key: str) -> Dict[str, Any]:
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
