"""Float32 to float16 by ONNX Runtime's converter, prepared and repaired around it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto

from pytest_trt.backends.conversion.converting import (
    Conversion,
    captured,
    explained,
    refuse_dynamically_quantised,
    require_named,
    verify_types,
)
from pytest_trt.backends.conversion.counting import count_in_integers
from pytest_trt.backends.conversion.float16_report import MAX_FLOAT16, Float16Watch
from pytest_trt.backends.conversion.named import listed
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import OnnxModel

_NEVER = 2**31

#: Operators whose float inputs are float32 by specification, and the opset that lifted that.
_FLOAT32_BELOW_OPSET = {
    "DynamicQuantizeLinear": _NEVER,
    "DynamicQuantizeLSTM": _NEVER,
    "DynamicQuantizeMatMul": _NEVER,
    "MatMulIntegerToFloat": _NEVER,
    "QuantizeLinear": 19,
    "DequantizeLinear": 19,
}


def to_fp16(
    model: OnnxModel, output: Path, *, options: Mapping[str, OptionValue] | None = None
) -> Conversion:
    """Convert a float32 model to float16 inside; its inputs and outputs keep their types.

    Args:
        model: What to convert.
        output: The file to write; large weights become external data next to it.
        options: Builder options of the conversion to fp16.

    Raises:
        ConfigurationError: An option names an operator or node that is not there.
        ModelError: The model cannot be read.
        EngineBuildError: It has no float32 to convert, is quantised dynamically, or mixes types
            after conversion.
    """
    options = options or {}
    refuse_dynamically_quantised(model, "fp16")
    proto = graph.load(model.path)
    require_named(model, proto, options)
    graph.modernise(proto)
    names = graph.name_nodes(proto)
    count_in_integers(proto)
    watch = Float16Watch(proto)
    if watch.is_already_float16:
        graph.save(proto, output)
        return Conversion((watch.already_note(),))
    if not watch.has_float32:
        raise EngineBuildError(
            f"{model.path.name} has no float32 values to convert to fp16 (its types: "
            f"{watch.types()})",
            fix='use precision="fp32", which runs the model as it is.',
            code="TRT355",
            facts={"model": str(model.path), "precision": "fp16", "dtypes": watch.types()},
        )
    float16: Any = importlib.import_module("onnxruntime.transformers.float16")
    blocked = {*float16.DEFAULT_OP_BLOCK_LIST, *listed(options.get("op_block_list"))}
    blocked |= {op for op, opset in _FLOAT32_BELOW_OPSET.items() if model.opset < opset}
    own_casts = casts(proto)
    with captured() as logged, explained(model, "fp16"):
        proto = float16.convert_float_to_float16(
            proto,
            max_finite_val=MAX_FLOAT16,
            keep_io_types=True,
            disable_shape_infer=True,
            op_block_list=sorted(blocked),
            node_block_list=[
                name for given in listed(options.get("node_block_list")) for name in names[given]
            ],
        )
        graph.tidy(proto)
        remove_round_trips(proto, own_casts)
    notes = watch.notes()
    graph.save(proto, output)
    del proto
    verify_types(model, output, "fp16")
    return Conversion((*notes, *logged))


def casts(model: ModelProto) -> frozenset[str]:
    """Return the outputs of a model's Cast nodes, subgraphs included."""
    return frozenset(node.output[0] for node in _nodes(model) if node.op_type == "Cast")


def remove_round_trips(model: ModelProto, own: frozenset[str]) -> None:
    """Let float32 values that were cast to float16 and back pass as they are, in place.

    Args:
        model: A converted model whose names are unique across subgraphs.
        own: Outputs of the Cast nodes that it had before; they round on purpose and remain.
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
