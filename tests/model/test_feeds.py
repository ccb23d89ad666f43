from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.errors import InputError
from pytest_trt.model import TensorSpec, check_inputs

_SPECS = (
    TensorSpec("image", "float32", ("batch", 3)),
    TensorSpec("ids", "int64", None),
)
_IMAGE = np.zeros((2, 3), np.float32)
_IDS = np.zeros(5, np.int64)


def _refused(match, specs=_SPECS, **tensors):
    with pytest.raises(InputError, match=match) as caught:
        check_inputs(specs, tensors)
    return caught.value.fix


def test_what_fits_passes():
    check_inputs(_SPECS, {"ids": _IDS, "image": _IMAGE})


def test_memory_layout_does_not_matter():
    check_inputs(_SPECS, {"ids": _IDS[::-2], "image": np.zeros((3, 2), np.float32).T})


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("bfloat16", np.zeros(3, ml_dtypes.bfloat16)),
        ("float8e4m3fn", np.zeros(3, ml_dtypes.float8_e4m3fn)),
        ("int4", np.zeros(3, ml_dtypes.int4)),
        ("bool", np.zeros(3, bool)),
        ("string", np.array(["a"])),
        ("string", np.array(["a"], object)),
    ],
)
def test_dtypes_that_numpy_names_otherwise_pass(dtype, array):
    check_inputs([TensorSpec("x", dtype, None)], {"x": array})


def test_scalars_pass_as_arrays_only():
    spec = [TensorSpec("x", "float32", ())]
    check_inputs(spec, {"x": np.array(1, np.float32)})

    assert "np.asarray" in _refused("float32, not a numpy array", spec, x=np.float32(1))


def test_sequences_are_left_to_the_session():
    check_inputs([TensorSpec("x", "sequence(float32)", None)], {"x": [_IMAGE]})


def test_a_missing_input_is_named_with_its_spec():
    assert '{"image": array}' in _refused(r"missing inputs: image: float32\[batch, 3\]", ids=_IDS)


def test_an_unexpected_input_gets_the_closest_name():
    assert "did you mean 'image'?" in _refused("no input 'imag'", imag=_IMAGE, ids=_IDS)


def test_a_wrong_dtype_gives_both_and_the_conversion():
    fix = _refused("dtype float64; the model takes float32", image=np.zeros((2, 3)), ids=_IDS)

    assert 'image.astype("float32")' in fix


def test_a_foreign_byte_order_is_a_wrong_dtype():
    _refused("dtype >f4; the model takes float32", image=_IMAGE.astype(">f4"), ids=_IDS)


def test_a_wrong_rank_gives_both():
    _refused(r"shape \(3,\): 1 dimensions instead of 2", image=_IMAGE[0], ids=_IDS)


def test_a_wrong_fixed_dimension_gives_both():
    _refused(
        "dimension 1 is 4, and the model fixes it at 3", image=np.zeros((2, 4), "f4"), ids=_IDS
    )


def test_a_list_is_no_array():
    _refused("given a list, not a numpy array", image=[[1.0, 2.0, 3.0]], ids=_IDS)
