"""Makes a float16 or bfloat16 model compute in float32 with the rounding and range of its type.

Both are called narrow here. ONNX Runtime has hardly any float16 kernels for CPUs, and fewer for
bfloat16. It casts the inputs of a float16 operator to
float32 and its outputs back, then drops the casts between operators: such a model is computed in
float32 from end to end, nothing is rounded and nothing overflows. Casts that are the model's own
survive every optimisation level. So every tensor becomes float32, and what an operator computes
goes through a cast to the narrow type and back: each tensor holds what that would hold.

Inside one operator (the sum of a matrix product, the steps of an LSTM) all is float32, as on GPUs
that accumulate in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from pytest_trt.backends.conversion.narrow_types import FLOAT16, NarrowType
from pytest_trt.backends.conversion.tensor_types import element_type, is_standard, tensor_types
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.onnx import graph as surgery

#: Operators that return values which they were given, or exact ones: rounding changes nothing. For
#: operators that are not listed it may change nothing either, and only costs time.
EXACT = frozenset(
    {
        *("Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten"),
        *("Gather", "GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Reshape"),
        *("ReverseSequence", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose"),
        *("Trilu", "Unique", "Unsqueeze"),
        # One of the input values is selected.
        *("Clip", "GlobalMaxPool", "Max", "MaxPool", "MaxUnpool", "Min", "ReduceMax", "ReduceMin"),
        *("Relu", "TopK", "Where"),
        # A narrow type holds the result of each of its values.
        *("Abs", "Ceil", "Floor", "Neg", "Round", "Sign"),
        # What leaves a body was rounded inside it; containers hold tensors that were.
        *("If", "Loop", "Scan", "SequenceMap"),
        *("ConcatFromSequence", "Optional", "OptionalGetElement", "SequenceAt"),
        *("SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
        "SplitToSequence",
    }
)


def round_file(
    path: Path, float32_outputs: Collection[str] = (), to: NarrowType = FLOAT16
) -> tuple[str, ...]:
    """Rewrite a file that `to_narrow` wrote, external data included, as `round_model` does.

    Raises:
        EngineBuildError: An input or output is a sequence of narrow tensors.
    """
    # Not `surgery.load`: shapes were inferred before the conversion, and inferring them again fails
    # where the converter declared a value narrow that a float32 operator makes.
    model = onnx.load(path)
    notes = round_model(model, float32_outputs, to)
    # Some versions of onnx append to a file of external data that is there already.
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    surgery.save(model, path)
    return notes


def round_model(
    model: ModelProto, float32_outputs: Collection[str] = (), to: NarrowType = FLOAT16
) -> tuple[str, ...]:
    """Rewrite a narrow model to compute in float32 with its type's rounding and range, in place.

    Inputs and outputs keep their types. A model without narrow tensors keeps its operators.

    Args:
        model: The model with its weights in memory. Local functions are inlined, names that
            graphs share made unique, nodes sorted.
        float32_outputs: Float32 outputs of the main graph that are rounded as well, made by nodes
            of it. What else reads them reads them exact.
        to: The narrow type.

    Returns:
        What could not be rounded, one line each; empty if everything was.

    Raises:
        EngineBuildError: An input or output is a sequence of narrow tensors: a border that no
            cast can cross.
        ModelError: The graph has a cycle.
    """
    if model.functions:
        model.CopyFrom(onnx.inliner.inline_local_functions(model))
    surgery.modernise(model)
    surgery.tidy(model)
    tensors = tensor_types(model)
    is_narrow = {name: number == to.element for name, number in tensors.known.items()}
    if not any(is_narrow.values()):
        return (f"nothing in the model is {to.name}, so nothing is rounded",)
    rounding = _Rounding(is_narrow, model.graph, to)
    casts = rounding.separate_borders(model.graph, float32_outputs)
    for graph in surgery.walk_graphs(model.graph):
        rounding.rewrite(graph)
    model.graph.node.extend(casts)
    surgery.tidy(model)
    surgery.name_nodes(model)
    return tuple(
        f"the type of {count} output{'s' * (count > 1)} of {op_type} is not known; not rounded"
        for op_type, count in sorted(tensors.unknown.items())
    )


class _Rounding:
    """Rewrites the graphs of one model; hands out names that none of them uses."""

    def __init__(self, is_narrow: Mapping[str, bool], main: GraphProto, to: NarrowType) -> None:
        self._is_narrow, self._to = dict(is_narrow), to
        self._used = {
            name
            for graph in surgery.walk_graphs(main)
            for node in graph.node
            for name in (*node.input, *node.output)
        } | self._is_narrow.keys()

    def separate_borders(
        self, main: GraphProto, float32_outputs: Collection[str]
    ) -> list[NodeProto]:
        """Rename what inputs and outputs are inside; return the casts between the two."""
        inputs = {value.name for value in main.input}
        inside: dict[str, str] = {}
        casts = []
        for value in _narrow_values(main.input, self._to):
            inside[value.name] = fresh = surgery.fresh_name(f"{value.name}_float32", self._used)
            casts.append(surgery.cast(value.name, fresh, TensorProto.FLOAT))
        for value in _narrow_values(main.output, self._to):
            if value.name not in inputs:
                inside[value.name] = fresh = surgery.fresh_name(f"{value.name}_float32", self._used)
                casts.append(surgery.cast(fresh, value.name, self._to.element))
        self._is_narrow.update(dict.fromkeys(inside.values(), True))
        for name in float32_outputs:
            inside[name] = exact = surgery.fresh_name(f"{name}_unrounded", self._used)
            rounded = surgery.fresh_name(f"{name}_{self._to.name}", self._used)
            casts.append(surgery.cast(exact, rounded, self._to.element))
            casts.append(surgery.cast(rounded, name, TensorProto.FLOAT))
        for graph in surgery.walk_graphs(main):
            surgery.rename_inside(graph, inside)
        return casts

    def rewrite(self, graph: GraphProto) -> None:
        """Make every tensor of one graph float32, except where the model itself begins and ends."""
        for tensor in graph.initializer:
            widen_tensor(tensor, self._to)
        for sparse in graph.sparse_initializer:
            widen_tensor(sparse.values, self._to)
        for value in graph.value_info:
            widen_type(value.type, self._to)
        graph.node.extend([cast for node in graph.node for cast in self._round(node)])
        for body in (body for node in graph.node for body in surgery.subgraphs(node)):
            for value in (*body.input, *body.output):
                widen_type(value.type, self._to)

    def _round(self, node: NodeProto) -> Iterator[NodeProto]:
        """Rewrite a node for float32 inputs; yield the casts that have to follow it."""
        for attribute in node.attribute:
            widen_attribute(attribute, self._to)
        if node.op_type in ("Cast", "CastLike") and is_standard(node):
            self._make_cast(node)
        if node.op_type in EXACT and is_standard(node) and not _has_number(node):
            return
        for index, name in enumerate(node.output):
            if not name or not self._is_narrow.get(name):
                continue
            rounded = surgery.fresh_name(f"{name}_{self._to.name}", self._used)
            if node.op_type == "Cast":
                node.output[index] = rounded
            else:
                node.output[index] = exact = surgery.fresh_name(f"{name}_unrounded", self._used)
                yield surgery.cast(exact, rounded, self._to.element)
            yield surgery.cast(rounded, name, TensorProto.FLOAT)

    def _make_cast(self, node: NodeProto) -> None:
        """Turn a cast from or to the narrow type into an Identity or a plain cast to it."""
        source = self._is_narrow.get(node.input[0])
        target = self._is_narrow.get(node.output[0])
        if source and (target or _target(node) == TensorProto.FLOAT):
            kind, attributes = "Identity", []
        elif target:
            kind, attributes = "Cast", [helper.make_attribute("to", self._to.element)]
        else:
            return
        node.op_type = kind
        del node.input[1:], node.attribute[:]
        node.attribute.extend(attributes)


def _target(node: NodeProto) -> int:
    return next((entry.i for entry in node.attribute if entry.name == "to"), 0)


def _has_number(node: NodeProto) -> bool:
    """Whether an operator has a number of its own, as Clip and Pad had before opset 11."""
    return any(attribute.type == AttributeProto.FLOAT for attribute in node.attribute)


def _narrow_values(values: Iterable[ValueInfoProto], to: NarrowType) -> Iterator[ValueInfoProto]:
    for value in values:
        if element_type(value.type) != to.element:
            continue
        if not value.type.HasField("tensor_type"):
            raise EngineBuildError(
                f"{value.name!r} is a sequence of {to.name} tensors, which ONNX cannot cast",
                fix="export the model with single tensors as inputs and outputs.",
                code="TRT354",
                facts={"tensor": value.name, "precision": to.precision},
            )
        yield value


#: Attributes that hold an element type; a Cast's `to` is not among them, as it does the rounding.
_TYPE_ATTRIBUTES = frozenset(
    {"dtype", "output_datatype", "output_dtype", "precision", "softmax_precision", "stash_type"}
)


def widen_tensor(tensor: TensorProto, to: NarrowType) -> None:
    """Make a narrow tensor a float32 one with the same values."""
    if tensor.data_type == to.element:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def widen_attribute(attribute: AttributeProto, to: NarrowType) -> None:
    """Widen the tensors and types that an attribute holds, its graphs left out."""
    for tensor in (attribute.t, *attribute.tensors, attribute.sparse_tensor.values):
        widen_tensor(tensor, to)
    for sparse in attribute.sparse_tensors:
        widen_tensor(sparse.values, to)
    for value in (attribute.tp, *attribute.type_protos):
        widen_type(value, to)
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i == to.element:
        attribute.i = TensorProto.FLOAT


def widen_type(value: TypeProto, to: NarrowType) -> None:
    """Make the narrow type float32 in a type, also in that of a sequence, an optional or a map."""
    kind = value.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(value, kind)
        if tensor.elem_type == to.element:
            tensor.elem_type = TensorProto.FLOAT
    elif kind in ("sequence_type", "optional_type"):
        widen_type(getattr(value, kind).elem_type, to)
    elif kind == "map_type":
        widen_type(value.map_type.value_type, to)
