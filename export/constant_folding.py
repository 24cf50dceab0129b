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
    known: Dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        known[tensor.name] = numpy_helper.to_array(tensor)
    original = set(known)
    kept: List[Any] = []
    for node in graph.node:
        if all(name in known or not name for name in node.input) and not _is_random(node):
            known.update(zip(node.output, _evaluate(node, known, model.opset_import)))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input} | {out.name for out in graph.output}
    del graph.node[:]
    graph.node.extend(kept)
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    folded = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in known.items()
        if name in used and name not in original
    ]
    del graph.initializer[:]
    graph.initializer.extend(weights + folded)


def _evaluate(node: Any, known: Dict[str, np.ndarray], opsets: Any) -> List[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    inputs = {name: known[name] for name in node.input if name}
    evaluator = ReferenceEvaluator(node, opsets={one.domain: one.version for one in opsets})
    return [np.asarray(result) for result in evaluator.run(None, inputs)]


def _is_random(node: Any) -> bool:
    return bool(node.op_type.startswith(("Random", "Multinomial", "Bernoulli")))
