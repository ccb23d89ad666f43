"""Float ranges over counts, rewritten to count in int64 before a model loses precision.

Exporters write `Range(0.0, Cast(n, float32), 1.0)` for grids and positions. Converted, the count
`n` passes through float16, which rounds every odd number above 2048, so that the range ends too
early or too late; and TensorRT-RTX 1.7 fails on the mixed types of such a range whose length is
dynamic. Counting in int64 and casting the result gives the same values and avoids both.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.onnx import graph

_INTEGERS = (TensorProto.INT32, TensorProto.INT64)


def count_in_integers(model: ModelProto) -> int:
    """Rewrite, in place, each float32 range from a whole start in whole steps to a cast integer.

    Returns:
        How many ranges were rewritten.
    """
    known = dict(graph.constants(model.graph))
    return sum(_rewrite(scope, known) for scope in graph.walk_graphs(model.graph))


def _rewrite(scope: GraphProto, known: dict[str, TensorProto]) -> int:
    makers = {name: node for node in scope.node for name in node.output}
    types = {
        value.name: value.type.tensor_type.elem_type for value in (*scope.value_info, *scope.input)
    }
    nodes: list[NodeProto] = []
    rewritten = 0
    for node in scope.node:
        count = _count(node, makers, types, known) if node.op_type == "Range" else None
        if count is None:
            nodes.append(_copied(node))
        else:
            nodes += _counted(node, count, known)
            rewritten += 1
    if rewritten:
        del scope.node[:]
        scope.node.extend(nodes)
    return rewritten


def _count(
    node: NodeProto,
    makers: dict[str, NodeProto],
    types: dict[str, int],
    known: dict[str, TensorProto],
) -> str | None:
    """Return the integer that a range counts to, or None if the range is of another kind."""
    start, limit, delta = node.input
    maker = makers.get(limit)
    if maker is None or maker.op_type != "Cast" or types.get(maker.input[0]) not in _INTEGERS:
        return None
    to = next(attribute.i for attribute in maker.attribute if attribute.name == "to")
    if to != TensorProto.FLOAT or not (_is_whole(start, known) and _is_whole(delta, known)):
        return None
    return str(maker.input[0])


def _is_whole(name: str, known: dict[str, TensorProto]) -> bool:
    if name not in known or known[name].data_type != TensorProto.FLOAT:
        return False
    value = numpy_helper.to_array(known[name])
    # Up to 2**24 every whole number is a float32.
    return value.size == 1 and bool(value == np.rint(value)) and bool(abs(value) <= 2**24)


def _counted(node: NodeProto, count: str, known: dict[str, TensorProto]) -> list[NodeProto]:
    output = node.output[0]
    start, delta = (
        helper.make_node(
            "Constant", [], [f"{output}_{part}"], value=_whole(known[node.input[index]])
        )
        for part, index in (("start", 0), ("delta", 2))
    )
    # A limit that is int64 already passes through this cast as it is.
    limit = helper.make_node("Cast", [count], [f"{output}_limit"], to=TensorProto.INT64)
    names = [start.output[0], limit.output[0], delta.output[0]]
    counted = helper.make_node("Range", names, [f"{output}_int64"], name=node.name)
    cast = helper.make_node(
        "Cast", [counted.output[0]], [output], name=f"{node.name}_to_float", to=TensorProto.FLOAT
    )
    return [start, delta, limit, counted, cast]


def _whole(tensor: TensorProto) -> TensorProto:
    value = numpy_helper.to_array(tensor).reshape(())
    return numpy_helper.from_array(value.astype(np.int64))


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
