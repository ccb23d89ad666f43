"""Which integer inputs index a constant table, and how many rows it has.

Random token ids must stay inside the vocabulary: ONNX makes an index out of range an error, and
TensorRT reads whatever lies there.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_trt.onnx.proto import Graph, Node
from pytest_trt.tensors.spec import TensorSpec

#: Operators whose first output holds the same indices as their first input.
_KEEPS_INDICES = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})

#: Operators whose first output has the shape of their first input, as a stored table goes through.
_KEEPS_SHAPE = frozenset({"Cast", "DequantizeLinear", "Identity"})


def index_limits(graph: Graph, inputs: Iterable[TensorSpec]) -> dict[str, int]:
    """Return, for each integer input that indexes a table by Gather, the smallest table's rows.

    Only tables that are initialisers of the main graph are known here, and only indices that come
    from an input directly or through operators that rearrange them.
    """
    integers = {spec.name for spec in inputs if spec.dtype.lstrip("u").startswith("int")}
    producers = {
        node.outputs[0]: node
        for node in graph.nodes
        if node.outputs and node.operator in _KEEPS_INDICES | _KEEPS_SHAPE
    }
    limits: dict[str, int] = {}
    for node in graph.nodes:
        if node.operator != "Gather" or len(node.inputs) < 2:
            continue
        source = _origin(node.inputs[1], producers, _KEEPS_INDICES)
        table = graph.initializers.get(_origin(node.inputs[0], producers, _KEEPS_SHAPE), ())
        if source not in integers or not -len(table) <= node.axis < len(table):
            continue
        rows = table[node.axis]
        if rows > 0:
            limits[source] = min(rows, limits.get(source, rows))
    return limits


def _origin(name: str, producers: dict[str, Node], operators: frozenset[str]) -> str:
    """Follow first inputs up through these operators; a damaged graph may hold a circle."""
    seen = set()
    while name in producers and producers[name].operator in operators and name not in seen:
        seen.add(name)
        if not producers[name].inputs:
            break
        name = producers[name].inputs[0]
    return name
