from __future__ import annotations

import re
from types import MappingProxyType

import builders_types as types
import ml_dtypes
import numpy as np
import pytest
from builders_model import remedy

from pytest_trt.diagnostics import InputError
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.spec import TensorSpec

_SPECS = (
    TensorSpec("image", "float32", ("batch", 3)),
    TensorSpec("ids", "int64", None),
)
_IMAGE = np.zeros((2, 3), np.float32)
_IDS = np.zeros(5, np.int64)


def _refused(match, specs=_SPECS, **tensors):
    with pytest.raises(InputError, match=match) as caught:
        check_inputs(specs, tensors)
    return remedy(caught.value)


def test_what_fits_passes():
    check_inputs(_SPECS, {"ids": _IDS, "image": _IMAGE})


def test_memory_layout_does_not_matter():
    check_inputs(_SPECS, {"ids": _IDS[::-2], "image": np.zeros((3, 2), np.float32).T})


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("bfloat16", np.zeros(3, ml_dtypes.bfloat16)),
        ("float8e4m3fn", np.zeros(3, ml_dtypes.float8_e4m3fn)),
        ("float8e8m0", np.ones(3, ml_dtypes.float8_e8m0fnu)),
        ("float4e2m1", np.zeros(3, ml_dtypes.float4_e2m1fn)),
        ("int4", np.zeros(3, ml_dtypes.int4)),
        ("bool", np.zeros(3, bool)),
        ("string", np.array(["a"])),
        ("string", np.array(["a"], object)),
    ],
)
def test_dtypes_with_another_numpy_name_pass(dtype, array):
    check_inputs([TensorSpec("x", dtype, None)], {"x": array})


@pytest.mark.parametrize("dtype", types.TYPES)
@pytest.mark.parametrize("shape", [(), (2,), (0, 3)], ids=["scalar", "vector", "empty"])
def test_every_type_passes_as_itself_and_as_no_other(dtype, shape):
    spec = [TensorSpec("x", dtype, shape)]
    for other in types.TYPES:
        array = np.zeros(shape, types.numpy_type(other))
        if other == dtype:
            check_inputs(spec, {"x": array})
        else:
            assert "astype" in _refused(f"{other}, the model takes {dtype}", spec, x=array)


def test_empty_where_the_model_fixes_a_size_is_refused():
    _refused("dimension 1 must be 3", image=_IMAGE[:, :0], ids=_IDS)


def test_scalars_pass_as_arrays_only():
    spec = [TensorSpec("x", "float32", ())]
    check_inputs(spec, {"x": np.array(1, np.float32)})

    assert "np.asarray" in _refused("float32, not a numpy array", spec, x=np.float32(1))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("sequence(float32)", [_IMAGE]),
        ("sequence(float32)", []),
        ("optional(float32)", None),
        ("optional(float32)", _IMAGE),
        ("optional(sequence(float32))", [_IMAGE]),
        ("map(string, float32)", {"a": 1.0}),
        ("sequence(map(int64, float32))", [{1: 2.0}, {}]),
    ],
)
def test_sequences_maps_and_optionals_pass_as_what_they_are(dtype, value):
    check_inputs([TensorSpec("x", dtype, None)], {"x": value})


@pytest.mark.parametrize(
    ("dtype", "value", "what"),
    [
        ("sequence(float32)", _IMAGE, "'x' is a ndarray, not a list"),
        ("sequence(float32)", [_IMAGE, _IDS], "'x' has item 1, which is int64"),
        ("sequence(float32)", [[1.0]], "'x' has item 0, which is a list, not a numpy array"),
        ("optional(float32)", _IDS, "'x' is int64"),
        ("map(string, float32)", [1.0], "'x' is a list, not a dict"),
        ("map(string, float32)", {"a": _IMAGE}, "'x' is a dict, not a dict of numbers"),
        ("sparse_tensor(float32)", _IMAGE, "'x' cannot be fed"),
    ],
)
def test_what_is_no_such_container_is_refused_with_tensor_and_type(dtype, value, what):
    spec = [TensorSpec("x", dtype, None)]
    match = re.escape(what) + ".*; the model takes " + re.escape(dtype)

    assert "None for an optional" in _refused(match, spec, x=value)


def test_a_type_that_numpy_lacks_is_cast_by_its_package():
    spec = [TensorSpec("x", "float8e4m3fn", (2,))]

    assert "x.astype(ml_dtypes.float8_e4m3fn)" in _refused("is float32", spec, x=np.zeros(2, "f4"))
    # ONNX Runtime's own tests feed bits.
    with pytest.raises(InputError) as refused:
        check_inputs(spec, {"x": np.zeros(2, np.uint8)})
    (bits,) = refused.value.diagnostic.remedy.alternatives
    assert bits == "If it holds bits: x.view(ml_dtypes.float8_e4m3fn)"


def test_a_missing_input_is_named_with_its_spec():
    assert '{"image": array, ...}' in _refused(r"inputs: image: float32\[batch, 3\]", ids=_IDS)


def test_an_unexpected_input_gets_the_closest_name():
    assert "Did you mean 'image'?" in _refused("no input 'imag'", imag=_IMAGE, ids=_IDS)


def test_an_input_beside_all_of_the_model_is_to_be_removed():
    fix = _refused("no input 'mask'", image=_IMAGE, ids=_IDS, mask=_IDS)
    assert fix == "Remove it; the inputs are 'image', 'ids'."


def test_a_wrong_dtype_gives_both_and_the_conversion():
    fix = _refused("is float64, the model takes float32", image=np.zeros((2, 3)), ids=_IDS)

    assert 'image.astype("float32")' in fix


def test_a_foreign_byte_order_is_a_wrong_dtype():
    _refused("is >f4, the model takes float32", image=_IMAGE.astype(">f4"), ids=_IDS)


def test_a_wrong_rank_gives_both():
    _refused(r"shape \(3,\), .*: 1 dimension instead of 2", image=_IMAGE[0], ids=_IDS)


def test_a_wrong_fixed_dimension_gives_both():
    _refused("dimension 1 must be 3", image=np.zeros((2, 4), "f4"), ids=_IDS)


def test_a_list_is_not_an_array():
    _refused("is a list, not a numpy array", image=[[1.0, 2.0, 3.0]], ids=_IDS)


class _Frame:
    """Has columns and keys, as a DataFrame does, and is no mapping."""

    def keys(self):
        return ["image", "ids"]

    def __getitem__(self, name):
        return _IMAGE


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (_IMAGE, "numpy.ndarray"),
        ([_IMAGE, _IDS], "list"),
        (None, "NoneType"),
        (_Frame(), f"{__name__}._Frame"),
    ],
    ids=["array", "list", "None", "frame"],
)
def test_anything_but_a_mapping_is_refused_with_what_to_paste(given, kind):
    with pytest.raises(InputError) as caught:
        check_inputs(_SPECS, given)

    assert caught.value.message == (f"run takes a mapping of input names to arrays; got a {kind}")
    assert '{"image": array, "ids": array}' in remedy(caught.value)


def test_any_mapping_will_do():
    check_inputs(_SPECS, MappingProxyType({"image": _IMAGE, "ids": _IDS}))
