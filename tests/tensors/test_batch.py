"""Which axis is the batch, and samples taken along it."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.batch import allowed_sizes, batch_axes, require_batches, taken
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.spec import TensorSpec


def spec(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


def axes(inputs, outputs):
    found = batch_axes(inputs, outputs, where="here")
    return dict(found.inputs), dict(found.outputs), dict(found.likely)


X, Y = spec("x", "batch", 3), spec("y", "batch", 2)


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ([X], [Y], ({"x": 0}, {"y": 0}, {})),
        # A table that all samples share, and a state whose batch is its second axis.
        (
            [X, spec("table", 5, 3), spec("h", 2, "batch", 8)],
            [Y, spec("hn", 2, "batch", 8), spec("size", 1)],
            ({"x": 0, "h": 1}, {"y": 0, "hn": 1}, {}),
        ),
        # The output says which of two symbols it is.
        ([X, spec("z", "length", 4)], [Y], ({"x": 0}, {"y": 0}, {})),
        # Exporters name the axes of outputs as they like, or not at all.
        ([X], [spec("y", "Softmaxy_dim_0", 2)], ({"x": 0}, {}, {"y": 0})),
        ([spec("x", "?", 3)], [spec("y", "?", 2)], ({"x": 0}, {}, {"y": 0})),
        ([X], [TensorSpec("y", "float32", None)], ({"x": 0}, {}, {"y": 0})),
        # An unnamed axis of a tensor may be anything.
        ([spec("x", "?", "?")], [Y], ({"x": 0}, {}, {"y": 0})),
    ],
)
def test_axes(inputs, outputs, expected) -> None:
    assert axes(inputs, outputs) == expected


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([spec("x", 4, 3)], [spec("y", 4, 2)], "none of them is"),
        ([spec("x", "a", 3), spec("z", "b", 3)], [spec("y", "a"), spec("w", "b")], "several of"),
        ([X], [spec("y", 1, 2)], "no output has the batch"),
        ([TensorSpec("s", "seq(float32)", ("batch",))], [Y], "none of them is"),
    ],
)
def test_models_without_a_batch_are_refused(inputs, outputs, message) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        axes(inputs, outputs)
    assert caught.value.diagnostic.code == "TRT178"


def profile(*rows: int) -> dict[str, ShapeRange]:
    return {"x": ShapeRange(*((row, 3) for row in rows))}


def test_profiles_that_fix_the_batch_at_one_are_refused() -> None:
    found = batch_axes([X], [Y], where="here")
    with pytest.raises(ConfigurationError, match="every profile fixes the batch at 1"):
        require_batches(found, [profile(1, 1, 1), profile(1, 1, 1)], where="here")
    require_batches(found, [profile(1, 1, 1), profile(4, 4, 4)], where="here")
    require_batches(found, [], where="here")


def test_samples_are_taken_along_their_axis_and_the_rest_is_left() -> None:
    found = batch_axes([X, spec("h", 2, "batch")], [Y], where="here")
    given = {"x": np.arange(6).reshape(2, 3), "h": np.arange(4).reshape(2, 2), "other": np.ones(2)}
    some = taken(given, found.inputs, [1, 1, 0], 2)
    assert some["x"][:, 0].tolist() == [3, 3, 0]
    assert some["h"].tolist() == [[1, 1, 0], [3, 3, 2]]
    assert some["other"] is given["other"]


@pytest.mark.parametrize(
    ("profiles", "rows", "sizes"),
    [
        ([], 3, [1, 3, 6]),
        ([profile(1, 4, 8)], 3, [1, 3, 4, 8]),
        ([profile(2, 4, 4)], 3, [2, 3, 4]),
        ([profile(0, 4, 8)], 4, [1, 4, 8]),
        ([profile(1, 1, 1), profile(4, 4, 4)], 4, [1, 4]),
    ],
)
def test_sizes_that_the_profiles_allow(profiles, rows, sizes) -> None:
    found = batch_axes([X], [Y], where="here")
    assert allowed_sizes(found, profiles, [X], {"x": np.ones((rows, 3), np.float32)}) == sizes


def test_a_profile_for_other_shapes_allows_no_size_of_these() -> None:
    inputs = [spec("x", "batch", "width")]
    found = batch_axes(inputs, [Y], where="here")
    wide = {"x": ShapeRange((1, 9), (1, 9), (1, 9))}
    sizes = allowed_sizes(found, [wide, profile(2, 2, 4)], inputs, {"x": np.ones((2, 3))})
    assert sizes == [2, 4]
