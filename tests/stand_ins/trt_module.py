"""The module ``tensorrt`` or ``tensorrt_rtx`` of one release, with the listed members only."""

import types
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from stand_ins import trt_build, trt_network, trt_run
from stand_ins.in_c import in_python
from stand_ins.limited import Bound, Members, Value, enumeration, limited
from stand_ins.machine import Machine

_BUILDER_FLAGS = "FP16 INT8 DEBUG GPU_FALLBACK STRICT_TYPES REFIT DISABLE_TIMING_CACHE TF32"
_BUILDER_FLAGS += " SPARSE_WEIGHTS OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS"
_LAYER_TYPES = "CONVOLUTION FULLY_CONNECTED ACTIVATION POOLING SCALE SOFTMAX CONCATENATION"
_LAYER_TYPES += " ELEMENTWISE SHUFFLE REDUCE GATHER MATRIX_MULTIPLY CONSTANT IDENTITY CAST SLICE"
_LAYER_TYPES += " SHAPE PADDING PLUGIN"


def _numbered(names: str) -> Dict[str, int]:
    return {name: number for number, name in enumerate(names.split())}


# The numbers are of no meaning outside one release; the names are what a list can leave out.
NUMBERS: Dict[str, Dict[str, int]] = {
    "BuilderFlag": _numbered(_BUILDER_FLAGS),
    "ComputeCapability": dict(
        NONE=0, CURRENT=1, SM75=75, SM80=80, SM86=86, SM89=89, SM120=120, SM121=121
    ),
    "DataType": _numbered("FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64"),
    "ErrorCode": _numbered(
        "SUCCESS INTERNAL_ERROR MEM_ALLOC_FAILED MODEL_DESERIALIZE_FAILED INVALID_VALUE"
        " INVALID_GRAPH INVALID_NODE UNSUPPORTED_GRAPH UNSUPPORTED_NODE"
    ),
    "LayerInformationFormat": _numbered("ONELINE JSON"),
    "LayerType": _numbered(_LAYER_TYPES),
    "MemoryPoolType": _numbered("WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM"),
    "NetworkDefinitionCreationFlag": _numbered("EXPLICIT_BATCH STRONGLY_TYPED"),
    "ProfilingVerbosity": _numbered("LAYER_NAMES_ONLY NONE DETAILED DEFAULT VERBOSE"),
    "Severity": _numbered("INTERNAL_ERROR ERROR WARNING INFO VERBOSE"),
    "TensorIOMode": _numbered("NONE INPUT OUTPUT"),
}
# Names of the module itself that stand for a DataType.
_TYPES = {"float32": "FLOAT", "float16": "HALF", "int32": "INT32"}
_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64}


class Release(NamedTuple):
    """What tells one release from another, beside its members."""

    package: str
    version: str
    explicit_batch: bool  # a network that the ONNX parser fills needs EXPLICIT_BATCH
    strongly_typed: bool
    shared_profiles: bool  # several execution contexts may use one profile
    largest_opset: Optional[int]  # None: the parser takes any, and sees about each node
    oldest_gpu: Tuple[int, int]
    builds_without_gpu: bool = False


RELEASES = {
    "8.0.1": Release("tensorrt", "8.0.1.6", True, False, False, 13, (5, 3)),
    "8.2.1": Release("tensorrt", "8.2.1.8", True, False, False, 13, (5, 3)),
    "8.6.1": Release("tensorrt", "8.6.1.6", True, False, False, 17, (6, 0)),
    "10.16": Release("tensorrt", "10.16.0.72", False, False, True, None, (7, 5)),
    "11.1": Release("tensorrt", "11.1.0.106", False, True, True, None, (7, 5)),
    "rtx": Release("tensorrt_rtx", "1.7.1.116", False, True, True, None, (7, 5), True),
}


class Fault(NamedTuple):
    """What fp16 does to a model: spoils its logits unless all of `layers` are held in fp32.

    `effect` is "nan", "inf" or a number to add to each clip's first logit.
    """

    layers: Tuple[str, ...]
    effect: str


class TensorrtStandIn:
    """One release of TensorRT on a make-believe machine, with what a test can set and read."""

    def __init__(self, key: str, machine: Machine, members: Members) -> None:
        self.key = key
        self.release = RELEASES[key]
        self.machine = machine
        self.members = members
        self.messages: List[Tuple[str, str]] = []
        self.builds = 0
        self.timing_cache_hits = 0
        self.timing_cache_misses = 0
        self.fault: Optional[Fault] = None
        self.workspace_needed_bytes = 0
        # Called before each layer of a build; may sleep, raise or kill the process.
        self.on_build: Callable[[int], None] = lambda step: None
        self.classes = {
            name: self._class(name, listed)
            for name, listed in members.items()
            if name not in ("module", "IHostMemory")
        }
        self.module = types.ModuleType(self.release.package)
        for name in members["module"]:
            setattr(self.module, name, self._named(name))

    def _class(self, name: str, listed: List[str]) -> Any:
        if name in NUMBERS:
            return enumeration(name, NUMBERS[name], listed)
        made = limited(name, _CLASSES[name], listed, self.release.package)
        made._home = self
        return made

    def _named(self, name: str) -> Any:
        if name == "__version__":
            return self.release.version
        if name in _TYPES:
            return self.value("DataType", _TYPES[name])
        if name == "nptype":
            return lambda kind: _NUMPY[kind.name]
        return self.classes[name]

    def value(self, enumeration_name: str, name: str) -> Value:
        """A value that the API hands out, whether or not the caller may name it."""
        return Value(enumeration_name, name, NUMBERS[enumeration_name][name])

    def make(self, name: str, **state: Any) -> Any:
        """An object of a class that users do not make themselves."""
        cls = self.classes[name]
        made = cls.__new__(cls)
        for key, value in state.items():
            setattr(made, key, value)
        return made

    def log(self, logger: Any, severity: str, text: str) -> None:
        """Tell the user's logger, as the library does: it gets every message."""
        self.messages.append((severity, text))
        if "log" in self.members["ILogger"]:
            self.call_back(logger.log, self.value("Severity", severity), text)

    def call_back(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what a user handed in; what it raises would end the process, so it is a problem."""
        try:
            with in_python():
                return function(*arguments)
        except BaseException as error:
            self.machine.problem(f"a callback raised {error!r}: the process would have ended")
            return None

    def timed(self, seen_before: bool) -> None:
        if seen_before:
            self.timing_cache_hits += 1
        else:
            self.timing_cache_misses += 1

    def initialise(self, logger: Any) -> None:
        """What making a Builder or a Runtime needs."""
        if not isinstance(logger, self.classes["ILogger"]):
            raise TypeError("__init__(): incompatible constructor arguments: no ILogger")
        if self.machine.gpu.count == 0 and not self.release.builds_without_gpu:
            self.log(logger, "WARNING", "Unable to determine GPU memory usage")
            self.log(
                logger,
                "INTERNAL_ERROR" if self.key in ("8.0.1", "8.2.1") else "WARNING",
                "CUDA initialization failure with error: 100. Please check your CUDA installation",
            )
            raise TypeError("pybind11::init(): factory function returned nullptr")


class ILogger(Bound):
    """The logger that a user derives from."""

    _open = True
    _home: TensorrtStandIn

    def __init__(self, *_: Any) -> None:
        self._initialised = True

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError("Tried to call pure virtual function 'ILogger::log'")


class IProfiler(Bound):
    _open = True

    def __init__(self) -> None:
        self._initialised = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError("Tried to call pure virtual function")


class IProgressMonitor(Bound):
    _open = True

    def __init__(self) -> None:
        self._initialised = True

    def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
        raise NotImplementedError("Tried to call pure virtual function")

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError("Tried to call pure virtual function")

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError("Tried to call pure virtual function")


_CLASSES: Dict[str, type] = {
    "ILogger": ILogger,
    "IProfiler": IProfiler,
    "IProgressMonitor": IProgressMonitor,
}
_CLASSES.update(trt_build.CLASSES)
_CLASSES.update(trt_network.CLASSES)
_CLASSES.update(trt_run.CLASSES)
