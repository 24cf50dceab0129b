"""The stand-in's network and ONNX parser: ONNX Runtime says whether a model is right."""

import re
from typing import Any, Dict, List, Optional, Tuple

from stand_ins import onnx_walk
from stand_ins.trt_build import LAYER_OF, TYPE_OF_ORT, layer_name
from stand_ins.trt_object import TrtObject


class INetworkDefinition(TrtObject):
    def _started(self) -> Any:
        self._model = b""
        self._layers_of_nodes: List[Any] = []
        self._live("network")
        return self

    @property
    def name(self) -> str:
        return "Unnamed Network"

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> Any:
        return self._layers[index]

    def get_layer(self, index: int) -> Any:
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> Any:
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_output(self, index: int) -> Any:
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    def _fill(self, model: bytes, graph: Any) -> None:
        """Make the layers: one a node, and those that the release's parser puts between."""
        session = onnx_walk.session(model)
        self._model, self._graph = model, graph
        self._inputs = [_outer_tensor(self._home, entry) for entry in session.get_inputs()]
        self._outputs = [_outer_tensor(self._home, entry) for entry in session.get_outputs()]
        for node in graph.nodes:
            start = len(self._layers)
            self._fill_node(node, layer_name(node))
            self._layers_of_nodes.append(self._layers[start:])

    def _fill_node(self, node: Any, name: str) -> None:
        kind = LAYER_OF[node.operator]
        constants = [one for one in node.inputs if one in self._graph.initializers]
        inputs = tuple(one for one in node.inputs if one not in self._graph.initializers)
        newer = self._home.release.largest_opset is None
        if newer and node.operator == "GlobalAveragePool":
            kind = "REDUCE"
        if kind == "ELEMENTWISE" or (newer and kind == "FULLY_CONNECTED"):
            for constant in constants:
                self._add_layer(constant, "CONSTANT", (), (constant,))
        if newer and node.operator == "Flatten":
            # The sizes are computed in the network, by layers of integers.
            self._add_layer("ONNXTRT_ShapeTensor", "SHAPE", inputs, ("ONNXTRT_shape",))
        if newer and kind == "FULLY_CONNECTED":
            self._add_layer(name, "MATRIX_MULTIPLY", inputs, node.outputs)
            if len(constants) > 1:  # a name that occurs twice gets a number
                self._add_layer(f"{name}_{len(self._layers)}", "ELEMENTWISE", inputs, node.outputs)
            return
        self._add_layer(name, kind, inputs, node.outputs)

    def _add_layer(self, name: str, kind: str, inputs: Any, outputs: Any) -> None:
        layer = self._home.make(
            "ILayer",
            _network=self,
            _name=name,
            _kind=kind,
            _inputs=inputs,
            _outputs=outputs,
            _precision=None,
            _output_types={},
        )
        self._layers.append(layer)

    def _tensor(self, name: str) -> Any:
        """A tensor by name, with what ONNX Runtime infers of it."""
        for tensor in self._inputs + self._outputs:
            if tensor._name == name:
                return tensor
        if name in self._graph.initializers:
            weights = self._graph.initializers[name]
            kind = "HALF" if weights.is_half else "FLOAT"
            return self._home.make("ITensor", _name=name, _shape=weights.shape, _kind=kind)
        if name == "ONNXTRT_shape":
            return self._home.make("ITensor", _name=name, _shape=(5,), _kind="INT64")
        names = [name for node in self._graph.nodes for name in node.outputs]
        inner = [name for name in names if name not in {t._name for t in self._outputs}]
        shape, kind = onnx_walk.tensor_shapes(self._model, inner)[name]
        return self._home.make(
            "ITensor", _name=name, _shape=shape, _kind=TYPE_OF_ORT.get(kind, "BOOL")
        )


def _outer_tensor(home: Any, entry: Any) -> Any:
    shape = tuple(size if isinstance(size, int) else -1 for size in entry.shape)
    return home.make("ITensor", _name=entry.name, _shape=shape, _kind=TYPE_OF_ORT[entry.type])


class ITensor(TrtObject):
    @property
    def name(self) -> str:
        return str(self._name)

    @property
    def shape(self) -> Tuple[int, ...]:
        return tuple(self._shape)

    @property
    def dtype(self) -> Any:
        return self._home.value("DataType", self._kind)

    @property
    def is_shape_tensor(self) -> bool:
        return self._kind not in ("FLOAT", "HALF")

    @property
    def is_execution_tensor(self) -> bool:
        return not self.is_shape_tensor


class ILayer(TrtObject):
    @property
    def name(self) -> str:
        return str(self._name)

    @property
    def type(self) -> Any:
        return self._home.value("LayerType", self._kind)

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_input(self, index: int) -> Any:
        return self._network._tensor(self._inputs[index])

    def get_output(self, index: int) -> Any:
        return self._network._tensor(self._outputs[index])

    @property
    def precision(self) -> Any:
        return self._home.value("DataType", self._precision or "FLOAT")

    @precision.setter
    def precision(self, kind: Any) -> None:
        self._precision = kind.name

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._output_types[index] = dtype.name

    def get_output_type(self, index: int) -> Any:
        return self._home.value("DataType", self._network._tensor(self._outputs[index])._kind)

    def _held(self) -> bool:
        """In fp32 for good: an output that is stored in fp16 overflows all the same."""
        outputs = [self._output_types.get(index) for index in range(len(self._outputs))]
        return self._precision == "FLOAT" and set(outputs) == {"FLOAT"}

    def _types_that_cannot_be_set(self) -> List[str]:
        """The types of the outputs that were told to be fp32: an integer one cannot be."""
        told = [index for index, kind in self._output_types.items() if kind == "FLOAT"]
        kinds = [self._network._tensor(self._outputs[index])._kind for index in told]
        return ["FLOAT" if kind == "HALF" else kind for kind in kinds]


class OnnxParser(TrtObject):
    def __init__(self, network: Any, logger: Any) -> None:
        self._network = network
        self._logger = logger
        self._errors: List[Any] = []
        self._live("ONNX parser")

    def parse(self, model: Any, path: Optional[str] = None) -> bool:
        model = bytes(model)
        if not self._network._explicit:
            self._fail("parse", "INVALID_VALUE", _NOT_EXPLICIT)
            return False
        try:
            graph = onnx_walk.read_graph(model)
        except onnx_walk.NotOnnxError:
            self._fail("deserializeOnnxModel", "MODEL_DESERIALIZE_FAILED", _NOT_ONNX)
            return False
        self._check_operators(graph)
        if not self._errors:
            try:
                self._network._fill(model, graph)
            except Exception as error:  # ONNX Runtime's have no common base but this one
                node = _node_of(graph, str(error))
                self._fail("parseNode", "INVALID_NODE", str(error), graph, node)
        return not self._errors

    def _check_operators(self, graph: Any) -> None:
        release = self._home.release
        if release.largest_opset is not None and graph.opset > release.largest_opset:
            text = f"Assertion failed: unsupported opset {graph.opset}; it is at most "
            self._fail("parseGraph", "UNSUPPORTED_GRAPH", text + str(release.largest_opset))
            return
        for index, node in enumerate(graph.nodes):
            if node.operator not in LAYER_OF:
                if release.largest_opset is not None:  # the older parsers stop at the first
                    text = f"Assertion failed: {_NO_PLUGIN}"
                    self._fail("parseNode", "UNSUPPORTED_NODE", text, graph, index)
                    return
                self._fail("parseNode", "UNSUPPORTED_NODE", _NO_PLUGIN, graph, index)

    def _fail(self, function: str, code: str, text: str, graph: Any = None, node: int = -1) -> None:
        found = graph.nodes[node] if graph is not None and node >= 0 else None
        error = self._home.make(
            "ParserError",
            _code=code,
            _desc=text,
            _func=function,
            _node=node,
            _name=found.name if found else "",
            _operator=found.operator if found else "",
        )
        self._errors.append(error)
        self._log("ERROR", str(error))

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index] if 0 <= index < len(self._errors) else None

    def clear_errors(self) -> None:
        self._errors = []


_NO_PLUGIN = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
_NOT_EXPLICIT = (
    "Assertion failed: !_importer_ctx.network()->hasImplicitBatchDimension(): This version of the "
    "ONNX parser only supports TensorRT INetworkDefinitions with an explicit batch dimension. "
    "Please ensure the network was created using the EXPLICIT_BATCH flag."
)
_NOT_ONNX = (
    "Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to parse the ONNX model."
)


def _node_of(graph: Any, text: str) -> int:
    """The node that ONNX Runtime complains of, by the name in its message; -1 for none."""
    match = re.search(r"[Nn]ode[ :]*\(([^)]*)\)", text)
    names = [layer_name(node) for node in graph.nodes]
    return names.index(match.group(1)) if match and match.group(1) in names else -1


class ParserError(TrtObject):
    def code(self) -> Any:
        return self._home.value("ErrorCode", self._code)

    def desc(self) -> str:
        return str(self._desc)

    def file(self) -> str:
        return "ModelImporter.cpp"

    def func(self) -> str:
        return str(self._func)

    def line(self) -> int:
        return 162

    def node(self) -> int:
        return int(self._node)

    def node_name(self) -> str:
        return str(self._name)

    def node_operator(self) -> str:
        return str(self._operator)

    def __str__(self) -> str:
        place = f"In node {self._node} " if self._node >= 0 else ""
        return f"{place}({self._func}): {self._code}: {self._desc}"

    __repr__ = __str__


CLASSES: Dict[str, type] = {
    "INetworkDefinition": INetworkDefinition,
    "ILayer": ILayer,
    "ITensor": ITensor,
    "OnnxParser": OnnxParser,
    "ParserError": ParserError,
}
