"""The onnxruntime backend, on the CPU. Written to run with 1.10, the last for Python 3.6."""

from typing import Any, Dict, Union

import numpy as np
import onnxruntime

from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.model_file import PRECISION_KEY, check_graph, reason_of
from clipedge.jetson.spec import ClipSpec

_LOG_FATAL_ONLY = 4  # its errors arrive as exceptions too; without this they are printed as well


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
        self._session: Any = session
        self._input_name = inputs[0].name
        self._output_names = [outputs[0].name]
        self._threads = threads
        # The arithmetic's where the file says it; files from elsewhere are taken as fp32.
        metadata = session.get_modelmeta().custom_metadata_map
        self._precision = str(metadata.get(PRECISION_KEY, "fp32"))

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        try:
            logits: np.ndarray = self._session.run(self._output_names, {self._input_name: clips})[0]
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


def new_session(model: Union[str, bytes], threads: int) -> Any:
    """Return a session on the CPU for a file, or the content of one, with all optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _LOG_FATAL_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
