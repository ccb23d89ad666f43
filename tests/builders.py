"""Builders with valid defaults, so that a test states only what it is about."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.plugin.options.settings import default_settings as settings

__all__ = [
    "full_disk",
    "images",
    "save_batch_dependent",
    "save_linear",
    "save_overflowing",
    "settings",
]


@contextmanager
def full_disk(free_bytes: int = 1000) -> Iterator[None]:
    """Let no file grow beyond some bytes, here and in processes that are started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_linear(
    path: Path,
    *,
    seed: int = 0,
    features: int = 8,
    classes: int = 4,
    batch: int | str = "batch",
    nudge: float = 0.0,
    swapped: bool = False,
) -> Path:
    """Write a small classifier: image [batch, features] -> logits, probs [batch, classes].

    Args:
        path: Where to write.
        seed: Seed of the weights.
        features: Columns of the input.
        classes: Columns of the outputs.
        batch: The batch dimension: a name, or a number to fix it.
        nudge: Added to one weight.
        swapped: Whether each output has the other one's name.
    """
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(features, classes)).astype(np.float32)
    weight[0, 0] += nudge
    bias = rng.normal(size=classes).astype(np.float32)
    first, second = ("probs", "logits") if swapped else ("logits", "probs")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["image", "weight"], ["product"], name="product"),
            helper.make_node("Add", ["product", "bias"], [first], name="shift"),
            helper.make_node("Softmax", [first], [second], axis=-1, name="softmax"),
        ],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, features])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info("probs", TensorProto.FLOAT, [batch, classes]),
        ],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    return _save(graph, path)


def images(batch: int = 3, features: int = 8, *, seed: int = 1) -> np.ndarray:
    """Return inputs for `save_linear`: (batch, features) float32."""
    return np.random.default_rng(seed).normal(size=(batch, features)).astype(np.float32)


def save_overflowing(path: Path) -> Path:
    """Write a model whose FP16 engine overflows: image -> scores, by way of values over 65504."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "large"], ["scaled"], name="scale_up"),
            helper.make_node("Sub", ["scaled", "shifted"], ["difference"], name="subtract"),
            helper.make_node("Mul", ["image", "large"], ["shifted"], name="scale_up_too"),
            helper.make_node("Add", ["difference", "image"], ["scores"], name="restore"),
        ],
        "overflowing",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(np.array([60000.0], np.float32), "large")],
    )
    graph.node.sort(key=lambda node: node.name.startswith(("subtract", "restore")))
    return _save(graph, path)


def save_batch_dependent(path: Path, *, error: float) -> Path:
    """Write image -> sums, right at batch 1 and off by `error` at any larger batch."""
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    zero = numpy_helper.from_array(np.array([0.0], np.float32), "zero")
    off = numpy_helper.from_array(np.array([error], np.float32), "off")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["sums"], axes=[1], keepdims=1),
            helper.make_node("Shape", ["sums"], ["batch_size"], start=0, end=1),
            helper.make_node("Greater", ["batch_size", "one"], ["larger"]),
            helper.make_node("Where", ["larger", "off", "zero"], ["fault"]),
            helper.make_node("Add", ["sums", "fault"], ["mean"]),
        ],
        "batch_dependent",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 1])],
        [one, zero, off],
    )
    return _save(graph, path)


def _save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
