"""What an fp16 ONNX file computes, found out by ONNX Runtime on a CPU.

On x86 ONNX Runtime has hardly a kernel for fp16: it computes in fp32 and takes the casts between
two nodes away, at every level of optimisation and even where the file has them. A number beyond
65504 passes through unharmed, and so the file run as one proves nothing about fp16. Here each node
runs alone and its results are kept in the type that the file says: every tensor is rounded, and
what is too large is infinite. Sums inside a node are in fp32, as a tensor core's are.
"""

from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np

from clipedge.export.fp16_graph import load_graph
from clipedge.jetson.errors import ModelFileError

Tensors = Dict[str, np.ndarray]


class NodeRunner:
    """One node of a graph, alone."""

    def __init__(self, node: Any, opsets: Any, ir_version: int) -> None:
        self.node = node
        self.inputs = [name for name in node.input if name]
        self.outputs = [name for name in node.output if name]
        self._opsets = opsets
        self._ir_version = ir_version

    def run(self, inputs: Tensors) -> Tensors:
        """Compute the outputs in the types that ONNX gives them for these inputs' types.

        Raises:
            ModelFileError: ONNX Runtime cannot run the node.
        """
        import onnxruntime
        from onnx import helper

        infos = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(inputs[name].dtype),
                [None] * inputs[name].ndim,
            )
            for name in dict.fromkeys(self.inputs)
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in self.outputs]
        graph = helper.make_graph([self.node], "node", infos, outputs)
        model = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir_version)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            results = session.run(self.outputs, {name: inputs[name] for name in self.inputs})
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise ModelFileError(
                f"ONNX Runtime cannot run {self.node.op_type} {self.node.name}: {error}"
            ) from None
        return dict(zip(self.outputs, results))


class Steps:
    """A graph that is run node by node, holding no more tensors than are needed still."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        graph = model.graph
        self.weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.input_name: str = graph.input[0].name
        self.output_name: str = graph.output[0].name
        self.nodes = [NodeRunner(node, model.opset_import, model.ir_version) for node in graph.node]
        self._last_use: Dict[str, int] = {self.output_name: len(self.nodes)}
        for index, runner in enumerate(self.nodes):
            for name in runner.inputs:
                self._last_use[name] = max(index, self._last_use.get(name, 0))

    def run(self, clips: np.ndarray) -> Iterator[Tuple[NodeRunner, Tensors, Tensors]]:
        """Run the graph; after each node give it with its inputs and outputs.

        Args:
            clips: (N, 3, T, H, W) float32, RGB, 0-255.
        """
        alive: Tensors = {self.input_name: clips}
        for index, runner in enumerate(self.nodes):
            inputs = {
                name: self.weights[name] if name in self.weights else alive[name]
                for name in runner.inputs
            }
            outputs = runner.run(inputs)
            yield runner, inputs, outputs
            alive.update(outputs)
            alive = {
                name: value for name, value in alive.items() if self._last_use.get(name, -1) > index
            }


def simulated_logits(onnx_bytes: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs this file, fp16 or fp32, rounding as the file says.

    Args:
        onnx_bytes: the file's content, from ``to_fp16``.

    Returns:
        A function from clips, (N, 3, T, H, W) float32, RGB, 0-255, to logits (N, classes) float32.
    """
    steps = Steps(load_graph(onnx_bytes))

    def infer(clips: np.ndarray) -> np.ndarray:
        logits: List[np.ndarray] = []
        for _, _, outputs in steps.run(clips):
            logits = [outputs[steps.output_name]] if steps.output_name in outputs else logits
        return logits[0]

    return infer
