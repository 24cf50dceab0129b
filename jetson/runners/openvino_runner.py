"""The OpenVINO backend, on the CPU."""

import functools
from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Tuple

import numpy as np
import openvino

from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.files import PathLike
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.layer_times import WARM_UP_RUNS, median_times_ms
from clipedge.jetson.runners.model_file import check_graph, reason_of
from clipedge.jetson.spec import ClipSpec

_DEVICE = "CPU"
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_WITHOUT_BIAS = "/WithoutBiases"  # it takes a convolution's bias off, and names the rest so
_MOST_SIZES = 3  # batch sizes with a graph of their own


class OpenvinoRunner(Runner):
    """Runs an ONNX file with OpenVINO's CPU plugin.

    A graph compiled for one batch size runs 3 to 13 % faster on one clip (0 to 5 % on eight) than
    one whose batch is dynamic, and compiling costs 0.1 to 0.2 s. So the first few sizes asked for
    get a graph of their own, that of one clip on opening; all others share a dynamic one.
    """

    backend = "openvino"

    def __init__(
        self, path: PathLike, spec: ClipSpec, threads: int, precision: str = "fp32"
    ) -> None:
        self._core: Any = _shared_core()
        try:
            self._model: Any = self._core.read_model(str(path))
        except Exception as error:
            raise ModelFileError(f"openvino cannot open {path}: {reason_of(error)}.") from None
        batch_sizes = check_graph(
            path,
            spec,
            [_shape(port) for port in self._model.inputs],
            [_shape(port) for port in self._model.outputs],
        )
        super().__init__(spec, batch_sizes)
        self._path = path
        self._precision = precision
        self._config = _config(precision, threads)
        self._requests: Dict[Optional[int], Any] = {}  # by batch size; None: the dynamic one
        self._threads = threads
        self._request(1 if batch_sizes is None else batch_sizes[0])

    def _request(self, count: int) -> Any:
        """Return the inference request for a batch size, compiled when first asked for."""
        request = self._requests.get(count)
        if request is not None:
            return request
        size = count if len(self._requests) < _MOST_SIZES else None
        if size not in self._requests:
            self._requests[size] = self._compile(size)
        return self._requests[size]

    def _compile(self, size: Optional[int], **more: Any) -> Any:
        model = self._model
        try:
            if size is not None and self.batch_sizes is None:
                model = model.clone()
                model.reshape([size, *self.spec.clip_shape])
            compiled = self._core.compile_model(model, _DEVICE, dict(self._config, **more))
        except Exception as error:
            raise ModelFileError(
                f"openvino cannot compile {self._path}: {reason_of(error)}."
            ) from None
        _check_precision(compiled, self._precision)
        self._threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        return compiled.create_infer_request()

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        return _run(self._request(len(clips)), clips)

    def layer_times_ms(self, clips: np.ndarray, runs: int) -> Dict[str, float]:
        """Return the median time of each layer, in the order they run, by OpenVINO's counters.

        What runs as a part of another layer is left out; a change of layout in memory between two
        layers is one of its own, with both their names.

        Args:
            clips: as ``infer`` takes them.
            runs: how often to run them.
        """
        checked = self._checked(clips)
        with self._lock:
            # A graph of its own: counting would slow that of `infer`.
            request = self._compile(len(checked), PERF_COUNT=True)
            for _ in range(WARM_UP_RUNS):
                _run(request, checked)
            timed = []
            for _ in range(runs):
                _run(request, checked)
                timed.append(_executed(request))
        return median_times_ms(timed)

    def describe(self) -> Dict[str, Any]:
        """Return backend, version, device, threads and precision.

        ``parity`` is there in precisions other than fp32: what the comparison with it found.
        """
        facts = {
            "backend": self.backend,
            "version": openvino.__version__.split("-")[0],
            "device": _DEVICE,
            "threads": self._threads,
            "precision": self._precision,
        }
        return dict(facts, parity=dict(self.parity)) if self.parity else facts

    def close(self) -> None:
        """Free the inference requests and with them the compiled graphs."""
        super().close()
        self._requests.clear()
        self._model = self._core = None


def _run(request: Any, clips: np.ndarray) -> np.ndarray:
    try:
        # The clips are read where they lie; the result is a copy, as share_outputs is off.
        outputs = request.infer([clips], share_inputs=True, share_outputs=False)
    except Exception as error:
        message = f"openvino could not run a batch of {len(clips)}: {reason_of(error)}."
        raise BackendError(message) from None
    logits: np.ndarray = outputs[0]
    return logits


def _executed(request: Any) -> List[Tuple[str, float]]:
    """Return (name of the ONNX node, milliseconds) of what the last inference executed."""
    return [
        (info.node_name.replace(_WITHOUT_BIAS, ""), info.real_time.total_seconds() * 1e3)
        for info in request.get_profiling_info()
        if info.status.name == "EXECUTED"
    ]


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


def native_precisions() -> FrozenSet[str]:
    """Return those of fp32, bf16 and fp16 that this CPU has instructions for."""
    known = _shared_core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return frozenset(name for name in _PRECISION_HINTS if name.upper() in known)


@functools.lru_cache(maxsize=None)
def _shared_core() -> Any:
    """Return the one Core of this process, which is never freed.

    Each Core lays its own stack for signals over the last one's, and puts that back when it is
    freed. Two that are not freed in reverse order leave a stack that is gone, and the next signal,
    such as Ctrl-C, ends the process.
    """
    # The bindings look numpy up when they see their first array; two threads that do so at the
    # same time wait for each other for ever (pybind11's lock against Python's).
    openvino.Tensor(np.zeros(1, np.float32))
    return openvino.Core()


def _config(precision: str, threads: int) -> Dict[str, Any]:
    return {
        # Its default on a CPU with bf16 arithmetic is bf16, which moves logits by 1e-3.
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }


def fp32_request(content: bytes, shape: Sequence[int], threads: int) -> Any:
    """Return an inference request, in fp32, for the content of an ONNX file and one input shape."""
    core = _shared_core()
    model = core.read_model(model=content)
    model.reshape(list(shape))
    return core.compile_model(model, _DEVICE, _config("fp32", threads)).create_infer_request()
