"""Changes of ONNX graphs that converters need before and after a conversion.

Everything here changes the given `ModelProto` in place and knows nothing of precisions: names are
made unique, old spellings become today's, nodes are put where their inputs live and into an
order in which they can run.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    helper,
    numpy_helper,
)

from pytest_trt.diagnostics import ModelError
from pytest_trt.tensors.elements import element_count

#: What to do where an exporter gives a value of its own the name of an output, such as "embedding".
OTHER_NAME = "export the model again, with another name in output_names= or input_names=."

#: A protobuf message cannot be larger than 2 GiB - 1; the rest is room for names and nodes.
INLINE_LIMIT_BYTES = 2**31 - 2**24

#: IR version from which an initialiser need not be listed among the graph's inputs as well.
IR_FREE_INITIALISERS = 4


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Return the graphs that a node holds in its attributes: branches and loop bodies."""
    found = []
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            found.append(attribute.g)
        found.extend(attribute.graphs)
    return found


def walk_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield the graph itself, then every graph inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from walk_graphs(inner)


def constants(graph: GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield name and tensor of every initialiser and Constant node, subgraphs included."""
    for scope in walk_graphs(graph):
        for tensor in scope.initializer:
            yield tensor.name, tensor
        for node in scope.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.type == AttributeProto.TENSOR:
                        yield node.output[0], attribute.t


def save(model: ModelProto, path: Path) -> None:
    """Write a model; weights that do not fit into one file are stored in `<name>.data` next to it.

    The weights of `model` are moved out of it in that case: it is not usable afterwards.
    """
    weights_bytes = sum(len(tensor.raw_data) for _, tensor in constants(model.graph))
    if weights_bytes <= INLINE_LIMIT_BYTES:
        onnx.save(model, path)
        return
    data_file = path.with_name(f"{path.name}.data")
    data_file.unlink(missing_ok=True)  # onnx would append to it
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data_file.name,
        convert_attribute=True,
    )


def modernise(model: ModelProto) -> None:
    """Rewrite what converters cannot handle.

    That is initialiser inputs, sparse constants, Constants without a tensor, and reused names.

    Raises:
        ModelError: A sparse constant is damaged, or too large to be dense.
    """
    _free_initialisers(model)
    for graph in walk_graphs(model.graph):
        graph.initializer.extend(map(_dense, graph.sparse_initializer))
        del graph.sparse_initializer[:]
        for node in graph.node:
            if node.op_type == "Constant":
                _tensor_constant(node)
    used = defined(model.graph)
    for node in model.graph.node:
        for inner in subgraphs(node):
            _rename(inner, {}, used)


def name_nodes(model: ModelProto) -> None:
    """Give every node a name that no other one has, in subgraphs too.

    Tools that call what they add after its node would otherwise call much of it the same.
    """
    nodes = [node for graph in walk_graphs(model.graph) for node in graph.node]
    used = {node.name for node in nodes}
    seen: set[str] = set()
    for index, node in enumerate(nodes):
        old = node.name
        if not old or old in seen:
            name = f"{old or node.op_type}_{index}"
            while name in used:
                name += "_"
            used.add(name)
            node.name = name
        seen.add(old)


def tidy(model: ModelProto) -> None:
    """Move every node into the graph of its inputs, in an order in which they can run.

    Raises:
        ModelError: The graph has a cycle.
    """
    _relocate(model.graph)
    for graph in walk_graphs(model.graph):
        sort_topologically(graph)


def _free_initialisers(model: ModelProto) -> None:
    """Remove inputs that are initialisers: converters would treat weights as inputs.

    What they make of the model may have initialisers that are no inputs.
    """
    model.ir_version = max(model.ir_version, IR_FREE_INITIALISERS)
    initialisers = {tensor.name for tensor in model.graph.initializer}
    remaining = [value for value in model.graph.input if value.name not in initialisers]
    if len(remaining) == len(model.graph.input):
        return
    del model.graph.input[:]
    model.graph.input.extend(remaining)


def _tensor_constant(node: NodeProto) -> None:
    """Replace a Constant's `value_float`, `value_floats` or `sparse_value` by a tensor."""
    for attribute in node.attribute:
        if attribute.name == "value_float":
            tensor = helper.make_tensor("value", TensorProto.FLOAT, [], [attribute.f])
        elif attribute.name == "value_floats":
            values = list(attribute.floats)
            tensor = helper.make_tensor("value", TensorProto.FLOAT, [len(values)], values)
        elif attribute.name == "sparse_value":
            tensor = _dense(attribute.sparse_tensor)
        else:
            continue
        attribute.CopyFrom(helper.make_attribute("value", tensor))


def _dense(sparse: SparseTensorProto) -> TensorProto:
    """Return a sparse tensor as a dense one, as ONNX Runtime does when it loads a model."""
    name, dims = sparse.values.name, tuple(sparse.dims)
    values, indices = (numpy_helper.to_array(part) for part in (sparse.values, sparse.indices))
    dense_bytes = element_count(dims) * values.itemsize
    if dense_bytes > INLINE_LIMIT_BYTES:
        raise _damaged_sparse(
            name,
            f"has {dense_bytes:,} bytes as a dense one, and a model holds {INLINE_LIMIT_BYTES:,}",
        )
    dense = np.zeros(dims, values.dtype)
    places = indices if indices.ndim == 1 else tuple(indices.T)
    try:
        (dense.reshape(-1) if indices.ndim == 1 else dense)[places] = values
    except (IndexError, ValueError) as error:
        raise _damaged_sparse(name, f"has indices outside its shape {list(dims)}") from error
    return numpy_helper.from_array(dense, name)


def _damaged_sparse(name: str, problem: str) -> ModelError:
    return ModelError(
        f"sparse tensor {name!r} {problem}",
        fix="export the model again, with dense tensors.",
        code="TRT208",
        facts={"tensor": name},
    )


def defined(graph: GraphProto) -> set[str]:
    """Return the names of values that a graph defines, without subgraphs."""
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(sparse.values.name for sparse in graph.sparse_initializer)
    names.update(name for node in graph.node for name in node.output if name)
    return names


def names_read(graph: GraphProto) -> set[str]:
    """Return the names that nodes and outputs read, subgraphs included."""
    return {
        name
        for scope in walk_graphs(graph)
        for name in (
            *(name for node in scope.node for name in node.input),
            *(value.name for value in scope.output),
        )
    }


def cast(source: str, target: str, dtype: int) -> NodeProto:
    """Return a node that casts a value to another type, named by its output."""
    return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=dtype)


def fresh_name(name: str, used: set[str]) -> str:
    """Return the name, numbered if it is used already, and add it to those that are used."""
    fresh, number = name, 0
    while fresh in used:
        number += 1
        fresh = f"{name}_{number}"
    used.add(fresh)
    return fresh


def _rename(graph: GraphProto, outer: dict[str, str], used: set[str]) -> None:
    """Give values of a subgraph names that no other graph uses; adds them to `used`.

    Sibling branches may legally share names; tools with one table per model mix them up.
    """
    renamed = dict(outer)
    for name in sorted(defined(graph)):
        renamed.pop(name, None)
        fresh = fresh_name(name, used)
        if fresh != name:
            renamed[name] = fresh
    for value in (*graph.input, *graph.output):
        value.name = renamed.get(value.name, value.name)
    rename_inside(graph, renamed)
    for node in graph.node:
        for inner in subgraphs(node):
            _rename(inner, renamed, used)


def rename_inside(graph: GraphProto, renamed: Mapping[str, str]) -> None:
    """Rename values where they are made and read; a graph's inputs and outputs keep their names.

    Graphs inside it are left out.
    """
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in renamed:
                    names[index] = renamed[name]
    sparse = (one.values for one in graph.sparse_initializer)
    for value in (*graph.initializer, *sparse, *graph.value_info):
        value.name = renamed.get(value.name, value.name)


def _relocate(main: GraphProto) -> None:
    """Move nodes of the main graph into the subgraph that defines their inputs.

    Converters append the casts they insert to the main graph, where values of a branch or loop
    body cannot be seen.
    """
    inner_home = {name: graph for graph in list(walk_graphs(main))[1:] for name in defined(graph)}
    if not inner_home:
        return
    outer = defined(main) - inner_home.keys()
    remaining = []
    for node in main.node:
        homes = [
            inner_home[name] for name in node.input if name in inner_home and name not in outer
        ]
        if homes:
            homes[0].node.append(node)
        else:
            remaining.append(node)
    if len(remaining) < len(main.node):
        remaining = [_copy(node) for node in remaining]
        del main.node[:]
        main.node.extend(remaining)


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def needed(node: NodeProto) -> set[str]:
    """Return what a node reads: its inputs, and what its subgraphs capture."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        inside: set[str] = {value.name for value in graph.output}
        for inner in graph.node:
            inside |= needed(inner)
        names |= inside - defined(graph)
    return names


def sort_topologically(graph: GraphProto) -> None:
    """Order the nodes of one graph so that each follows those it reads; the sort is stable.

    Raises:
        ModelError: The graph has a cycle, or two values of one name.
    """
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    readers: list[list[int]] = [[] for _ in graph.node]
    waiting = [0] * len(graph.node)
    for index, node in enumerate(graph.node):
        for source in {producer[name] for name in needed(node) if name in producer}:
            readers[source].append(index)
            waiting[index] += 1
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        twice = Counter(name for node in graph.node for name in node.output if name)
        for name, number in twice.items():
            if number > 1:
                raise ModelError(
                    f"graph {graph.name!r} computes two values named {name!r}",
                    fix=OTHER_NAME,
                    code="TRT208",
                    facts={"graph": graph.name, "tensor": name},
                )
        raise ModelError(
            f"graph {graph.name!r} has a cycle through {_first_stuck(graph, order)}",
            fix="export the model again: the exporter or a change of the graph made a cycle.",
            code="TRT208",
            facts={"graph": graph.name},
        )
    if order != sorted(order):
        nodes = [_copy(graph.node[index]) for index in order]
        del graph.node[:]
        graph.node.extend(nodes)


def _first_stuck(graph: GraphProto, order: Sequence[int]) -> str:
    done = set(order)
    node = next(node for index, node in enumerate(graph.node) if index not in done)
    return f"{node.op_type} node {node.name or node.output[0]!r}"
