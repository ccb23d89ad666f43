"""One builder per value that tests need, with valid defaults: a test states only what it is about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_linear(
    path: Path,
    *,
    seed: int = 0,
    features: int = 8,
    classes: int = 4,
    batch: int | str = "batch",
    nudge: float = 0.0,
) -> Path:
    """Write a small classifier: image [batch, features] -> logits, probs [batch, classes].

    Args:
        path: Where to write.
        seed: Seed of the weights.
        features: Columns of the input.
        classes: Columns of the outputs.
        batch: The batch dimension: a name, or a number to fix it.
        nudge: Added to one weight.
    """
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(features, classes)).astype(np.float32)
    weight[0, 0] += nudge
    bias = rng.normal(size=classes).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["image", "weight"], ["product"], name="product"),
            helper.make_node("Add", ["product", "bias"], ["logits"], name="shift"),
            helper.make_node("Softmax", ["logits"], ["probs"], axis=-1, name="probs"),
        ],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, features])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info("probs", TensorProto.FLOAT, [batch, classes]),
        ],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def images(batch: int = 3, features: int = 8, *, seed: int = 1) -> np.ndarray:
    """Return inputs for `save_linear`: (batch, features) float32."""
    return np.random.default_rng(seed).normal(size=(batch, features)).astype(np.float32)
