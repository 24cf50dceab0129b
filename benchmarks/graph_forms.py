"""What each graph form costs: python -m clipedge.benchmarks.graph_forms.

For each model with random weights (they cost what trained ones cost): how large its engine gets for
GPUs of several generations, which TensorRT for RTX builds without having one, and how fast ONNX
Runtime and OpenVINO run it on this CPU. All forms of a model are timed in turns, so that whatever
else the machine does meets all alike.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.benchmarks.graph_forms_report import conditions, markdown, table_text
from clipedge.benchmarks.study import write_study
from clipedge.benchmarks.timing import random_clips
from clipedge.jetson import trt_api
from clipedge.jetson.board import physical_cores
from clipedge.jetson.command_line import (
    DONE,
    FAILED,
    CommandParser,
    nearest,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import write_whole
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.runners import open_runner

TARGETS = ((7, 5), (8, 6), (8, 9))
PRECISIONS = ("fp16", "fp32")
BACKENDS = ("onnxruntime", "openvino")
CLASSES = 600  # Kinetics-600, as the paper's Tables 7 and 8 count parameters
LEAST_TURNS = 2

Step = Callable[[str], None]  # told what comes next


class Model(NamedTuple):
    """An architecture of the registry at one of its widths."""

    name: str
    width: Optional[float]

    def __str__(self) -> str:
        return self.name if self.width is None else f"{self.name}_{self.width}x"


def all_models() -> List[Model]:
    """Return every architecture at every width, as ``train-clips summary`` does."""
    from clipedge.trainside.models import list_models, widths

    return [Model(name, width) for name in list_models() for width in widths(name) or (None,)]


def chosen_models(names: Sequence[str]) -> List[Model]:
    """Return the models called ``names``, such as mobilenetv2 (all widths) or mobilenetv2_0.2x.

    Raises:
        UsageError: there is no such model.
    """
    models = all_models()
    if not names:
        return models
    known = sorted({model.name for model in models}) + [str(model) for model in models]
    for name in names:
        if name not in known:
            raise UsageError(f"There is no model '{name}'; {nearest(name, known)}")
    return [model for model in models if model.name in names or str(model) in names]


def study_model(
    model: Model, batches: Sequence[int], budget_s: float, threads: Optional[int], step: Step
) -> Dict[str, Any]:
    """Return one model's figures as plain JSON types.

    Args:
        model: what to measure.
        batches: each engine gets a profile for each; the last one is timed.
        budget_s: how long each form is timed on each backend; 0: not at all.
        threads: of the CPU; None: as many as it has cores.
        step: told what comes next.
    """
    from clipedge.export.checkpoint_source import with_random_weights
    from clipedge.export.graph_forms import rewrite
    from clipedge.export.graph_names import FORMS
    from clipedge.export.onnx_graph import build_onnx

    step("exporting")
    source = with_random_weights(model.name, model.width, CLASSES)
    conv3d = build_onnx(source.model, source.spec)
    graphs = {form: rewrite(conv3d, form) for form in FORMS}
    row: Dict[str, Any] = {
        "model": str(model),
        "weights_fp16_bytes": 2 * _count_weights(conv3d),
        "forms": {form: {"onnx_bytes": len(graph)} for form, graph in graphs.items()},
    }
    for form, graph in graphs.items():
        row["forms"][form]["engines"] = _engines(form, graph, batches, step)
    if budget_s > 0:
        clips = random_clips(source.spec, batches[-1])
        speeds = _speeds(graphs, clips, budget_s, threads, step)
        for form in graphs:
            row["forms"][form]["clips_per_s"] = speeds[form]
    return row


def _count_weights(onnx_bytes: bytes) -> int:
    import onnx

    weights = onnx.load_from_string(onnx_bytes).graph.initializer
    numbers = [one for one in weights if one.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(one.dims)) for one in numbers)


def _engines(title: str, graph: bytes, batches: Sequence[int], step: Step) -> Dict[str, Any]:
    """Return the bytes of each engine by precision and target, or why there is none."""
    from clipedge.export.fp16_graph import to_fp16

    tensorrt = trt_api.load(trt_api.TENSORRT_RTX)
    engines: Dict[str, Dict[str, Any]] = {}
    for precision in PRECISIONS:
        onnx_bytes = to_fp16(graph) if precision == "fp16" else graph
        engines[precision] = {}
        for target in TARGETS:
            step(f"{title}: building {precision} for {target_name(target)}")
            request = trt_api.BuildRequest(onnx_bytes, tuple(batches), targets=(target,))
            start_s = time.perf_counter()
            try:
                plan = tensorrt.build(request).plan
            except ClipedgeError as error:
                engines[precision][target_name(target)] = {"error": str(error)}
                continue
            engines[precision][target_name(target)] = {
                "bytes": len(plan),
                "build_s": round(time.perf_counter() - start_s, 2),
            }
    return engines


def target_name(target: Tuple[int, int]) -> str:
    """Return ``sm_86`` of (8, 6)."""
    return "sm_{}{}".format(*target)


def _speeds(
    graphs: Dict[str, bytes],
    clips: np.ndarray,
    budget_s: float,
    threads: Optional[int],
    step: Step,
) -> Dict[str, Dict[str, Any]]:
    """Return clips per second by form and backend, or why there are none."""
    speeds: Dict[str, Dict[str, Any]] = {form: {} for form in graphs}
    with tempfile.TemporaryDirectory(prefix="clipedge-forms-") as folder:
        files = {form: pathlib.Path(folder) / f"{form}.onnx" for form in graphs}
        for form, path in files.items():
            path.write_bytes(graphs[form])
        for backend in BACKENDS:
            step(f"timing {backend}")
            timed = _in_turns(files, backend, threads, clips, budget_s)
            for form, result in timed.items():
                speeds[form][backend] = result
    return speeds


def _in_turns(
    files: Dict[str, pathlib.Path],
    backend: str,
    threads: Optional[int],
    clips: np.ndarray,
    budget_s: float,
) -> Dict[str, Any]:
    """Time each file's batches in turns; one batch before counts as warm-up."""
    runners: Dict[str, Any] = {}
    results: Dict[str, Any] = {}
    for form, path in files.items():
        try:
            runners[form] = open_runner(path, backend, threads)
            runners[form].infer(clips)
        except ClipedgeError as error:
            results[form] = {"error": str(error)}
            runners.pop(form, None)
    latencies_s: Dict[str, List[float]] = {form: [] for form in runners}
    begin_s = time.perf_counter()
    turns = 0
    while turns < LEAST_TURNS or time.perf_counter() - begin_s < budget_s * len(runners):
        for form, runner in runners.items():
            start_s = time.perf_counter()
            runner.infer(clips)
            latencies_s[form].append(time.perf_counter() - start_s)
        turns += 1
    for form, runner in runners.items():
        runner.close()
        median_s = statistics.median(latencies_s[form])
        results[form] = {"clips_per_s": round(len(clips) / median_s, 2), "turns": turns}
    return results


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.graph_forms",
        description="Compare graph forms: size of TensorRT-RTX engines, speed on this CPU.",
    )
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="NAME", help="such as mobilenetv2_0.2x; all"
    )
    parser.add_argument(
        "--batch",
        type=positive_int,
        nargs="+",
        default=[8],
        metavar="N",
        help="profiles of the engines; the last is the batch that is timed",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        help="how long each form is timed on each backend; 0: engines only",
    )
    parser.add_argument("--threads", type=positive_int, help="of the CPU; as many as cores")
    parser.add_argument("--json", metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    models = chosen_models(arguments.models)
    settings = {
        "batches": arguments.batch,
        "seconds": arguments.seconds,
        "threads": arguments.threads or physical_cores(),
        "tensorrt": str(trt_api.load(trt_api.TENSORRT_RTX)),
        "classes": CLASSES,
    }
    study = conditions(settings)
    for index, model in enumerate(models):
        with ProgressLine(f"{model}, {index + 1} of {len(models)}", unit="models") as progress:
            try:
                row = study_model(
                    model, arguments.batch, arguments.seconds, arguments.threads, progress.show
                )
            except ClipedgeError as error:
                row = {"model": str(model), "error": str(error)}
        study["models"].append(row)
        study["complete"] = index + 1 == len(models)
        # It takes an hour for all models: what is measured is kept.
        if arguments.json:
            write_study(arguments.json, study)
        if arguments.markdown:
            write_whole(arguments.markdown, markdown(study))
    sys.stdout.write(table_text(study))
    return FAILED if any("error" in row for row in study["models"]) else DONE


if __name__ == "__main__":
    sys.exit(main())
