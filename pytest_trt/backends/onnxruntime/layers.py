"""The layers of an engine that is an ONNX file: its nodes, their precisions and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import NodeProto

from pytest_trt.backends.conversion.tensor_types import tensor_types
from pytest_trt.engine.facts import CONVERSION, INTEGER, Layer, precision_of
from pytest_trt.onnx import graph
from pytest_trt.onnx.loading import repair_names
from pytest_trt.tensors.elements import element_count, element_name

#: Operators that change types and compute nothing.
_CONVERSIONS = frozenset(
    {"Cast", "CastLike", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
)


def onnx_layers(path: Path, origins: frozenset[str]) -> tuple[Layer, ...]:
    """Return the layers of an ONNX file, those of the main graph first.

    Args:
        path: The file; its external data is not read.
        origins: Names of the nodes of the original model. Of nodes that ONNX Runtime fused, only
            one is known: the one whose name the fused node has.
    """
    model = onnx.load(path, load_external_data=False)
    repair_names(model)
    precisions = {
        name: precision_of(element_name(number))
        for name, number in tensor_types(model).known.items()
    }
    sizes = {name: element_count(tensor.dims) for name, tensor in graph.constants(model.graph)}
    uncounted = dict(sizes)
    layers = []
    for scope in graph.walk_graphs(model.graph):
        for node in scope.node:
            if node.op_type == "Constant":
                continue
            weights: Counter[str] = Counter()
            blocks = _block_weights(node)
            for index, name in enumerate(node.input):
                # A constant that several nodes read is stored once, and counted with the first.
                elements = uncounted.pop(name, 0)
                if index == 1 and blocks:
                    weights["int4"] += blocks
                else:
                    weights[precisions.get(name) or INTEGER] += elements
            layers.append(
                Layer(
                    name=node.name or next(filter(None, node.output), node.op_type),
                    kind=node.op_type,
                    precision=_precision(node, precisions, sizes),
                    origins=tuple({node.name, _fused_name(node.name)} & origins),
                    weights=dict(+weights),
                )
            )
    return tuple(layers)


def casts_to(path: Path, dtype: str) -> bool:
    """Whether a node of an ONNX file casts to a type, such as "float16"."""
    return any(
        element_name(attribute.i) == dtype
        for scope in graph.walk_graphs(onnx.load(path, load_external_data=False).graph)
        for node in scope.node
        if node.op_type == "Cast"
        for attribute in node.attribute
        if attribute.name == "to"
    )


def _fused_name(name: str) -> str:
    """Return the original name in that of a fused node: "x/Mul/LayerNormFusion/"."""
    return name[:-1].rpartition("/")[0] if name.endswith("/") else name


def _block_weights(node: NodeProto) -> int:
    """Return how many weights an operator of block-quantised weights of 4 bits has; 0 for others.

    They are packed into a second input of bytes.
    """
    numbers = {one.name: one.i for one in node.attribute}
    if node.op_type != "MatMulNBits" or numbers.get("bits", 4) != 4:
        return 0
    return int(numbers.get("K", 0)) * int(numbers.get("N", 0))


def _precision(
    node: NodeProto, precisions: Mapping[str, str | None], sizes: Mapping[str, int]
) -> str | None:
    """Return the precision that a node computes in, by its inputs rather than its outputs."""
    if node.op_type in _CONVERSIONS:
        return CONVERSION
    if _block_weights(node):
        return "int4"
    if node.input and precisions.get(node.input[0]) == "int8":
        return "int8"
    weights = [name for name in node.input if name in sizes and precisions.get(name) != INTEGER]
    if weights:
        return precisions.get(max(weights, key=sizes.__getitem__))
    return next((precisions.get(name) for name in node.output if name), None)
