"""Does an engine answer like the fp32 network it was built from? On clips nothing was tuned on."""

import logging
import pathlib
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.export.fp16_gate import read_fp16_order, run_gate
from clipedge.export.parity import (
    LARGEST_TOLERANCE,
    Infer,
    ParityError,
    onnxruntime_infer,
)
from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.logits import Comparison, check_clips, compare
from clipedge.jetson.onnx_metadata import read_onnx_metadata
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners import Runner
from clipedge.jetson.runners.model_file import reason_of
from clipedge.jetson.runners.precision_gate import limits_for
from clipedge.jetson.spec import ClipSpec

# Four of each kind of check clip, with another seed than the export's check; one of each where a
# clip is much larger than the paper's: I3D's 64 frames of 224 x 224 take minutes each.
CLIPS, CLIPS_WHERE_LARGE, SEED = 12, 3, 112
LARGE_CLIP = 4 * 3 * 16 * 112 * 112  # values

REFERENCE = "the fp32 ONNX file in ONNX Runtime"
# What ran, by whether the engine could and by precision. Without its GPU an engine cannot.
CANDIDATES = {
    (True, "fp32"): "this engine",
    (True, "fp16"): "this engine",
    (False, "fp32"): "not the engine but its graph form, in ONNX Runtime",
    (False, "fp16"): "not the engine but its graph in fp16, simulated on a CPU",
}

Logits = Callable[[Tuple[str, ...]], np.ndarray]  # of an engine with these layers in fp32

_log = logging.getLogger(__name__)


class Check(NamedTuple):
    """How an engine compares with fp32, and what ran to find out."""

    reference: str
    candidate: str
    fp32_layers: Tuple[str, ...]
    report: Dict[str, Any]

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types."""
        return dict(self.report, reference=self.reference, candidate=self.candidate)


class EngineCheck:
    """Compares the engines of one ONNX file with that file in ONNX Runtime on the CPU.

    Args:
        onnx_path: the network as it was trained, fp32.
        spec: of the file.
        batches: the engines' batch sizes; each is compared.
    """

    def __init__(self, onnx_path: pathlib.Path, spec: ClipSpec, batches: Sequence[int]) -> None:
        self._onnx_path = onnx_path
        self._batches = tuple(batches)
        large = np.prod(spec.clip_shape) > LARGE_CLIP
        self._clips = check_clips(spec, CLIPS_WHERE_LARGE if large else CLIPS, SEED)
        self._reference: Optional[np.ndarray] = None

    def prepare(self) -> None:
        """Compute what the engines are compared with: a failure shows before a long build.

        Raises:
            BackendError: ONNX Runtime is not installed.
            ModelFileError: ONNX Runtime cannot open the file.
        """
        self._reference_logits()

    def run(self, logits: Logits, precision: str, on_gpu: bool) -> Check:
        """Compare an engine, and where it is fp16 put layers back to fp32 until it agrees.

        Args:
            logits: builds the engine with some layers in fp32 where that was not done yet, and
                returns what it answers, as ``logits_of`` or ``logits_of_onnx`` do.
            precision: ``fp32`` or ``fp16``.
            on_gpu: whether ``logits`` runs the engine itself, rather than its ONNX file.

        Raises:
            ParityError: an fp32 engine disagrees.
            Fp16GateError: an fp16 engine disagrees whatever is put back.
            BackendError: ONNX Runtime is not installed.
        """
        times = len(self._batches) if on_gpu else 1
        reference = np.concatenate([self._reference_logits()] * times)
        candidate = CANDIDATES[on_gpu, precision]
        if precision == "fp32":
            comparison = compare(max(self._batches), reference, logits(()))
            return Check(REFERENCE, candidate, (), self._fp32_report(comparison))
        metadata = read_onnx_metadata(self._onnx_path)
        report = run_gate(
            reference, logits, read_fp16_order(metadata), limits_for(metadata), candidate
        )
        return Check(REFERENCE, candidate, tuple(report.fp32_layers), report.to_dict())

    def logits_of(self, runner: Runner) -> np.ndarray:
        """Return an engine's logits of the check clips, all of them for each batch size."""
        return np.concatenate([self._in_batches(runner, batch) for batch in self._batches])

    def logits_of_onnx(self, onnx: bytes, precision: str) -> np.ndarray:
        """Return an ONNX file's logits of the check clips, from the CPU."""
        infer = onnxruntime_infer(onnx)
        if precision == "fp16":
            from clipedge.export.fp16_simulation import simulated_logits

            infer = simulated_logits(onnx)
        return self._one_by_one(infer, "computing what fp16 answers")

    def _in_batches(self, runner: Runner, batch: int) -> np.ndarray:
        """Run the clips in batches; the last one is filled up with clips from the start."""
        count = len(self._clips)
        places = np.arange(-(-count // batch) * batch) % count
        parts = [
            runner.raw_logits(self._clips[places[start : start + batch]])
            for start in range(0, len(places), batch)
        ]
        logits: np.ndarray = np.concatenate(parts)[:count]
        return logits

    def _reference_logits(self) -> np.ndarray:
        if self._reference is None:
            try:
                infer = onnxruntime_infer(self._onnx_path.read_bytes())
            except ImportError:
                raise BackendError(
                    "Engines are compared with ONNX Runtime before they are written, and it is "
                    "not installed here: pip install onnxruntime (onnxruntime==1.10.0 for "
                    "Python 3.6)"
                ) from None
            # Its exceptions differ from release to release and share no base but this one.
            except Exception as error:
                raise ModelFileError(
                    f"ONNX Runtime cannot open {self._onnx_path}, so nothing can be compared with "
                    f"it: {reason_of(error)}. Export it again, for a board with --opset 13."
                ) from None
            self._reference = self._one_by_one(infer, "computing what fp32 answers")
        return self._reference

    def _one_by_one(self, infer: Infer, title: str) -> np.ndarray:
        rows = []
        with ProgressLine(title, unit="clips") as progress:
            for index in range(len(self._clips)):
                rows.append(infer(self._clips[index : index + 1]))
                progress(index + 1, len(self._clips))
        return np.concatenate(rows)

    def _fp32_report(self, comparison: Comparison) -> Dict[str, Any]:
        if not comparison.finite or comparison.relative_error > LARGEST_TOLERANCE:
            raise ParityError(
                f"The fp32 engine is wrong, so it was not written: its answers differ by "
                f"{comparison.relative_error:.1e} of the largest logit from those of "
                f"{self._onnx_path.name}; allowed is {LARGEST_TOLERANCE:.0e}. Try another --graph "
                "form."
            )
        return {
            "clips": comparison.answers,
            "relative_error": comparison.relative_error,
            "limit_relative": LARGEST_TOLERANCE,
            "top1_agree": comparison.top1_agree,
        }
