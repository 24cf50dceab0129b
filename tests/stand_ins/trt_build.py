"""The stand-in's builder: it looks at what it is asked as the real one does, and writes a plan."""

from typing import Any, Dict, List, Tuple

from stand_ins import onnx_walk, trt_config
from stand_ins.plan import Plan, write_plan
from stand_ins.trt_object import TrtObject, host_memory

# What RTX builds for where no capability is set: every GPU from Ampere on.
_PORTABLE = [(8, 0), (8, 6), (8, 9), (12, 0), (12, 1)]
# 16 MiB; from 8.4 on: the whole of the GPU's memory
_DEFAULT_WORKSPACE = {"8.0.1": 1 << 24, "8.2.1": 1 << 24}
_OBEYED_BY = {"STRICT_TYPES", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}

# The operators that the stand-in's parsers know, and the layer that each makes.
LAYER_OF = {
    "Conv": "CONVOLUTION",
    "Relu": "ACTIVATION",
    "Clip": "ACTIVATION",
    "Sigmoid": "ACTIVATION",
    "Tanh": "ACTIVATION",
    "Add": "ELEMENTWISE",
    "Sub": "ELEMENTWISE",
    "Mul": "ELEMENTWISE",
    "Div": "ELEMENTWISE",
    "Max": "ELEMENTWISE",
    "Sum": "ELEMENTWISE",
    "MaxPool": "POOLING",
    "AveragePool": "POOLING",
    "GlobalAveragePool": "POOLING",
    "ReduceMean": "REDUCE",
    "ReduceMax": "REDUCE",
    "Flatten": "SHUFFLE",
    "Reshape": "SHUFFLE",
    "Transpose": "SHUFFLE",
    "Squeeze": "SHUFFLE",
    "Unsqueeze": "SHUFFLE",
    "Concat": "CONCATENATION",
    "Gemm": "FULLY_CONNECTED",
    "MatMul": "MATRIX_MULTIPLY",
    "BatchNormalization": "SCALE",
    "Softmax": "SOFTMAX",
    "Pad": "PADDING",
    "Slice": "SLICE",
    "Split": "SLICE",
    "Gather": "GATHER",
    "Shape": "SHAPE",
    "Cast": "IDENTITY",
    "Identity": "IDENTITY",
    "Constant": "CONSTANT",
}
TYPE_OF_ORT = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT32"}
_NO_ARITHMETIC = ("CONSTANT", "SHAPE")
_FUSED_INTO_THE_ONE_BEFORE = ("Relu", "Clip")


class Builder(TrtObject):
    def __init__(self, logger: Any) -> None:
        self._home.initialise(logger)
        self._logger = logger
        self._live("builder")

    @property
    def platform_has_fast_fp16(self) -> bool:
        capability = self._home.machine.gpu.compute_capability
        return capability in ((5, 3), (6, 0), (6, 2)) or capability >= (7, 0)

    def create_network(self, flags: int = 0) -> Any:
        flags = int(flags)
        bits = {"EXPLICIT_BATCH": 1, "STRONGLY_TYPED": 2}
        home = self._home
        known = home.members.get("NetworkDefinitionCreationFlag", ())
        return home.make(
            "INetworkDefinition",
            _logger=self._logger,
            _explicit=bool(flags & bits["EXPLICIT_BATCH"]) or not home.release.explicit_batch,
            _strong=home.release.strongly_typed
            or bool(flags & bits["STRONGLY_TYPED"] and "STRONGLY_TYPED" in known),
            _layers=[],
            _inputs=[],
            _outputs=[],
        )._started()

    def create_builder_config(self) -> Any:
        return self._home.make(
            "IBuilderConfig",
            _logger=self._logger,
            _flags={"TF32"},
            _pools={"WORKSPACE": _DEFAULT_WORKSPACE.get(self._home.key)},
            _verbosity="LAYER_NAMES_ONLY",
            _profiles=[],
            _targets=[],
            _cache=None,
            _monitor=None,
        )._started()

    def create_optimization_profile(self) -> Any:
        return self._home.make("IOptimizationProfile", _shapes={})

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        home = self._home
        home.builds += 1
        fault = _complaint(home, network, config)
        if fault:
            self._log("ERROR", fault)
            return None
        if not _build_layers(home, network, config):
            return None
        half = "FP16" in config._flags and not network._strong
        obeyed = config._flags & _OBEYED_BY
        held = tuple(layer._name for layer in network._layers if obeyed and layer._held())
        here = _PORTABLE if home.key == "rtx" else [home.machine.gpu.compute_capability]
        capabilities = config._targets or here
        plan = Plan(
            release=home.release.version,
            capabilities=tuple(tuple(pair) for pair in capabilities),
            half=half,
            held=held,
            fault=_fp16_fault(home, network, half, held),
            detailed=config._verbosity,
            profiles=tuple(profile._shapes for profile in config._profiles),
            onnx=network._model,
        )
        return host_memory(home, write_plan(plan))


def _complaint(home: Any, network: Any, config: Any) -> str:
    """Why TensorRT would not build this, or nothing."""
    complaint = _complaint_of_gpu(home, config) or _complaint_of_profiles(network, config)
    if complaint:
        return complaint
    for layer in network._layers:
        if any(kind != "FLOAT" for kind in layer._types_that_cannot_be_set()):
            return f"{layer._name}: an integer output cannot be computed in a float type"
    limit = config._pools.get("WORKSPACE")
    if limit is not None and limit < home.workspace_needed_bytes:
        return (
            "10: [optimizer.cpp::computeCosts] Error Code 10: Internal Error (Could not find any "
            f"implementation for node {network._layers[0]._name} due to insufficient workspace.)"
        )
    return ""


def _complaint_of_gpu(home: Any, config: Any) -> str:
    gpu = home.machine.gpu
    if None in config._targets:
        return "IBuilderConfig: a compute capability was not set"
    if config._targets:
        return ""
    if gpu.count and gpu.compute_capability < home.release.oldest_gpu:
        number = "".join(str(part) for part in gpu.compute_capability)
        return f"Target GPU SM {number} is not supported by this TensorRT release."
    return ""


def _complaint_of_profiles(network: Any, config: Any) -> str:
    usage = "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error"
    if not network._outputs:
        return f"{usage} (Network must have at least one output.)"
    dynamic = [tensor for tensor in network._inputs if -1 in tensor._shape]
    if dynamic and not config._profiles:
        return (
            f"{usage} (Network has dynamic or shape inputs, but no optimization profile has been "
            "defined.)"
        )
    for index, profile in enumerate(config._profiles):
        for tensor in network._inputs:
            name, shapes = tensor._name, profile._shapes.get(tensor._name)
            if shapes is None:
                return f"{usage} (Dynamic input tensor {name} is missing dimensions in profile 0.)"
            for shape in shapes:
                if not _fits(tensor._shape, shape):
                    return (
                        f"{usage} (Input tensor {name} has static dimensions that don't match kMIN "
                        f"dimensions in profile index {index}. Input dimensions are "
                        f"{list(tensor._shape)} but profile dimensions are {list(shape)}.)"
                    )
    return ""


def _fits(wanted: Tuple[int, ...], shape: Tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, got) for want, got in zip(wanted, shape))


def _build_layers(home: Any, network: Any, config: Any) -> bool:
    """Go through the layers as a build does, with its cache and progress; False: cancelled."""
    layers, cache, half = fused_names(network._graph.nodes), config._cache, "FP16" in config._flags

    def time_tactics(step: int) -> None:
        home.on_build(step)
        if home.key == "rtx":
            return
        key = f"{layers[step]} {half} {len(config._profiles)}"
        home.timed(seen_before=cache is not None and key in cache._tactics)
        if cache is not None:
            cache._tactics[key] = step

    monitor = _Monitor(home, config._monitor)
    whole = "Building engine"
    monitor.start(whole, None, 2)
    done = (
        monitor.phase("Cloning network graph", whole, len(network._layers), lambda step: None)
        and monitor.step(whole, 0)
        and monitor.phase("Timing tactics", whole, len(layers), time_tactics)
        and monitor.step(whole, 1)
    )
    monitor.finish(whole)
    if not done:
        network._log("ERROR", "Error Code 2: BuildCanceled (Build canceled by user.)")
    return done


class _Monitor:
    """Tells a progress monitor, where there is one, what its release's base class declares."""

    def __init__(self, home: Any, monitor: Any) -> None:
        self._home = home
        self._monitor = monitor
        self._known = home.members.get("IProgressMonitor", ()) if monitor is not None else ()

    def _tell(self, name: str, *arguments: Any) -> bool:
        if name not in self._known:
            return True
        answer = self._home.call_back(getattr(self._monitor, name), *arguments)
        return answer is not False

    def start(self, name: str, parent: Any, steps: int) -> None:
        self._tell("phase_start", name, parent, steps)

    def step(self, name: str, step: int) -> bool:
        return self._tell("step_complete", name, step)

    def finish(self, name: str) -> None:
        self._tell("phase_finish", name)

    def phase(self, name: str, parent: str, steps: int, work: Any) -> bool:
        self.start(name, parent, steps)
        carry_on = True
        for step in range(steps):
            work(step)
            carry_on = self.step(name, step)
            if not carry_on:
                break
        self.finish(name)
        return carry_on


def fused_names(nodes: Any) -> List[str]:
    """The engine's layers: an activation is joined to what comes before, as TensorRT does."""
    names: List[str] = []
    producer: Dict[str, int] = {}
    for node in nodes:
        if node.operator in _FUSED_INTO_THE_ONE_BEFORE and node.inputs[0] in producer:
            at = producer[node.inputs[0]]
            names[at] += f" + {layer_name(node)}"
        else:
            at = len(names)
            names.append(layer_name(node))
        producer.update((output, at) for output in node.outputs)
    return names


def layer_name(node: Any) -> str:
    """The parser's name of a node's layer."""
    return str(node.name or f"node_of_{node.outputs[0]}")


def _fp16_fault(home: Any, network: Any, half: bool, held: Tuple[str, ...]) -> str:
    """What fp16 does to this network's logits, by the fault that the test asked for."""
    if home.fault is None:
        return ""
    graph = network._graph
    for wanted in home.fault.layers:
        for layers, node in zip(network._layers_of_nodes, graph.nodes):
            if node.name != wanted and not node.name.startswith(wanted + "/"):
                continue
            spoilt = onnx_walk.is_half(graph, node) if network._strong else half
            computing = {layer._name for layer in layers if layer._kind not in _NO_ARITHMETIC}
            if spoilt and not computing <= set(held):
                return str(home.fault.effect)
    return ""


CLASSES: Dict[str, type] = {"Builder": Builder}
CLASSES.update(trt_config.CLASSES)
