"""The export stage: model in, checked file set out, or nothing at all."""

import hashlib
import json
import logging
import pathlib
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple, Union

from clipedge.export.checkpoint_source import (
    JESTER_CLASSES,
    ModelToExport,
    from_checkpoint,
    with_random_weights,
)
from clipedge.export.fp16_ranking import with_fp16_order
from clipedge.export.graph_files import form_path
from clipedge.export.graph_forms import rewrite
from clipedge.export.graph_names import AUTO, CONV3D, FORMS, SOURCE_KEY
from clipedge.export.onnx_graph import HIGHEST_OPSET, LOWEST_OPSET, build_onnx
from clipedge.export.parity import (
    ParityError,
    ParityReport,
    check_parity,
    onnxruntime_infer,
)
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, writable_folder, write_set
from clipedge.jetson.logits import check_clips, compare
from clipedge.jetson.recogniser_settings import RecogniserSettings, settings_path
from clipedge.jetson.spec import RANDOM_WEIGHTS, SPEC_SUFFIX, ClipSpec

log = logging.getLogger(__name__)

ONNX_SUFFIX = ".onnx"

# One clip of each kind that check_clips makes; other clips than the parity check's.
RANKING_CLIPS, RANKING_SEED = 3, 1904

PARITY_SUFFIX = ".parity.json"


class ExportResult(NamedTuple):
    """What was exported and how well it agrees; ``files`` starts with the ONNX file."""

    spec: ClipSpec
    files: Tuple[pathlib.Path, ...]
    parity: ParityReport
    sha256: str

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types."""
        random = self.spec.dataset == RANDOM_WEIGHTS
        return {
            "name": self.spec.file_stem,
            "weights": "random weights: good for speed, knows no gesture"
            if random
            else f"trained on {self.spec.dataset}",
            "clip_shape": list(self.spec.clip_shape),
            "classes": self.spec.num_classes,
            "files": [str(path) for path in self.files],
            "sha256": self.sha256,
            "parity_text": str(self.parity),
            "parity": self.parity.to_dict(),
        }


def export_model(
    model: Optional[str] = None,
    width: Optional[float] = None,
    checkpoint: Optional[str] = None,
    num_classes: Optional[int] = None,
    batches: Sequence[int] = (1, 8),
    opset: int = 13,
    output: PathLike = "engines",
    graph: str = AUTO,
) -> ExportResult:
    """Export a checkpoint, or an architecture with random weights, to a folder.

    Writes NAME.onnx, NAME.spec.json and NAME.parity.json, NAME_FORM.onnx for the graph forms asked
    for, and NAME.recogniser.json where there is none, all of them or none, after the parity checks
    have passed.

    Args:
        model: architecture for random weights; or None.
        width: its width multiplier.
        checkpoint: file of trained weights; or None.
        num_classes: size of a random head; 27 if None.
        batches: batch sizes whose parity is checked.
        opset: ONNX opset.
        output: folder for the files; made if missing.
        graph: a graph form to write beside the network as trained, or ``auto``: all there are.

    Raises:
        ClipedgeError: the model or checkpoint is no good, the parity check failed, or the files
            could not be written.
    """
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise UsageError(f"--opset {opset}: known are {LOWEST_OPSET} to {HIGHEST_OPSET}.")
    _require_packages()
    if checkpoint is not None:
        log.info("loading %s", checkpoint)
        source = from_checkpoint(checkpoint)
    else:
        source = with_random_weights(str(model), width, num_classes or JESTER_CLASSES)
        log.warning(
            "RANDOM WEIGHTS: %s knows no gesture; its speed is real, its answers are not. "
            "Give --checkpoint FILE for trained weights.",
            source.spec.architecture,
        )
    folder = writable_folder(output)  # before the long work: the reason is heard of early
    return _export(source, batches, opset, folder, _forms(graph))


def _export(
    source: ModelToExport,
    batches: Sequence[int],
    opset: int,
    folder: pathlib.Path,
    forms: Sequence[str],
) -> ExportResult:
    spec = source.spec.validate()
    log.info("exporting %s to ONNX opset %d", spec.file_stem, opset)
    onnx_bytes = build_onnx(source.model, spec, opset)
    parity = check_parity(source.model, onnx_bytes, spec, batches)
    log.info("ranking its layers for fp16")
    onnx_bytes = with_fp16_order(onnx_bytes, check_clips(spec, RANKING_CLIPS, RANKING_SEED))
    sha256 = hashlib.sha256(onnx_bytes).hexdigest()
    report = dict(parity.to_dict(), onnx_sha256=sha256)
    onnx_path = folder / (spec.file_stem + ONNX_SUFFIX)
    rewritten = [
        (form_path(onnx_path, form), _rewritten(onnx_bytes, form, spec, parity.tolerance))
        for form in forms
    ]
    contents: Tuple[Tuple[pathlib.Path, Union[bytes, str]], ...] = (
        (onnx_path, onnx_bytes),
        (folder / (spec.file_stem + SPEC_SUFFIX), spec.to_json()),
        (folder / (spec.file_stem + PARITY_SUFFIX), json.dumps(report, indent=2) + "\n"),
        *rewritten,
        *_recogniser_settings(onnx_path),
    )
    if contents[0][0].exists():
        log.warning("replacing %s", contents[0][0])
    write_set(contents)
    return ExportResult(spec, tuple(path for path, _ in contents), parity, sha256)


def _recogniser_settings(onnx_path: pathlib.Path) -> Sequence[Tuple[pathlib.Path, str]]:
    """Return the file of settings to start from; nothing where there is one, as it may be tuned."""
    path = settings_path(onnx_path)
    return [] if path.exists() else [(path, RecogniserSettings().to_json())]


def _forms(graph: str) -> Sequence[str]:
    """Return the forms to write beside the network as trained."""
    others = [form for form in FORMS if form != CONV3D]
    return others if graph == AUTO else [form for form in others if form == graph]


def _rewritten(onnx_bytes: bytes, form: str, spec: ClipSpec, tolerance: float) -> bytes:
    """Return the network in another form, compared with what it came from.

    A rewriting is exact but for the order of its sums, so it may be off by what the parity check
    allows: deep networks amplify rounding.
    """
    import onnx

    model = onnx.load_from_string(rewrite(onnx_bytes, form))
    entry = model.metadata_props.add()
    entry.key, entry.value = SOURCE_KEY, hashlib.sha256(onnx_bytes).hexdigest()
    content: bytes = model.SerializeToString()
    clips = check_clips(spec, RANKING_CLIPS, RANKING_SEED)
    expected, got = (onnxruntime_infer(one)(clips) for one in (onnx_bytes, content))
    comparison = compare(len(clips), expected, got)
    if not comparison.finite or comparison.relative_error > tolerance:
        raise ParityError(
            f"{spec.file_stem}: its {form} form is wrong, so no file was written: it differs by "
            f"{comparison.relative_error:.1e} of the largest logit; allowed is {tolerance:.0e}. "
            "Please report it with the model's name; --graph conv3d does without it."
        )
    return content


def _require_packages() -> None:
    missing = []
    for package in ("torch", "onnx", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            missing.append(package)
    if missing:
        raise ClipedgeError(
            "Exporting needs {}: pip install {} on a workstation with Python 3.10 or newer.".format(
                " and ".join(missing), " ".join(missing)
            )
        )
