"""The facts of one parse of an ONNX file, which can be cached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pytest_trt.onnx.input_roles import (
    condition_inputs,
    index_roles,
    inlined,
    number_inputs,
    shape_inputs,
)
from pytest_trt.onnx.proto import Graph, StoredModel, StoredTensor
from pytest_trt.records import to_data
from pytest_trt.tensors.elements import element_name
from pytest_trt.tensors.spec import TensorSpec

#: Raise this whenever `Contents.of` can return other facts for the same file: it invalidates cached
#: contents.
CONTENTS_SCHEMA = 11


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of an ONNX file, without its weights.

    Attributes:
        opset, ir_version, inputs, outputs, op_types, index_limits, computed_indices, shape_inputs,
            condition_inputs, number_inputs, elements: See `OnnxModel`.
        external: Tensors whose bytes are in other files.
    """

    opset: int
    ir_version: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    op_types: Mapping[str, int]
    index_limits: Mapping[str, int]
    computed_indices: Mapping[str, int]
    shape_inputs: tuple[str, ...]
    condition_inputs: tuple[str, ...]
    number_inputs: tuple[str, ...]
    elements: Mapping[str, int]
    external: tuple[StoredTensor, ...]

    @classmethod
    def of(cls, stored: StoredModel, graph: Graph) -> Contents:
        """Return the contents of a parsed model."""
        inputs = graph.own_inputs
        if stored.bodies:
            graph = replace(graph, all_nodes=inlined(graph.all_nodes, stored.bodies))
        indices = index_roles(graph, inputs)
        return cls(
            opset=stored.opset,
            ir_version=stored.ir_version,
            inputs=inputs,
            outputs=graph.outputs,
            op_types=dict(stored.op_types),
            index_limits=indices.limits,
            computed_indices=indices.computed,
            shape_inputs=shape_inputs(graph, inputs),
            condition_inputs=condition_inputs(graph, inputs),
            number_inputs=tuple(
                name
                for name in number_inputs(graph, inputs)
                if name not in indices.limits and name not in indices.computed
            ),
            elements={element_name(number): count for number, count in stored.elements.items()},
            external=tuple(stored.external),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the contents as JSON-simple data."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("inputs", "outputs", "external"):
            data[name] = to_data(data[name])
        return {"schema": CONTENTS_SCHEMA, **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Contents | None:
        """Return the contents that `to_dict` encoded, or None for data of another schema."""
        values = dict(data)
        if values.pop("schema", None) != CONTENTS_SCHEMA:
            return None
        for side in ("inputs", "outputs"):
            values[side] = tuple(_tensor(**one) for one in values[side])
        values["external"] = tuple(
            StoredTensor(**{**one, "dims": tuple(one["dims"])}) for one in values["external"]
        )
        for names in ("shape_inputs", "condition_inputs", "number_inputs"):
            values[names] = tuple(values[names])
        return cls(**values)


def _tensor(name: str, dtype: str, shape: list[int | str] | None) -> TensorSpec:
    return TensorSpec(name, dtype, None if shape is None else tuple(shape))
