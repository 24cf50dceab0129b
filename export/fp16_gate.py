"""Is an fp16 engine good enough? Compared with fp32 on clips; layers go back to fp32 until it is.

Runs on the board: numpy alone.
"""

import logging
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.jetson.errors import BackendError, ClipedgeError, UsageError
from clipedge.jetson.gpu_facts import ComputeCapability, has_fast_fp16, has_int8, sm_name
from clipedge.jetson.logits import response
from clipedge.jetson.runners.precision_gate import (
    DEFAULT_LIMITS,
    LEAST_RESPONSE,
    ORDER_KEY,
    Judgement,
    Limits,
    judge,
    read_entry,
    require_finite,
)

log = logging.getLogger(__name__)

_NAMES_SHOWN = 5

Order = Sequence[Sequence[str]]
Candidate = Callable[[Tuple[str, ...]], np.ndarray]


class Fp16GateError(ClipedgeError):
    """No engine with enough fp16 layers to be worth it agrees with fp32."""


class GateRound(NamedTuple):
    """One engine, compared.

    Attributes:
        fp32_layers: layers that were kept in fp32.
        judged: what the comparison found.
    """

    fp32_layers: Tuple[str, ...]
    judged: Judgement

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types; an error that is no number is None."""
        return dict(fp32_layers=list(self.fp32_layers), **self.judged.to_dict())


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
        return self.rounds[-1].judged.passed

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
            f"{self.checked} against fp32 on {self.clips} clips: {last.judged} (allowed "
            f"{self.limit:.1e}), top-1 agrees on {last.judged.top1_agree} of {self.clips}{kept}"
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
    require_finite(reference)
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
        judged = judge(reference, logits, limits)
        rounds.append(GateRound(layers, judged))
        if judged.passed:
            break
        progress(f"fp16 with {len(layers)} layers in fp32 is not good enough: {judged}")
    report = GateReport(
        checked, len(reference), limits.relative_error, response(reference), tuple(rounds)
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
    return [
        tuple(map(str, one["layers"])) for one in read_entry(metadata, ORDER_KEY).get("order", [])
    ]


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
