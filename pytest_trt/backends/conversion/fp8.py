"""Float32 to FP8 with Q/DQ nodes: those of INT8, with scales for the range of float8e4m3fn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.converting import explained, raised, verify
from pytest_trt.backends.conversion.int8 import quantised
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import InputSamples

#: The first opset whose QuantizeLinear makes float8.
FP8_OPSET = 19

#: The largest values of float8e4m3fn and of symmetric INT8: the same range has scales in their
#: ratio. Source: ONNX, "Float stored in 8 bits".
_LARGEST, _LARGEST_INT8 = 448.0, 127.0


def to_fp8(
    model: OnnxModel,
    calibration: InputSamples,
    output: Path,
    *,
    options: Mapping[str, OptionValue] | None = None,
    keep_fp32: Collection[str] = (),
    verified: bool = True,
) -> Conversion:
    """Quantise a float32 model to float8e4m3fn with Q/DQ nodes where INT8 would have them.

    Ranges are those of INT8: the largest absolute value that calibration saw, or what the
    calibration method makes of it, becomes 448. Weights are stored in FP8 behind a
    DequantizeLinear. Arguments are those of `to_int8`.

    Raises:
        ConfigurationError, InputError, EngineBuildError: As `to_int8`.
    """
    done = quantised(
        model, calibration, output.parent, options, keep_fp32=keep_fp32, precision="fp8"
    )
    proto = raised(model, done.proto, FP8_OPSET, "fp8")
    with explained(model, "fp8"):
        to_float8(proto)
    surgery.save(proto, output)
    if verified:
        verify(model, output, "fp8", calibration)
    return Conversion(done.notes)


def to_float8(proto: ModelProto) -> None:
    """Turn the INT8 Q/DQ nodes of a model into FP8 ones, and store its weights in FP8."""
    graph = proto.graph
    stored = {one.name: one for one in graph.initializer}
    changed: set[str] = set()
    weights: list[Any] = []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = node.input[1], node.input[2]
        if scale not in changed:
            wide = numpy_helper.to_array(stored[scale]) * np.float32(_LARGEST_INT8 / _LARGEST)
            stored[scale].CopyFrom(numpy_helper.from_array(wide.astype(np.float32), scale))
        if zero not in changed:
            shape = tuple(stored[zero].dims)
            stored[zero].CopyFrom(_float8(zero, np.zeros(shape, np.float32)))
        changed |= {scale, zero}
        if node.op_type == "QuantizeLinear" and node.input[0] in stored:
            weights.append(node)
    made = {name for node in graph.node if node.op_type == "QuantizeLinear" for name in node.output}
    for value in [one for one in graph.value_info if one.name in made]:
        graph.value_info.remove(value)
    names = {node.input[0] for node in weights}
    for node in weights:
        _store(graph, node, stored)
    for name in names - surgery.names_read(graph):
        graph.initializer.remove(stored[name])


def _store(graph: GraphProto, node: Any, stored: Mapping[str, TensorProto]) -> None:
    """Replace a QuantizeLinear of weights by what it returns."""
    weights = numpy_helper.to_array(stored[node.input[0]])
    scale = numpy_helper.to_array(stored[node.input[1]])
    if scale.ndim:  # per channel
        axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
        scale = scale.reshape(
            [-1 if at == axis % weights.ndim else 1 for at in range(weights.ndim)]
        )
    graph.initializer.append(_float8(node.output[0], weights / scale))
    graph.node.remove(node)


def _float8(name: str, values: npt.NDArray[np.float32]) -> TensorProto:
    held = np.clip(values, -_LARGEST, _LARGEST).astype(ml_dtypes.float8_e4m3fn)
    return TensorProto(
        name=name, data_type=TensorProto.FLOAT8E4M3FN, dims=held.shape, raw_data=held.tobytes()
    )
