"""The stand-in's half of TensorRT that runs engines: runtime, engine, inspector."""

import json
from typing import Any, Dict, List, Optional, Tuple

from stand_ins import onnx_walk, trt_execution
from stand_ins.plan import Plan, PlanError, read_plan
from stand_ins.trt_build import LAYER_OF, fused_names
from stand_ins.trt_object import TrtObject

_NO_DRIVER = "CUDA driver version is insufficient for CUDA runtime version"


class Runtime(TrtObject):
    def __init__(self, logger: Any) -> None:
        self._home.initialise(logger)
        self._logger = logger
        self._live("runtime")

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        machine = self._home.machine
        if machine.gpu.count == 0:
            self._log("ERROR", f"Error Code 1: Cuda Runtime (cudaError 35: {_NO_DRIVER})")
            return None
        try:
            plan = read_plan(bytes(serialized_engine))
        except PlanError as error:
            self._log("ERROR", f"1: Error Code 1: Serialization ({error})")
            return None
        complaint = self._complaint(plan)
        if complaint:
            self._log("ERROR", complaint)
            return None
        context = machine.current_context()
        if context is None and machine.initialised:
            machine.problem("an engine was opened with no CUDA context current")
        return self._home.make("ICudaEngine", _plan=plan, _logger=self._logger)._started(context)

    def _complaint(self, plan: Plan) -> str:
        """Why this plan does not open here, or nothing."""
        if plan.release != self._home.release.version:
            return (
                "1: [stdArchiveReader.cpp::StdArchiveReader::30] Error Code 1: Serialization "
                "(Serialization assertion stdVersionRead == serializationVersion failed."
                f"Version tag does not match. Note: Current Version: {self._home.release.version}, "
                f"Serialized Engine Version: {plan.release})"
            )
        here = self._home.machine.gpu.compute_capability
        if here not in plan.capabilities:
            return (
                "6: The engine plan file is generated on an incompatible device, expecting compute "
                "{}.{} got compute {}.{}, please rebuild.".format(*here, *plan.capabilities[0])
            )
        return ""


class ICudaEngine(TrtObject):
    def _started(self, context: Any) -> Any:
        session = onnx_walk.session(self._plan.onnx)
        self._context = context
        self._io = [
            (entry.name, is_input, _shape(entry.shape))
            for entries, is_input in ((session.get_inputs(), True), (session.get_outputs(), False))
            for entry in entries
        ]
        self._graph = onnx_walk.read_graph(self._plan.onnx)
        self._layers = fused_names(self._graph.nodes)
        self._profile_users: Dict[int, Any] = {}
        self._live("engine", on_gpu=True)
        return self

    def __del__(self) -> None:
        _died_in_its_context(self, "an engine")

    # --- Every era ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "Unnamed Network 0"

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._plan.profiles)

    @property
    def device_memory_size(self) -> int:
        batches = [shapes[2][0] for profile in self._plan.profiles for shapes in profile.values()]
        return 4096 * max(batches or [1])

    device_memory_size_v2 = device_memory_size

    def create_execution_context(self) -> Any:
        if not trt_execution.right_context(self, "createExecutionContext"):
            return None
        return self._home.make("IExecutionContext", _engine=self, _logger=self._logger)._started()

    def create_engine_inspector(self) -> Any:
        return self._home.make("EngineInspector", _engine=self, _execution=None)._started()

    # --- Bindings: 8.0 to 8.6 ------------------------------------------------------------------

    @property
    def num_bindings(self) -> int:
        return len(self._io) * len(self._plan.profiles)

    def __len__(self) -> int:
        return len(self._io) * len(self._plan.profiles)

    def __getitem__(self, index: int) -> str:
        return self._binding_name(index)

    def _binding_name(self, index: int) -> str:
        profile, at = divmod(index, len(self._io))
        return self._io[at][0] + (f" [profile {profile}]" if profile else "")

    def get_binding_name(self, index: int) -> str:
        return self._binding_name(index)

    def get_binding_index(self, name: str) -> int:
        count = len(self._io) * len(self._plan.profiles)
        names = [self._binding_name(index) for index in range(count)]
        return names.index(name) if name in names else -1

    def binding_is_input(self, index: int) -> bool:
        return bool(self._io[index % len(self._io)][1])

    def get_binding_shape(self, index: int) -> Tuple[int, ...]:
        return tuple(self._io[index % len(self._io)][2])

    def get_binding_dtype(self, index: int) -> Any:
        return self._home.value("DataType", "FLOAT")

    def get_profile_shape(self, profile_index: int, binding: Any) -> List[Tuple[int, ...]]:
        at = binding if isinstance(binding, int) else self.get_binding_index(binding)
        if at // len(self._io) != profile_index:
            self._log("ERROR", f"binding {binding} does not belong to profile {profile_index}")
            return []
        return list(self._plan.profiles[profile_index][self._io[at % len(self._io)][0]])

    # --- Named tensors: from 8.5 on ------------------------------------------------------------

    @property
    def num_io_tensors(self) -> int:
        return len(self._io)

    def get_tensor_name(self, index: int) -> str:
        return str(self._io[index][0])

    def _entry(self, name: str) -> Any:
        return next((entry for entry in self._io if entry[0] == name), None)

    def get_tensor_mode(self, name: str) -> Any:
        entry = self._entry(name)
        mode = "NONE" if entry is None else "INPUT" if entry[1] else "OUTPUT"
        return self._home.value("TensorIOMode", mode)

    def get_tensor_shape(self, name: str) -> Tuple[int, ...]:
        return tuple(self._entry(name)[2])

    def get_tensor_dtype(self, name: str) -> Any:
        return self._home.value("DataType", "FLOAT")

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> List[Tuple[int, ...]]:
        return list(self._plan.profiles[profile_index][name])


class EngineInspector(TrtObject):
    def _started(self) -> Any:
        self._live("engine inspector")
        return self

    @property
    def execution_context(self) -> Any:
        return self._execution

    @execution_context.setter
    def execution_context(self, execution: Any) -> None:
        self._execution = execution

    def get_engine_information(self, format: Any) -> str:
        layers = [self._layer(index) for index in range(len(self._engine._layers))]
        if format.name == "ONELINE":
            return "\n".join(str(layer) for layer in layers)
        names = [name for name, _, _ in self._engine._io]
        return json.dumps({"Layers": layers, "Bindings": names}, indent=1)

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        layer = self._layer(layer_index)
        return json.dumps(layer) if format.name == "JSON" else str(layer)

    def _layer(self, index: int) -> Any:
        """A layer as the engine was told to remember it: by name only, or in detail."""
        engine = self._engine
        name = engine._layers[index]
        if engine._plan.detailed not in ("DETAILED", "VERBOSE"):
            return name
        first = name.split(" + ")[0]
        nodes = [node for node in engine._graph.nodes if first in (node.name, *node.outputs)]
        node = nodes[0] if nodes else None
        half = engine._plan.half and first not in engine._plan.held
        if node is not None and not engine._plan.half:
            half = onnx_walk.is_half(engine._graph, node)
        return {
            "Name": name,
            "LayerType": LAYER_OF[node.operator].capitalize() if node is not None else "Reformat",
            "Inputs": [self._tensor(one, half) for one in (node.inputs[:1] if node else ())],
            "Outputs": [self._tensor(one, half) for one in (node.outputs if node else ())],
            "TacticValue": f"0x{index:016x}",
        }

    def _tensor(self, name: str, half: bool) -> Dict[str, Any]:
        shape: Optional[List[int]] = [1, 8, 4, 8, 8] if self._execution is not None else [-1, 8]
        kind = "FP16" if half else "FP32"
        return {
            "Name": name,
            "Location": "Device",
            "Dimensions": shape,
            "Format/Datatype": f"Row major linear {kind} format",
        }


def _shape(shape: Any) -> Tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def _died_in_its_context(thing: Any, what: str) -> None:
    """Count a deleted object out; it needs its CUDA context to be deleted in."""
    if thing._key is None:
        return
    machine = thing._home.machine
    machine.died(thing._key)
    if thing._context is not None and not thing._context.alive:
        machine.problem(f"{what} was deleted after its CUDA context")
    elif thing._context is not machine.current_context():
        machine.problem(f"{what} was deleted while its CUDA context was not current")


CLASSES: Dict[str, type] = {
    "Runtime": Runtime,
    "ICudaEngine": ICudaEngine,
    "EngineInspector": EngineInspector,
}
CLASSES.update(trt_execution.CLASSES)
