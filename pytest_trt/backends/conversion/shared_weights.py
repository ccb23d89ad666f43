"""Weights that several operators share, as heads of detectors do, made each operator's own."""

from __future__ import annotations

from onnx import GraphProto, TensorProto

#: Operators whose second input is weights that quantisation stores as INT8.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def unshare_weights(graph: GraphProto) -> None:
    """Give every operator weights of its own.

    Quantised weights that two convolutions share make ONNX Runtime stop when it fuses them both:
    "AddInitializedOrtValue Attempt to replace the existing tensor" (seen with 1.32).
    """
    weights = {one.name: one for one in graph.initializer}
    taken = set(weights).union(*(node.output for node in graph.node))
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type not in _WEIGHTED or len(node.input) < 2 or node.input[1] not in weights:
            continue
        name = node.input[1]
        if name in seen:
            own = TensorProto()
            own.CopyFrom(weights[name])
            own.name = _free(name, taken)
            taken.add(own.name)
            graph.initializer.append(own)
            node.input[1] = own.name
        seen.add(name)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
