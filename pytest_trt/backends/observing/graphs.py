"""Models with other borders: more outputs, or only the part between some tensors and others.

Only tensors of the main graph are looked at: what branches and loop bodies compute is a part of the
node that holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from pytest_trt.backends.conversion.tensor_types import tensor_types
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.loading import load

#: Element types whose errors are measured.
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
)

#: Operators that builders compute together with an activation or a normalisation behind them: a
#: tensor between the two exists only where somebody looks at it.
_LEADING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "Add"})
_FOLLOWING = frozenset(
    {"BatchNormalization", "Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu"}
)

#: The name of what a part of a model computes itself, where its input has the tensor's name.
_OWN = "{}__own"


@dataclass(frozen=True, slots=True)
class Inner:
    """A tensor inside a model.

    Attributes:
        tensor: Its name.
        node: The name of the node that computes it; empty for one without a name.
        operator: That node's operator.
        is_fused: Whether builders are likely to compute it together with what follows.
    """

    tensor: str
    node: str
    operator: str
    is_fused: bool = False


class LoadedModel:
    """A model in memory, and what its tensors depend on.

    Args:
        proto: The model with its weights, as `loading.load` gives it; it is changed.
    """

    def __init__(self, proto: ModelProto) -> None:
        self.proto = proto
        surgery.modernise(self.proto)
        surgery.sort_topologically(self.proto.graph)
        self._types = tensor_types(self.proto).known
        graph = self.proto.graph
        self._nodes = list(graph.node)
        self._reads = [sorted(surgery.needed(node)) for node in self._nodes]
        self.producers = {
            name: index for index, node in enumerate(self._nodes) for name in node.output if name
        }
        self.readers: dict[str, list[NodeProto]] = {}
        for node, read in zip(self._nodes, self._reads, strict=True):
            for name in read:
                self.readers.setdefault(name, []).append(node)
        self.outputs = [value.name for value in graph.output]

    def inner(self) -> Iterator[Inner]:
        """Yield the floating-point tensors that nodes compute, in topological order."""
        for node in self._nodes:
            if node.op_type == "Constant":
                continue
            for name in filter(None, node.output):
                if self._types.get(name) in _FLOATS:
                    fused = name not in self.outputs and _is_fused(node, self.readers.get(name, []))
                    yield Inner(name, node.name, node.op_type, fused)

    def with_outputs(self, tensors: Sequence[str]) -> ModelProto:
        """Return the model with further outputs, each behind those that it has."""
        model = ModelProto()
        model.CopyFrom(self.proto)
        model.graph.output.extend(self._value(name) for name in tensors if name not in self.outputs)
        return model

    def with_shapes(self, tensors: Sequence[str]) -> ModelProto:
        """Return a model whose only outputs are the shapes of tensors, in order."""
        model = self.part(tensors)
        del model.graph.output[:]
        for index, name in enumerate(tensors):
            shape = f"pytest_trt_shape_{index}"
            model.graph.node.append(helper.make_node("Shape", [name], [shape]))
            model.graph.output.append(
                helper.make_tensor_value_info(shape, TensorProto.INT64, [None])
            )
        return model

    def segment(self, tensor: str, cut: Collection[str]) -> tuple[list[NodeProto], list[str]]:
        """Return the nodes that compute a tensor from others, and which of these they read."""
        nodes, read = self._segment(tensor, cut)
        return [self._nodes[index] for index in nodes], read

    def _segment(self, tensor: str, cut: Collection[str]) -> tuple[list[int], list[str]]:
        read: dict[str, None] = {}
        nodes: set[int] = set()
        waiting = [self.producers[tensor]]
        while waiting:
            index = waiting.pop()
            if index in nodes:
                continue
            nodes.add(index)
            for name in self._reads[index]:
                if name in cut:
                    read[name] = None
                elif name in self.producers:
                    waiting.append(self.producers[name])
        return sorted(nodes), list(read)

    def part(self, tensors: Sequence[str], cut: Collection[str] = ()) -> ModelProto:
        """Return a model that computes some tensors from others.

        Args:
            tensors: Its outputs, in order; of a tensor that is also cut, what the part itself
                computes.
            cut: Tensors that become inputs.
        """
        wanted: set[int] = set()
        inputs: dict[str, None] = {}
        for tensor in tensors:
            if tensor in self.producers:
                nodes, read = self._segment(tensor, cut)
                wanted |= {*nodes}
                inputs |= dict.fromkeys(read)
        needed = {name for index in wanted for name in self._reads[index]} | {*tensors}
        source = self.proto.graph
        model = ModelProto(ir_version=self.proto.ir_version, opset_import=self.proto.opset_import)
        graph = model.graph
        graph.name = source.name or "part"
        graph.node.extend(self._nodes[index] for index in sorted(wanted))
        graph.initializer.extend(one for one in source.initializer if one.name in needed)
        graph.input.extend(value for value in source.input if value.name in needed)
        graph.input.extend(self._value(name) for name in inputs)
        for node in graph.node:
            for index, name in enumerate(node.output):
                if name in cut:
                    node.output[index] = _OWN.format(name)
        for tensor in tensors:
            value = self._value(tensor)
            value.name = _OWN.format(tensor) if tensor in cut else tensor
            graph.output.append(value)
        return model

    def constants_of(self, tensor: str, cut: Collection[str]) -> dict[str, TensorProto]:
        """Return the constants that a tensor is computed with, by name."""
        nodes, _ = self.segment(tensor, cut)
        known = {one.name: one for one in self.proto.graph.initializer}
        for node in nodes:
            if node.op_type == "Constant":
                known.update(
                    (node.output[0], one.t) for one in node.attribute if one.name == "value"
                )
        read = {name for node in nodes for name in node.input}
        return {name: one for name, one in known.items() if name in read}

    def _value(self, name: str) -> Any:
        return helper.make_tensor_value_info(name, self._types.get(name, 0), None)


#: Each job reads a larger model again: it is not held between them.
_HELD_BYTES = 600_000_000


def loaded(path: Path) -> LoadedModel:
    """Return a model, which is held for the next job that reads the file, unless it is large.

    Raises:
        ModelError: It cannot be read.
    """
    status = path.stat()
    if status.st_size > _HELD_BYTES:
        return LoadedModel(load(path))
    return _loaded(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2)
def _loaded(path: Path, stamp: tuple[int, ...]) -> LoadedModel:
    return LoadedModel(load(path))


def drop() -> None:
    """Hold no model."""
    _loaded.cache_clear()


def _is_fused(node: NodeProto, readers: Sequence[NodeProto]) -> bool:
    return node.op_type in _LEADING and len(readers) == 1 and readers[0].op_type in _FOLLOWING


def label(node: NodeProto) -> str:
    """Return how messages name a node: by its name, else by what it computes."""
    return str(node.name or next(filter(None, node.output), node.op_type))


def attributes_of(node: NodeProto) -> Mapping[str, object]:
    """Return the attributes of a node that are numbers, texts or lists of them."""
    simple = (AttributeProto.TENSOR, AttributeProto.GRAPH)
    return {
        one.name: helper.get_attribute_value(one)
        for one in node.attribute
        if one.type not in simple
    }
