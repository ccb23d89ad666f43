from __future__ import annotations

import copy
import random
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx import graph
from pytest_trt.onnx.loading import load

node = helper.make_node
value = networks.value


def shuffled(model: ModelProto, seed: int) -> ModelProto:
    result = copy.deepcopy(model)
    nodes = list(result.graph.node)
    random.Random(seed).shuffle(nodes)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def branches() -> ModelProto:
    """An If whose two branches share value names and capture `x` and `bias`."""

    def branch(factor: float) -> onnx.GraphProto:
        return networks.subgraph(
            [node("Mul", ["x", "factor"], ["scaled"]), node("Add", ["scaled", "bias"], ["result"])],
            [],
            [value("result", None)],
            [networks.constant("factor", factor)],
        )

    return networks.model(
        [
            node("If", ["go"], ["y"], name="if", then_branch=branch(2.0), else_branch=branch(3.0)),
        ],
        [value("x", [2]), value("go", [], onnx.TensorProto.BOOL)],
        [value("y", [2])],
        [networks.constant("bias", [1.0, 1.0])],
    )


def run(model: ModelProto, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("seed", range(5))
def test_sorting_puts_nodes_after_what_they_read(seed: int) -> None:
    expected = networks.encoder()
    model = shuffled(expected, seed)
    graph.sort_topologically(model.graph)
    onnx.checker.check_model(model)


def test_sorting_keeps_an_order_that_is_good_already() -> None:
    model = networks.encoder()
    graph.sort_topologically(model.graph)
    assert model == networks.encoder()


def test_sorting_counts_what_a_branch_captures() -> None:
    model = branches()
    late = node("Identity", ["x0"], ["x"])
    model.graph.input[0].name = "x0"
    model.graph.node.append(late)
    graph.sort_topologically(model.graph)
    assert [n.op_type for n in model.graph.node] == ["Identity", "If"]
    onnx.checker.check_model(model)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [((1 << 16, 1 << 16), "has 17,179,869,184 bytes as a dense one"), ((2, 2), "has indices out")],
)
def test_a_sparse_tensor_that_cannot_be_dense_is_named(shape, problem) -> None:
    model = networks.model([node("Relu", ["w"], ["y"])], [], [value("y", None)])
    values, places = networks.constant("w", [1.0]), networks.constant("at", [5], "int64")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, shape))
    with pytest.raises(ModelError, match=f"sparse tensor 'w' {problem}"):
        graph.modernise(model)


def test_a_cycle_is_named() -> None:
    model = networks.model(
        [node("Relu", ["b"], ["a"], name="first"), node("Relu", ["a"], ["b"], name="second")],
        [value("x", [1])],
        [value("b", [1])],
    )
    with pytest.raises(ModelError, match="cycle through Relu node 'first'"):
        graph.sort_topologically(model.graph)


def test_two_values_of_one_name_are_no_cycle() -> None:
    """As the exporter of PyTorch 2.13 writes an output named as a value of its own."""
    model = networks.model(
        [node("Relu", ["x"], ["b"]), node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"])],
        [value("x", [1])],
        [value("b", [1])],
    )
    with pytest.raises(ModelError, match="computes two values named 'b'") as caught:
        graph.sort_topologically(model.graph)
    assert "output_names=" in str(caught.value.diagnostic.remedy)


def test_branches_get_their_own_names_and_the_same_results() -> None:
    model = branches()
    x = np.array([1, 2], np.float32)
    expected = [run(model, x=x, go=np.array(go)) for go in (True, False)]
    graph.modernise(model)
    scopes = list(graph.walk_graphs(model.graph))[1:]
    names = [name for scope in scopes for n in scope.node for name in n.output]
    assert len(names) == len(set(names)) == 4
    for go, wanted in zip((True, False), expected, strict=True):
        np.testing.assert_array_equal(run(model, x=x, go=np.array(go)), wanted)


def test_a_cast_of_a_branch_value_moves_into_the_branch() -> None:
    model = branches()
    graph.modernise(model)
    then = graph.subgraphs(model.graph.node[0])[0]
    then.node[1].input[0] = "scaled_again"
    model.graph.node.append(node("Identity", [then.node[0].output[0]], ["scaled_again"]))
    graph.tidy(model)
    assert [n.op_type for n in model.graph.node] == ["If"]
    then = graph.subgraphs(model.graph.node[0])[0]
    assert [n.op_type for n in then.node] == ["Mul", "Identity", "Add"]
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(run(model, x=x, go=np.array(True)), [3, 5])


def test_initialisers_are_not_inputs_afterwards() -> None:
    model = networks.conv_net(ir_version=3, opset=9)
    model.graph.input.extend(value(tensor.name, tensor.dims) for tensor in model.graph.initializer)
    graph.modernise(model)
    assert [v.name for v in model.graph.input] == ["image"]
    assert model.ir_version == 4


def test_scalar_constants_become_tensors() -> None:
    model = networks.model(
        [
            node("Constant", [], ["c"], value_float=2.5),
            node("Constant", [], ["d"], value_floats=[1.0, 2.0]),
            node("Constant", [], ["axis"], value_ints=[0]),
            node("Mul", ["c", "d"], ["e"]),
            node("Mul", ["x", "e"], ["y"]),
        ],
        [value("x", [2])],
        [value("y", [2])],
    )
    graph.modernise(model)
    assert [name for name, _ in graph.constants(model.graph)] == ["c", "d"]
    assert model.graph.node[2].attribute[0].name == "value_ints"
    np.testing.assert_array_equal(run(model, x=np.ones(2, np.float32)), [2.5, 5])


def test_external_data_come_along_and_shapes_are_inferred(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        networks.conv_net(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    model = load(path)
    assert "pooled" in {info.name for info in model.graph.value_info}
    graph.save(model, tmp_path / "copy.onnx")
    (tmp_path / "w.bin").unlink()
    assert len(onnx.load(tmp_path / "copy.onnx").graph.initializer[0].raw_data) == 8 * 3 * 9 * 4


def test_missing_external_data_are_an_error_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        networks.conv_net(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"w\.bin, which does not exist"):
        load(path)


def test_weights_beyond_the_limit_go_next_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "INLINE_LIMIT_BYTES", 100)
    expected = onnx.numpy_helper.to_array(networks.conv_net().graph.initializer[0])
    graph.save(networks.conv_net(), tmp_path / "big.onnx")
    assert (tmp_path / "big.onnx.data").stat().st_size > 100
    written = onnx.load(tmp_path / "big.onnx").graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(written), expected)


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    opset = helper.make_opsetid("", 17)
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [opset]
    )
    model = networks.model(
        [node("Twice", ["x"], ["y"], domain="local")], [value("x", [1])], [value("y", [1])]
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    onnx.save(model, tmp_path / "m.onnx")
    assert [n.op_type for n in load(tmp_path / "m.onnx").graph.node] == ["Add"]


def test_nameless_nodes_get_their_own_names_in_subgraphs_too():
    def model():
        branch = helper.make_graph(
            [helper.make_node("Neg", ["x"], ["b"])],
            "branch",
            [],
            [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
        )
        nodes = [
            helper.make_node("Relu", ["x"], ["r"], name="Neg_0"),
            helper.make_node("Neg", ["r"], ["n"]),
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ]
        return helper.make_model(helper.make_graph(nodes, "main", [], []))

    named = model()
    graph.name_nodes(named)
    names = [node.name for part in graph.walk_graphs(named.graph) for node in part.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert named.graph.node[0].name == "Neg_0"


def sparse(indices: list) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.float32([1.5, 2.5]), "w")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.int64(indices)), [4, 4])


@pytest.mark.parametrize("in_node", [True, False])
@pytest.mark.parametrize("indices", [[1, 6], [[0, 1], [1, 2]]])
def test_sparse_constants_become_dense(indices: list, in_node: bool) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if in_node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse(indices)))
    model = networks.model(nodes, [networks.value("x", [2, 4])], [networks.value("y", [2, 4])])
    if not in_node:
        model.graph.sparse_initializer.append(sparse(indices))
    graph.modernise(model)
    assert not model.graph.sparse_initializer
    ((name, tensor),) = graph.constants(model.graph)
    expected = np.zeros((4, 4), np.float32)
    expected[0, 1], expected[1, 2] = 1.5, 2.5
    assert name == "w"
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), expected)


@pytest.mark.parametrize("indices", [[1, 16], [[0, 1], [4, 0]]])
def test_a_sparse_constant_with_indices_outside_is_an_error_of_the_model(indices: list) -> None:
    model = networks.model([], [], [])
    model.graph.sparse_initializer.append(sparse([1, 6]))
    model.graph.sparse_initializer[0].indices.CopyFrom(numpy_helper.from_array(np.int64(indices)))
    with pytest.raises(ModelError, match="'w' has indices outside its shape"):
        graph.modernise(model)
