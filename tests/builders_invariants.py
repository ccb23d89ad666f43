"""Models that break an invariant, or do not: image [batch, 8] -> y [batch, 4]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def _save(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    """Write a matrix product, and the nodes that make y of it."""
    weight = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    noise = np.array(1e-6, np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["image", "weight"], ["product"]), *nodes],
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(noise, "noise")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def save_mixing(path: Path) -> Path:
    """Write a model whose rows depend on each other."""
    return _save(path, [helper.make_node("Softmax", ["product"], ["y"], axis=0)])


def save_random(path: Path) -> Path:
    """Write a model that adds noise far below any tolerance."""
    nodes = [
        helper.make_node("RandomNormalLike", ["product"], ["drawn"]),
        helper.make_node("Mul", ["drawn", "noise"], ["scaled"]),
        helper.make_node("Add", ["product", "scaled"], ["y"]),
    ]
    return _save(path, nodes)


def save_plain(path: Path) -> Path:
    return _save(path, [helper.make_node("Identity", ["product"], ["y"])])
