"""Detours through float16 between nodes that stay float32, taken out after a conversion.

ONNX Runtime's converter surrounds each node that stays float32 with casts, so that a value passed
from one such node to the next goes through float16 all the same: a sum of squares of 190,000 kept
in float32 would still become infinite on its way to the division behind it.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto

from pytest_trt.onnx import graph


def casts(model: ModelProto) -> frozenset[str]:
    """Return the outputs of a model's Cast nodes, subgraphs included."""
    return frozenset(node.output[0] for node in _nodes(model) if node.op_type == "Cast")


def remove_round_trips(model: ModelProto, own: frozenset[str]) -> None:
    """Let float32 values that were cast to float16 and back pass as they are, in place.

    Args:
        model: A converted model whose names are unique across subgraphs.
        own: Outputs of the Cast nodes that it had before; they round on purpose and are kept.
    """
    added = {
        node.output[0]: node
        for node in _nodes(model)
        if node.op_type == "Cast" and node.output[0] not in own
    }
    for node in added.values():
        down = added.get(node.input[0])
        if down is not None and (_to(down), _to(node)) == (TensorProto.FLOAT16, TensorProto.FLOAT):
            # A cast of float32 to float32 is left, which every builder drops: the name that it
            # defines may be an output of the graph.
            node.input[0] = down.input[0]


def _nodes(model: ModelProto) -> list[NodeProto]:
    return [node for scope in graph.walk_graphs(model.graph) for node in scope.node]


def _to(node: NodeProto) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")
