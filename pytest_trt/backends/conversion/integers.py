"""Float arithmetic over integers that becomes an integer or a shape again, or is compared.

Exporters compute sizes and positions in float32: `Floor(Cast(Shape(x)) * 2.0)` for the size of a
Resize. Float16 holds no odd number above 2048, so such a size would be wrong, and the model fail or
give an output of another shape. These nodes stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import ModelProto, NodeProto, TensorProto

from pytest_trt.backends.conversion.tensor_types import NOT_FLOAT16, TensorTypes, is_standard
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.input_roles import COMPUTES_SIZES, SIZES

#: Operators that compare two values: positions are compared with lengths.
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})

#: A constant of more elements holds weights rather than factors of a size.
_FACTORS = 64


def integer_arithmetic(model: ModelProto, types: TensorTypes) -> frozenset[str]:
    """Return the names of the nodes that compute integers in float32.

    Args:
        model: A model whose names are unique across subgraphs, with sorted and named nodes.
        types: The types of its tensors.
    """
    nodes = [node for scope in surgery.walk_graphs(model.graph) for node in scope.node]
    found = _Integers(nodes, model, types)
    float32_nodes: set[str] = set()
    open_names = [name for node in nodes for name in _ends(node, types) if found.is_integer(name)]
    while open_names:
        maker = found.makers.get(open_names.pop())
        if maker is None or maker.name in float32_nodes or maker.op_type == "Constant":
            continue
        float32_nodes.add(maker.name)
        open_names += [name for name in maker.input if found.is_integer(name)]
    # What ends such a computation compares or counts in float32 too.
    float32_nodes |= {
        node.name
        for node in nodes
        if node.op_type in _COMPARISONS and all(map(found.is_integer, node.input))
    }
    return frozenset(float32_nodes)


def _ends(node: NodeProto, types: TensorTypes) -> Iterator[str]:
    """Yield the float32 inputs of a node that it uses as an integer."""
    if not is_standard(node):
        return
    places: tuple[int, ...] = SIZES.get(node.op_type, ())
    if node.op_type == "Cast" and types.known.get(node.output[0]) != TensorProto.FLOAT:
        to = types.known.get(node.output[0], NOT_FLOAT16)
        places = (0,) if to in (TensorProto.INT32, TensorProto.INT64) else ()
    elif node.op_type in _COMPARISONS:
        places = (0, 1)
    for place in places:
        if place < len(node.input) and types.known.get(node.input[place]) == TensorProto.FLOAT:
            yield node.input[place]


class _Integers:
    """Which float32 values come from integers and constants alone."""

    def __init__(self, nodes: list[NodeProto], model: ModelProto, types: TensorTypes) -> None:
        self.makers = {name: node for node in nodes for name in node.output if name}
        self._types = types
        constants = dict(surgery.constants(model.graph))
        self._factors = {
            name
            for name, tensor in constants.items()
            if _size(tensor) <= _FACTORS and tensor.data_type == TensorProto.FLOAT
        }
        self._integers: set[str] = set()
        for node in nodes:  # sorted, so that what a node reads was looked at
            if self._computes(node):
                self._integers.update(node.output)

    def is_integer(self, name: str) -> bool:
        """Whether a float32 value comes from integers and constants alone."""
        return name in self._integers or name in self._factors

    def _computes(self, node: NodeProto) -> bool:
        if not is_standard(node) or not node.output:
            return False
        if self._types.known.get(node.output[0]) != TensorProto.FLOAT:
            return False
        floats = [
            name for name in node.input if name and self._types.known.get(name) == TensorProto.FLOAT
        ]
        if node.op_type == "Cast":
            return not floats or self.is_integer(floats[0])
        return node.op_type in COMPUTES_SIZES and all(map(self.is_integer, floats))


def _size(tensor: TensorProto) -> int:
    size = 1
    for dim in tensor.dims:
        size *= dim
    return size
