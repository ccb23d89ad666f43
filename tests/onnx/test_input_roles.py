from __future__ import annotations

from pathlib import Path
from typing import Any

import builders_shapes as shapes
import numpy as np
import onnxruntime
import pytest
from builders_model import model_proto, remedy, save
from builders_networks import FLOAT, INT64, constant, model, saved, subgraph, value
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.onnx.file import load_model
from pytest_trt.onnx.input_roles import inlined, require_values
from pytest_trt.onnx.proto import Function, Node
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import TensorSpec

TABLE = value("x", [2, 8])
SIZE = value("size", [2], INT64)


def network(*nodes: NodeProto, size: Any = SIZE, **constants: Any) -> ModelProto:
    stored = [
        constant(name, held, "float32" if isinstance(held[0], float) else "int64")
        for name, held in constants.items()
    ]
    return model(nodes, [TABLE, size], [value("y", None)], stored)


def reshaped(*nodes: NodeProto, **constants: Any) -> ModelProto:
    """Reshape by what nodes make of the size: they give `s`."""
    return network(*nodes, node("Reshape", ["x", "s"], ["y"]), **constants)


def scalar() -> Any:
    return value("size", [], INT64)


HOLDS_A_SHAPE = {
    **{operator: network() for operator, (network, _) in shapes.WITH_PROFILES.items()},
    "ConstantOfShape": network(node("ConstantOfShape", ["size"], ["y"])),
    "Tile": network(node("Tile", ["x", "size"], ["y"])),
    "TopK": network(node("TopK", ["x", "size"], ["y", "places"]), size=value("size", [1], INT64)),
    "CumSum": network(node("CumSum", ["x", "size"], ["y"]), size=scalar()),
    "Split": network(node("Split", ["x", "size"], ["y", "rest"], axis=1)),
    "Slice steps": network(
        node("Slice", ["x", "a", "b", "a", "size"], ["y"]),
        size=value("size", [1], INT64),
        a=[0],
        b=[2],
    ),
    "INT32": network(
        node("Cast", ["size"], ["s"], to=INT64),
        node("Reshape", ["x", "s"], ["y"]),
        size=value("size", [2], TensorProto.INT32),
    ),
    **{
        operator: reshaped(node(operator, ["size", "c"], ["s"]), c=[1, 2])
        for operator in ("Add", "Div", "Max", "Min", "Mod", "Mul", "Sub")
    },
    **{operator: reshaped(node(operator, ["size"], ["s"])) for operator in ("Abs", "Neg", "Sign")},
    "Gather": reshaped(node("Gather", ["size", "c"], ["s"]), c=[1, 0]),
    "Gather by the input": reshaped(node("Gather", ["c", "size"], ["s"]), c=[1, 2, 4, 8, 16]),
    "Where": reshaped(
        node("Greater", ["size", "c"], ["g"]), node("Where", ["g", "size", "c"], ["s"]), c=[1, 2]
    ),
    "a product": reshaped(
        node("ReduceProd", ["size"], ["q"]), node("Concat", ["c", "q"], ["s"], axis=0), c=[-1]
    ),
    "by way of floats": reshaped(
        node("Cast", ["size"], ["f"], to=FLOAT),
        node("Mul", ["f", "c"], ["g"]),
        node("Floor", ["g"], ["h"]),
        node("Cast", ["h"], ["s"], to=INT64),
        c=[2.0, 2.0],
    ),
}

_BODY = subgraph(
    [node("Identity", ["c"], ["c_out"]), node("Add", ["v", "v"], ["v_out"])],
    [value("i", [], INT64), value("c", [], TensorProto.BOOL), value("v", [2, 8])],
    [value("c_out", [], TensorProto.BOOL), value("v_out", [2, 8])],
)

HOLDS_NONE = {
    "indices": network(node("Gather", ["x", "size"], ["y"])),
    "numbers": network(node("Cast", ["size"], ["f"], to=FLOAT), node("Add", ["c", "f"], ["y"])),
    "its own shape": reshaped(
        node("Shape", ["size"], ["n"]), node("Concat", ["n", "c"], ["s"], axis=0), c=[-1]
    ),
    "nothing": network(node("Reshape", ["x", "c"], ["y"]), c=[16]),
    "turns of a loop": model(
        [node("Loop", ["size", "go", "x"], ["y"], body=_BODY)],
        [TABLE, scalar()],
        [value("y", None)],
        [constant("go", True, "bool")],
    ),
}
HOLDS_NONE["numbers"].graph.initializer.append(constant("c", [1.0, 2.0]))

ALL = {**HOLDS_A_SHAPE, **HOLDS_NONE}


@pytest.mark.parametrize("case", HOLDS_A_SHAPE)
def test_values_that_decide_a_size_make_an_input_one_that_holds_a_shape(
    case: str, tmp_path: Path
) -> None:
    found = saved(HOLDS_A_SHAPE[case], tmp_path / "m.onnx").shape_inputs
    assert found in (("size",), ("count",), ("end",))


@pytest.mark.parametrize("case", HOLDS_NONE)
def test_values_that_decide_no_size_make_no_demand(case: str, tmp_path: Path) -> None:
    assert saved(HOLDS_NONE[case], tmp_path / "m.onnx").shape_inputs == ()


@pytest.mark.parametrize("case", ALL)
def test_the_parser_of_tensorrt_finds_the_same(case: str, tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    network = trt.Builder(logger := trt.Logger(trt.Logger.ERROR)).create_network(0)
    assert trt.OnnxParser(network, logger).parse(ALL[case].SerializeToString())
    inputs = [network.get_input(place) for place in range(network.num_inputs)]
    theirs = tuple(one.name for one in inputs if one.is_shape_tensor)
    assert saved(ALL[case], tmp_path / "m.onnx").shape_inputs == theirs


def test_inputs_of_two_dimensions_hold_no_shape(tmp_path: Path) -> None:
    proto = network(
        node("Squeeze", ["size", "c"], ["s"]),
        node("Reshape", ["x", "s"], ["y"]),
        size=value("size", [1, 2], INT64),
        c=[0],
    )
    # A range of values is for one dimension at most: there would be nothing to write.
    assert saved(proto, tmp_path / "m.onnx").shape_inputs == ()


def test_a_circle_of_nodes_ends(tmp_path: Path) -> None:
    proto = reshaped(node("Add", ["s", "size"], ["t"]), node("Add", ["t", "t"], ["s"]))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert load_model(path).shape_inputs == ("size",)


SPECS = (TensorSpec("x", "float32", ("batch", 8)), TensorSpec("size", "int64", (2,)))


def demanded(profiles: object) -> ConfigurationError:
    parsed = parse_profiles(profiles, SPECS, where="test")
    with pytest.raises(ConfigurationError) as caught:
        require_values(SPECS[1:], parsed, "m.onnx", inputs=SPECS)
    return caught.value


def test_what_is_to_be_pasted_keeps_what_was_given() -> None:
    error = demanded([{"x": ((1, 8), (2, 8), (3, 8)), "size": {"values": (1, 8)}}, {"x": (4, 8)}])
    assert error.message.startswith("profile 1 has no range of values for 'size', whose values ")
    assert '"x": ((4, 8), (4, 8), (4, 8)), "size": {"values": ((8, 8), (16, 16), (32, 32))}' in (
        remedy(error)
    )


def test_where_nothing_was_given_all_is_there_to_be_pasted() -> None:
    error = demanded(None)
    assert error.message.startswith("there is no range of values for 'size'")
    assert '"x": ((1, 8), (8, 8), (32, 8)), "size": {"values"' in remedy(error)


def test_values_in_every_profile_meet_the_demand() -> None:
    profile = {"x": (4, 8), "size": {"values": (2, 4)}}
    require_values(SPECS[1:], parse_profiles([profile] * 2, SPECS, where="test"), "m.onnx")


_TABLE = numpy_helper.from_array(np.zeros((10, 6), np.float32), "table")
_IDS = value("ids", ("n",), TensorProto.INT64)


def _limits(folder, *nodes, inputs=(_IDS,), tables=(_TABLE,)):
    return _load(folder, *nodes, inputs=inputs, tables=tables).index_limits


def _load(folder, *nodes, inputs=(_IDS,), tables=(_TABLE,)):
    proto = model_proto(
        list(nodes), inputs=list(inputs), outputs=[value("y", None)], initializers=list(tables)
    )
    return load_model(save(proto, folder / "m.onnx"))


def _gather(table="table", indices="ids", **attributes):
    return helper.make_node("Gather", [table, indices], ["y"], **attributes)


@pytest.mark.parametrize(
    ("attributes", "rows"),
    [({}, 10), ({"axis": 0}, 10), ({"axis": 1}, 6), ({"axis": -1}, 6), ({"axis": -2}, 10)],
)
def test_the_axis_decides_how_many_rows_there_are(tmp_path, attributes, rows):
    assert _limits(tmp_path, _gather(**attributes)) == {"ids": rows}


@pytest.mark.parametrize(
    "operator",
    [
        "Cast",
        "Clip",
        "Expand",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ],
)
def test_indices_are_followed_through_operators_that_keep_them(tmp_path, operator):
    kept = helper.make_node(operator, ["ids"], ["same"])

    assert _limits(tmp_path, kept, _gather(indices="same")) == {"ids": 10}


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("Gather", ["ids", "column"]),
        ("Concat", ["first", "ids"]),
        ("Max", ["ids", "zero"]),
        ("Where", ["padding", "zero", "ids"]),
    ],
)
def test_indices_are_followed_through_operators_that_select_among_them(tmp_path, operator, inputs):
    kept = helper.make_node(operator, inputs, ["same"])

    assert _limits(tmp_path, kept, _gather(indices="same")) == {"ids": 10}


def test_a_condition_holds_no_index(tmp_path):
    chosen = helper.make_node("Where", ["ids", "zero", "one"], ["other"])

    assert _limits(tmp_path, chosen, _gather(indices="other")) == {}


def test_a_table_may_be_the_value_of_a_constant(tmp_path):
    table = helper.make_node("Constant", [], ["table"], value=_TABLE)

    assert _limits(tmp_path, table, _gather(), tables=()) == {"ids": 10}


def test_an_embedding_that_the_optimizer_fused_has_two_tables(tmp_path):
    segments = value("segments", ("n",), TensorProto.INT64)
    kinds = numpy_helper.from_array(np.zeros((2, 6), np.float32), "kinds")
    fused = helper.make_node(
        "EmbedLayerNormalization",
        ["ids", "segments", "table", "places", "kinds"],
        ["y"],
        domain="com.microsoft",
    )

    found = _limits(tmp_path, fused, inputs=(_IDS, segments), tables=(_TABLE, kinds))
    assert found == {"ids": 10, "segments": 2}


def test_positions_select_rows_of_the_caches_of_a_rotary_embedding(tmp_path):
    places = value("ids", (2, 5), TensorProto.INT64)
    x = value("x", (2, 3, 5, 8))
    caches = [constant(name, np.ones((7, 4))) for name in ("cos", "sin")]
    rotary = [
        node("RotaryEmbedding", ["x", "cos", "sin", "ids"], ["y"]),
        node("RotaryEmbedding", ["x", "ids", "cos", "sin"], ["y"], domain="com.microsoft"),
    ]
    found = [_load(tmp_path, one, inputs=(x, places), tables=caches) for one in rotary]
    assert [dict(one.index_limits) for one in found] == [{"ids": 7}, {}]
    assert [one.number_inputs for one in found] == [(), ("ids",)]


@pytest.mark.parametrize(
    "chosen",
    [node("OneHot", ["ids", "depth", "off_on"], ["hot"]), node("Equal", ["k", "ids"], ["hot"])],
)
def test_one_hot_rows_select_from_the_table_that_they_multiply(tmp_path, chosen):
    cast = helper.make_node("Cast", ["hot"], ["rows"], to=FLOAT)
    product = helper.make_node("MatMul", ["rows", "table"], ["y"])

    assert _limits(tmp_path, chosen, cast, product) == {"ids": 10}


_DEPTH = numpy_helper.from_array(np.array(7, np.int64), "depth")


@pytest.mark.parametrize(
    ("depth", "nodes", "limits"),
    [
        (_DEPTH, [], {"ids": 7}),
        (helper.make_tensor("depth", TensorProto.INT64, [1], [7]), [], {"ids": 7}),
        (helper.make_tensor("depth", TensorProto.INT32, [], [7]), [], {"ids": 7}),
        (helper.make_tensor("depth", TensorProto.FLOAT, [], [7.0]), [], {"ids": 7}),
        (None, [node("Constant", [], ["depth"], value=_DEPTH)], {"ids": 7}),
        (None, [node("Constant", [], ["depth"], value_int=7)], {"ids": 7}),
        (
            None,
            [
                node("Constant", [], ["d"], value=_DEPTH),
                node("Cast", ["d"], ["depth"], to=TensorProto.INT32),
            ],
            {"ids": 7},
        ),
        (None, [node("ReduceMax", ["ids"], ["depth"])], {}),
        (_DEPTH, [_gather()], {"ids": 10}),  # what a table has is known better
        (helper.make_tensor("depth", TensorProto.INT64, [1], [0]), [], {}),
        (helper.make_tensor("depth", TensorProto.FLOAT, [], [float("inf")]), [], {}),
        (helper.make_tensor("depth", TensorProto.FLOAT, [], [float("nan")]), [], {}),
        # More numbers than its shape has are not read.
        (TensorProto(name="depth", data_type=7, dims=[1], int64_data=[7] * 100), [], {}),
    ],
)
def test_columns_of_one_hot_rows_are_categories(tmp_path, depth, nodes, limits) -> None:
    """Such as those of a table of data: only 0 and 1 of them would be generated."""
    hot = node("OneHot", ["ids", "depth", "off_on"], ["y"])
    tables = [_TABLE, *([depth] if depth else [])]
    assert _limits(tmp_path, *nodes, hot, tables=tables) == limits


def _stored(values: list[int], dtype: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), "range")


@pytest.mark.parametrize(
    ("stored", "limits", "numbers"),
    [
        (_stored([0, 1, 2, 3, 4]), {"ids": 5}, ()),
        (_stored([0, 1, 2, 3, 4], np.int32), {"ids": 5}, ()),
        (helper.make_tensor("range", TensorProto.INT64, [3], [0, 1, 2]), {"ids": 3}, ()),
        (_stored([3, 5, 7]), {}, ("ids",)),
        (_stored([0, 0, 0]), {}, ("ids",)),
        (_stored([0]), {}, ()),
        (_stored([*range(5000)]), {}, ("ids",)),  # too many to be read
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_categories_are_compared_with_a_stored_range(
    tmp_path, stored, limits, numbers, swap
) -> None:
    """As the newer exporter of PyTorch writes one_hot()."""
    sides = ["range", "column"] if swap else ["column", "range"]
    nodes = [node("Unsqueeze", ["ids", "last"], ["column"]), node("Equal", sides, ["y"])]
    found = _load(tmp_path, *nodes, tables=[stored, constant("last", [-1], "int64")])
    assert (dict(found.index_limits), found.number_inputs) == (limits, numbers)


@pytest.mark.parametrize("inside", [False, True])
def test_tables_of_branches_count(tmp_path, inside) -> None:
    """Such as the two branches of a decoder with and without a cache, which have all of it."""
    tables = [_TABLE]
    rows = subgraph(
        [node("Slice", ["same", "a", "b"], ["s"]), node("Gather", ["table", "s"], ["b"])],
        [],
        [value("b", None)],
        tables if inside else [],
    )
    nodes = [
        node("Identity", ["ids"], ["same"]),
        node("If", ["flag"], ["y"], then_branch=rows, else_branch=rows),
    ]
    flag = value("flag", (1,), TensorProto.BOOL)
    found = _limits(tmp_path, *nodes, inputs=(_IDS, flag), tables=() if inside else tables)
    assert found == {"ids": 10}


def test_a_product_of_other_values_is_no_selection(tmp_path):
    cast = helper.make_node("Cast", ["ids"], ["rows"], to=FLOAT)
    product = helper.make_node("MatMul", ["rows", "table"], ["y"])

    assert _limits(tmp_path, cast, product) == {}


@pytest.mark.parametrize("operator", ["Cast", "Identity", "DequantizeLinear"])
def test_tables_are_followed_to_where_they_are_stored(tmp_path, operator):
    kept = helper.make_node(operator, ["table"], ["same"])

    assert _limits(tmp_path, kept, _gather("same")) == {"ids": 10}


def test_the_smallest_of_several_tables_is_the_limit(tmp_path):
    small = numpy_helper.from_array(np.zeros((3, 6), np.float32), "small")

    assert _limits(tmp_path, _gather(), _gather("small"), tables=(_TABLE, small)) == {"ids": 3}


@pytest.mark.parametrize(
    ("operator", "rows"),
    [("Add", {"ids": 10}), ("Mod", {"ids": 10}), ("ArgMax", {}), ("CumSum", {}), ("Mul", {})],
)
def test_indices_that_are_computed_say_nothing_of_the_input(tmp_path, operator, rows):
    """Of a mask, positions are made by CumSum and Mul: its values are 0 and 1 anyway."""
    computed = helper.make_node(operator, ["ids", "ids"], ["other"])

    found = _load(tmp_path, computed, _gather(indices="other"))
    assert (found.index_limits, found.computed_indices) == ({}, rows)


def test_rows_of_several_axes_have_no_known_limit(tmp_path):
    found = _load(tmp_path, node("GatherND", ["table", "ids"], ["y"]))
    assert (found.index_limits, found.computed_indices) == ({}, {"ids": 10})
    assert _limits(tmp_path, node("GatherElements", ["table", "ids"], ["y"], axis=1)) == {"ids": 6}


@pytest.mark.parametrize(
    ("made", "rows"),
    [
        (node("Transpose", ["table"], ["t"], perm=[1, 0]), 6),
        (node("Mul", ["table", "scale"], ["t"]), 10),
        (node("Add", ["row", "table"], ["t"]), 10),
        (node("Concat", ["table", "table", "row"], ["t"], axis=0), 21),
        (node("Concat", ["table", "table"], ["t"], axis=-1), 10),
    ],
)
def test_a_table_may_be_made_of_stored_ones(tmp_path, made, rows):
    scale = numpy_helper.from_array(np.zeros((), np.float32), "scale")
    row = numpy_helper.from_array(np.zeros((1, 6), np.float32), "row")

    assert _limits(tmp_path, made, _gather("t"), tables=(_TABLE, scale, row)) == {"ids": rows}


def test_tables_of_functions_count(tmp_path):
    """Such as the embedding module of an exporter that makes a function of each module."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    look = helper.make_function(
        "local", "Look", ["w", "i"], ["o"], [node("Gather", ["w", "i"], ["o"])], opsets
    )
    body = [
        node("Identity", ["i"], ["same"]),
        node("Look", ["w", "same"], ["t"], domain="local"),
        node("Look", ["w", "other"], ["u"], domain="local"),
        node("Add", ["t", "u"], ["o"]),
    ]
    module = helper.make_function("local", "Embedding", ["i", "w", "other"], ["o"], body, opsets)
    calls = [
        node("Embedding", ["ids", "table", "zero"], ["a"], domain="local"),
        node("Embedding", ["kinds", "small", "zero"], ["b"], domain="local"),
    ]
    inputs = [_IDS, value("kinds", ("n",), TensorProto.INT64)]
    small = numpy_helper.from_array(np.zeros((3, 6), np.float32), "small")
    outputs = [value("a", None), value("b", None)]
    proto = model_proto(calls, inputs=inputs, outputs=outputs, initializers=[_TABLE, small])
    proto.functions.extend([module, look])
    proto.opset_import.append(opsets[1])
    found = load_model(save(proto, tmp_path / "m.onnx"))
    assert found.index_limits == {"ids": 10, "kinds": 3}


@pytest.mark.parametrize("calls", [1, 3])
def test_functions_that_call_each_other_deeply_or_often_end(calls, monkeypatch):
    monkeypatch.setattr("pytest_trt.onnx.input_roles._MOST_FOLLOWED", 1000)
    functions = {
        f"F{number}": Function(
            ("i",), ("o",), (Node(f"F{(number + 1) % 5000}", ("i",), ("o",), 0),) * calls
        )
        for number in range(5000)
    }
    found = inlined([Node("F0", ("ids",), ("x",), 0)], functions)
    assert len(found) == 1 if calls == 1 else 1 < len(found) < 1_000_000


def test_functions_without_nodes_that_call_each_other_often_end():
    called = [Node(f"F{n}", ("a",), ("b",), 0) for n in range(1, 31)]
    functions = {f"F{n}": Function(("a",), ("b",), (one, one)) for n, one in enumerate(called)}
    functions["F30"] = Function(("a",), ("b",), ())
    assert len(inlined([Node("F0", ("ids",), ("x",), 0)], functions)) < 1000


def test_nodes_beside_functions_are_followed_all_and_by_short_names():
    body = Function(("a",), ("b",), (Node("Neg", ("a",), ("n" * 9999,), 0),) * 9)
    nodes = [Node(f"{n}", (), ("x" * 9999,), 0) for n in range(150_000)]
    found = inlined([Node("F", ("i",), ("o" * 9999,), 0), *nodes], {"F": body})
    assert found[9:] == tuple(nodes)
    assert all(len(name) < 99 for one in found[:9] for name in one.outputs)


@pytest.mark.parametrize("operator", ["Add", "Concat", "Transpose", "Gather", "Identity"])
def test_a_node_without_its_inputs_is_no_error_here(tmp_path, operator):
    path = save(
        model(
            [node(operator, names, ["z"]) for names in ([], ["w"], ["", ""])]
            + [node("Gather", ["w", "ids"], ["y"])],
            [value("ids", ["n"], INT64)],
            [value("y", None)],
            [constant("w", np.zeros((10, 4)), "float32")],
        ),
        tmp_path / "damaged.onnx",
    )
    assert load_model(path).index_limits == {"ids": 10}


def test_rows_of_a_table_that_no_memory_holds_are_a_number_that_json_has(tmp_path):
    doubled = [node("Concat", [f"t{n}"] * 2, [f"t{n + 1}"], axis=0) for n in range(15_000)]
    path = save(
        model(
            [*doubled, node("Gather", ["t15000", "ids"], ["y"])],
            [value("ids", ["n"], INT64)],
            [value("y", None)],
            [constant("t0", np.zeros((10, 4)), "float32")],
        ),
        tmp_path / "large.onnx",
    )
    assert load_model(path).index_limits == {"ids": 2**63 - 1}


@pytest.mark.parametrize(
    ("nodes", "limits", "computed"),
    [
        ([node("Cast", ["ids"], ["whole"], to=INT64)], {"ids": 10}, {}),
        (
            [node("Slice", ["ids", "a", "b"], ["s"]), node("Cast", ["s"], ["whole"], to=INT64)],
            {},
            {"ids": 10},
        ),
        (
            [node("Cast", ["ids"], ["whole"], to=INT64), node("Neg", ["ids"], ["n"])],
            {},
            {"ids": 10},
        ),
        ([node("Cast", ["ids"], ["whole"], to=FLOAT)], {}, {"ids": 10}),
        ([node("ArgMax", ["ids"], ["whole"])], {}, {}),
    ],
)
def test_floats_are_indices_if_all_that_reads_them_makes_them_integers(
    tmp_path, nodes, limits, computed
):
    floats = value("ids", ("n",), FLOAT)

    found = _load(tmp_path, *nodes, _gather(indices="whole"), inputs=(floats,))
    assert (found.index_limits, found.computed_indices) == (limits, computed)


def test_a_circle_of_index_nodes_ends(tmp_path):
    one = helper.make_node("Cast", ["b"], ["a"])
    two = helper.make_node("Cast", ["a"], ["b"])

    assert _limits(tmp_path, one, two, _gather(indices="a")) == {}


def test_seeded_indices_run_within_the_limit(tmp_path):
    model = _load(tmp_path, _gather())
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])

    (rows,) = session.run(None, dict(seeded_inputs(model, {"ids": (200,)})))
    assert rows.shape == (200, 6)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        session.run(None, {"ids": np.array([model.index_limits["ids"]])})


@pytest.mark.parametrize(("shape", "counts"), [([], True), ([1], True), (["n"], False)])
def test_values_that_decide_how_often_a_loop_runs_are_sizes(tmp_path, shape, counts) -> None:
    body = helper.make_graph(
        [node("Identity", ["go"], ["goes"]), node("Neg", ["a"], ["b"])],
        "body",
        [value("i", [], INT64), value("go", [], TensorProto.BOOL), value("a", [2])],
        [value("goes", [], TensorProto.BOOL), value("b", [2])],
    )
    loop = node("Loop", ["trips", "", "x"], ["y"], body=body)
    inputs = [value("x", [2]), value("trips", shape, INT64)]
    found = saved(model([loop], inputs, [value("y", [2])]), tmp_path / "m.onnx")
    assert found.sizes == (("trips",) if counts else ())
    assert found.shape_inputs == ()
    without = model([node("Neg", ["x"], ["y"])], inputs, [value("y", [2])])
    assert saved(without, tmp_path / "n.onnx").sizes == ()


_NUMBER = value("n", (), TensorProto.INT64)
_FLAG = value("flag", (1,), TensorProto.BOOL)


@pytest.mark.parametrize(
    ("nodes", "decides"),
    [
        ([node("Equal", ["n", "rate"], ["c"])], "n"),
        ([node("Cast", ["n"], ["c"], to=TensorProto.BOOL)], "n"),
        ([node("Not", ["flag"], ["c"])], "flag"),
        ([node("Shape", ["x"], ["s"]), node("Equal", ["s", "rate"], ["c"])], ""),
        ([node("Equal", ["x", "rate"], ["c"])], ""),
    ],
)
def test_a_single_input_may_decide_which_branch_runs(tmp_path, nodes, decides) -> None:
    same = subgraph([node("Identity", ["x"], ["b"])], [], [value("b", None)])
    branch = node("If", ["c"], ["y"], then_branch=same, else_branch=same)
    found = _load(tmp_path, *nodes, branch, inputs=(TABLE, _NUMBER, _FLAG), tables=())
    assert ",".join(found.condition_inputs) == decides


def test_a_single_input_may_decide_which_branch_of_a_branch_runs(tmp_path) -> None:
    same = subgraph([node("Identity", ["x"], ["b"])], [], [value("b", None)])
    inner = [
        node("Cast", ["n"], ["c"], to=TensorProto.BOOL),
        node("If", ["c"], ["d"], then_branch=same, else_branch=same),
    ]
    nested = subgraph(inner, [], [value("d", None)])
    branch = node("If", ["flag"], ["y"], then_branch=nested, else_branch=same)
    found = _load(tmp_path, branch, inputs=(TABLE, _NUMBER, _FLAG), tables=())
    assert found.condition_inputs == found.sizes == ("n", "flag")


def test_a_single_input_may_decide_how_often_a_loop_runs(tmp_path) -> None:
    body = subgraph(
        [node("Identity", ["go"], ["on"]), node("Identity", ["x"], ["b"])],
        [value("i", (), INT64), value("go", (), TensorProto.BOOL)],
        [value("on", (), TensorProto.BOOL), value("b", None)],
    )
    loop = node("Loop", ["n", ""], ["y"], body=body)
    found = _load(tmp_path, loop, inputs=(TABLE, _NUMBER, _FLAG), tables=())
    assert found.condition_inputs == ("n",)


_COLUMNS = value("ids", ("n", 2), TensorProto.INT64)
_SMALL = numpy_helper.from_array(np.zeros((3, 6), np.float32), "small")
_PLACES = [constant("zero", 0), constant("one", 1)]


def _column(number: str, name: str, operator: str = "Gather") -> NodeProto:
    ends = {"Gather": [number], "Slice": [number, f"{number}_end", "axis"]}[operator]
    return node(operator, ["ids", *ends], [name], **({"axis": 1} if operator == "Gather" else {}))


@pytest.mark.parametrize(
    ("nodes", "largest"),
    [
        ([_column("zero", "a"), _column("one", "b")], {"ids": 10}),
        ([_column("zero", "a", "Slice"), _column("one", "b", "Slice")], {"ids": 10}),
        ([node("Split", ["ids"], ["a", "b"], axis=1, num_outputs=2)], {"ids": 10}),
        ([node("Split", ["ids"], ["a", "c"], axis=1), node("Identity", ["c"], ["b"])], {"ids": 10}),
        ([node("Identity", ["ids"], ["a"]), node("Identity", ["ids"], ["b"])], {}),
        ([node("Identity", ["ids"], ["a"]), _column("one", "b")], {}),  # all are below 3
        ([_column("zero", "a"), node("Identity", ["a"], ["b"])], {}),
    ],
)
def test_columns_may_index_tables_of_different_sizes(tmp_path, nodes, largest) -> None:
    """Such as a recommender's categories: rows of all but the smallest table would be left out."""
    looks = [node("Gather", ["small", "a"], ["c0"]), node("Gather", ["table", "b"], ["c1"])]
    tables = [_TABLE, _SMALL, *_PLACES]
    found = _load(tmp_path, *nodes, *looks, inputs=(_COLUMNS,), tables=tables)
    assert (found.index_limits, found.computed_indices) == ({"ids": 3}, largest)


def test_a_branch_may_compute_what_its_sibling_stores_by_the_same_name(tmp_path) -> None:
    table = numpy_helper.from_array(np.zeros((10, 4), np.float32))
    computing, storing = (
        subgraph([made, node("Gather", ["w", indices], ["b"])], [], [value("b", None)])
        for made, indices in (
            (node("Mul", ["x", "x"], ["w"]), "ids"),
            (node("Constant", [], ["w"], value=table), "one"),
        )
    )
    # Branches are read in the order of their names.
    found = _load(tmp_path, node("If", ["on"], ["y"], else_branch=computing, then_branch=storing))
    assert (found.index_limits, found.computed_indices) == ({}, {})


_LENGTHS = value("n", (3,), TensorProto.INT64)
_STEPS = [constant("freq", [1.0, 0.1, 0.01]), constant("half", [0.5]), constant("zero", 0)]
_STEPS.append(constant("zeros", [0, 0, 0]))
_WHOLE = node("Cast", ["n"], ["whole"], to=FLOAT)
_RANGE = node("Range", ["zero", "t", "one"], ["r"])
_PAIR = node("Unsqueeze", ["x", "zero"], ["u"]), node("Concat", ["u", "u"], ["two"], axis=0)
_OF_THREE = node("Gather", ["three", "n"], ["y"])


@pytest.mark.parametrize(
    ("nodes", "numbers"),
    [
        ([_WHOLE, node("Mul", ["whole", "freq"], ["a"]), node("Sin", ["a"], ["y"])], ("n",)),
        ([_WHOLE, node("MatMul", ["freq", "whole"], ["a"]), node("Cos", ["a"], ["y"])], ("n",)),
        ([_RANGE, node("Less", ["r", "n"], ["y"])], ("n",)),
        (
            [_RANGE, node("Unsqueeze", ["n", "zero"], ["a"]), node("Less", ["a", "r"], ["y"])],
            ("n",),
        ),
        ([node("GRU", ["x", "w", "w", "", "n"], ["y"], hidden_size=2)], ("n",)),
        ([node("Gather", ["x", "n"], ["y"])], ("n",)),
        ([node("ReverseSequence", ["x", "n"], ["y"])], ("n",)),
        # Masks, flags and sums of them.
        ([_WHOLE, node("Sub", ["half", "whole"], ["a"]), node("Add", ["x", "a"], ["y"])], ()),
        ([node("Greater", ["n", "zero"], ["y"])], ()),
        ([_WHOLE, node("Less", ["whole", "half"], ["y"])], ()),
        ([_WHOLE, node("Mul", ["x", "whole"], ["a"]), node("Sin", ["a"], ["y"])], ()),
        ([node("CumSum", ["n", "zero"], ["a"]), node("Sin", ["a"], ["y"])], ()),
        ([node("Shape", ["n"], ["a"]), node("Gather", ["x", "a"], ["y"])], ()),
        ([node("Equal", ["n", "n"], ["y"])], ()),
        ([node("Gather", ["freq", "n"], ["a"]), node("Sin", ["a"], ["y"])], ()),
        ([node("Identity", ["n"], ["a"]), node("Equal", ["a", "zeros"], ["y"])], ()),
        ([_PAIR[0], _PAIR[1], node("Gather", ["two", "n"], ["y"])], ()),
        ([_PAIR[0], node("Concat", ["u"] * 3, ["three"], axis=0), _OF_THREE], ("n",)),
    ],
)
def test_integers_may_be_lengths_or_positions(tmp_path, nodes, numbers) -> None:
    """A mask compared with as many zeros, or a flag that selects one of two values, is neither."""
    inputs = (value("x", ("t", "batch", 2), FLOAT), _LENGTHS)
    found = _load(tmp_path, *nodes, inputs=inputs, tables=_STEPS)
    assert found.number_inputs == numbers


@pytest.mark.parametrize(
    ("dtype", "shape", "numbers"),
    [
        ("INT32", ["batch"], ("n",)),
        ("UINT8", ["batch"], ()),
        ("FLOAT", ["batch"], ("n",)),
        ("FLOAT16", [], ("n",)),
        ("FLOAT", ["batch", 2], ()),
    ],
)
def test_small_integers_and_places_in_floats_are_data(tmp_path, dtype, shape, numbers) -> None:
    """A float for each sample is a time step of a diffusion model; several are a place."""
    nodes = [_WHOLE, node("Mul", ["whole", "freq"], ["a"]), node("Sin", ["a"], ["y"])]
    given = value("n", shape, getattr(TensorProto, dtype))
    assert _load(tmp_path, *nodes, inputs=(given,), tables=_STEPS).number_inputs == numbers


def _multiple(one: str, other: str, product: str) -> NodeProto:
    return node("Mul", [one, other], [product])


_COSINE = node("Cos", ["c"], ["y"])


@pytest.mark.parametrize(
    ("nodes", "numbers"),
    [
        ([_multiple("n", "half", "b"), _multiple("b", "freq", "c"), _COSINE], ("n",)),
        ([_multiple("thousand", "n", "b"), _multiple("freq", "b", "c"), _COSINE], ()),
        (
            [
                node("Unsqueeze", ["n", "zero"], ["a"]),
                _multiple("a", "freq", "b"),
                _multiple("b", "two", "d"),
                _multiple("d", "pi", "c"),
                _COSINE,
            ],
            (),
        ),
        ([_multiple("n", "half", "c"), _COSINE], ()),
        ([node("Less", ["n", "freq"], ["y"])], ()),
    ],
)
def test_a_time_between_0_and_1_that_the_model_multiplies_is_none(tmp_path, nodes, numbers) -> None:
    """As of flow matching: a thousand times, or whole turns. Nor is one of a single sine."""
    factors = [constant("thousand", 1000.0), constant("two", [2.0]), constant("pi", 3.1416)]
    given = value("n", ["batch"], FLOAT)
    found = _load(tmp_path, *nodes, inputs=(given,), tables=[*_STEPS, *factors])
    assert found.number_inputs == numbers


def test_a_product_beyond_float64_is_no_error_here(tmp_path) -> None:
    nodes = [_multiple("k", "k", "p0"), *(_multiple(f"p{n}", "k", f"p{n + 1}") for n in range(20))]
    nodes += [_multiple("n", "p20", "c"), _COSINE]
    largest = numpy_helper.from_array(np.array(2**63 - 1, np.int64), "k")
    given = value("n", ["batch"], FLOAT)
    assert _load(tmp_path, *nodes, inputs=(given,), tables=[largest]).number_inputs == ()
