"""Float16 models as the converter makes them, rounded and run; float16 arithmetic by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
from builders_networks import value
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.rounding import round_model
from pytest_trt.onnx import graph as surgery

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
LEVELS = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
node = helper.make_node

#: One that float16 holds and one that it rounds, one past its range, one that it flushes.
VALUES = np.array([1.0, 1.0003, 70000.0, 1e-9], np.float32)


def half(name: str, values: object) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.float16), name)


def float16_model(
    nodes: Sequence[NodeProto],
    initialisers: Sequence[TensorProto] = (),
    *,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    shape: Sequence[int | str] = ("n",),
    opset: int = 17,
    domains: Sequence[str] = (),
) -> ModelProto:
    """A model of float16 nodes that takes and gives float32, as the converter makes it."""
    model = networks.model(
        [
            *(node("Cast", [f"{name}_in"], [name], to=HALF) for name in inputs),
            *nodes,
            *(node("Cast", [name], [f"{name}_out"], to=FLOAT) for name in outputs),
        ],
        [value(f"{name}_in", shape) for name in inputs],
        [value(f"{name}_out", None) for name in outputs],
        initialisers,
        opset=opset,
    )
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
    return model


def rounded(model: ModelProto) -> ModelProto:
    assert round_model(model) == ()
    # The checker wants outputs to have shapes, which the builder leaves to inference.
    shaped = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(shaped, full_check=True)
    return model


def session(model: ModelProto, level: str = "ENABLE_EXTENDED", save: Path | None = None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    if save:
        options.optimized_model_filepath = str(save)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: ModelProto, level: str = "ENABLE_EXTENDED", **feeds: object) -> list[np.ndarray]:
    tensors = {name: np.asarray(array) for name, array in feeds.items()}
    return session(model, level).run(None, tensors)


def to_float16(values: object) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    """Bits, so that the sign of zero counts; any NaN is as good as another."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    np.testing.assert_array_equal(actual.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


def roundings(model: ModelProto) -> int:
    """How many tensors are cast to float16."""
    return sum(
        entry.op_type == "Cast" and helper.get_node_attr_value(entry, "to") == HALF
        for graph in surgery.walk_graphs(model.graph)
        for entry in graph.node
    )
