"""Models of hundreds of kilobytes that once took minutes to read: what each holds is found at once.

No time is asserted: if one of them takes the square of its size again, this file takes minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from builders_harmful import function_bomb
from builders_networks import INT64, constant, model, saved, value
from onnx import TensorProto
from onnx.helper import make_node as node

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.file import load_model
from pytest_trt.onnx.functions import expanded_nodes
from pytest_trt.tensors.elements import MOST_ELEMENTS, element_count

MANY = 100_000


def _stored(dims: list[int], **fields: int) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, **fields)
    tensor.dims.extend(dims)
    return tensor


@pytest.mark.parametrize(
    ("dims", "elements"),
    [
        ([], 1),
        ([3, 4], 12),
        ([2**31, 2**31], 2**62),
        ([2**62, 2], MOST_ELEMENTS),
        ([2**62] * MANY, MOST_ELEMENTS),
        ([*[2**62] * MANY, 0], 0),
    ],
    ids=lambda given: str(given)[:20],
)
def test_elements_are_counted_up_to_what_a_tensor_can_have(dims: list[int], elements: int) -> None:
    assert element_count(dims) == elements


def test_a_tensor_of_many_large_dimensions(tmp_path: Path) -> None:
    x, y = value("x", [2]), value("y", [2])
    stored = [_stored([2**62] * MANY), _stored([2**62])]
    proto = model([node("Neg", ["x"], ["y"])], [x], [y], stored)
    assert saved(proto, tmp_path / "m.onnx").elements == {"float32": MOST_ELEMENTS}


def test_external_data_of_many_large_dimensions_is_refused_with_the_figure(tmp_path: Path) -> None:
    tensor = _stored([2**62] * MANY, data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.data"
    (tmp_path / "w.data").write_bytes(b"0" * 8)
    x, y = value("x", [2]), value("y", [2])
    with pytest.raises(ModelError, match=r"is bytes 0 to 36,893,\d+,[\d,]+ of .*, which has 8"):
        saved(model([node("Neg", ["x"], ["y"])], [x], [y], [tensor]), tmp_path / "m.onnx")


def test_many_tables_behind_a_long_chain_of_indices(tmp_path: Path) -> None:
    long = MANY // 5
    chain = [node("Identity", [f"i{number}"], [f"i{number + 1}"]) for number in range(long)]
    gathers = [node("Gather", ["table", f"i{long}"], [f"g{number}"]) for number in range(long)]
    proto = model(
        [*chain, *gathers, node("Identity", ["g0"], ["y"])],
        [value("i0", [2], INT64)],
        [value("y", [2])],
        [constant("table", [0.0, 1.0, 2.0])],
    )
    assert saved(proto, tmp_path / "m.onnx").index_limits == {"i0": 3}


def test_functions_that_multiply_are_counted_without_expanding_them(tmp_path: Path) -> None:
    bomb = function_bomb(tmp_path / "bomb.onnx")
    assert bomb.stat().st_size < 2048
    with pytest.raises(
        ModelError, match=r"has 1,000,000,000 nodes .* about 2\.\d+ TB, and"
    ) as caught:
        load_model(bomb)
    assert caught.value.diagnostic.code == "TRT214"
    load_model(function_bomb(tmp_path / "few.onnx", levels=3))


@pytest.mark.parametrize(
    ("functions", "nodes"),
    [
        ({}, 3),
        ({"f": {"Neg": 4}}, 9),
        ({"f": {"g": 2}, "g": {"Neg": 5, "Add": 1}}, 25),
        ({"f": {"f": 1, "Neg": 1}}, 5),
        ({f"f{n}": {f"f{n + 1}": 10} for n in range(MANY)} | {"f": {"f0": 1}}, MOST_ELEMENTS),
    ],
)
def test_nodes_of_functions(functions: dict[str, dict[str, int]], nodes: int) -> None:
    assert expanded_nodes({"f": 2, "Relu": 1}, functions) == nodes
