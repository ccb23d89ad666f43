from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import save_linear
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.difference import model_difference


def renamed(model: ModelProto) -> None:
    for number, node in enumerate(model.graph.node):
        node.name = f"node{number}"


def with_another_axis(model: ModelProto) -> None:
    model.graph.node[2].attribute[0].i = 0


def with_a_relu(model: ModelProto) -> None:
    model.graph.node[0].output[0] = "before"
    model.graph.node.insert(1, helper.make_node("Relu", ["before"], ["product"], name="relu"))


def with_other_weights(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))


def with_a_weight_that_nothing_uses(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float32), "spare"))


def with_nothing_of_weight(model: ModelProto) -> None:
    model.producer_name, model.graph.name = "another", "other"
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, values.shape, values))


def with_swapped_inputs(model: ModelProto) -> None:
    node = model.graph.node[1]
    node.input[:] = reversed(node.input)


def with_weights_of_other_numbers(model: ModelProto) -> None:
    """As an exporter names them that counts one more value before them."""
    first, second = model.graph.initializer
    names = {first.name: second.name, second.name: "another"}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def with_a_relu_and_other_numbers(model: ModelProto) -> None:
    with_weights_of_other_numbers(model)
    with_a_relu(model)


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (with_weights_of_other_numbers, ""),
        (with_a_relu_and_other_numbers, "new node relu"),
        (lambda model: None, ""),
        (
            with_other_weights,
            "weights weight of product (by up to *), bias of shift (by up to *)",
        ),
        (with_a_weight_that_nothing_uses, "new weight spare"),
        (with_another_axis, "node softmax"),
        (with_swapped_inputs, "node shift"),
        (with_a_relu, "new node relu"),
        (renamed, "the names of its nodes (3, the reference has 3)"),
        (with_nothing_of_weight, ""),
    ],
)
def test_difference_is_named(tmp_path: Path, change: Callable[[ModelProto], None], reported: str):
    reference = save_linear(tmp_path / "reference.onnx")
    model = onnx.load(reference)
    change(model)
    onnx.save(model, tmp_path / "model.onnx")
    assert fnmatch(model_difference(tmp_path / "model.onnx", reference), reported)


def test_the_other_way_round_what_was_new_is_missing(tmp_path: Path) -> None:
    reference = save_linear(tmp_path / "reference.onnx")
    model = onnx.load(reference)
    with_a_relu(model)
    onnx.save(model, tmp_path / "model.onnx")
    assert model_difference(reference, tmp_path / "model.onnx") == "missing node relu"


def test_few_are_named_and_the_others_counted(tmp_path: Path) -> None:
    def chain(path: Path, factor: float) -> Path:
        names = ["x", *(f"y{number}" for number in range(5))]
        weights = [
            numpy_helper.from_array(np.full(2, factor, np.float32), f"w{n}") for n in range(5)
        ]
        nodes = [
            helper.make_node("Mul", [names[n], f"w{n}"], [names[n + 1]], name=f"mul{n}")
            for n in range(5)
        ]
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y4")]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
        onnx.save(helper.make_model(graph), path)
        return path

    reported = model_difference(chain(tmp_path / "a.onnx", 1.0), chain(tmp_path / "b.onnx", 2.0))
    by = "(by up to 50% of its largest value)"
    assert reported == f"weights w0 of mul0 {by}, w1 of mul1 {by} and 3 more"


def test_differences_beyond_the_largest_value_are_written_out(tmp_path: Path) -> None:
    one = save_linear(tmp_path / "one.onnx")
    model = onnx.load(one)
    weight = model.graph.initializer[0]
    scaled = numpy_helper.to_array(weight) * np.float32(13.5)
    weight.CopyFrom(numpy_helper.from_array(scaled, weight.name))
    onnx.save(model, tmp_path / "scaled.onnx")
    assert "(by up to 1,250% of its" in model_difference(tmp_path / "scaled.onnx", one)


def test_external_weights_are_compared_by_their_values(tmp_path: Path) -> None:
    reference = save_linear(tmp_path / "reference.onnx")
    beside = tmp_path / "beside" / "model.onnx"
    beside.parent.mkdir()
    model = onnx.load(reference)
    onnx.save(model, beside, save_as_external_data=True, size_threshold=0, location="data")
    assert model_difference(beside, reference) == ""
    data = beside.with_name("data")
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    assert model_difference(beside, reference).startswith("weight")
    data.unlink()
    with pytest.raises(ModelError):
        model_difference(beside, reference)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("largest", [1.7e308, 1.0])
def test_weights_of_any_size_are_compared_without_overflow(tmp_path: Path, largest: float) -> None:
    reference = save_linear(tmp_path / "reference.onnx")
    paths = []
    for name, sign in (("one", 1.0), ("other", -1.0)):
        model = onnx.load(reference)
        weight = model.graph.initializer[0]
        values = np.full(tuple(weight.dims), sign * largest)
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(model, paths[-1])
    assert "by up to 200%" in model_difference(*paths)


def test_numbers_of_weights_do_not_hide_that_two_are_swapped(tmp_path: Path) -> None:
    def chain(path: Path, *names: str) -> Path:
        values = {name: np.full(2, ord(name[0]), np.float32) for name in names}
        weights = [numpy_helper.from_array(array, name) for name, array in values.items()]
        nodes = [
            helper.make_node("Mul", ["x", names[0]], ["a"], name="first"),
            helper.make_node("Mul", ["a", names[1]], ["y"], name="second"),
        ]
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y")]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
        onnx.save(helper.make_model(graph), path)
        return path

    theirs = chain(tmp_path / "theirs.onnx", "q_1", "k_2")
    assert model_difference(chain(tmp_path / "same.onnx", "q_3", "k_4"), theirs) == ""
    assert model_difference(chain(tmp_path / "next.onnx", "q_2", "k_3"), theirs) == ""
    swapped = model_difference(chain(tmp_path / "swapped.onnx", "k_3", "q_4"), theirs)
    assert swapped.startswith(
        "weights q_1 of first (by up to 5.3% of its largest value), k_2 of sec"
    )
    # Another value by the name that the equal weight has in the other model.
    changed = model_difference(chain(tmp_path / "changed.onnx", "q_0", "q_1"), theirs)
    assert changed == "weight k_2 of second (by up to 5.6% of its largest value)"
