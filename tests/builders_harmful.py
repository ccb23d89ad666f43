"""Models that do harm: they hang, explode, or crash what loads or runs them."""

from __future__ import annotations

from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto, helper

node, value = helper.make_node, helper.make_tensor_value_info


def function_bomb(path: Path, *, levels: int = 9, calls: int = 10) -> Path:
    """Write a model of less than 2 KB whose functions call each other: calls ** levels nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    functions = []
    for level in range(levels):
        names = ["a", *(f"t{call}" for call in range(1, calls)), "b"]
        kind, domain = ("Neg", "") if level == 0 else (f"f{level - 1}", "d")
        nodes = [
            node(kind, [names[call]], [names[call + 1]], domain=domain) for call in range(calls)
        ]
        functions.append(helper.make_function("d", f"f{level}", ["a"], ["b"], nodes, opsets))
    graph = _graph([node(f"f{levels - 1}", ["x"], ["y"], domain="d")])
    model = helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)
    return _saved(model, path)


def endless_loop(path: Path, trips: int = 2**62) -> Path:
    """Write a model that loads, and whose run takes centuries."""
    body = helper.make_graph(
        [node("Identity", ["go"], ["goes"]), node("Neg", ["a"], ["b"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), _vector("a")],
        [value("goes", TensorProto.BOOL, []), _vector("b")],
    )
    constants = [
        helper.make_tensor("trips", TensorProto.INT64, [], [trips]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [1]),
    ]
    graph = _graph([node("Loop", ["trips", "yes", "x"], ["y"], body=body)])
    graph.initializer.extend(constants)
    opsets = [helper.make_opsetid("", 17)]
    return _saved(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def crashing_division(path: Path) -> Path:
    """Write a model that divides int32 x [1] by -1: the least integer crashes a run on x86."""
    graph = helper.make_graph(
        [node("Div", ["x", "minus"], ["y"])],
        "g",
        [value("x", TensorProto.INT32, [1])],
        [value("y", TensorProto.INT32, [1])],
        [helper.make_tensor("minus", TensorProto.INT32, [1], [-1])],
    )
    opsets = [helper.make_opsetid("", 17)]
    return _saved(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def exploding_output(path: Path) -> Path:
    """Write a model whose output has 10 ** 12 elements for each unit of float32 x [1]."""
    nodes = [
        # Not through operators whose inputs count as shapes: those need ranges of values.
        node("Mul", ["x", "scale"], ["scaled"]),
        node("Elu", ["scaled"], ["elements"]),
        node("Cast", ["elements"], ["shape"], to=TensorProto.INT64),
        node("ConstantOfShape", ["shape"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [1], [1e12])],
    )
    opsets = [helper.make_opsetid("", 17)]
    return _saved(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def _graph(nodes: list[object]) -> GraphProto:
    return helper.make_graph(nodes, "g", [_vector("x")], [_vector("y")])


def _vector(name: str) -> object:
    return value(name, TensorProto.FLOAT, [4])


def _saved(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
