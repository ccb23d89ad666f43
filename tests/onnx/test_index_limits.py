from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from builders_model import model_proto, save, value
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.seeded import seeded_inputs

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


@pytest.mark.parametrize("operator", ["Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape"])
def test_indices_are_followed_through_operators_that_keep_them(tmp_path, operator):
    kept = helper.make_node(operator, ["ids"], ["same"])

    assert _limits(tmp_path, kept, _gather(indices="same")) == {"ids": 10}


@pytest.mark.parametrize("operator", ["Cast", "Identity", "DequantizeLinear"])
def test_tables_are_followed_to_where_they_are_stored(tmp_path, operator):
    kept = helper.make_node(operator, ["table"], ["same"])

    assert _limits(tmp_path, kept, _gather("same")) == {"ids": 10}


def test_the_smallest_of_several_tables_is_the_limit(tmp_path):
    small = numpy_helper.from_array(np.zeros((3, 6), np.float32), "small")

    assert _limits(tmp_path, _gather(), _gather("small"), tables=(_TABLE, small)) == {"ids": 3}


@pytest.mark.parametrize("operator", ["Add", "Mod", "ArgMax"])
def test_indices_that_are_computed_say_nothing_of_the_input(tmp_path, operator):
    computed = helper.make_node(operator, ["ids", "ids"], ["other"])

    assert _limits(tmp_path, computed, _gather(indices="other")) == {}


def test_a_table_that_is_computed_has_no_known_rows(tmp_path):
    assert _limits(tmp_path, _gather(table="computed")) == {}


def test_an_axis_that_the_table_lacks_is_ignored(tmp_path):
    assert _limits(tmp_path, _gather(axis=2)) == {}


def test_a_float_input_is_no_index(tmp_path):
    floats = value("ids", ("n",), TensorProto.FLOAT)
    cast = helper.make_node("Cast", ["ids"], ["whole"], to=TensorProto.INT64)

    assert _limits(tmp_path, cast, _gather(indices="whole"), inputs=(floats,)) == {}


def test_a_circle_of_nodes_ends(tmp_path):
    one = helper.make_node("Cast", ["b"], ["a"])
    two = helper.make_node("Cast", ["a"], ["b"])

    assert _limits(tmp_path, one, two, _gather(indices="a")) == {}


def test_seeded_indices_run_where_the_limit_is_kept(tmp_path):
    model = _load(tmp_path, _gather())
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])

    (rows,) = session.run(None, dict(seeded_inputs(model, {"ids": (200,)})))
    assert rows.shape == (200, 6)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        session.run(None, {"ids": np.array([model.index_limits["ids"]])})
