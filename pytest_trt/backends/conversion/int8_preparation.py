"""What comes before ONNX Runtime's static quantisation: its import, and a model made ready."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import onnx.version_converter
from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from pytest_trt.backends.conversion.custom_ops import register_custom_ops
from pytest_trt.onnx import graph
from pytest_trt.onnx.libraries import Library

#: Per-channel scales need the `axis` attribute of QuantizeLinear.
_INT8_OPSET = 13

_UNUSED = "onnxruntime.quantization.shape_inference"


def import_quantization() -> Any:
    """Return `onnxruntime.quantization`, also where sympy is absent.

    Up to ONNX Runtime 1.23 it imports its own preparation of models, and that imports sympy.
    `prepare` does that work here, so an empty module may stand in during the import.
    """
    try:
        return importlib.import_module("onnxruntime.quantization")
    except ModuleNotFoundError as exc:
        if exc.name != "sympy":
            raise
    stand_in: Any = ModuleType(_UNUSED)
    stand_in.quant_pre_process = None
    sys.modules[_UNUSED] = stand_in
    try:
        return importlib.import_module("onnxruntime.quantization")
    finally:
        del sys.modules[_UNUSED]


def prepare(proto: Any, opset: int, folder: Path, custom_ops: Sequence[Library] = ()) -> Path:
    """Fold constants and batch normalisations, which quantisation would else freeze in float32.

    Args:
        proto: A model with its weights, which may be moved out of it.
        opset: The model's version of the default operator set.
        folder: An empty folder for what is written.
        custom_ops: Libraries of custom operators.

    Returns:
        The prepared model; weights that do not fit into one file are in `<name>.data` next to it.
    """
    if opset < _INT8_OPSET:
        proto = onnx.version_converter.convert_version(proto, _INT8_OPSET)
    source, prepared = folder / "source.onnx", folder / "prepared.onnx"
    graph.save(proto, source)
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(prepared)
    register_custom_ops(options, custom_ops)
    if (folder / f"{source.name}.data").exists():
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{prepared.name}.data"
        )
    runtime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return prepared


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user wants quantised, in the terms of the model that was given.

    Preparation fuses nodes: a MatMul and an Add become a Gemm, named after the MatMul as
    "<name>/MatMulAddFusion". Such a node counts as the nodes that it replaces.

    Attributes:
        operators: Operator by name of each node in the model's main graph.
        chosen: Operators to quantise.
        kept: Names of nodes that are not quantised.
    """

    operators: Mapping[str, str]
    chosen: frozenset[str]
    kept: frozenset[str]

    def of(self, prepared: Path) -> tuple[list[str], list[str]]:
        """Return, for a prepared model, the operators to quantise and the nodes to leave out."""
        operators, excluded = set(), []
        for node in onnx.load(prepared, load_external_data=False).graph.node:
            origin = origin_of(node.name, self.operators)
            operator = self.operators.get(origin, node.op_type)
            if operator in self.chosen and origin not in self.kept:
                operators.add(node.op_type)
            else:
                excluded.append(node.name)
        return sorted(operators), excluded

    def kept_in(self, model: onnx.ModelProto) -> frozenset[str]:
        """Return the names of the nodes of a quantised model that are not quantised on request."""
        return frozenset(
            node.name
            for scope in graph.walk_graphs(model.graph)
            for node in scope.node
            if node.op_type not in _QUANTISING and origin_of(node.name, self.operators) in self.kept
        )


def origin_of(name: str, operators: Mapping[str, str]) -> str:
    """Return the node that a node of a prepared model was made of; itself where that is none.

    Args:
        name: Its name.
        operators: Operator by name of each node of the model before.
    """
    origin = name
    while origin not in operators and "/" in origin:
        origin = origin.rpartition("/")[0]
    return origin if origin in operators else name


_CONVOLUTIONS = ("Conv", "ConvTranspose")

#: What stands between a convolution and its weights in a quantised model.
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def state_kernel_shapes(graph: GraphProto) -> None:
    """Give every convolution of quantised weights its `kernel_shape`, which ONNX lets a model omit.

    TensorRT infers it from weights only where they are a constant of the convolution itself. Behind
    a DequantizeLinear it takes the kernel for 1x1 and refuses the node: "The input tensor shape
    misaligns with the input kernel shape" (seen with 8.6.0).
    """
    sizes = {weights.name: list(weights.dims) for weights in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type not in _CONVOLUTIONS or len(node.input) < 2:
            continue
        if any(attribute.name == "kernel_shape" for attribute in node.attribute):
            continue
        weights = node.input[1]
        while weights in producers and producers[weights].op_type in _QUANTISING:
            weights = producers[weights].input[0]
        if weights in sizes:
            # Output and input channels first, then the spatial dims.
            node.attribute.append(helper.make_attribute("kernel_shape", sizes[weights][2:]))


#: Operators whose second input is weights that quantisation stores as INT8.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def unshare_weights(graph: GraphProto) -> None:
    """Give every operator weights of its own.

    Quantised weights that two convolutions share make ONNX Runtime stop when it fuses them both:
    "AddInitializedOrtValue Attempt to replace the existing tensor" (seen with 1.32).
    """
    weights = {one.name: one for one in graph.initializer}
    taken = set(weights).union(*(node.output for node in graph.node))
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type not in _WEIGHTED or len(node.input) < 2 or node.input[1] not in weights:
            continue
        name = node.input[1]
        if name in seen:
            own = TensorProto()
            own.CopyFrom(weights[name])
            own.name = _free(name, taken)
            taken.add(own.name)
            graph.initializer.append(own)
            node.input[1] = own.name
        seen.add(name)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


@dataclass(frozen=True, slots=True)
class PassedOutputs:
    """Outputs of a graph that none of its nodes makes: its inputs and constants, passed on.

    ONNX Runtime's quantisation takes such a graph for cyclic.
    """

    outputs: tuple[tuple[int, ValueInfoProto], ...]
    constants: Mapping[str, TensorProto]

    @classmethod
    def taken_from(cls, graph: GraphProto) -> PassedOutputs:
        """Take them out of a graph that has others."""
        made = {name for node in graph.node for name in node.output}
        passed = [(at, value) for at, value in enumerate(graph.output) if value.name not in made]
        names = {value.name for _, value in passed}
        remaining = [value for value in graph.output if value.name in made]
        constants = {one.name: one for one in graph.initializer if one.name in names}
        found = cls(tuple(passed), constants)
        del graph.output[:]
        graph.output.extend(remaining)
        return found

    def put_back(self, graph: GraphProto) -> None:
        """Put them back where they were."""
        stored = {one.name for one in graph.initializer}
        graph.initializer.extend(one for name, one in self.constants.items() if name not in stored)
        outputs = list(graph.output)
        for index, value in self.outputs:
            outputs.insert(index, value)
        del graph.output[:]
        graph.output.extend(outputs)
