"""The walk is compared with the onnx package, on its own test models and on generated ones."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from pytest_trt.onnx.proto import node_names, read_model
from pytest_trt.onnx.wire import HEADER_BYTES, Source
from pytest_trt.tensors.elements import MOST_ELEMENTS, element_name

_REAL_MODELS = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data").glob("**/*.onnx"))


def _dtype(type_proto):
    kind = type_proto.WhichOneof("value")
    if kind is None:
        return "undefined"
    inner = getattr(type_proto, kind)
    if kind == "tensor_type":
        return element_name(inner.elem_type)
    if kind == "sparse_tensor_type":
        return f"sparse_tensor({element_name(inner.elem_type)})"
    if kind == "map_type":
        return f"map({element_name(inner.key_type)}, {_dtype(inner.value_type)})"
    if kind == "opaque_type":
        return "opaque"
    return f"{kind.removesuffix('_type')}({_dtype(inner.elem_type)})"


def _shape(type_proto):
    if type_proto.WhichOneof("value") != "tensor_type":
        return None
    tensor = type_proto.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0
        else dim.dim_param or "?"
        for dim in tensor.shape.dim
    )


class _Expected:
    """The same facts, through the onnx package's own messages."""

    def __init__(self, proto):
        self.op_types = Counter()
        self.elements = Counter()
        self.node_names = set()
        self.external = []
        self.graph(proto.graph)
        for function in proto.functions:
            for node in function.node:
                self.node(node)
            for attribute in function.attribute_proto:
                self.attribute(attribute)
        counted = Counter(self.op_types), Counter(self.elements), set(self.node_names)
        for training in proto.training_info:
            self.graph(training.initialization)
            self.graph(training.algorithm)
        self.op_types, self.elements, self.node_names = counted

    def graph(self, graph: GraphProto):
        for tensor in graph.initializer:
            self.tensor(tensor)
        for sparse in graph.sparse_initializer:
            self.sparse(sparse)
        for node in graph.node:
            self.node(node)

    def node(self, node):
        domain = "" if node.domain in ("", "ai.onnx") else node.domain + "::"
        self.op_types[domain + node.op_type] += 1
        self.node_names.update(filter(None, [node.name]))
        for attribute in node.attribute:
            self.attribute(attribute)

    def attribute(self, attribute: AttributeProto):
        for tensor in [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]:
            self.tensor(tensor)
        for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            self.graph(graph)
        single = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for sparse in [*attribute.sparse_tensors, *single]:
            self.sparse(sparse)

    def sparse(self, sparse):
        for tensor in (sparse.values, sparse.indices):
            self.tensor(tensor)

    def tensor(self, tensor: TensorProto):
        elements = math.prod(max(dim, 0) for dim in tensor.dims)
        counted = self.elements[tensor.data_type] + elements
        self.elements[tensor.data_type] = min(counted, MOST_ELEMENTS)
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            self.external.append((tensor.name, tuple(tensor.dims), tuple(sorted(entries.items()))))


def _specs(values):
    return [(value.name, _dtype(value.type), _shape(value.type)) for value in values]


def _small_windows(data):
    """A source whose windows end inside nearly every message."""
    return Source(
        lambda start, count: data[start : start + count], len(data), window_bytes=HEADER_BYTES
    )


def _assert_same(data):
    proto = ModelProto.FromString(data)
    expected = _Expected(proto)

    read = read_model(Source.of_bytes(data))

    assert read_model(_small_windows(data)) == read

    assert read.op_types == expected.op_types
    assert read.elements == expected.elements
    for source in (Source.of_bytes(data), _small_windows(data)):
        assert node_names(source) - {""} == expected.node_names
    assert Counter(
        (tensor.name, tensor.dims, tuple(sorted(tensor.external.items())))
        for tensor in read.external
    ) == Counter(expected.external)
    opsets = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    assert (read.ir_version, read.opset) == (proto.ir_version, opsets[-1] if opsets else 0)
    if not proto.HasField("graph"):
        assert read.graph is None
        return
    graph = read.graph
    assert [(s.name, s.dtype, s.shape) for s in graph.inputs] == _specs(proto.graph.input)
    assert [(s.name, s.dtype, s.shape) for s in graph.outputs] == _specs(proto.graph.output)
    assert [(n.inputs, n.outputs) for n in graph.nodes] == [
        (tuple(node.input), tuple(node.output)) for node in proto.graph.node
    ]
    dense = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    sparse = {tensor.values.name: () for tensor in proto.graph.sparse_initializer}
    assert graph.initializers == dense | sparse


def test_the_onnx_package_brings_models_to_compare_with():
    assert len(_REAL_MODELS) > 20


@pytest.mark.parametrize("path", _REAL_MODELS, ids=lambda path: "-".join(path.parts[-2:]))
def test_real_models_are_read_as_onnx_reads_them(path):
    _assert_same(path.read_bytes())


_names = st.text(max_size=8)
_int64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def _tensors(draw):
    tensor = TensorProto(name=draw(_names), dims=draw(st.lists(_int64, max_size=3)))
    tensor.data_type = draw(st.sampled_from([1, 6, 7, 16]))
    if draw(st.booleans()):
        tensor.raw_data = draw(st.binary(max_size=200))
    tensor.float_data.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    tensor.int64_data.extend(draw(st.lists(_int64, max_size=3)))
    if draw(st.booleans()):
        tensor.data_location = draw(st.sampled_from([TensorProto.DEFAULT, TensorProto.EXTERNAL]))
    for key in draw(st.lists(st.sampled_from(["location", "offset", "length"]), max_size=3)):
        tensor.external_data.add(key=key, value=draw(_names))
    return tensor


@st.composite
def _sparse_tensors(draw):
    sparse = onnx.SparseTensorProto(dims=draw(st.lists(_int64, max_size=2)))
    sparse.values.CopyFrom(draw(_tensors()))
    sparse.indices.CopyFrom(draw(_tensors()))
    return sparse


@st.composite
def _type_protos(draw, depth=0):
    result = onnx.TypeProto()
    kind = draw(st.sampled_from(["none", "tensor", "sparse", "sequence", "optional", "map"]))
    if kind in ("tensor", "sparse"):
        inner = result.tensor_type if kind == "tensor" else result.sparse_tensor_type
        inner.elem_type = draw(st.integers(0, 30))
        if draw(st.booleans()):
            inner.shape.SetInParent()
            for _ in range(draw(st.integers(0, 3))):
                dim = inner.shape.dim.add()
                choice = draw(st.sampled_from(["value", "param", "neither"]))
                if choice == "value":
                    dim.dim_value = draw(_int64)
                elif choice == "param":
                    dim.dim_param = draw(_names)
    elif kind in ("sequence", "optional") and depth < 3:
        getattr(result, f"{kind}_type").elem_type.CopyFrom(draw(_type_protos(depth + 1)))
    elif kind == "map" and depth < 3:
        result.map_type.key_type = draw(st.integers(0, 30))
        result.map_type.value_type.CopyFrom(draw(_type_protos(depth + 1)))
    return result


@st.composite
def _graphs(draw, depth=0):
    graph = GraphProto(name=draw(_names), doc_string=draw(_names))
    graph.initializer.extend(draw(st.lists(_tensors(), max_size=2)))
    graph.sparse_initializer.extend(draw(st.lists(_sparse_tensors(), max_size=1)))
    for values in (graph.input, graph.output, graph.value_info):
        for name in draw(st.lists(_names, max_size=2)):
            values.add(name=name, type=draw(_type_protos()))
    for _ in range(draw(st.integers(0, 3 if depth == 0 else 1))):
        graph.node.append(draw(_nodes(depth)))
    return graph


@st.composite
def _nodes(draw, depth=0):
    node = onnx.NodeProto(
        op_type=draw(_names), domain=draw(st.sampled_from(["", "ai.onnx", "com.x"]))
    )
    node.input.extend(draw(st.lists(_names, max_size=3)))
    node.output.extend(draw(st.lists(_names, max_size=2)))
    for name in draw(st.lists(_names, max_size=3)):
        node.attribute.append(draw(_attributes(name, depth)))
    return node


@st.composite
def _attributes(draw, name, depth=0):
    attribute = AttributeProto(name=name, s=draw(st.binary(max_size=200)))
    attribute.i = draw(_int64)
    attribute.ints.extend(draw(st.lists(_int64, max_size=3)))
    attribute.floats.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    if draw(st.booleans()):
        attribute.t.CopyFrom(draw(_tensors()))
    attribute.tensors.extend(draw(st.lists(_tensors(), max_size=1)))
    attribute.sparse_tensors.extend(draw(st.lists(_sparse_tensors(), max_size=1)))
    if depth < 2 and draw(st.booleans()):
        attribute.g.CopyFrom(draw(_graphs(depth + 1)))
        attribute.graphs.extend(draw(st.lists(_graphs(depth + 1), max_size=1)))
    return attribute


@st.composite
def _models(draw):
    model = ModelProto(ir_version=draw(_int64), producer_name=draw(_names))
    for domain in draw(st.lists(st.sampled_from(["", "ai.onnx", "com.x"]), max_size=3)):
        model.opset_import.add(domain=domain, version=draw(_int64))
    if draw(st.booleans()):
        model.graph.CopyFrom(draw(_graphs()))
    for name in draw(st.lists(_names, max_size=2)):
        function = model.functions.add(name=name, doc_string=draw(_names))
        function.node.extend(draw(st.lists(_nodes(1), max_size=2)))
        for attribute in draw(st.lists(_names, max_size=1)):
            function.attribute_proto.append(draw(_attributes(attribute, 1)))
    if draw(st.integers(0, 4)) == 0:
        model.training_info.add(algorithm=draw(_graphs(1)))
    return model


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(_models())
def test_generated_models_are_read_as_onnx_reads_them(model):
    _assert_same(model.SerializeToString())


def test_a_model_nested_as_deeply_as_protobuf_reads_is_read():
    depth = 30
    graph = onnx.helper.make_graph([onnx.helper.make_node("Leaf", [], ["y"])], "g", [], [])
    for _ in range(depth):
        node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=graph)
        graph = onnx.helper.make_graph([node], "g", [], [])

    _assert_same(onnx.helper.make_model(graph).SerializeToString())
