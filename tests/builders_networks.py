"""Small ONNX networks with seeded weights, for tests of converters and builders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.onnx.file import OnnxModel, load_model

FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64


def weights(name: str, *shape: int, scale: float = 0.3, seed: int = 0) -> TensorProto:
    values = np.random.default_rng([seed, *name.encode()]).standard_normal(shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name: str, value: object, dtype: str = "float32") -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def value(name: str, shape: Sequence[int | str] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initialisers: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 8,
    name: str = "network",
) -> ModelProto:
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(initialisers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )


def subgraph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initialisers: Sequence[TensorProto] = (),
) -> GraphProto:
    return helper.make_graph(list(nodes), "body", list(inputs), list(outputs), list(initialisers))


def conv_net(batch: int | str = "batch", channels: int = 8, **kwargs: int) -> ModelProto:
    """Convolution, ReLU, pooling and a linear layer: image [batch, 3, 16, 16] -> [batch, 10].

    Builders find FP32 the fastest for the few channels that it has unless told otherwise.
    """
    return model(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], name="conv1", pads=[1] * 4),
            helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1] * 4),
            helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
            helper.make_node("GlobalAveragePool", ["r2"], ["pooled"], name="pool"),
            helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
            helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], name="linear"),
        ],
        [value("image", [batch, 3, 16, 16])],
        [value("logits", [batch, 10])],
        [
            weights("w1", channels, 3, 3, 3),
            weights("b1", channels),
            weights("w2", 2 * channels, channels, 3, 3),
            weights("w3", 2 * channels, 10),
            weights("b3", 10),
        ],
        **kwargs,
    )


def conv_chain(
    layers: int, *, batch: int | str = 8, channels: int = 256, side: int = 28, seed: int = 0
) -> ModelProto:
    """3x3 convolutions with ReLU, every one as much work: x0 [batch, channels, side, side] -> x<n>.

    With these sizes TensorRT 8.6 chooses FP16 on an H200; of much smaller ones it leaves layers in
    FP32.
    """
    rng = np.random.default_rng(seed)
    nodes, stored = [], []
    for i in range(layers):
        values = rng.normal(scale=0.02, size=(channels, channels, 3, 3)).astype(np.float32)
        stored.append(numpy_helper.from_array(values, f"w{i}"))
        nodes += [
            helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"], f"relu{i}"),
        ]
    ends = [value(name, [batch, channels, side, side]) for name in ("x0", f"x{layers}")]
    return model(nodes, ends[:1], ends[1:], stored)


def save_flat(path: Path) -> None:
    """Write a linear layer in place of the example's digits.onnx: image [.., 1, 16, 16] -> ten."""
    node = helper.make_node
    flat = model(
        [
            node("Flatten", ["image"], ["pixels"], name="flatten"),
            node("Gemm", ["pixels", "weight", "bias"], ["logits"], name="linear"),
            node("Softmax", ["logits"], ["probs"], name="softmax"),
        ],
        [value("image", ["batch", 1, 16, 16])],
        [value("logits", ["batch", 10]), value("probs", ["batch", 10])],
        [weights("weight", 256, 10), weights("bias", 10)],
    )
    onnx.save(flat, path)


def encoder(batch: int | str = "batch", length: int | str = "length") -> ModelProto:
    """One transformer encoder block on embedded tokens: ids, mask [batch, length] -> [.., 32]."""
    node = helper.make_node
    return model(
        [
            node("Gather", ["table", "ids"], ["x"], name="embed"),
            node("MatMul", ["x", "wq"], ["q"], name="query"),
            node("MatMul", ["x", "wk"], ["k"], name="key"),
            node("MatMul", ["x", "wv"], ["v"], name="value"),
            node("Transpose", ["k"], ["kt"], name="turn", perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["scores"], name="scores"),
            node("Mul", ["scores", "scale"], ["scaled"], name="scale_by"),
            node("Cast", ["mask"], ["maskf"], name="mask_cast", to=FLOAT),
            node("Sub", ["one", "maskf"], ["hidden"], name="invert"),
            node("Mul", ["hidden", "far"], ["penalty"], name="penalise"),
            node("Unsqueeze", ["penalty", "axis1"], ["penalty3"], name="spread"),
            node("Add", ["scaled", "penalty3"], ["masked"], name="apply_mask"),
            node("Softmax", ["masked"], ["attention"], name="softmax", axis=-1),
            node("MatMul", ["attention", "v"], ["context"], name="attend"),
            node("MatMul", ["context", "wo"], ["projected"], name="project"),
            node("Add", ["x", "projected"], ["residual"], name="residual_add"),
            node("LayerNormalization", ["residual", "gamma", "beta"], ["encoded"], name="norm"),
        ],
        [value("ids", [batch, length], INT64), value("mask", [batch, length], INT64)],
        [value("encoded", [batch, length, 32])],
        [
            weights("table", 100, 32, scale=1.0),
            *(weights(name, 32, 32, scale=0.18) for name in ("wq", "wk", "wv", "wo")),
            constant("scale", 32**-0.5),
            constant("one", 1.0),
            constant("far", -1e9),
            constant("axis1", [1], "int64"),
            constant("gamma", np.ones(32)),
            constant("beta", np.zeros(32)),
        ],
    )


def saved(proto: ModelProto, path: Path) -> OnnxModel:
    """Write a model and return its facts."""
    onnx.save(proto, path)
    return load_model(path)


def sample(model: OnnxModel) -> dict[str, np.ndarray]:
    """Return inputs from 0 to 1, the same each time; the model's shapes are fixed."""
    random = np.random.default_rng(0)
    return {one.name: random.random(one.shape, np.float32) for one in model.inputs}
