from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest
from builders_float16 import (
    HALF,
    LEVELS,
    VALUES,
    assert_same_bits,
    float16_model,
    half,
    node,
    rounded,
    roundings,
    run,
    to_float16,
)
from builders_networks import subgraph, value
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.backends.conversion.rounding import EXACT, round_file, round_model
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.onnx import graph as surgery

INT64, BOOL = TensorProto.INT64, TensorProto.BOOL


OVERFLOW = [node("Mul", ["x", "large"], ["up"]), node("Mul", ["up", "small"], ["y"])]
OVERFLOW_WEIGHTS = [half("large", 60000), half("small", 1e-4)]


@pytest.mark.parametrize("level", LEVELS)
def test_overflows_where_float16_does_and_nowhere_else(level: str) -> None:
    model = rounded(float16_model(OVERFLOW, OVERFLOW_WEIGHTS))
    (y,) = run(model, level, x_in=np.float32([1.0, 1.05, 1.1, -2.0, 0.0]))
    small = to_float16(1e-4)
    fits = to_float16(60000 * small)
    expected = [fits, to_float16(to_float16(60000 * to_float16(1.05)) * small), np.inf, -np.inf, 0]
    assert_same_bits(y, np.float32(expected))


def test_difference_of_overflows_is_nan() -> None:
    nodes = [node("Mul", ["x", "large"], ["up"]), node("Sub", ["up", "up"], ["y"])]
    model = rounded(float16_model(nodes, [half("large", 60000)]))
    (y,) = run(model, x_in=np.float32([1.0, 2.0]))
    assert y[0] == 0
    assert np.isnan(y[1])


BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
UNARY = {"Sqrt": np.sqrt, "Neg": np.negative, "Abs": np.abs}

numbers = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.floats(-300, 300, width=32),
    st.sampled_from([0.0, -0.0, 65504.0, 65519.996, 65520.0, 6e-8, 2.98e-8, 1 + 2**-11]),
)
vectors = st.lists(numbers, min_size=4, max_size=4).map(lambda values: np.float32(values))
steps = st.lists(
    st.tuples(st.sampled_from([*BINARY, *UNARY]), st.integers(0, 30), st.integers(0, 30)),
    min_size=1,
    max_size=10,
)


@settings(max_examples=80)
@given(steps=steps, x=vectors, c=vectors, level=st.sampled_from(LEVELS))
def test_rounds_as_numpy_does_operator_by_operator(steps, x, c, level) -> None:
    values = {"x": to_float16(x), "c": to_float16(c)}
    nodes = []
    for number, (op, first, second) in enumerate(steps):
        names = list(values)
        operands = [names[first % len(names)], names[second % len(names)]]
        operands = operands if op in BINARY else operands[:1]
        nodes.append(node(op, operands, [f"t{number}"]))
        with np.errstate(all="ignore"):
            exact = {**BINARY, **UNARY}[op](*(values[name] for name in operands))
        values[f"t{number}"] = to_float16(exact)
    outputs = [name for name in values if name not in "xc"]
    with np.errstate(all="ignore"):
        model = float16_model(nodes, [half("c", c)], outputs=outputs)
    for name, array in zip(outputs, run(rounded(model), level, x_in=x), strict=True):
        assert_same_bits(array, values[name])


@pytest.mark.parametrize("network", [networks.conv_net, networks.encoder])
def test_every_tensor_of_a_network_holds_what_float16_holds(network, tmp_path: Path) -> None:
    source = networks.saved(network(), tmp_path / "model.onnx")
    to_narrow(source, tmp_path / "half.onnx", FLOAT16)
    assert round_file(tmp_path / "half.onnx") == ()
    model = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(model, full_check=True)
    names = [entry.output[0] for entry in model.graph.node if entry.op_type != "Cast"]
    seen = [name for name in names if not name.endswith("_unrounded")]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in seen)
    rng = np.random.default_rng(0)
    feeds = {
        "image": rng.normal(size=(2, 3, 16, 16)).astype(np.float32),
        "ids": rng.integers(0, 100, (2, 7)),
        "mask": np.ones((2, 7), np.int64),
    }
    outputs = run(model, **{spec.name: feeds[spec.name] for spec in source.inputs})
    tensors = [array for array in outputs if array.dtype == np.float32]
    assert tensors
    for array in tensors:
        assert_same_bits(array, to_float16(array))


def test_file_keeps_one_copy_of_external_data(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(surgery, "INLINE_LIMIT_BYTES", 1000)
    source = networks.saved(networks.conv_net(), tmp_path / "model.onnx")
    to_narrow(source, tmp_path / "half.onnx", FLOAT16)
    data = tmp_path / "half.onnx.data"
    half_bytes = data.stat().st_size
    assert round_file(tmp_path / "half.onnx") == ()
    assert half_bytes < data.stat().st_size < 2.5 * half_bytes
    onnx.checker.check_model(str(tmp_path / "half.onnx"), full_check=True)


def branch(op: str) -> onnx.GraphProto:
    """Captures x of the outer graph; the constant is its own."""
    name = op.lower()
    return subgraph(
        [node(op, ["x", f"{name}_by"], [f"{name}_1"]), node("Mul", [f"{name}_1", "s"], [name])],
        [],
        [value(name, None, HALF)],
        [half(f"{name}_by", 60000)],
    )


def test_branches_round_what_they_compute_of_captured_tensors() -> None:
    model = float16_model(
        [
            node("Cast", ["flag"], ["chosen"], to=BOOL),
            node("If", ["chosen"], ["y"], then_branch=branch("Mul"), else_branch=branch("Add")),
        ],
        [half("s", 0.5)],
    )
    model.graph.input.append(value("flag", [], INT64))
    model = rounded(model)
    x = np.float32([1.0, 1.25, 7000.0])
    for flag, op in ((1, np.multiply), (0, np.add)):
        (y,) = run(model, x_in=x, flag=np.int64(flag))
        assert_same_bits(y, to_float16(to_float16(op(x, np.float32(60000))) * np.float32(0.5)))
    assert roundings(model) == 5


def test_loop_rounds_in_every_step() -> None:
    body = subgraph(
        [
            node("Identity", ["more"], ["again"]),
            node("Mul", ["state", "x"], ["next"]),
            node("Identity", ["next"], ["step"]),
        ],
        [value("i", [], INT64), value("more", [], BOOL), value("state", ["n"], HALF)],
        [value("again", [], BOOL), value("next", ["n"], HALF), value("step", ["n"], HALF)],
    )
    nodes = [
        node("Loop", ["trips", "", "x"], ["last", "steps"], body=body),
        node("Add", ["last", "last"], ["y"]),
    ]
    trips = numpy_helper.from_array(np.array(6, np.int64), "trips")
    model = float16_model(nodes, [trips], outputs=("y", "steps"))
    model.graph.output[0].CopyFrom(value("y_out", ["n"]))
    model = rounded(model)
    assert roundings(model) == 3
    x = to_float16([1.001, 3.3, 7.7, 0.01])
    expected = [x]
    for _ in range(6):
        expected.append(to_float16(expected[-1] * x))
    y, steps = run(model, x_in=x)
    assert_same_bits(y, to_float16(expected[-1] * 2))
    assert_same_bits(steps, np.stack(expected[1:]))
    assert np.isinf(y[2])


def test_scan_rounds_in_every_step() -> None:
    body = subgraph(
        [node("Add", ["sum", "item"], ["total"]), node("Mul", ["total", "total"], ["square"])],
        [value("sum", [], HALF), value("item", [], HALF)],
        [value("total", [], HALF), value("square", [], HALF)],
    )
    nodes = [node("Scan", ["zero", "x"], ["y", "squares"], body=body, num_scan_inputs=1)]
    model = float16_model(nodes, [half("zero", 0)], outputs=("y", "squares"))
    x = to_float16([1000.0, 0.3, 0.3, 0.3])
    total, squares = np.float32(0), []
    for item in x:
        total = to_float16(total + item)
        squares.append(to_float16(total * total))
    y, found = run(rounded(model), x_in=x)
    assert_same_bits(y, total)
    assert_same_bits(found, np.stack(squares))


def test_sequences_hold_rounded_tensors() -> None:
    nodes = [
        node("Mul", ["x", "third"], ["a"]),
        node("SequenceConstruct", ["a", "x"], ["both"]),
        node("SequenceAt", ["both", "first"], ["back"]),
        node("Mul", ["back", "third"], ["y"]),
    ]
    first = numpy_helper.from_array(np.array(0, np.int64), "first")
    model = rounded(float16_model(nodes, [half("third", 1 / 3), first]))
    third = to_float16(1 / 3)
    (y,) = run(model, x_in=VALUES)
    assert_same_bits(y, to_float16(to_float16(to_float16(VALUES) * third) * third))
    assert roundings(model) == 3


def test_inputs_and_outputs_that_are_float16_stay_so_at_the_border() -> None:
    then = subgraph([node("Neg", ["x"], ["t"])], [], [value("t", None, HALF)])
    other = subgraph([node("Add", ["x", "y"], ["e"])], [], [value("e", None, HALF)])
    model = networks.model(
        [
            node("Mul", ["x", "third"], ["y"]),
            node("If", ["flag"], ["z"], then_branch=then, else_branch=other),
        ],
        [value("x", ["n"], HALF), value("flag", [], BOOL)],
        [value(name, ["n"], HALF) for name in ("y", "z", "third", "x")],
        [half("third", [1 / 3])],
    )
    before = [entry.type for entry in (*model.graph.input, *model.graph.output)]
    model = rounded(model)
    assert [entry.type for entry in (*model.graph.input, *model.graph.output)] == before
    x = np.array([1.1, 300.0], np.float16)
    for flag in (True, False):
        y, z, third, same = run(model, x=x, flag=flag)
        assert {array.dtype for array in (y, z, third, same)} == {np.dtype(np.float16)}
        np.testing.assert_array_equal(y, x * third)
        np.testing.assert_array_equal(z, -x if flag else x + y)
        np.testing.assert_array_equal(same, x)


def test_sequence_of_float16_at_the_border_is_refused() -> None:
    model = networks.model(
        [node("SequenceAt", ["items", "first"], ["y"])],
        [helper.make_tensor_sequence_value_info("items", HALF, None)],
        [value("y", None, HALF)],
        [numpy_helper.from_array(np.array(0, np.int64), "first")],
    )
    with pytest.raises(EngineBuildError, match=r"'items' .* sequence of float16"):
        round_model(model)


def test_model_without_float16_is_left_alone() -> None:
    model = networks.conv_net()
    before = model.SerializeToString()
    (note,) = round_model(model)
    assert "nothing in the model is float16" in note
    assert model.SerializeToString() == before


def test_operators_that_move_data_are_not_rounded_again() -> None:
    axis = numpy_helper.from_array(np.array([0], np.int64), "axis")
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Concat", ["b", "a"], ["y"], axis=0),
    ]
    assert roundings(rounded(float16_model(nodes, [axis]))) == 1


def test_bounds_that_float16_does_not_hold_are_rounded() -> None:
    model = rounded(float16_model([node("Clip", ["x"], ["y"], max=0.1)], opset=10))
    (y,) = run(model, x_in=VALUES)
    assert_same_bits(y, to_float16(np.minimum(to_float16(VALUES), np.float32(0.1))))


def test_list_of_exact_operators_names_operators() -> None:
    assert [name for name in sorted(EXACT) if not onnx.defs.has(name)] == []
