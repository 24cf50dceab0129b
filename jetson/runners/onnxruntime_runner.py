"""The onnxruntime backend, on the CPU. Written to run with 1.10, the last for Python 3.6."""

import json
import pathlib
import tempfile
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np
import onnxruntime

from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.layer_times import WARM_UP_RUNS, median_times_ms
from clipedge.jetson.runners.model_file import PRECISION_KEY, check_graph, reason_of
from clipedge.jetson.spec import ClipSpec

_LOG_FATAL_ONLY = 4  # its errors arrive as exceptions too; without this they are printed as well

# Names of events in its profile. 1.10 says of a node with another fused into it that it is.
_RUN, _KERNEL, _FUSED = "model_run", "_kernel_time", "fused "


class OnnxruntimeRunner(Runner):
    """Runs an ONNX file with ONNX Runtime's CPUExecutionProvider, in the file's precision."""

    backend = "onnxruntime"

    def __init__(self, path: PathLike, spec: ClipSpec, threads: int) -> None:
        try:
            session = new_session(str(path), threads)
        # Its exceptions differ from release to release and share no base but this one.
        except Exception as error:
            raise ModelFileError(
                f"onnxruntime {onnxruntime.__version__} cannot open {path}: {reason_of(error)}."
            ) from None
        inputs, outputs = session.get_inputs(), session.get_outputs()
        batch_sizes = check_graph(
            path, spec, [entry.shape for entry in inputs], [entry.shape for entry in outputs]
        )
        super().__init__(spec, batch_sizes)
        self._path = path
        self._session: Any = session
        self._input_name = inputs[0].name
        self._output_names = [outputs[0].name]
        self._threads = threads
        # The arithmetic's where the file says it; files from elsewhere are taken as fp32.
        metadata = session.get_modelmeta().custom_metadata_map
        self._precision = str(metadata.get(PRECISION_KEY, "fp32"))

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        return self._run(self._session, clips)

    def layer_times_ms(self, clips: np.ndarray, runs: int) -> Dict[str, float]:
        """Return the median time of each layer, in the order they run, by ONNX Runtime's profiler.

        What runs as a part of another layer is left out.

        Args:
            clips: as ``infer`` takes them.
            runs: how often to run them.
        """
        checked = self._checked(clips)
        with self._lock:
            try:
                with tempfile.TemporaryDirectory(prefix="clipedge-") as folder:
                    events = self._profiled(checked, WARM_UP_RUNS + runs, folder)
            except (OSError, ValueError) as error:
                raise BackendError(
                    f"onnxruntime's profile cannot be written or read: {error}. It goes to the "
                    "folder for temporary files; see that there is room."
                ) from None
        return median_times_ms(_kernel_times(events)[WARM_UP_RUNS:])

    def _profiled(self, clips: np.ndarray, runs: int, folder: str) -> List[Dict[str, Any]]:
        """Return the events of so many runs, in a session of its own: a profiled one is slower."""
        prefix = str(pathlib.Path(folder) / "profile")
        session = new_session(str(self._path), self._threads, prefix)
        for _ in range(runs):
            self._run(session, clips)
        text = pathlib.Path(session.end_profiling()).read_text(encoding="utf-8")
        events: List[Dict[str, Any]] = json.loads(text)
        return events

    def _run(self, session: Any, clips: np.ndarray) -> np.ndarray:
        try:
            logits: np.ndarray = session.run(self._output_names, {self._input_name: clips})[0]
        except Exception as error:
            message = f"onnxruntime could not run a batch of {len(clips)}: {reason_of(error)}."
            raise BackendError(message) from None
        return logits

    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, threads and precision."""
        return {
            "backend": self.backend,
            "version": onnxruntime.__version__,
            "device": "CPU",
            "threads": self._threads,
            "precision": self._precision,
        }

    def close(self) -> None:
        """Free the session."""
        super().close()
        self._session = None


def new_session(
    model: Union[str, bytes], threads: int, profile_prefix: Optional[str] = None
) -> Any:
    """Return a session on the CPU for a file, or the content of one, with all optimisations.

    With ``profile_prefix`` it is timed into a file whose path begins so.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _LOG_FATAL_ONLY
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _kernel_times(events: List[Dict[str, Any]]) -> List[List[Tuple[str, float]]]:
    """Return (name of the ONNX node, milliseconds) of what each run executed."""
    runs: List[List[Tuple[str, float]]] = [[]]
    for event in events:
        name = event["name"]
        if name == _RUN:  # it stands behind its layers
            runs.append([])
        elif name.endswith(_KERNEL):
            node = name[len(_FUSED) if name.startswith(_FUSED) else 0 : -len(_KERNEL)]
            runs[-1].append((node, event["dur"] / 1e3))
    return runs[:-1]
