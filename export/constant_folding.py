"""Evaluates what a graph computes from constants alone, so that no reader has to."""

from typing import Any, Dict, List

import numpy as np


def fold_constants(model: Any) -> None:
    """Replace every node of an ONNX model whose inputs are constants by its result, in place.

    The exporter writes the amounts of a padding as seven nodes of shape arithmetic; TensorRT 8.2
    wants them as numbers.

    Args:
        model: an onnx.ModelProto; its ``Constant`` nodes become initializers too.
    """
    from onnx import numpy_helper

    graph = model.graph
    weights: Dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    folded: Dict[str, np.ndarray] = {}

    def constant(name: str) -> np.ndarray:
        # Converted when asked for: hardly any of a network's weights is.
        return folded[name] if name in folded else numpy_helper.to_array(weights[name])

    kept: List[Any] = []
    for node in graph.node:
        names = [name for name in node.input if name]
        if all(name in weights or name in folded for name in names) and not _is_random(node):
            inputs = {name: constant(name) for name in names}
            folded.update(zip(node.output, _evaluate(node, inputs, model.opset_import)))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input} | {out.name for out in graph.output}
    del graph.node[:]
    graph.node.extend(kept)
    for name in set(weights) - used:
        graph.initializer.remove(weights[name])
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in folded.items() if name in used
    )


def _evaluate(node: Any, inputs: Dict[str, np.ndarray], opsets: Any) -> List[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(node, opsets={one.domain: one.version for one in opsets})
    return [np.asarray(result) for result in evaluator.run(None, inputs)]


def _is_random(node: Any) -> bool:
    return bool(node.op_type.startswith(("Random", "Multinomial", "Bernoulli")))
