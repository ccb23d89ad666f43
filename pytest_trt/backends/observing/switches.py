"""A model that computes in reduced precision node by node, selected by a further input.

Building an engine for every set of nodes that could stay in FP32 takes too long. Here one FP32
model does for all of them: what a node reads and makes is rounded to the precision, or not, by a
number of its own. Q/DQ pairs come from a conversion to INT8; FP16 rounds by casts, as the embedded
backend does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.convert import converted
from pytest_trt.backends.conversion.convert_job import ConversionJob
from pytest_trt.backends.conversion.converting import raised
from pytest_trt.backends.conversion.fp8 import FP8_OPSET, to_float8
from pytest_trt.backends.conversion.int8 import FLOAT_RESULTS, INT8_OPS
from pytest_trt.backends.conversion.int8_preparation import origin_of
from pytest_trt.backends.conversion.kept import kept_nodes
from pytest_trt.backends.conversion.narrow_types import FLOAT16, NARROW_TYPES, NarrowType
from pytest_trt.backends.conversion.rounding import EXACT
from pytest_trt.backends.conversion.tensor_types import tensor_types
from pytest_trt.engine.protocols import Progress
from pytest_trt.engine.spec import listed
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.loading import load
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.stored import StoredSamples

#: The input: float32 of shape (units,), 1 for reduced precision and 0 for FP32.
SWITCHES = "pytest_trt_switches"

#: What rounds in each precision, beside or instead of Q/DQ pairs.
_ROUNDED = {**NARROW_TYPES, "mixed": FLOAT16}

#: Precisions whose Q/DQ pairs are switched.
_QUANTISED = ("fp8", "int4", "int8", "mixed")

#: Inputs that have to be float32 in every precision, from this one on.
_FLOAT32_INPUTS = {"NonMaxSuppression": 0, "Resize": 1, "Upsample": 1}

#: Operators that no precision reduces: they move no values that are computed with, or make none.
_UNTOUCHED = frozenset(
    {"Constant", "DequantizeLinear", "If", "Loop", "QuantizeLinear", "Scan", "Shape", "Size"}
)


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes that an entry of `keep_fp32` names.

    Attributes:
        entry: The entry: the name of a node, or the operator where a node of it has no name, or a
            node has the operator as its name.
        operator: The operator of the first.
        nodes: How many nodes it names.
    """

    entry: str
    operator: str
    nodes: int = 1


def do_switch(progress: Progress, job: Mapping[str, Any]) -> list[Any]:
    """Make a model switchable; return the data of its `Unit`s, in the model's order."""
    given = from_data(ConversionJob, job)
    model = given.model
    proto = load(model.path)
    units = _Units(proto, model.path.name, given.keep_fp32)
    chosen = frozenset(listed(given.options.get("op_types")) or INT8_OPS)
    if given.precision in _QUANTISED:
        progress(f"quantising {model.path.name}")
        proto, weights = _quantised(given, proto)
        switching = _Switching(proto, units, chosen)
        switching.pairs({output: one.name for output, one in weights.items()})
    else:
        switching = _Switching(proto, units, chosen)
    progress(f"writing a switchable {model.path.name}")
    if given.precision in _ROUNDED:
        switching.rounding(_ROUNDED[given.precision])
    found = switching.finish()
    surgery.save(proto, given.output)
    return [to_data(one) for one in found]


def _quantised(
    job: ConversionJob, original: ModelProto
) -> tuple[ModelProto, dict[str, TensorProto]]:
    """Return the model with all of its Q/DQ nodes, and the weights before, by what DQ nodes make.

    Args:
        job: The job.
        original: The model, with unique names of nodes.
    """
    file = job.output.with_name("quantised.onnx")
    samples = StoredSamples(job.calibration) if job.calibration else ()
    # FP8 weights are stored, so their Q/DQ nodes are those of INT8 first.
    convert = partial(converted, job.model, "int4" if job.precision == "int4" else "int8", file)
    convert(calibration=samples, options=job.options, keep_fp32=job.keep_fp32, verified=False)
    proto = load(file)
    weights = _weights_before(proto, original) if job.precision == "int4" else _weights(proto)
    if job.precision == "fp8":
        proto = raised(job.model, proto, FP8_OPSET, "fp8")
        to_float8(proto)
    stored = {one.name for one in proto.graph.initializer}
    proto.graph.initializer.extend(one for one in weights.values() if one.name not in stored)
    return proto, weights


class _Units:
    """Which unit each node belongs to, by the unique name that conversions give it."""

    def __init__(self, proto: ModelProto, model_name: str, keep_fp32: Collection[str]) -> None:
        nodes = [node for scope in surgery.walk_graphs(proto.graph) for node in scope.node]
        named = [(node.name, node.op_type) for node in nodes]
        always = kept_nodes(model_name, keep_fp32, named)
        # What is both a name and an operator names all nodes of that operator as well.
        together = {node.op_type for node in nodes}.intersection(node.name for node in nodes)
        together.update(node.op_type for node in nodes if not node.name)
        entries = [
            None if index in always else (operator if operator in together else name)
            for index, (name, operator) in enumerate(named)
        ]
        surgery.modernise(proto)
        surgery.name_nodes(proto)
        surgery.tidy(proto)
        self.entries: dict[str, str] = {}
        self.operators: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        for node, entry in zip(nodes, entries, strict=True):
            self.operators[node.name] = node.op_type
            if entry is not None:
                self.entries[node.name] = entry
                self.counts[entry] = self.counts.get(entry, 0) + 1

    def of(self, node: NodeProto) -> str | None:
        """Return the entry that names a node, or what it was made of."""
        return self.entries.get(origin_of(node.name, self.operators))

    def operator(self, node: NodeProto) -> str:
        """Return the operator of a node, or that of what it was made of."""
        return self.operators.get(origin_of(node.name, self.operators), str(node.op_type))


class _Switching:
    """One model whose main graph gets switches."""

    def __init__(self, proto: ModelProto, units: _Units, quantised: frozenset[str]) -> None:
        self._proto, self._graph, self._units = proto, proto.graph, units
        self._quantised = quantised
        self._used = {name for scope in surgery.walk_graphs(proto.graph) for name in _names(scope)}
        self._new: list[NodeProto] = []
        self._index: dict[str, int] = {}
        self._values: dict[str, str] = {}
        self._flags: dict[tuple[str, ...], str] = {}
        self._rounded: dict[str, str] = {}

    # --- Q/DQ pairs

    def pairs(self, weights: Mapping[str, str]) -> None:
        """Let each reader of a Q/DQ pair read what the pair was given instead.

        Args:
            weights: Names of weights by what a pair makes of them: FP8 weights are stored, so they
                are behind a DequantizeLinear alone.
        """
        producers = {name: node for node in self._graph.node for name in node.output if name}
        through = {**weights, **dict(_passed(self._graph, producers))}
        quantising = self._quantising(through, producers)
        for node in list(self._graph.node):
            if node.op_type == "QuantizeLinear":
                continue
            for index, name in enumerate(node.input):
                if name in through:
                    source = through[name]
                    node.input[index] = self._either(quantising[source], name, source)
        for name in {value.name for value in self._graph.output} & through.keys():
            made = producers[name]
            plain = surgery.fresh_name(f"{name}__quantised", self._used)
            made.output[list(made.output).index(name)] = plain
            self._replace(name, plain)
            source = through[name]
            self._either(quantising[source], plain, source, output=name)

    def _quantising(
        self, through: Mapping[str, str], producers: Mapping[str, NodeProto]
    ) -> dict[str, list[str]]:
        """Return, by quantised value, the units of which any makes all readers see it quantised.

        Those that compute with it, and a convolution that makes it: results of matrix products stay
        float32. Other nodes read the same pairs.
        """
        found: dict[str, list[str]] = {source: [] for source in through.values()}
        for node in self._graph.node:
            entry = self._units.of(node)
            if entry is not None and self._units.operator(node) in self._quantised:
                for name in node.input:
                    if name in through:
                        found[through[name]].append(entry)
        for source, entries in found.items():
            maker = producers.get(source)
            operator = "" if maker is None else self._units.operator(maker)
            entry = None if maker is None else self._units.of(maker)
            if entry is not None and operator in self._quantised.difference(FLOAT_RESULTS):
                entries.append(entry)
        return found

    # --- rounding

    def rounding(self, to: NarrowType) -> None:
        """Round what each node reads and makes to a type, where the node is reduced."""
        types = tensor_types(self._proto).known
        constants = dict(surgery.constants(self._graph))
        for node in list(self._graph.node):
            entry = self._units.of(node)
            if entry is None or node.op_type in _UNTOUCHED or surgery.subgraphs(node):
                continue
            floats = [types.get(name) == TensorProto.FLOAT for name in (*node.input, *node.output)]
            if not any(floats):
                continue
            stop = _FLOAT32_INPUTS.get(node.op_type, len(node.input))
            for index, name in enumerate(node.input[:stop]):
                if name and types.get(name) == TensorProto.FLOAT:
                    rounded = self._round(name, to, constants.get(name))
                    node.input[index] = self._either([entry], rounded, name)
            if node.op_type in EXACT:
                continue
            for index, name in enumerate(node.output):
                if name and types.get(name) == TensorProto.FLOAT:
                    exact = surgery.fresh_name(f"{name}__exact", self._used)
                    node.output[index] = exact
                    self._either([entry], self._round(exact, to, None), exact, output=name)

    def _round(self, name: str, to: NarrowType, constant: TensorProto | None) -> str:
        """Return the name of a value rounded to a type; constants stay finite."""
        if name in self._rounded:
            return self._rounded[name]
        rounded = self._rounded[name] = surgery.fresh_name(f"{name}__rounded", self._used)
        if constant is not None:
            values = np.clip(numpy_helper.to_array(constant), -to.largest, to.largest)
            stored = to.narrowed(values).astype(np.float32)
            self._graph.initializer.append(numpy_helper.from_array(stored, rounded))
            return rounded
        narrow = surgery.fresh_name(f"{name}__narrow", self._used)
        self._add("Cast", [name], narrow, to=to.element)
        self._add("Cast", [narrow], rounded, to=TensorProto.FLOAT)
        return rounded

    # --- switches

    def _either(
        self, entries: list[str], reduced: str, plain: str, *, output: str | None = None
    ) -> str:
        """Return the name of a value that is the reduced one where a unit of several is reduced."""
        if not entries:
            if output is None:
                return reduced
            return self._add("Identity", [reduced], output)
        name = output or surgery.fresh_name(f"{plain}__switched", self._used)
        return self._add("Where", [self._flag(tuple(dict.fromkeys(entries))), reduced, plain], name)

    def _flag(self, entries: tuple[str, ...]) -> str:
        """Return the name of a boolean: whether any of several units is reduced."""
        if entries not in self._flags:
            values = [self._value(entry) for entry in entries]
            most = values[0]
            if len(values) > 1:
                most = surgery.fresh_name("pytest_trt_most", self._used)
                self._add("Max", values, most)
            name = surgery.fresh_name("pytest_trt_on", self._used)
            self._flags[entries] = self._add("Cast", [most], name, to=TensorProto.BOOL)
        return self._flags[entries]

    def _value(self, entry: str) -> str:
        """Return the name of a unit's number."""
        if entry not in self._values:
            index = self._index[entry] = len(self._index)
            at, value = (
                surgery.fresh_name(f"pytest_trt_{what}_{index}", self._used)
                for what in ("at", "value")
            )
            self._graph.initializer.append(numpy_helper.from_array(np.array(index, np.int64), at))
            self._values[entry] = self._add("Gather", [SWITCHES, at], value, axis=0)
        return self._values[entry]

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        name = surgery.fresh_name(f"pytest_trt_{output}", self._used)
        self._new.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def _replace(self, before: str, after: str) -> None:
        """Let nodes read another value."""
        for node in (*self._graph.node, *self._new):
            for index, name in enumerate(node.input):
                if name == before:
                    node.input[index] = after

    def finish(self) -> list[Unit]:
        """Add the input and the new nodes, and return the units by their place in it."""
        self._graph.node.extend(self._new)
        del self._graph.value_info[:]
        count = max(len(self._index), 1)
        self._graph.input.append(
            helper.make_tensor_value_info(SWITCHES, TensorProto.FLOAT, [count])
        )
        surgery.sort_topologically(self._graph)
        first = {entry: name for name, entry in reversed(self._units.entries.items())}
        return [
            Unit(entry, self._units.operators[first[entry]], self._units.counts[entry])
            for entry in sorted(self._index, key=self._index.__getitem__)
        ]


def _names(scope: GraphProto) -> Iterator[str]:
    yield from surgery.defined(scope)
    yield from (node.name for node in scope.node)


def _weights_before(proto: ModelProto, original: ModelProto) -> dict[str, TensorProto]:
    """Return the weights that a model had where it reads blocks of INT4, by what these make."""
    producers = {name: node for node in proto.graph.node for name in node.output if name}
    stored = dict(surgery.constants(original.graph))
    nodes = {node.name: node for node in original.graph.node}
    found = {}
    for node in proto.graph.node:
        maker = producers.get(node.input[1]) if len(node.input) > 1 else None
        before = nodes.get(node.name)
        if maker is None or before is None or maker.op_type != "DequantizeLinear":
            continue
        values = numpy_helper.to_array(stored[before.input[1]])
        if any(one.name == "transB" and one.i for one in before.attribute):
            values = values.T
        output = maker.output[0]
        found[output] = numpy_helper.from_array(np.ascontiguousarray(values), f"{output}__before")
    return found


def _weights(proto: ModelProto) -> dict[str, TensorProto]:
    """Return copies of the weights that Q/DQ pairs are given, by what the pairs make of them."""
    producers = {name: node for node in proto.graph.node for name in node.output if name}
    stored = {one.name: one for one in proto.graph.initializer}
    found = {}
    for output, source in _passed(proto.graph, producers):
        if source in stored:
            found[output] = TensorProto()
            found[output].CopyFrom(stored[source])
    return found


def _passed(graph: GraphProto, producers: Mapping[str, NodeProto]) -> Iterator[tuple[str, str]]:
    """Yield the output of each Q/DQ pair, and what the pair was given."""
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            maker = producers.get(node.input[0])
            if maker is not None and maker.op_type == "QuantizeLinear":
                yield node.output[0], maker.input[0]
