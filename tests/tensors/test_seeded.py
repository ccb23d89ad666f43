from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import builders_types as types
import ml_dtypes
import numpy as np
import pytest
from builders_model import remedy
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors import seeded
from pytest_trt.tensors.elements import dtype_name, is_integer, numpy_dtype
from pytest_trt.tensors.seeded import check_ranges, check_seedable, inputs_digest, seeded_inputs
from pytest_trt.tensors.spec import TensorSpec

_FLOATS = ["float16", "float32", "float64", "bfloat16"]
_INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def _model(*inputs, **limits):
    return OnnxModel(
        path=Path("/m.onnx"),
        digest="",
        inputs=inputs,
        outputs=(),
        opset=17,
        ir_version=8,
        size_bytes=0,
        external_files=(),
        is_quantized=False,
        op_types={},
        index_limits=limits,
    )


def _spec(dtype="float32", name="x", shape=("n", 4)):
    return TensorSpec(name, dtype, shape)


def _one(dtype="float32", shape=(1000, 4), limits=None, **options):
    return seeded_inputs(_model(_spec(dtype), **(limits or {})), {"x": shape}, **options)["x"]


def _refused(match, call):
    with pytest.raises(ConfigurationError, match=match) as caught:
        call()
    return remedy(caught.value)


@pytest.mark.parametrize("dtype", _FLOATS)
def test_floats_are_uniform_below_one(dtype):
    x = _one(dtype)

    assert (x.dtype.name, x.shape) == (dtype, (1000, 4))
    values = x.astype(np.float64)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.03


@pytest.mark.parametrize("dtype", [*_INTEGERS, "bool"])
def test_wide_integers_and_bools_are_zero_or_one(dtype):
    x = _one(dtype)

    assert x.dtype.name == dtype
    if dtype == "bool" or x.itemsize > 2:
        assert sorted(np.unique(x).tolist()) == [0, 1]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_pixels_bytes_and_samples_of_audio_reach_all_of_their_type(dtype):
    x = _one(dtype).astype(np.int64)

    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    assert x.min() < low + (high - low) / 100
    assert x.max() > high - (high - low) / 100
    assert abs(x.mean() - (low + high) / 2) < (high - low) / 40


def test_indices_stay_inside_their_type():
    assert np.unique(_one("int8", limits={"x": 257})).tolist() == list(range(128))


@pytest.mark.parametrize(
    ("dtype", "rows", "largest"),
    [("float32", 7, 6), ("float64", 7, 6), ("float16", 3000, 2048), ("bfloat16", 1000, 256)],
)
def test_indices_in_floats_are_whole_numbers_that_stay_inside_their_table(dtype, rows, largest):
    x = _one(dtype, limits={"x": rows}).astype(np.float64)

    assert (x == np.floor(x)).all()
    assert (x.min(), x.max()) == (pytest.approx(0, abs=5), pytest.approx(largest, abs=5))
    assert x.max() <= rows - 1
    given = _one(dtype, limits={"x": rows}, ranges={"x": (0.25, 0.5)}).astype(np.float64)
    assert 0.25 <= given.min() < given.max() <= 0.5


def test_indices_stay_inside_their_table_and_reach_its_ends():
    x = _one("int64", limits={"x": 7})

    assert np.unique(x).tolist() == list(range(7))


@pytest.mark.parametrize(("shape", "last"), [((1, 4), 29_999), ((3, 2), 29_999), ((0, 4), None)])
def test_the_last_row_of_a_table_is_always_looked_up(shape, last):
    """It is what a table lacks whose vocabulary was extended: a few among thousands of rows."""
    x = _one("int64", shape, limits={"x": 30_000})
    assert x.ravel()[-1:].tolist() == ([] if last is None else [last])
    assert len(np.unique(x)) == x.size
    assert _one("int64", (1,), limits={"x": 30_000}).item() < 29_999


def test_one_seed_gives_one_tensor_and_another_seed_another():
    assert np.array_equal(_one(seed=3), _one(seed=3))
    assert not np.array_equal(_one(seed=3), _one(seed=4))
    assert not np.array_equal(_one(seed=3), _one(seed=-3))


def test_a_tensor_depends_on_no_other_input():
    alone = _model(_spec(name="b"))
    among = _model(_spec(name="a"), _spec(name="b"), _spec(name="c"))
    shapes = dict.fromkeys("abc", (5, 4))

    made = seeded_inputs(among, shapes)

    assert np.array_equal(made["b"], seeded_inputs(alone, shapes)["b"])
    assert not np.array_equal(made["a"], made["b"])


def test_the_numbers_of_a_seed_never_change():
    """Stored baselines rest on them: whoever changes these must raise the seed's schema."""
    numbers = seeded_inputs(_model(_spec(shape=(3,))), {})["x"]

    assert numbers.tolist() == [0.6924510598182678, 0.27500635385513306, 0.8525842428207397]


def test_fixed_shapes_need_not_be_given():
    assert seeded_inputs(_model(_spec(shape=(2, 3))), {})["x"].shape == (2, 3)


@pytest.mark.parametrize("dtype", types.TYPES)
@pytest.mark.parametrize("shape", [(), (0, 4), (2, 0)])
def test_scalars_and_empty_tensors_are_made(dtype, shape):
    made = _one(dtype, shape=shape)

    assert isinstance(made, np.ndarray)
    assert (made.dtype.name, made.shape) == (dtype, shape)


@pytest.mark.parametrize("dtype", _FLOATS)
def test_a_range_of_floats_is_respected(dtype):
    values = _one(dtype, ranges={"x": (-2, 3)}).astype(np.float64)

    assert -2 <= values.min() < -1.9
    assert 2.9 < values.max() <= 3


def test_the_widest_range_of_floats_does_not_overflow():
    largest = float(np.finfo(np.float64).max)

    assert np.isfinite(_one("float64", ranges={"x": (-largest, largest)})).all()


@pytest.mark.parametrize("dtype", _INTEGERS)
def test_a_range_of_integers_includes_both_ends(dtype):
    low = 0 if dtype.startswith("u") else -2

    assert np.unique(_one(dtype, ranges={"x": (low, 3)})).tolist() == list(range(low, 4))


@pytest.mark.parametrize("dtype", _INTEGERS)
def test_a_whole_type_may_be_the_range(dtype):
    info = np.iinfo(dtype)
    x = _one(dtype, ranges={"x": (int(info.min), int(info.max))})

    assert x.min() < info.min + info.max // 50 + 1
    assert x.max() > info.max - info.max // 50 - 1


def test_a_range_overrides_an_index_limit():
    assert _one("int64", limits={"x": 7}, ranges={"x": (3, 3)}).tolist() == [[3] * 4] * 1000


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(("shape", "values"), [((2,), (8, -1)), ((), (7,)), (("n",), (1, 2, 3))])
def test_values_that_a_profile_gives_are_fed_as_they_are(dtype, shape, values):
    model = _model(_spec(dtype, shape=shape))
    made = seeded_inputs(model, {"x": shape and (len(values),)}, seed=5, values={"x": values})["x"]

    assert (made.dtype, made.ndim) == (np.dtype(dtype), len(shape))
    assert made.ravel().tolist() == list(values)


def test_values_of_one_input_change_no_other():
    sized = replace(_model(), inputs=(_spec(name="a"), _spec("int64", name="size", shape=(2,))))
    shapes = {"a": (3,), "size": (2,)}
    given = seeded_inputs(sized, shapes, values={"size": (8, 8)})

    assert np.array_equal(given["a"], seeded_inputs(sized, shapes)["a"])


def test_a_range_for_values_that_a_profile_gives_is_refused():
    specs = [_spec("int64", shape=(2,))]
    model = _model(*specs)

    _refused("the profile gives", lambda: check_ranges(specs, {"x": (1, 2)}, given=["x"]))
    _refused(
        "the profile gives",
        lambda: seeded_inputs(model, {}, ranges={"x": (1, 2)}, values={"x": (8, 8)}),
    )


@pytest.mark.parametrize(
    ("dtype", "bounds", "match"),
    [
        ("float32", (1, 0), r"gives \(1, 0\)"),
        ("float32", (0, float("nan")), "nan"),
        ("float32", (0, float("inf")), "inf"),
        ("float32", (-(10**400), 0), r"\(-inf, 0\)"),
        ("float16", (0, 1e6), "but float16 holds"),
        ("uint8", (-1, 3), "uint8 holds 0 to 255"),
        ("int8", (0, 128), "int8 holds -128 to 127"),
        ("bool", (0, 2), "bool holds 0 to 1"),
        ("int32", (0, 1.5), "of int32"),
    ],
)
def test_ranges_that_cannot_be_are_refused(dtype, bounds, match):
    _refused(match, lambda: _one(dtype, ranges={"x": bounds}))
    _refused(match, lambda: check_ranges([_spec(dtype)], {"x": bounds}))


@pytest.mark.parametrize("bounds", [(0, 1), [-2.5, -2.5], (np.int64(0), np.float32(3))])
def test_ranges_are_checked_without_any_data(bounds):
    check_ranges([_spec(shape=None), _spec(name="y", dtype="string")], {"x": bounds})


@pytest.mark.parametrize("bounds", [3, (1,), (0, 1, 2), "01", ("0", "1"), None])
def test_a_range_that_is_not_two_numbers_is_refused_with_its_form(bounds):
    fix = _refused("not two numbers", lambda: check_ranges([_spec()], {"x": bounds}))

    assert '{"x": (low, high)}' in fix


@pytest.mark.parametrize("dtype", ["string", "complex64", "sequence(float32)"])
def test_a_range_for_what_random_data_cannot_fill_points_to_the_fixture(dtype):
    assert "trt_inputs" in _refused(
        "cannot be filled", lambda: check_ranges([_spec(dtype)], {"x": (0, 1)})
    )


def test_a_range_for_an_unknown_input_lists_the_known():
    fix = _refused("names 'y'", lambda: _one(ranges={"y": (0, 1)}))

    assert "'x'" in fix


@pytest.mark.parametrize("dtype", ["string", "sequence(float32)", "complex64", "float8e8m0"])
def test_types_without_sensible_random_data_point_to_the_fixture(dtype):
    assert "trt_inputs" in _refused(
        f"x: {dtype}".replace("(", r"\(").replace(")", r"\)"), lambda: _one(dtype)
    )


def test_a_missing_shape_points_to_the_fixture():
    assert "trt_inputs" in _refused("no shape", lambda: seeded_inputs(_model(_spec()), {}))


@pytest.mark.parametrize(
    "dtype",
    [*types.SMALL, "float4e2m1"],
)
def test_types_that_numpy_lacks_get_values_of_their_range(dtype):
    values = _one(dtype, shape=(400,)).astype(float)

    assert dtype_name(_one(dtype).dtype) == dtype
    if is_integer(dtype):
        low, high = seeded._limits(dtype, numpy_dtype(dtype))
        assert set(values) == set(range(int(low), int(high) + 1))
    else:
        assert 0 <= values.min() < values.max() < 1


def test_a_range_of_a_type_that_numpy_lacks_is_checked_and_met():
    values = _one("int4", shape=(400,), ranges={"x": (-8, 7)}).astype(int)

    assert (values.min(), values.max()) == (-8, 7)
    _refused("holds -8 to 7", lambda: _one("int4", ranges={"x": (0, 8)}))


@pytest.mark.parametrize("shape", [(2**31, 2**31, 2**31), (2**62,), (10**6, 10**9)])
def test_a_tensor_larger_than_the_memory_is_refused_with_its_size(shape):
    refused = f"x: float32.* would take .*B at shape .*{shape[0]}.* this machine has .* of memory"

    assert "profiles=" in _refused(refused, lambda: check_seedable([_spec()], {"x": shape}))
    assert "profiles=" in _refused(refused, lambda: seeded_inputs(_model(_spec()), {"x": shape}))


def test_a_tensor_that_fits_is_not_refused():
    check_seedable([_spec()], {"x": (10, 10)})


def test_values_do_not_depend_on_the_size_of_a_step(monkeypatch):
    whole = _one("float32", shape=(1000,))
    monkeypatch.setattr(seeded, "_CHUNK", 7)

    np.testing.assert_array_equal(_one("float32", shape=(1000,)), whole)


def test_items_of_sequences_maps_and_optionals_change_a_digest():
    values = [None, [], [_X], [_X, _X], [[], [_X]], [[_X], []], {"a": 1.0}, {"a": 2.0}, {"b": 1.0}]

    assert len({inputs_digest({"x": value}) for value in values}) == len(values)


_X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    "same",
    [
        np.asfortranarray(_X),
        np.repeat(_X, 2, axis=0)[::2],
        _X.astype(">f4"),
    ],
    ids=["column-major", "strided", "big-endian"],
)
def test_layout_does_not_change_an_inputs_digest(same):
    assert inputs_digest({"x": same}) == inputs_digest({"x": _X})


def test_the_order_of_inputs_does_not_change_their_digest():
    assert inputs_digest({"a": _X, "b": _X + 1}) == inputs_digest({"b": _X + 1, "a": _X})


@pytest.mark.parametrize(
    "other",
    [
        {"y": _X},
        {"x": _X.view(np.int32)},
        {"x": _X.reshape(4, 3)},
        {"x": _X + np.float32(1e-6)},
        {"x": np.where(_X == 0, np.float32(-0.0), _X)},
        {"x": _X, "y": _X},
        {},
    ],
    ids=["name", "dtype", "shape", "value", "sign of zero", "one more", "none"],
)
def test_everything_else_changes_an_inputs_digest(other):
    assert inputs_digest(other) != inputs_digest({"x": _X})


def test_text_has_a_digest_whatever_array_holds_it():
    one = inputs_digest({"x": np.array(["a", "bc"])})

    assert inputs_digest({"x": np.array(["a", "bc"], object)}) == one
    assert inputs_digest({"x": np.array(["ab", "c"])}) != one


def test_every_type_has_its_own_digest():
    arrays = [np.zeros(2, types.numpy_type(dtype)) for dtype in types.TYPES]

    assert len({inputs_digest({"x": array}) for array in arrays}) == len(arrays)


def test_scalars_empty_arrays_and_bfloat16_have_a_digest():
    arrays = [np.float32(1).reshape(()), np.zeros((0, 3)), np.zeros(3, ml_dtypes.bfloat16)]

    assert len({inputs_digest({"x": array}) for array in arrays}) == 3


def test_objects_have_no_digest():
    _refused("holds a dict", lambda: inputs_digest({"x": np.array([{}])}))


@given(st.integers(), st.text(max_size=5))
def test_any_seed_and_any_name_will_do(seed, name):
    model = replace(_model(), inputs=(_spec(name=name, shape=(2,)),))

    assert seeded_inputs(model, {}, seed=seed)[name].shape == (2,)
