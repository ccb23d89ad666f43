"""Narrows a graph from float32 to float16 or bfloat16, value by value. Both are called narrow here.

What an operator declares decides: where a type variable can be float16, the operator computes in
the narrow type; where a parameter must be float32 (the scales of a Resize, the mean of a
LayerNormalization), it stays so. Casts stand where the two meet, right behind the value that they
cast, in its own graph.
Sequences, optionals and maps keep float32 elements, as no cast can cross them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from pytest_trt.backends.conversion.narrow_report import NarrowReport
from pytest_trt.backends.conversion.tensor_types import (
    BODY_OPERATORS,
    TYPED_BY_ATTRIBUTE,
    TensorTypes,
    is_standard,
    variable_at,
)
from pytest_trt.onnx import graph as surgery

_FLOAT = int(TensorProto.FLOAT)

#: An input that takes either type as it comes.
_ANY = None

#: Operators that ask about a tensor and compute nothing with its values.
_LOOKS_AT = frozenset({"IsInf", "IsNaN", "OptionalHasElement", "Shape", "Size"})

#: Where a value is read, and the type that it must have there: a node and the index of its input,
#: or a graph and the index of its output.
_Use = tuple[NodeProto | GraphProto, int, int | None]


def narrow(
    model: ModelProto, types: TensorTypes, float32_nodes: Collection[str], report: NarrowReport
) -> int:
    """Narrow a model in place; its inputs and outputs keep their types.

    Args:
        model: The model with its weights in memory. Local functions are inlined, names that
            graphs share made unique, nodes sorted and named uniquely.
        types: The types of its tensors.
        float32_nodes: Names of the nodes that stay float32.
        report: Converts constants to the narrow type, and notes what it cannot hold.

    Returns:
        The number of nodes that compute in the narrow type now, casts left out.
    """
    types = _separate_body_outputs(model.graph, types)
    narrowing = _Narrowing(model.graph, types, float32_nodes, report)
    narrowing.rewrite(model.graph)
    for scope in surgery.walk_graphs(model.graph):
        surgery.sort_topologically(scope)
    surgery.name_nodes(model)  # a cast may be called what another node is called
    return narrowing.computing


def _separate_body_outputs(main: GraphProto, types: TensorTypes) -> TensorTypes:
    """Let each float32 output of a body be what a node of the body makes; return all types.

    An output that is a constant, an input or a value from outside could not change its type alone.
    """
    known = dict(types.known)
    bodies = [
        body
        for scope in surgery.walk_graphs(main)
        for node in scope.node
        for body in surgery.subgraphs(node)
    ]
    for body in bodies:
        made = {name for node in body.node for name in node.output}
        for index, value in enumerate(body.output):
            if known.get(value.name) != _FLOAT or value.name in made:
                continue
            fresh = f"{body.name}_{value.name}_output_{index}"
            body.node.append(helper.make_node("Identity", [value.name], [fresh], name=fresh))
            value.name = fresh
            known[fresh] = _FLOAT
    return replace(types, known=known)


class _Narrowing:
    """One model: which of its values become narrow, and what reads them."""

    def __init__(
        self,
        main: GraphProto,
        types: TensorTypes,
        float32_nodes: Collection[str],
        report: NarrowReport,
    ) -> None:
        self._types, self._float32_nodes, self._report = types, float32_nodes, report
        self._to = report.to.element
        self._known = types.known
        self._narrow: set[str] = set()
        self._uses: list[_Use] = []
        self._homes = {
            name: scope for scope in surgery.walk_graphs(main) for name in surgery.defined(scope)
        }
        self._constants = dict(surgery.constants(main))
        self._used = set(self._homes)
        self._cast: dict[tuple[str, int], str] = {}
        self.computing = 0

    def rewrite(self, main: GraphProto) -> None:
        """Decide the type of every value, then change nodes, constants and declarations."""
        for scope in surgery.walk_graphs(main):
            for node in scope.node:
                self._plan(node)
        outputs: list[_Use] = [(main, index, _FLOAT) for index in range(len(main.output))]
        self._narrow_constants([*self._uses, *outputs])
        self._separate_main_outputs(main)
        for holder, index, wanted in self._uses:
            if wanted is not _ANY:
                self._connect(holder, index, wanted)
        for scope in surgery.walk_graphs(main):
            for value in (*scope.value_info, *scope.input, *scope.output):
                if value.name in self._narrow:
                    value.type.tensor_type.elem_type = self._to

    # What each node takes and gives

    def _plan(self, node: NodeProto) -> None:
        if node.op_type == "Constant":
            return
        if node.op_type in BODY_OPERATORS and is_standard(node):
            self._plan_bodies(node)
            return
        wanted = self._wanted(node)
        self._uses += [(node, index, want) for index, want in enumerate(wanted)]

    def _wanted(self, node: NodeProto) -> list[int | None]:
        """Return the type that each input needs; note the outputs that become narrow."""
        inputs = [self._is_float(name) for name in node.input]
        in_float32 = [_FLOAT if is_float else _ANY for is_float in inputs]
        if node.name in self._float32_nodes:
            return in_float32
        if node.op_type == "Cast" and is_standard(node):
            if self._is_float(node.output[0]):
                _set_type(node, "to", self._to)
                self._narrow.add(node.output[0])
            return [_ANY]
        signature = self._types.signature(node)
        variables = self._variables(node)
        if signature is None or not variables:
            return in_float32
        taken = [variable_at(signature.inputs, index) for index in range(len(node.input))]
        given = _given(node, signature.outputs, signature.inputs)
        for name, variable in zip(node.output, given, strict=True):
            if variable in variables and self._is_float(name):
                self._narrow.add(name)
        _narrow_attributes(node, self._report)
        target = _ANY if node.op_type in _LOOKS_AT and is_standard(node) else self._to
        self.computing += target == self._to and node.op_type not in ("CastLike", "ConstantOfShape")
        return [
            target if variable in variables else want
            for variable, want in zip(taken, in_float32, strict=True)
        ]

    def _variables(self, node: NodeProto) -> set[str]:
        """Return the type variables of a node that are float32 now and can be narrow."""
        signature = self._types.signature(node)
        names = (*node.input, *node.output)
        if (
            signature is None
            or node.domain.startswith("ai.onnx.ml")
            or surgery.subgraphs(node)
            or any(name in self._types.containers for name in names)
        ):
            return set()
        bound = {
            variable_at(signature.inputs, index)
            for index, name in enumerate(node.input)
            if self._is_float(name)
        }
        given = _given(node, signature.outputs, signature.inputs)
        free = {
            variable
            for name, variable in zip(node.output, given, strict=True)
            if variable not in bound and self._is_float(name)
        }
        # The type of such an output is an attribute's, or implicitly that of an input.
        if (
            free
            and is_standard(node)
            and node.op_type in (*TYPED_BY_ATTRIBUTE, "OptionalGetElement")
        ):
            return set()
        if is_standard(node) and node.op_type == "ConstantOfShape":
            bound |= free
        # Of an optional input that is not given: its type is implicitly that of the others.
        if bound:
            bound |= free & set(signature.inputs)
        return {variable for variable in bound if signature.takes_float16(variable)}

    def _plan_bodies(self, node: NodeProto) -> None:
        """Plan the values that enter and leave the bodies of an If, Loop, Scan or SequenceMap."""
        target = (
            _FLOAT
            if node.name in self._float32_nodes or node.op_type == "SequenceMap"
            else self._to
        )
        skipped = BODY_OPERATORS[node.op_type]
        bodies = surgery.subgraphs(node)
        planned: set[int] = set()
        for body in bodies:
            # Line up from the end: Loop has two inputs of its own, the first Scan one.
            offset = len(node.input) - len(body.input)
            for index, value in enumerate(body.input):
                outer = offset + index
                if outer < 0 or not self._is_float(value.name):
                    continue
                planned.add(outer)
                self._uses.append((node, outer, target))
                self._become(value.name, target)
            for index, value in enumerate(body.output):
                if index < skipped or not self._is_float(value.name):
                    continue
                self._uses.append((body, index, target))
                if index - skipped < len(node.output):
                    self._become(node.output[index - skipped], target)
        self._uses += [
            (node, index, _ANY) for index in range(len(node.input)) if index not in planned
        ]

    def _become(self, name: str, target: int) -> None:
        if name and target == self._to:
            self._narrow.add(name)

    def _is_float(self, name: str) -> bool:
        return self._known.get(name) == _FLOAT and name not in self._types.containers

    # Changes

    def _narrow_constants(self, uses: Sequence[_Use]) -> None:
        """Narrow the constants that are read as narrow only; others get a narrow twin."""
        wanted: dict[str, set[int | None]] = {}
        for holder, index, want in uses:
            wanted.setdefault(_read(holder)[index], set()).add(want)
        for name, tensor in self._constants.items():
            if wanted.get(name) == {self._to} and self._is_float(name):
                self._report.narrow(name, tensor)
                self._narrow.add(name)

    def _separate_main_outputs(self, main: GraphProto) -> None:
        """Give what computes an output of the model a name of its own, and cast it."""
        renamed = {}
        for value in main.output:
            if value.name in self._narrow:
                renamed[value.name] = fresh = surgery.fresh_name(
                    f"{value.name}_{self._report.to.name}", self._used
                )
                self._narrow.remove(value.name)
                self._narrow.add(fresh)
                self._homes[fresh] = main
        for scope in surgery.walk_graphs(main):
            surgery.rename_inside(scope, renamed)
        for name, fresh in renamed.items():
            main.node.append(surgery.cast(fresh, name, _FLOAT))

    def _connect(self, holder: NodeProto | GraphProto, index: int, wanted: int) -> None:
        name = _read(holder)[index]
        if not name or (name in self._narrow) == (wanted == self._to):
            return
        fresh = self._as(name, wanted)
        if isinstance(holder, NodeProto):
            holder.input[index] = fresh
        else:
            holder.output[index].name = fresh

    def _as(self, name: str, wanted: int) -> str:
        """Return the name of a value in a type, casting it where it is not there yet."""
        key = name, wanted
        if key not in self._cast:
            home = self._homes[name]
            type_name = "float32" if wanted == _FLOAT else self._report.to.name
            self._cast[key] = fresh = surgery.fresh_name(f"{name}_{type_name}", self._used)
            if name in self._constants:
                twin = home.initializer.add()
                twin.CopyFrom(self._constants[name])
                twin.name = fresh
                self._report.narrow(name, twin)
            else:
                home.node.append(surgery.cast(name, fresh, wanted))
            if wanted == self._to:
                self._narrow.add(fresh)
        return self._cast[key]


def _read(holder: NodeProto | GraphProto) -> Sequence[str]:
    if isinstance(holder, NodeProto):
        return list(holder.input)
    return [value.name for value in holder.output]


def _given(node: NodeProto, outputs: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """Return the type variable of each output."""
    if node.op_type == "DequantizeLinear" and is_standard(node):
        # From opset 23 on it has a variable of its own, which is that of the scale by default.
        return [inputs[1]]
    return [variable_at(outputs, index) for index in range(len(node.output))]


def _narrow_attributes(node: NodeProto, report: NarrowReport) -> None:
    if not is_standard(node):
        return
    if node.op_type == "ConstantOfShape":
        values = [entry.t for entry in node.attribute if entry.name == "value"]
        if not values:
            zero = helper.make_tensor("value", report.to.element, [1], [0.0])
            node.attribute.append(helper.make_attribute("value", zero))
        elif values[0].data_type == _FLOAT:
            report.narrow(node.output[0], values[0])
    if node.op_type == "DequantizeLinear":
        _set_type(node, "output_dtype", report.to.element)


def _set_type(node: NodeProto, name: str, to: int) -> None:
    """Make an attribute that names float32 name the narrow type."""
    for attribute in node.attribute:
        if attribute.name == name and attribute.i == _FLOAT:
            attribute.i = to
