"""The difference between two ONNX files that should be equal, in one line."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from pytest_trt.onnx.graph import constants, walk_graphs
from pytest_trt.onnx.loading import load

#: Types whose values are numbers on a scale.
_FLOATING = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)

#: Names given of each kind; the others are counted.
_NAMED = 2

_T = TypeVar("_T")


def model_difference(ours: Path, theirs: Path) -> str:
    """Return the difference of two models, such as "weight fc.weight of /fc/Gemm".

    Nodes are matched by name: if most names differ, only the numbers of nodes are reported. So are
    weights, except those that have another number in their name, as an exporter gives them.

    Returns:
        The difference; empty if there is none that affects results.

    Raises:
        ModelError: A file or its external data cannot be read.
    """
    here, there = load(ours), load(theirs)
    our_weights, their_weights = _weights(here), _weights(there)
    nodes, their_nodes = _nodes(here), _nodes(there)
    our_weights = _with_their_names(our_weights, their_weights, nodes, their_nodes)
    weights = _compared(our_weights, their_weights, _same_tensor)
    changed, new, missing = _compared(nodes, their_nodes, operator.eq)
    if min(len(new), len(missing)) > len(nodes) // 2:
        return f"the names of its nodes ({len(nodes)}, the reference has {len(their_nodes)})"
    if new or missing:
        # New and missing nodes have weights of their own, and their neighbours other connections.
        changed, *_ = _compared(nodes, their_nodes, _same_attributes)
        # Behind new ones, numbers in names of nodes and of their weights differ, too.
        values = {numpy_helper.to_array(tensor).tobytes() for tensor in their_weights.values()}
        moved = {
            name
            for name in weights[0]
            if numpy_helper.to_array(our_weights[name]).tobytes() in values
        }
        weights = ([name for name in weights[0] if name not in moved], [], [])
    users = {name: key for key, node in nodes.items() for name in node.input}
    parts = (
        _listed(
            "weight",
            [
                f"{_of(name, users)}{_by(our_weights[name], their_weights[name])}"
                for name in weights[0]
            ],
        ),
        _listed("node", changed),
        _listed("new node", new),
        _listed("missing node", missing),
        _listed("new weight", weights[1]),
        _listed("missing weight", weights[2]),
    )
    return "; ".join(filter(None, parts))


def _weights(model: ModelProto) -> dict[str, TensorProto]:
    return dict(constants(model.graph))


def _nodes(model: ModelProto) -> dict[str, NodeProto]:
    """Return nodes by name, or by operator and output if they have none; constants are weights."""
    return {
        node.name or f"{node.op_type} of {next(filter(None, node.output), '')}": node
        for graph in walk_graphs(model.graph)
        for node in graph.node
        if node.op_type != "Constant"
    }


def _with_their_names(
    weights: Mapping[str, TensorProto],
    their_weights: Mapping[str, TensorProto],
    nodes: Mapping[str, NodeProto],
    their_nodes: Mapping[str, NodeProto],
) -> dict[str, TensorProto]:
    """Return weights, each by the name that the same one has in the other model's node.

    Exporters number weights, such as "onnx::MatMul_79": one more value, and all have other names.
    The inputs of `nodes` get these names, too.
    """
    pairs = [
        (ours, theirs)
        for key, node in nodes.items()
        if key in their_nodes
        for ours, theirs in zip(node.input, their_nodes[key].input, strict=False)
        if ours in weights and theirs in their_weights
    ]
    names = {
        ours: theirs for ours, theirs in pairs if _same_tensor(weights[ours], their_weights[theirs])
    }
    taken = {*names.values()}
    for ours, theirs in pairs:  # a changed one has the other's name, if its own is that of another
        own = ours in their_weights and ours not in taken
        if not own and ours not in names and theirs not in taken:
            names[ours] = theirs
            taken.add(theirs)
    for name in weights.keys() - names.keys() & taken:
        names[name] = f"{name} (another)"
    for node in nodes.values():
        node.input[:] = [names.get(name, name) for name in node.input]
    return {names.get(name, name): tensor for name, tensor in weights.items()}


def _compared(
    here: Mapping[str, _T], there: Mapping[str, _T], same: Callable[[_T, _T], bool]
) -> tuple[list[str], list[str], list[str]]:
    """Return the names that are changed, new, and missing."""
    changed = [name for name in here if name in there and not same(here[name], there[name])]
    new = [name for name in here if name not in there]
    return changed, new, [name for name in there if name not in here]


def _same_tensor(one: TensorProto, other: TensorProto) -> bool:
    """Whether two weights are equal, in whichever field of the tensor they are stored."""
    if (one.data_type, list(one.dims)) != (other.data_type, list(other.dims)):
        return False
    if one.raw_data and other.raw_data:
        return bool(one.raw_data == other.raw_data)
    return bool(numpy_helper.to_array(one).tobytes() == numpy_helper.to_array(other).tobytes())


def _same_attributes(one: NodeProto, other: NodeProto) -> bool:
    """Whether two nodes have the same operator and attributes."""
    return one.op_type == other.op_type and list(one.attribute) == list(other.attribute)


def _of(name: str, users: Mapping[str, str]) -> str:
    return f"{name} of {users[name]}" if name in users else name


def _by(one: TensorProto, other: TensorProto) -> str:
    """Return the largest difference of a weight, as a share of its largest value."""
    if one.data_type not in _FLOATING or list(one.dims) != list(other.dims):
        return ""
    ours, theirs = (numpy_helper.to_array(tensor).astype(np.float64) for tensor in (one, other))
    largest = np.abs(theirs).max(initial=0.0)
    if not largest or not np.isfinite(ours).all() or not np.isfinite(largest):
        return ""
    with np.errstate(over="ignore"):
        # Of shares: the difference of the largest values of a type is infinite.
        share = 100.0 * np.abs(ours / largest - theirs / largest).max()
    if not np.isfinite(share):
        return ""
    rounded = f"{share:.2g}" if share < 99.5 else f"{share:,.0f}"
    return f" (by up to {rounded}% of its largest value)"


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what}{'s' * (len(names) > 1)} {', '.join(names[:_NAMED])}{rest}"
