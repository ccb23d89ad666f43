"""The element types of a model's tensors, derived from the declarations of its operators.

Shape inference would answer the same question but serialises the model, stops at operators that are
not in ONNX itself, and gives up on a whole graph over one odd shape. Types need no shapes: an
output's type is that of an input with the same type variable, or an attribute names it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

from pytest_trt.onnx import graph as surgery

#: Operators with a body: how many of the body's first outputs do not leave the node.
BODY_OPERATORS = {"If": 0, "Loop": 1, "Scan": 0, "SequenceMap": 0}

#: Operators that put tensors into a container or take them out: elements keep their type.
_CONTAINERS = frozenset(
    {
        "ConcatFromSequence",
        "Optional",
        "OptionalGetElement",
        "SequenceAt",
        "SequenceConstruct",
        "SplitToSequence",
    }
)

#: Operators whose output is a sequence or an optional.
_MAKES_CONTAINER = frozenset(
    {
        "Optional",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
    }
)

#: Operators whose attribute names their output's type: the attribute, and the input whose type is
#: used if it is absent; None for float32.
#: Source: ONNX operator specifications.
TYPED_BY_ATTRIBUTE: Mapping[str, tuple[str, int | None]] = {
    "Bernoulli": ("dtype", 0),
    "BlackmanWindow": ("output_datatype", None),
    "Cast": ("to", None),
    "DequantizeLinear": ("output_dtype", 1),
    "EyeLike": ("dtype", 0),
    "HammingWindow": ("output_datatype", None),
    "HannWindow": ("output_datatype", None),
    "MelWeightMatrix": ("output_datatype", None),
    "RandomNormal": ("dtype", None),
    "RandomNormalLike": ("dtype", 0),
    "RandomUniform": ("dtype", None),
    "RandomUniformLike": ("dtype", 0),
    "SequenceEmpty": ("dtype", None),
}

#: What a Constant holds that spells its value without a tensor, by attribute (plurals: its lists).
_CONSTANTS: Mapping[str, int] = {
    "value_float": TensorProto.FLOAT,
    "value_int": TensorProto.INT64,
    "value_string": TensorProto.STRING,
}

#: The type of a tensor that is unknown but cannot be float16.
NOT_FLOAT16 = int(TensorProto.UNDEFINED)


@dataclass(frozen=True, slots=True)
class TensorTypes:
    """What is known of a model's tensors.

    Attributes:
        known: By name, the element type of a tensor (or of what a sequence or optional holds) as
            a number of TensorProto.DataType, or `NOT_FLOAT16`. Names must be unique in the model,
            subgraphs included, as `graph.modernise` makes them.
        unknown: Operators with an output of unknown type, with their number.
        containers: Names of values that are sequences, optionals or maps instead of tensors.
        opsets: The version of each domain.
    """

    known: Mapping[str, int]
    unknown: Mapping[str, int]
    containers: frozenset[str]
    opsets: Mapping[str, int]

    def signature(self, node: NodeProto) -> Signature | None:
        """Return the types that an operator takes and gives; None for one that nobody declares."""
        domain = _domain(node.domain)
        return _signature(domain, node.op_type, self.opsets.get(domain, 1))


def tensor_types(model: ModelProto) -> TensorTypes:
    """Return the element types in a topologically sorted model without local functions."""
    typing = _Typing(
        opsets={_domain(entry.domain): entry.version for entry in model.opset_import},
        declared={
            value.name: element_type(value.type)
            for scope in surgery.walk_graphs(model.graph)
            for value in (*scope.value_info, *scope.output, *scope.input)
            if element_type(value.type) != TensorProto.UNDEFINED
        },
        containers={
            value.name
            for scope in surgery.walk_graphs(model.graph)
            for value in (*scope.value_info, *scope.output, *scope.input)
            if value.type.WhichOneof("value") not in (None, "tensor_type")
        },
    )
    typing.visit(model.graph)
    return TensorTypes(typing.known, typing.unknown, frozenset(typing.containers), typing.opsets)


def is_standard(node: NodeProto) -> bool:
    """Whether an operator is one of ONNX's own."""
    return not _domain(node.domain)


def element_type(value: TypeProto) -> int:
    """Return the element type of a tensor, or of what a sequence, optional or map holds."""
    kind = value.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        return int(getattr(value, kind).elem_type)
    if kind in ("sequence_type", "optional_type"):
        return element_type(getattr(value, kind).elem_type)
    return element_type(value.map_type.value_type) if kind == "map_type" else TensorProto.UNDEFINED


@dataclass(slots=True)
class _Typing:
    """One walk over a model, in the order in which it runs."""

    opsets: Mapping[str, int]
    declared: Mapping[str, int]
    containers: set[str] = field(default_factory=set)
    known: dict[str, int] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

    def visit(self, graph: GraphProto) -> None:
        for tensor in graph.initializer:
            self.known[tensor.name] = tensor.data_type
        for sparse in graph.sparse_initializer:
            self.known[sparse.values.name] = sparse.values.data_type
        for value in graph.input:
            if value.name not in self.known and value.name in self.declared:
                self.known[value.name] = self.declared[value.name]
        for node in graph.node:
            self._visit_bodies(node)
            outputs = self._outputs(node)
            for name, element in zip(node.output, outputs, strict=True):
                if not name:
                    continue
                self._note_container(node, name)
                number = self.declared.get(name) if element is None else element
                if number is None:
                    self.unknown[node.op_type] += 1
                else:
                    self.known[name] = number

    def _visit_bodies(self, node: NodeProto) -> None:
        for body in surgery.subgraphs(node):
            # An If's branches take no inputs; those of Loop, Scan (whose first version has one
            # more input of its own) and SequenceMap line up from the end.
            for name, value in zip(reversed(node.input), reversed(body.input), strict=False):
                if name in self.known and node.op_type in BODY_OPERATORS:
                    self.known[value.name] = self.known[name]
            self.visit(body)

    def _note_container(self, node: NodeProto, name: str) -> None:
        """Note an output that is a container: made here, or passed on by an Identity."""
        holds = node.op_type in _MAKES_CONTAINER
        if is_standard(node) and (
            holds or (node.op_type == "Identity" and node.input[0] in self.containers)
        ):
            self.containers.add(name)

    def _outputs(self, node: NodeProto) -> Sequence[int | None]:
        if node.op_type in BODY_OPERATORS and is_standard(node):
            skipped = BODY_OPERATORS[node.op_type]
            bodies = [body.output[skipped:] for body in surgery.subgraphs(node)]
            found = [
                _first(self.known.get(value.name) for value in values)
                for values in zip(*bodies, strict=False)
            ]
            return (found + [None] * len(node.output))[: len(node.output)]
        domain = _domain(node.domain)
        signature = _signature(domain, node.op_type, self.opsets.get(domain, 1))
        return [
            self._output(node, signature, index) if signature else None
            for index in range(len(node.output))
        ]

    def _output(self, node: NodeProto, signature: Signature, index: int) -> int | None:
        variable = variable_at(signature.outputs, index)
        choices = {_element(text) for text in signature.choices.get(variable, (variable,))}
        if len(choices) == 1:
            return choices.pop()
        bound = _first(
            self.known.get(name)
            for position, name in enumerate(node.input)
            if name and variable_at(signature.inputs, position) == variable
        )
        element = self._from_attributes(node) if bound is None else bound
        return NOT_FLOAT16 if element is None and TensorProto.FLOAT16 not in choices else element

    def _from_attributes(self, node: NodeProto) -> int | None:
        if node.op_type in _CONTAINERS and node.input:
            return self.known.get(node.input[0])
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                return int(attribute.t.data_type)
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
                return int(attribute.sparse_tensor.values.data_type)
            if attribute.type == onnx.AttributeProto.TYPE_PROTO:
                return element_type(attribute.tp)
        if node.op_type in ("Constant", "ConstantOfShape"):
            (name,) = [attribute.name for attribute in node.attribute] or ("value_float",)
            return _CONSTANTS[name.removesuffix("s")]
        named = TYPED_BY_ATTRIBUTE.get(node.op_type)
        if named is None:
            return None
        value = next((entry.i for entry in node.attribute if entry.name == named[0]), 0)
        if value == TensorProto.UNDEFINED and named[1] is not None:
            return self.known.get(node.input[named[1]])
        return value or int(TensorProto.FLOAT)


@dataclass(frozen=True, slots=True)
class Signature:
    """The types of an operator.

    Attributes:
        inputs: The type variable or type of each input.
        outputs: The same of each output.
        choices: The types that a variable stands for, as "tensor(float16)".
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]

    def takes_float16(self, variable: str) -> bool:
        """Whether a variable can be a tensor of float16."""
        return "tensor(float16)" in self.choices.get(variable, ())


@functools.cache
def _signature(domain: str, op_type: str, opset: int) -> Signature | None:
    """Return what ONNX, or else ONNX Runtime, declares for an operator; None if neither does."""
    try:
        schema: Any = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        versions = _runtime_schemas().get((domain, op_type), ())
        fitting = [entry for entry in versions if entry.since_version <= opset]
        if not fitting:
            return None
        schema = max(fitting, key=lambda entry: entry.since_version)
    return Signature(
        tuple(_variable(parameter) for parameter in schema.inputs),
        tuple(_variable(parameter) for parameter in schema.outputs),
        {
            constraint.type_param_str: tuple(constraint.allowed_type_strs)
            for constraint in schema.type_constraints
        },
    )


@functools.cache
def _runtime_schemas() -> dict[tuple[str, str], list[Any]]:
    """Return what ONNX Runtime declares beyond ONNX, its com.microsoft operators above all."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    found: dict[tuple[str, str], list[Any]] = {}
    for schema in runtime.get_all_operator_schema():
        found.setdefault((_domain(schema.domain), schema.name), []).append(schema)
    return found


def _variable(parameter: Any) -> str:
    # onnx and ONNX Runtime spell the same property differently.
    return str(parameter.type_str if hasattr(parameter, "type_str") else parameter.typeStr)


def variable_at(variables: Sequence[str], index: int) -> str:
    """Return a parameter's type variable; the last parameter may stand for any number of them."""
    return variables[min(index, len(variables) - 1)] if variables else ""


@functools.cache
def _element(text: str) -> int:
    """Return the element type in ONNX's notation of a type: 10 for "seq(tensor(float16))"."""
    name = text.rpartition("(")[2].rstrip(")").upper()
    return int(dict(TensorProto.DataType.items()).get(name, TensorProto.UNDEFINED))


def _first(answers: Iterable[int | None]) -> int | None:
    return next((answer for answer in answers if answer is not None), None)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
