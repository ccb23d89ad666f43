"""A ModelProto walked once: graphs, nodes and tensors, without their payloads.

Every node is visited wherever it lives (subgraphs in attributes, model-local functions), because
weights and operators may live there too. Only the nodes of the main graph and its subgraphs are
stored.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pytest_trt.onnx import fields as tags
from pytest_trt.onnx.wire import (
    VARINT_MAX_BYTES,
    Source,
    WireError,
    fields,
    packed,
    signed,
    text,
)
from pytest_trt.tensors.elements import MOST_ELEMENTS, element_count, element_name
from pytest_trt.tensors.spec import TensorSpec

#: Types may nest (a sequence of maps). protobuf itself gives up at a hundred nested messages.
_MAX_NESTED_TYPES = 40

_WRAPPERS = {
    tags.TYPE_SEQUENCE_TYPE: "sequence",
    tags.TYPE_OPTIONAL_TYPE: "optional",
}


def tensor_spec(source: Source, start: int, end: int) -> TensorSpec:
    """Return the spec of one ValueInfoProto.

    Types other than dense tensors become a dtype such as "sequence(float32)", with no shape.

    Raises:
        WireError: The message is malformed.
    """
    name = ""
    dtype = element_name(0)
    shape: tuple[int | str, ...] | None = None
    for tag, value, stop in fields(source, start, end):
        if tag == tags.VALUEINFO_NAME:
            name = text(source, value, stop)
        elif tag == tags.VALUEINFO_TYPE:
            dtype, shape = _type(source, value, stop)
    return TensorSpec(name, dtype, shape)


def _type(
    source: Source, start: int, end: int, depth: int = 0
) -> tuple[str, tuple[int | str, ...] | None]:
    if depth > _MAX_NESTED_TYPES:
        raise WireError("types are nested too deeply", start)
    dtype = element_name(0)
    shape: tuple[int | str, ...] | None = None
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_TENSOR_TYPE:
            dtype, shape = _tensor_type(source, value, stop)
        elif tag == tags.TYPE_SPARSE_TENSOR_TYPE:
            dtype, shape = f"sparse_tensor({_tensor_type(source, value, stop)[0]})", None
        elif tag in _WRAPPERS:
            dtype, shape = f"{_WRAPPERS[tag]}({_element(source, value, stop, depth)})", None
        elif tag == tags.TYPE_MAP_TYPE:
            dtype, shape = f"map({_map_types(source, value, stop, depth)})", None
        elif tag == tags.TYPE_OPAQUE_TYPE:
            dtype, shape = "opaque", None
    return dtype, shape


def _tensor_type(source: Source, start: int, end: int) -> tuple[str, tuple[int | str, ...] | None]:
    element = 0
    shape: tuple[int | str, ...] | None = None
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_TENSOR_ELEM_TYPE:
            element = value
        elif tag == tags.TYPE_TENSOR_SHAPE:
            shape = tuple(
                _dimension(source, dim, dim_end)
                for dim_tag, dim, dim_end in fields(source, value, stop)
                if dim_tag == tags.TENSORSHAPE_DIM
            )
    return element_name(element), shape


def _dimension(source: Source, start: int, end: int) -> int | str:
    dimension: int | str = "?"
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TENSORSHAPE_DIMENSION_DIM_VALUE:
            # Some exporters write -1 for a dimension that they do not know.
            dimension = signed(value) if signed(value) >= 0 else "?"
        elif tag == tags.TENSORSHAPE_DIMENSION_DIM_PARAM:
            dimension = text(source, value, stop) or "?"
    return dimension


def _element(source: Source, start: int, end: int, depth: int) -> str:
    element = element_name(0)
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_SEQUENCE_ELEM_TYPE:
            element, _ = _type(source, value, stop, depth + 1)
    return element


def _map_types(source: Source, start: int, end: int, depth: int) -> str:
    key = 0
    value_type = element_name(0)
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_MAP_KEY_TYPE:
            key = value
        elif tag == tags.TYPE_MAP_VALUE_TYPE:
            value_type, _ = _type(source, value, stop, depth + 1)
    return f"{element_name(key)}, {value_type}"


#: A subgraph is three messages below its graph (node, attribute, graph) and protobuf's parsers give
#: up at a hundred nested messages, so that no readable model nests deeper than this.
_MAX_NESTED_GRAPHS = 33

#: Attributes up to this many bytes are remembered: models repeat the same few thousands of times.
_SMALL_ATTRIBUTE_BYTES = 128

#: Both names of the default operator domain.
_DEFAULT_DOMAINS = ("", "ai.onnx")

_TENSOR_ATTRIBUTES = (tags.ATTRIBUTE_T, tags.ATTRIBUTE_TENSORS)
_GRAPH_ATTRIBUTES = (tags.ATTRIBUTE_G, tags.ATTRIBUTE_GRAPHS)
_SPARSE_TENSOR_ATTRIBUTES = (tags.ATTRIBUTE_SPARSE_TENSOR, tags.ATTRIBUTE_SPARSE_TENSORS)


class _Number(NamedTuple):
    """How a tensor stores a number: in how many bytes, and by which format of `struct`."""

    bytes: int
    code: str


#: int32, int64 and float32, by number of the type.
_NUMBERS = {6: _Number(4, "i"), 7: _Number(8, "q"), 1: _Number(4, "f")}

#: Numbers of a range that are read at most.
_MOST_COUNTED = 4096

#: Where a tensor has its numbers.
_PACKED_INTEGERS = (tags.TENSOR_INT32_DATA, tags.TENSOR_INT64_DATA)
_PLAIN_NUMBERS = (tags.TENSOR_RAW_DATA, tags.TENSOR_FLOAT_DATA)
_PAYLOADS = frozenset((*_PACKED_INTEGERS, *_PLAIN_NUMBERS))


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A TensorProto without its payload; `external` is None for a payload inside the file.

    `number` is the payload of a single int32, int64 or float32 inside the file, and how many they
    are of whole numbers that count from 0; otherwise None.
    """

    name: str
    data_type: int
    dims: tuple[int, ...]
    external: Mapping[str, str] | None
    number: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One node; `axis` and `to` are the integer attributes of these names, or 0.

    `dims` is the shape of the tensor that it stores, that of a Constant, and `number` its value, as
    `StoredTensor` has it.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int
    dims: tuple[int, ...] = ()
    to: int = 0
    number: float | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the model: what a call of it runs, without subgraphs."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph; `inputs` includes initialisers that old models list as inputs.

    Of the main graph, `all_nodes` and `all_initializers` include those of subgraphs, whose nodes
    come before the node that runs them; and `all_numbers` has the numbers of initialisers, as
    `StoredTensor` has them.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    initializers: Mapping[str, tuple[int, ...]]
    all_nodes: tuple[Node, ...] = ()
    all_initializers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    all_numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def own_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that are no initialisers."""
        return tuple(spec for spec in self.inputs if spec.name not in self.initializers)


@dataclass(slots=True)
class StoredModel:
    """The result of parsing; `graph` is None, and versions are 0, if the file has none."""

    ir_version: int = 0
    opset: int = 0
    graph: Graph | None = None
    op_types: Counter[str] = field(default_factory=Counter)
    #: Elements of all stored tensors by number of their type.
    elements: Counter[int] = field(default_factory=Counter)
    external: list[StoredTensor] = field(default_factory=list)
    #: Calls of the main graph, and of each function by its name, subgraphs included.
    calls: Counter[str] = field(default_factory=Counter)
    functions: dict[str, Counter[str]] = field(default_factory=dict)
    #: What each function runs, by its name.
    bodies: dict[str, Function] = field(default_factory=dict)


def read_model(source: Source, *, nodes: bool = True) -> StoredModel:
    """Return the facts of a serialised ModelProto.

    Args:
        source: Its bytes.
        nodes: Whether to read the nodes of the main graph, or to step over them.

    Raises:
        WireError: The bytes are not such a message.
    """
    model = StoredModel()
    walk = _Walk(source, model, nodes=nodes)
    training = _Walk(source, StoredModel(external=model.external))
    for tag, value, stop in fields(source, 0, source.size):
        if tag == tags.MODEL_IR_VERSION:
            model.ir_version = signed(value)
        elif tag == tags.MODEL_OPSET_IMPORT:
            domain, version = walk.operator_set(value, stop)
            if domain in _DEFAULT_DOMAINS:
                model.opset = version
        elif tag == tags.MODEL_GRAPH:
            with walk.counting() as model.calls:
                model.graph = walk.main_graph(value, stop)
        elif tag == tags.MODEL_FUNCTIONS:
            walk.function(value, stop)
        elif tag == tags.MODEL_TRAINING_INFO:
            # Its weights belong to the model; its operators never run in inference.
            training.training_info(value, stop)
    return model


def node_names(source: Source) -> frozenset[str]:
    """Return the names of all nodes of a serialised ModelProto that run in inference.

    Raises:
        WireError: The bytes are not such a message.
    """
    found: set[str] = set()
    for tag, value, stop in fields(source, 0, source.size):
        if tag == tags.MODEL_GRAPH:
            _add_names(source, value, stop, tags.GRAPH_NODE, found)
        elif tag == tags.MODEL_FUNCTIONS:
            _add_names(source, value, stop, tags.FUNCTION_NODE, found)
    return frozenset(found)


def _add_names(
    source: Source, start: int, end: int, node: int, found: set[str], depth: int = 0
) -> None:
    """Add the names of a graph or a function, whose nodes have this tag."""
    if depth > _MAX_NESTED_GRAPHS:
        raise WireError("graphs are nested too deeply", start)
    for tag, begin, stop in fields(source, start, end):
        if tag != node:
            continue
        for inner, value, last in fields(source, begin, stop):
            if inner == tags.NODE_NAME:
                found.add(text(source, value, last))
            elif inner == tags.NODE_ATTRIBUTE:
                for kind, graph, close in fields(source, value, last):
                    if kind in _GRAPH_ATTRIBUTES:
                        _add_names(source, graph, close, tags.GRAPH_NODE, found, depth + 1)


class _Walk:
    """The parser: the messages of one source, and the facts found so far."""

    def __init__(self, source: Source, found: StoredModel, *, nodes: bool = True) -> None:
        self._source = source
        self._found = found
        self._nodes = nodes
        #: Of the main graph and its subgraphs, as far as they were read.
        self._all_nodes: list[Node] = []
        self._all_initializers: dict[str, tuple[int, ...]] = {}
        self._all_numbers: dict[str, float] = {}
        #: Name and integer by the bytes of attributes that hold neither tensor nor graph.
        self._plain_attributes: dict[bytes, tuple[str, int]] = {}

    def operator_set(self, start: int, end: int) -> tuple[str, int]:
        domain, version = "", 0
        for tag, value, stop in fields(self._source, start, end):
            if tag == tags.OPERATORSETID_DOMAIN:
                domain = text(self._source, value, stop)
            elif tag == tags.OPERATORSETID_VERSION:
                version = signed(value)
        return domain, version

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Provide the operators of what is read in the block."""
        total, self._found.op_types = self._found.op_types, Counter()
        yield self._found.op_types
        total.update(self._found.op_types)
        self._found.op_types = total

    def function(self, start: int, end: int) -> None:
        name = domain = ""
        inputs, outputs, nodes = [], [], []
        with self.counting() as calls:
            for tag, value, stop in fields(self._source, start, end):
                if tag == tags.FUNCTION_NODE:
                    nodes.append(self._node(value, stop, 0))
                elif tag == tags.FUNCTION_INPUT:
                    inputs.append(text(self._source, value, stop))
                elif tag == tags.FUNCTION_OUTPUT:
                    outputs.append(text(self._source, value, stop))
                elif tag == tags.FUNCTION_ATTRIBUTE_PROTO:
                    self._attribute(value, stop, 0)
                elif tag == tags.FUNCTION_NAME:
                    name = text(self._source, value, stop)
                elif tag == tags.FUNCTION_DOMAIN:
                    domain = text(self._source, value, stop)
        called = _operator(domain, name)
        self._found.functions[called] = calls
        self._found.bodies[called] = Function(tuple(inputs), tuple(outputs), tuple(nodes))

    def training_info(self, start: int, end: int) -> None:
        for tag, value, stop in fields(self._source, start, end):
            if tag in (tags.TRAININGINFO_INITIALIZATION, tags.TRAININGINFO_ALGORITHM):
                self.graph(value, stop)

    def main_graph(self, start: int, end: int) -> Graph:
        self._all_nodes, self._all_initializers, self._all_numbers = [], {}, {}
        graph = self.graph(start, end)
        return replace(
            graph,
            all_nodes=tuple(self._all_nodes),
            all_initializers=self._all_initializers,
            all_numbers=self._all_numbers,
        )

    def graph(self, start: int, end: int, depth: int = 0) -> Graph:
        if depth > _MAX_NESTED_GRAPHS:
            raise WireError("graphs are nested too deeply", start)
        nodes, inputs, outputs = [], [], []
        initializers: dict[str, tuple[int, ...]] = {}
        for tag, value, stop in fields(self._source, start, end):
            if tag == tags.GRAPH_NODE:
                if not self._nodes:
                    continue
                node = self._node(value, stop, depth)
                self._all_nodes.append(node)
                nodes.append(node)
            elif tag == tags.GRAPH_INITIALIZER:
                tensor = self._tensor(value, stop)
                initializers[tensor.name] = tensor.dims
                if tensor.number is not None:
                    self._all_numbers[tensor.name] = tensor.number
            elif tag == tags.GRAPH_SPARSE_INITIALIZER:
                initializers[self._sparse_tensor(value, stop)] = ()
            elif tag == tags.GRAPH_INPUT:
                inputs.append(tensor_spec(self._source, value, stop))
            elif tag == tags.GRAPH_OUTPUT:
                outputs.append(tensor_spec(self._source, value, stop))
        self._all_initializers.update(initializers)
        return Graph(tuple(nodes), tuple(inputs), tuple(outputs), initializers)

    def _node(self, start: int, end: int, depth: int) -> Node:
        source = self._source
        inputs, outputs = [], []
        op_type = domain = ""
        axis = to = 0
        dims: tuple[int, ...] = ()
        stored_number: float | None = None
        for tag, value, stop in fields(source, start, end):
            if tag == tags.NODE_INPUT:
                inputs.append(text(source, value, stop))
            elif tag == tags.NODE_OUTPUT:
                outputs.append(text(source, value, stop))
            elif tag == tags.NODE_OP_TYPE:
                op_type = text(source, value, stop)
            elif tag == tags.NODE_DOMAIN:
                domain = text(source, value, stop)
            elif tag == tags.NODE_ATTRIBUTE:
                name, number, stored = self._attribute(value, stop, depth)
                axis = number if name == "axis" else axis
                to = number if name == "to" else to
                stored_number = float(number) if name == "value_int" else stored_number
                if stored is not None:
                    dims, stored_number = stored.dims or dims, stored.number
        operator = _operator(domain, op_type)
        self._found.op_types[operator] += 1
        return Node(operator, tuple(inputs), tuple(outputs), axis, dims, to, stored_number)

    def _attribute(self, start: int, end: int, depth: int) -> tuple[str, int, StoredTensor | None]:
        """Return the attribute's name, its integer or 0, and its tensor if it has one."""
        if end - start > _SMALL_ATTRIBUTE_BYTES:
            return self._read_attribute(start, end, depth)[:3]
        key = self._source.read(start, end)
        plain = self._plain_attributes.get(key)
        if plain is not None:
            return (*plain, None)
        name, number, stored, is_plain = self._read_attribute(start, end, depth)
        if is_plain:
            self._plain_attributes[key] = name, number
        return name, number, stored

    def _read_attribute(
        self, start: int, end: int, depth: int
    ) -> tuple[str, int, StoredTensor | None, bool]:
        name, number, is_plain = "", 0, True
        stored: StoredTensor | None = None
        for tag, value, stop in fields(self._source, start, end):
            if tag == tags.ATTRIBUTE_NAME:
                name = text(self._source, value, stop)
            elif tag == tags.ATTRIBUTE_I:
                number = signed(value)
            elif tag in _TENSOR_ATTRIBUTES:
                is_plain = False
                stored = self._tensor(value, stop)
            elif tag in _GRAPH_ATTRIBUTES:
                is_plain = False
                self.graph(value, stop, depth + 1)
            elif tag in _SPARSE_TENSOR_ATTRIBUTES:
                is_plain = False
                self._sparse_tensor(value, stop)
        return name, number, stored, is_plain

    def _sparse_tensor(self, start: int, end: int) -> str:
        """Parse both tensors of a sparse tensor, and return its name, that of its values."""
        name = ""
        for tag, value, stop in fields(self._source, start, end):
            if tag == tags.SPARSETENSOR_VALUES:
                name = self._tensor(value, stop).name
            elif tag == tags.SPARSETENSOR_INDICES:
                self._tensor(value, stop)
        return name

    def _tensor(self, start: int, end: int) -> StoredTensor:
        source = self._source
        name = ""
        data_type = location = 0
        dims: list[int] = []
        payload = 0, 0, 0
        entries: dict[str, str] = {}
        for tag, value, stop in fields(source, start, end):
            if tag == tags.TENSOR_DIMS:
                dims.append(signed(value))
            elif tag == tags.TENSOR_DIMS_PACKED:
                dims.extend(packed(source, value, stop))
            elif tag == tags.TENSOR_DATA_TYPE:
                data_type = signed(value)
            elif tag == tags.TENSOR_NAME:
                name = text(source, value, stop)
            elif tag == tags.TENSOR_EXTERNAL_DATA:
                key, entry = self._string_entry(value, stop)
                entries[key] = entry
            elif tag == tags.TENSOR_DATA_LOCATION:
                location = value
            elif tag in _PAYLOADS:
                payload = tag, value, stop
        external = entries if location == tags.EXTERNAL else None
        number = None if external is not None else _number(source, payload, data_type, dims)
        tensor = StoredTensor(name, data_type, tuple(dims), external, number)
        elements = self._found.elements[data_type] + element_count([max(dim, 0) for dim in dims])
        self._found.elements[data_type] = min(elements, MOST_ELEMENTS)
        if external is not None:
            self._found.external.append(tensor)
        return tensor

    def _string_entry(self, start: int, end: int) -> tuple[str, str]:
        key = entry = ""
        for tag, value, stop in fields(self._source, start, end):
            if tag == tags.STRINGSTRINGENTRY_KEY:
                key = text(self._source, value, stop)
            elif tag == tags.STRINGSTRINGENTRY_VALUE:
                entry = text(self._source, value, stop)
        return key, entry


def _number(
    source: Source, payload: tuple[int, int, int], data_type: int, dims: Sequence[int]
) -> float | None:
    """Return the number of a tensor, see `StoredTensor`, if it is of a type that is read.

    Args:
        source: The bytes of the model.
        payload: The last field with numbers: its tag, start and end.
        data_type: The number of the type.
        dims: The shape.
    """
    size, one = math.prod(dims), _NUMBERS.get(data_type)
    if one is None or not 0 < size <= (_MOST_COUNTED if len(dims) == 1 and one.code != "f" else 1):
        return None
    found: Sequence[float] = ()
    tag, start, end = payload
    if tag in _PACKED_INTEGERS and one.code != "f" and end - start <= size * VARINT_MAX_BYTES:
        found = [*packed(source, start, end)]
    elif tag in _PLAIN_NUMBERS and end - start == size * one.bytes:
        found = struct.unpack(f"<{size}{one.code}", source.read(start, end))
    if size > 1:
        return float(size) if [*found] == [*range(size)] else None
    number = float(next(iter(found), math.nan))
    return number if math.isfinite(number) else None


def _operator(domain: str, name: str) -> str:
    return name if domain in _DEFAULT_DOMAINS else f"{domain}::{name}"
