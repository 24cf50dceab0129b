"""ONNX file in, checked TensorRT engines with their manifests out. No torch, no onnx package.

For each precision: build the graph forms that were asked for, keep the fastest (where nothing can
be timed the smallest), compare its answers with fp32, write engine and manifest.
"""

import contextlib
import logging
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clipedge.export.engine_check import Check, EngineCheck
from clipedge.export.fp16_gate import refuse_int8, slow_fp16_warning
from clipedge.export.graph_files import Graph, copied_forms, graphs_to_build
from clipedge.export.graph_names import AUTO, CONV3D
from clipedge.export.layer_profile import (
    LAYERS_SUFFIX,
    LayerProfile,
    profile_of_engine,
    profile_of_network,
)
from clipedge.export.workbench import Compiled, Workbench
from clipedge.jetson.engine_manifest import (
    ENGINE_SUFFIX,
    Manifest,
    load_manifest,
    manifest_path,
    read_engine,
    sha256_of,
)
from clipedge.jetson.errors import BackendError, ClipedgeError, ModelFileError, UsageError
from clipedge.jetson.files import make_folder, writable_folder, write_set, write_whole
from clipedge.jetson.gpu_facts import has_tensor_cores, sm_name
from clipedge.jetson.runners import Runner, open_runner
from clipedge.jetson.runners.model_file import read_model_spec
from clipedge.jetson.spec import ClipSpec
from clipedge.jetson.version import own_version

FP32, FP16, INT8 = "fp32", "fp16", "int8"
TRIAL_S = 1.0  # how long each batch size of each form is timed

_log = logging.getLogger(__name__)


class EngineOrder(NamedTuple):
    """What engines to build from an ONNX file."""

    onnx_path: pathlib.Path
    folder: pathlib.Path
    precisions: Tuple[str, ...] = (FP32, FP16)
    batches: Tuple[int, ...] = (1, 8)
    graph: str = AUTO
    force: bool = False
    profile: bool = False


class EngineResult(NamedTuple):
    """An engine that is there now; ``cached`` where it was there before."""

    path: pathlib.Path
    manifest: Manifest
    cached: bool
    profile: Optional[LayerProfile] = None

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types."""
        fields = dict(self.manifest.to_dict(), file=str(self.path), cached=self.cached)
        fields["check_text"] = _check_text(self.manifest)
        if self.profile is not None:
            fields["profile"] = self.profile.to_dict()
        return fields


class _Candidate(NamedTuple):
    """A graph form that was built and ran, or the reason why not."""

    graph: Graph
    compiled: Optional[Compiled]
    latency_ms: Dict[int, float]
    error: str = ""

    def to_dict(self) -> Dict[str, Any]:
        fields: Dict[str, Any] = {"graph_form": self.graph.form}
        if self.compiled is None:
            return dict(fields, error=self.error)
        return dict(
            fields,
            engine_bytes=len(self.compiled.plan),
            build_s=round(self.compiled.build_s, 2),
            latency_ms={str(batch): round(ms, 3) for batch, ms in self.latency_ms.items()} or None,
        )


def build_engines(bench: Workbench, order: EngineOrder) -> Tuple[List[EngineResult], List[str]]:
    """Build an engine for each precision; those that are there already are left as they are.

    Returns:
        The engines, and what went wrong with each other one: it cannot be built, or it answers
        wrongly. One precision's failure does not hinder the next.

    Raises:
        ClipedgeError: the ONNX file is no good, the GPU is wrong for a precision, or TensorRT
            does not know a target.
    """
    _check_precisions(bench, order.precisions)
    spec = read_model_spec(order.onnx_path)
    make_folder(order.folder)
    builder = _Builder(bench, order, spec)
    engines, failures = [], []
    for precision in order.precisions:
        try:
            engines.append(builder.engine(precision))
        except UsageError:  # wrong for every precision
            raise
        except ClipedgeError as error:
            failures.append(f"{order.onnx_path.name} in {precision}: {error}")
    return engines, failures


def _check_precisions(bench: Workbench, precisions: Sequence[str]) -> None:
    """Refuse int8, and warn of fp16 where the GPU is slow in it."""
    for gpu in bench.gpus:
        if INT8 in precisions:
            refuse_int8(gpu)
        warning = slow_fp16_warning(gpu) if FP16 in precisions else None
        if warning is not None:
            _log.warning("%s", warning)
    if INT8 in precisions:
        raise UsageError("int8 needs a calibration that clipedge does not have; use fp16 or fp32.")


class _Builder:
    """Builds the engines of one ONNX file."""

    def __init__(self, bench: Workbench, order: EngineOrder, spec: ClipSpec) -> None:
        self._bench = bench
        self._order = order
        self._spec = spec
        self._sha256 = sha256_of(order.onnx_path)
        self._check = EngineCheck(order.onnx_path, spec, order.batches)

    def engine(self, precision: str) -> EngineResult:
        path = self._path(precision)
        manifest = self._cached(path, precision)
        cached = manifest is not None
        if manifest is None:
            manifest = self._built(path, precision)
        else:
            _log.info("%s is up to date; --force builds it again.", path)
        profile = self._profile(path, manifest) if self._order.profile else None
        return EngineResult(path, manifest, cached, profile)

    def _built(self, path: pathlib.Path, precision: str) -> Manifest:
        writable_folder(self._order.folder)
        self._check.prepare()
        graphs = graphs_to_build(self._order.onnx_path, self._order.graph, self._tensor_cores)
        candidates = [self._candidate(graph, precision) for graph in graphs]
        chosen = self._chosen(candidates)
        check, compiled = self._checked(chosen, precision)
        manifest = self._manifest(chosen.graph, compiled, precision)._replace(
            fp32_layers=check.fp32_layers,
            parity=check.to_dict(),
            candidates=tuple(one.to_dict() for one in candidates),
        )
        with contextlib.suppress(FileNotFoundError):
            _layers_path(path).unlink()  # of the engine that was there
        write_set([(path, compiled.plan), (manifest_path(path), manifest.to_json())])
        return manifest

    def _profile(self, path: pathlib.Path, manifest: Manifest) -> LayerProfile:
        """Return the engine's layers and write them beside it; with times where it can run."""
        if self._bench.gpu is not None:
            with open_runner(path) as runner:
                profile = profile_of_engine(runner, max(manifest.batches))
        else:
            graphs = graphs_to_build(self._order.onnx_path, manifest.graph_form)
            onnx = self._bench.given(
                graphs[0].onnx, manifest.precision == FP16, manifest.fp32_layers
            )
            profile = profile_of_network(self._bench.trt.network_layers(onnx))
        write_whole(_layers_path(path), profile.to_json())
        _log.info("Wrote %s", _layers_path(path))
        return profile

    def _path(self, precision: str) -> pathlib.Path:
        targets = "".join("_" + sm_name(one) for one in self._bench.targets)
        name = f"{self._order.onnx_path.stem}_{precision}{targets}{ENGINE_SUFFIX}"
        return self._order.folder / name

    def _cached(self, path: pathlib.Path, precision: str) -> Optional[Manifest]:
        """Return the manifest of an engine that a build would only make again."""
        if self._order.force or not path.exists():
            return None
        try:
            manifest = load_manifest(path)
            read_engine(path, manifest)
        except ModelFileError as error:
            _log.info("Building again: %s", error)
            return None
        empty = Compiled(b"", b"", 0.0)
        wanted = self._manifest(Graph("", b""), empty, precision)
        if manifest.key() != wanted.key():
            _log.info("Replacing %s, which was built %s.", path, _was_built(manifest, wanted))
            return None
        if self._more_to_try(manifest):
            return None
        return manifest

    def _more_to_try(self, manifest: Manifest) -> bool:
        """Tell whether a form was copied here since ``auto`` chose among those there were."""
        if self._order.graph != AUTO:
            return False
        tried = {one["graph_form"] for one in manifest.candidates}
        copied = copied_forms(self._order.onnx_path, self._tensor_cores)
        new = [form for form in copied if form not in tried]
        if new:
            _log.info("Building again: %s was not here to be tried.", " and ".join(new))
        return bool(new)

    @property
    def _tensor_cores(self) -> bool:
        return any(map(has_tensor_cores, self._bench.gpus))

    def _candidate(self, graph: Graph, precision: str) -> _Candidate:
        try:
            compiled = self._compile(graph, precision, ())
            latency_ms = {}
            if self._bench.gpu is not None and self._order.graph == AUTO:
                with self._running(graph, compiled, precision) as runner:
                    for batch in self._order.batches:
                        latency_ms[batch] = _latency_ms(runner, batch)
        except UsageError:
            raise
        except ClipedgeError as error:  # it may need more memory to run than another form
            return _Candidate(graph, None, {}, str(error))
        return _Candidate(graph, compiled, latency_ms)

    def _compile(self, graph: Graph, precision: str, fp32_layers: Sequence[str]) -> Compiled:
        title = f"building {self._order.onnx_path.stem}, {graph.form}, {precision}"
        if fp32_layers:
            title += f", {len(fp32_layers)} layers in fp32"
        fp16 = precision == FP16
        return self._bench.compile(graph.onnx, self._order.batches, fp16, fp32_layers, title)

    def _chosen(self, candidates: List[_Candidate]) -> _Candidate:
        built = [one for one in candidates if one.compiled is not None]
        problems = _problems(candidates)
        if not built:
            raise BackendError(" ".join(problems))
        for problem in problems:
            _log.warning("%s", problem)
        if len(built) == 1:
            return built[0]
        if all(one.latency_ms for one in built):
            chosen = _fastest(built)
            _log.info("Graph form: %s, the fastest here (%s).", chosen.graph.form, _timings(built))
        else:
            chosen = min(built, key=_size)
            sizes = ", ".join(f"{one.graph.form} {_size(one) / 1e6:.1f} MB" for one in built)
            _log.info(
                "Graph form: %s, the smallest engine (%s); nothing can be timed without the GPU.",
                chosen.graph.form,
                sizes,
            )
        return chosen

    def _checked(self, chosen: _Candidate, precision: str) -> Tuple[Check, Compiled]:
        """Compare with fp32, holding layers back where fp16 needs it; return what passed."""
        last = chosen.compiled  # and no earlier one: a board has no memory for all

        def logits(fp32_layers: Tuple[str, ...]) -> np.ndarray:
            nonlocal last
            if fp32_layers:
                last = self._compile(chosen.graph, precision, fp32_layers)
            one = last
            assert one is not None
            if self._bench.gpu is None:
                return self._check.logits_of_onnx(one.onnx, precision)
            with self._running(chosen.graph, one, precision) as runner:
                return self._check.logits_of(runner)

        check = self._check.run(logits, precision, on_gpu=self._bench.gpu is not None)
        assert last is not None
        return check, last

    def _running(self, graph: Graph, compiled: Compiled, precision: str) -> "_TemporaryRunner":
        manifest = self._manifest(graph, compiled, precision)
        # Seen from the temporary folder, its path could lead to another file.
        manifest = manifest._replace(onnx_file=self._order.onnx_path.name)
        return _TemporaryRunner(compiled.plan, manifest)

    def _manifest(self, graph: Graph, compiled: Compiled, precision: str) -> Manifest:
        return Manifest(
            spec=self._spec,
            machine=self._bench.machine,
            targets=tuple(sm_name(one) for one in self._bench.targets),
            onnx_file=os.path.relpath(str(self._order.onnx_path), str(self._order.folder)),
            onnx_sha256=self._sha256,
            graph=self._order.graph,
            graph_form=graph.form,
            precision=precision,
            batches=tuple(self._order.batches),
            workspace_bytes=self._bench.workspace_bytes,
            fp32_layers=(),
            engine_sha256=compiled.sha256,
            engine_bytes=len(compiled.plan),
            build_s=round(compiled.build_s, 2),
            clipedge=own_version(),
        )


class _TemporaryRunner:
    """A runner of an engine that is not written yet; the files it opens are gone afterwards."""

    def __init__(self, plan: bytes, manifest: Manifest) -> None:
        self._plan = plan
        self._manifest = manifest

    def __enter__(self) -> Runner:
        self._folder = tempfile.TemporaryDirectory(prefix="clipedge-")
        path = pathlib.Path(self._folder.name) / ("candidate" + ENGINE_SUFFIX)
        try:
            write_set([(path, self._plan), (manifest_path(path), self._manifest.to_json())])
            self._runner = open_runner(path)
        except BaseException:
            self._folder.cleanup()
            raise
        return self._runner

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.close()
        finally:
            self._folder.cleanup()


def _layers_path(engine_path: pathlib.Path) -> pathlib.Path:
    return engine_path.with_name(engine_path.name + LAYERS_SUFFIX)


def _was_built(before: Manifest, wanted: Manifest) -> str:
    """Return in what an engine differs from the one that is asked for."""
    ways = {
        "onnx_sha256": "from another ONNX file",
        "graph": f"with --graph {before.graph}",
        "batches": "for batches of {}".format(" and ".join(map(str, before.batches))),
        "workspace_bytes": "with another --workspace",
        "clipedge": f"by clipedge {before.clipedge}",
        "machine": f"with {before.machine.tensorrt} for {before.machine.gpu}",
    }
    return ", ".join(
        text for name, text in ways.items() if getattr(before, name) != getattr(wanted, name)
    )


def _check_text(manifest: Manifest) -> str:
    parity = manifest.parity or {}
    kept = len(manifest.fp32_layers)
    if manifest.targets and (manifest.precision, manifest.graph_form) == (FP32, CONV3D):
        return "nothing: it is built from the fp32 ONNX file itself, and cannot run here"
    return (
        "{candidate}, against {reference}: largest error {relative_error:.1e} of the largest logit "
        "(allowed {limit_relative:.1e}), top-1 agrees on {top1_agree} of {clips}".format(**parity)
        + (f", {kept} layers in fp32" if kept else "")
    )


def _latency_ms(runner: Runner, batch: int) -> float:
    """Return the median time of a batch, after one that warms up, whatever it answers."""
    clips = np.zeros((batch, *runner.spec.clip_shape), np.float32)
    runner.raw_logits(clips)
    times_s: List[float] = []
    begin_s = time.perf_counter()
    while not times_s or time.perf_counter() - begin_s < TRIAL_S:
        start_s = time.perf_counter()
        runner.raw_logits(clips)
        times_s.append(time.perf_counter() - start_s)
    return statistics.median(times_s) * 1e3


def _fastest(built: List[_Candidate]) -> _Candidate:
    """Return the form that is fastest over all batch sizes: each weighs the same."""
    best_ms = {batch: min(one.latency_ms[batch] for one in built) for batch in built[0].latency_ms}
    return min(
        built, key=lambda one: sum(one.latency_ms[batch] / ms for batch, ms in best_ms.items())
    )


def _timings(built: List[_Candidate]) -> str:
    return "; ".join(
        "{} {}".format(
            one.graph.form,
            ", ".join(f"{ms:.1f} ms at batch {batch}" for batch, ms in one.latency_ms.items()),
        )
        for one in built
    )


def _problems(candidates: List[_Candidate]) -> List[str]:
    """Return each reason why forms could not be built, behind the forms it holds for."""
    forms: Dict[str, List[str]] = {}
    for one in candidates:
        if one.error:
            forms.setdefault(one.error, []).append(one.graph.form)
    return ["{}: {}".format(", ".join(names), error) for error, names in forms.items()]


def _size(one: _Candidate) -> int:
    return 0 if one.compiled is None else len(one.compiled.plan)
