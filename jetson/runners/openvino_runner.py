"""The OpenVINO backend, on the CPU."""

from typing import Any, Dict

import numpy as np
import openvino

from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.model_file import check_graph, reason_of
from clipedge.jetson.spec import ClipSpec

_DEVICE = "CPU"
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenvinoRunner(Runner):
    """Runs an ONNX file with OpenVINO's CPU plugin.

    The batch stays dynamic: a graph compiled for one batch size is no faster, and compiling for
    each size costs its time and memory again.
    """

    backend = "openvino"

    def __init__(
        self, path: PathLike, spec: ClipSpec, threads: int, precision: str = "fp32"
    ) -> None:
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
        except Exception as error:
            raise ModelFileError(f"openvino cannot open {path}: {reason_of(error)}.") from None
        batch_size = check_graph(
            path,
            spec,
            [_shape(port) for port in model.inputs],
            [_shape(port) for port in model.outputs],
        )
        super().__init__(spec, batch_size)
        config = {
            # Its default on a CPU with bf16 arithmetic is bf16, which moves logits by 1e-3.
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        try:
            compiled = core.compile_model(model, _DEVICE, config)
        except Exception as error:
            raise ModelFileError(f"openvino cannot compile {path}: {reason_of(error)}.") from None
        _check_precision(compiled, precision)
        self._request: Any = compiled.create_infer_request()
        self._precision = precision
        self._threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        try:
            # The clips are read where they lie; the result is a copy, as share_outputs is off.
            outputs = self._request.infer([clips], share_inputs=True, share_outputs=False)
        except Exception as error:
            message = f"openvino could not run a batch of {len(clips)}: {reason_of(error)}."
            raise BackendError(message) from None
        logits: np.ndarray = outputs[0]
        return logits

    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, threads and precision."""
        return {
            "backend": self.backend,
            "version": openvino.__version__.split("-")[0],
            "device": _DEVICE,
            "threads": self._threads,
            "precision": self._precision,
        }

    def close(self) -> None:
        """Free the inference request and with it the compiled model."""
        super().close()
        self._request = None


def _shape(port: Any) -> Any:
    """Return sizes, None where a dimension is dynamic."""
    shape = port.get_partial_shape()
    return [None if size.is_dynamic else size.get_length() for size in shape]


def _check_precision(compiled: Any, precision: str) -> None:
    """Refuse a precision this CPU cannot compute in, which OpenVINO would silently replace."""
    hint = compiled.get_property("INFERENCE_PRECISION_HINT")
    actual = getattr(hint, "get_type_name", lambda: str(hint))()
    if actual != _PRECISION_HINTS[precision]:
        raise BackendError(
            f"This CPU does not compute in {precision} with openvino (it would use {actual}). "
            "Choose fp32."
        )
