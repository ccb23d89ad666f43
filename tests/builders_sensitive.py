"""Models of which one node alone cannot be reduced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders_model import model_proto, save, value
from onnx import helper, numpy_helper


def save_large_constant(path: Path) -> Path:
    """Write image [batch, 8] -> y [batch, 8], whose node "scale" multiplies by 100,000.

    FP16 ends at 65,504, so it clamps that constant; all values stay below.
    """
    rng = np.random.default_rng(0)
    weights = {f"w{number}": rng.normal(size=(8, 8)).astype(np.float32) / 8 for number in range(2)}
    nodes = [
        helper.make_node("MatMul", ["image", "w0"], ["a"], name="first"),
        helper.make_node("Tanh", ["a"], ["b"], name="squash"),
        helper.make_node("Mul", ["b", "small"], ["c"], name="shrink"),
        helper.make_node("Mul", ["c", "large"], ["d"], name="scale"),
        helper.make_node("MatMul", ["d", "w1"], ["e"], name="second"),
        helper.make_node("Sigmoid", ["e"], ["y"], name="end"),
    ]
    constants = {
        **weights,
        "small": np.array([1e-3], np.float32),
        "large": np.array([1e5], np.float32),
    }
    return _saved(nodes, constants, path)


def save_outlier_channel(path: Path) -> Path:
    """Write image [batch, 8] -> y [batch, 8], whose node "outlier" reads a channel of 1,000.

    One INT8 scale for all channels leaves nothing of the others.
    """
    rng = np.random.default_rng(0)
    weights = {f"w{number}": rng.normal(size=(8, 8)).astype(np.float32) for number in range(3)}
    weights["w1"][0] /= 1000
    scale = np.ones(8, np.float32)
    scale[0] = 1000
    nodes = [
        helper.make_node("MatMul", ["image", "w0"], ["a"], name="first"),
        helper.make_node("Tanh", ["a"], ["b"], name="squash"),
        helper.make_node("Mul", ["b", "scale"], ["c"], name="stretch"),
        helper.make_node("MatMul", ["c", "w1"], ["d"], name="outlier"),
        helper.make_node("Tanh", ["d"], ["e"], name="squash_again"),
        helper.make_node("MatMul", ["e", "w2"], ["y"], name="last"),
    ]
    return _saved(nodes, {**weights, "scale": scale}, path)


def _saved(nodes, constants, path: Path) -> Path:
    initializers = [numpy_helper.from_array(one, name) for name, one in constants.items()]
    proto = model_proto(
        nodes,
        inputs=[value("image", ("batch", 8))],
        outputs=[value("y", ("batch", 8))],
        initializers=initializers,
    )
    return save(proto, path)
