"""Branches that a run takes, in place of the nodes that choose them.

Tensors inside an `If` cannot be outputs of the model. Where its condition does not change during a
run, as in models with one branch per sampling rate, the taken branch computes the same without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, helper

#: Branches inside branches that are resolved, one level after the other.
_LEVELS = 16


def resolve(
    model: ModelProto, values_of: Callable[[ModelProto, Sequence[str]], Mapping[str, Any]]
) -> bool:
    """Replace every `If` of the main graph, in place; return whether there was one.

    Args:
        model: A model whose names are unique, subgraphs included.
        values_of: Gives the values that tensors of a model's main graph have in the run.
    """
    for level in range(_LEVELS):
        choosing = [node for node in model.graph.node if _is_if(node)]
        if not choosing:
            return level > 0
        conditions = values_of(model, list(dict.fromkeys(node.input[0] for node in choosing)))
        nodes: list[NodeProto] = []
        for node in model.graph.node:
            if _is_if(node):
                taken = _branch(node, taken=bool(conditions[node.input[0]]))
                model.graph.initializer.extend(taken.initializer)
                nodes += _inlined(node, taken)
            else:
                nodes.append(node)
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    return True


def _is_if(node: NodeProto) -> bool:
    return node.op_type == "If" and node.domain in ("", "ai.onnx")


def _branch(node: NodeProto, *, taken: bool) -> GraphProto:
    name = "then_branch" if taken else "else_branch"
    return next(one.g for one in node.attribute if one.name == name)


def _inlined(node: NodeProto, branch: GraphProto) -> list[NodeProto]:
    """Return the nodes of a branch, and what gives its outputs the names that the If gave them."""
    outputs = [
        helper.make_node("Identity", [inner.name], [name], name=f"{node.name}/{name}")
        for inner, name in zip(branch.output, node.output, strict=True)
        if name
    ]
    return [*branch.node, *outputs]
