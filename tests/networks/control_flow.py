"""Recurrence and control flow in the four forms that exporters write: LSTM, Scan, Loop and If.

TensorRT 8.6 knows the nodes of a branch by the beginning of their names, so no name in a branch is
the beginning of another. Its counter of a Loop has one dimension where ONNX has none, so it is
given one before it is used.
Source: onnx-tensorrt, ConditionalHelpers.cpp and LoopHelpers.cpp.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto

from networks.graph import INT64, Graph, value

#: Numbers of a frame: so many that half precision saves a builder time.
FEATURES = 128


def lstm(*, hidden: int = 256, seed: int = 0) -> ModelProto:
    """Return frames [batch, time, 128] -> logits [batch, time, 12]: LSTM both ways, one linear."""
    net = Graph("lstm", seed=seed)
    frames = net.add("Transpose", ["frames"], perm=[1, 0, 2])
    gates = [2, 4 * hidden]
    weights = net.normal(*gates, FEATURES, scale=FEATURES**-0.5)
    recurrent = net.normal(*gates, hidden, scale=hidden**-0.5)
    bias = net.normal(2, 8 * hidden, scale=0.1)
    states = net.add(
        "LSTM",
        [frames, weights, recurrent, bias],
        hidden_size=hidden,
        direction="bidirectional",
    )
    turned = net.add("Transpose", [states], perm=[2, 0, 1, 3])
    joined = net.add("Reshape", [turned, net.constant([0, 0, 2 * hidden], "int64")])
    net.add("MatMul", [joined, net.normal(2 * hidden, 12, scale=hidden**-0.5)], "logits")
    return net.model(
        [value("frames", ["batch", "time", FEATURES])],
        [value("logits", ["batch", "time", 12])],
    )


def scan(*, hidden: int = 256, seed: int = 0) -> ModelProto:
    """Return frames [time, batch, 128] -> states [time, batch, 256], last [batch, 256] by Scan.

    Its body is a gated unit: state = (1 - gate) * state + gate * candidate.
    """
    step = Graph("step", seed=seed)
    joined = step.add("Concat", ["frame", "state"], "joined", axis=1)
    size = FEATURES + hidden
    gate, candidate = (
        step.add("MatMul", [joined, step.normal(size, hidden, scale=size**-0.5)]) for _ in range(2)
    )
    gate = step.add("Sigmoid", [gate], "gate")
    candidate = step.add("Tanh", [candidate], "candidate")
    change = step.add("Sub", [candidate, "state"], "change")
    step.add("Add", ["state", step.add("Mul", [gate, change], "moved")], "new_state")
    step.add("Identity", ["new_state"], "seen_state")

    net = Graph("scan")
    shape = net.add("Slice", [net.add("Shape", ["frames"]), *_ends(net, 1, 2)])
    shape = net.add("Concat", [shape, net.constant([hidden], "int64")], axis=0)
    start = net.add("Expand", [net.constant(0.0), shape])
    body = step.body(
        [value("state", ["batch", hidden]), value("frame", ["batch", FEATURES])],
        [value("new_state", ["batch", hidden]), value("seen_state", ["batch", hidden])],
    )
    net.split("Scan", [start, "frames"], ["last", "states"], body=body, num_scan_inputs=1)
    return net.model(
        [value("frames", ["time", "batch", FEATURES])],
        [value("states", ["time", "batch", hidden]), value("last", ["batch", hidden])],
    )


def loop(*, hidden: int = 256, seed: int = 0) -> ModelProto:
    """Return frames [time, batch, 128] -> energies [time, batch], last [batch, 256] by Loop.

    It runs once for every frame, as often as the input is long, and keeps a number of each round.
    """
    step = Graph("round", seed=seed)
    index = step.add("Reshape", ["number", step.constant([1], "int64")], "index")
    rows = step.add("Gather", ["frames", index], "rows", axis=0)
    frame = step.add("Squeeze", [rows, step.constant([0], "int64")], "frame")
    heard = step.add("MatMul", [frame, step.normal(FEATURES, hidden, scale=FEATURES**-0.5)])
    kept = step.add("MatMul", ["state", step.normal(hidden, hidden, scale=0.7 * hidden**-0.5)])
    step.add("Tanh", [step.add("Add", [heard, kept], "summed")], "new_state")
    square = step.add("Mul", ["new_state", "new_state"], "squared")
    step.add("ReduceMean", [square], "energy", axes=[1], keepdims=0)
    step.add("Cast", [step.constant(1)], "go_on", to=TensorProto.BOOL)

    net = Graph("loop")
    lengths = net.add("Shape", ["frames"])
    time = net.add("Gather", [lengths, net.constant(0, "int64")])
    batch = net.add("Slice", [lengths, *_ends(net, 1, 2)])
    shape = net.add("Concat", [batch, net.constant([hidden], "int64")], axis=0)
    start = net.add("Expand", [net.constant(0.0), shape])
    body = step.body(
        [
            value("number", [], INT64),
            value("going", [], TensorProto.BOOL),
            value("state", ["batch", hidden]),
        ],
        [
            value("go_on", [], TensorProto.BOOL),
            value("new_state", ["batch", hidden]),
            value("energy", ["batch"]),
        ],
    )
    net.split("Loop", [time, "", start], ["last", "energies"], body=body)
    return net.model(
        [value("frames", ["time", "batch", FEATURES])],
        [value("energies", ["time", "batch"]), value("last", ["batch", hidden])],
    )


def branch(*, seed: int = 0) -> ModelProto:
    """Return signal [batch, 128] -> filtered [batch, 128] by one of two filters.

    Loud input (above 1) goes through a matrix and tanh, other input through another matrix.
    """
    loud, quiet = Graph("loud", seed=seed), Graph("quiet", seed=seed + 1)
    for branch, last in ((loud, "Tanh"), (quiet, "Sigmoid")):
        weights = branch.constant(
            branch.random.standard_normal((FEATURES, FEATURES)) * FEATURES**-0.5,
            name=f"{branch.name}_matrix",
        )
        product = branch.add("MatMul", ["signal", weights], f"{branch.name}_product")
        branch.add(last, [product], f"{branch.name}_result")

    net = Graph("branch")
    most = net.add("ReduceMax", ["signal"], keepdims=0)
    is_loud = net.add("Greater", [most, net.constant(1.0)])
    shape = ["batch", FEATURES]
    net.add(
        "If",
        [is_loud],
        "filtered",
        then_branch=loud.body([], [value("loud_result", shape)]),
        else_branch=quiet.body([], [value("quiet_result", shape)]),
    )
    return net.model([value("signal", shape)], [value("filtered", shape)])


def frames(*shape: int, seed: int = 0) -> np.ndarray:
    """Return seeded noise: float32 [*shape, 128]."""
    return np.random.default_rng(seed).standard_normal((*shape, FEATURES)).astype(np.float32)


def _ends(net: Graph, start: int, end: int) -> list[str]:
    return [net.constant([start], "int64"), net.constant([end], "int64")]
