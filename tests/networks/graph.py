"""An ONNX graph put together node by node, with seeded weights that keep activations O(1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

#: TensorRT 8.6 reads operators up to 17; IR 8 came with them.
OPSET, IR_VERSION = 17, 8

#: What a ReLU's output is multiplied by to have variance 1 again, where the mean is taken out by
#: weights that sum to zero. Source: Brock et al. 2021, "High-Performance Large-Scale Image
#: Recognition Without Normalization", section 2.
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))


class Graph:
    """Nodes and constants in the order in which they are added.

    Args:
        name: The graph's name.
        seed: Seed of its weights.
    """

    def __init__(self, name: str, *, seed: int = 0) -> None:
        self.name = name
        self.random = np.random.default_rng(seed)
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []

    def add(
        self, op: str, inputs: Sequence[str], output: str = "", *, domain: str = "", **options: Any
    ) -> str:
        """Add a node with one output and return that output's name."""
        return self.split(op, inputs, [output or self._new(op)], domain=domain, **options)[0]

    def split(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        domain: str = "",
        **options: Any,
    ) -> list[str]:
        """Add a node with these outputs and return them."""
        name = f"node_{next(output for output in outputs if output)}"
        self._nodes.append(
            helper.make_node(op, list(inputs), list(outputs), name=name, domain=domain, **options)
        )
        return list(outputs)

    def constant(self, values: npt.ArrayLike, dtype: str = "float32", *, name: str = "") -> str:
        """Add a constant and return its name."""
        name = name or f"{self.name}_constant{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> str:
        """Add seeded normal values."""
        values = self.random.standard_normal(shape, np.float32)
        return self.constant(values * np.float32(scale) + np.float32(mean))

    def kernel(self, outputs: int, *inputs: int, gain: float = 1.0) -> str:
        """Add weights [outputs, *inputs]: each output's sum to zero and keep the variance."""
        fan_in = math.prod(inputs)
        values = self.random.standard_normal((outputs, fan_in), np.float32)
        values -= values.mean(axis=1, keepdims=True)
        values /= np.sqrt(np.square(values).sum(axis=1, keepdims=True)) / np.float32(gain)
        return self.constant(values.reshape(outputs, *inputs))

    def body(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> GraphProto:
        """Return the graph itself, to be the body of a node of control flow."""
        return helper.make_graph(self._nodes, self.name, inputs, outputs, self._tensors)

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        *,
        domains: Sequence[str] = (),
    ) -> ModelProto:
        """Return the graph as a model; `domains` are those of foreign operators."""
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(d, 1) for d in domains)]
        graph = self.body(inputs, outputs)
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _new(self, op: str) -> str:
        return f"{self.name}_{len(self._nodes):03}_{op}"


def value(name: str, shape: Sequence[int | str] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    """Describe an input or an output."""
    return helper.make_tensor_value_info(name, dtype, shape)
