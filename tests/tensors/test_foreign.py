from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.tensors.foreign import as_array, named_arrays
from pytest_trt.tensors.npz import read_npz
from pytest_trt.tensors.spec import TensorSpec

ARRAY = np.arange(3, dtype=np.float32)


class Foreign:
    """A tensor of another library, such as JAX."""

    def __array__(self, dtype=None, copy=None):
        return ARRAY


class Unusual(Foreign):
    """A tensor with PyTorch's methods, of a type that NumPy lacks."""

    dtype = "torch.bfloat16"

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        raise TypeError("Got unsupported ScalarType BFloat16")


def spec(name: str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, None)


def test_arrays_are_taken_as_they_are() -> None:
    assert as_array(ARRAY) is ARRAY
    assert as_array(Foreign()) is ARRAY
    np.testing.assert_array_equal(as_array(np.float32(2)), np.array(2, np.float32))


@pytest.mark.parametrize("value", [None, 1.5, [1.0], "text", Foreign, (x for x in [1])])
def test_what_is_no_array_is_not_made_one(value: object) -> None:
    assert as_array(value) is None
    with pytest.raises(ValueError, match=f"'y' is of type {type(value).__name__}, not an array"):
        named_arrays({"y": value}, [spec("y")])


def test_a_type_that_numpy_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"'y' is a tensor of torch\.bfloat16 that NumPy cannot"):
        named_arrays({"y": Unusual()}, [spec("y")])


def test_sequences_and_maps_hold_arrays() -> None:
    specs = [spec("s", "sequence(float32)"), spec("m", "sequence(map(string, float32))")]
    values = {"s": (Foreign(), ARRAY), "m": [{"a": 0.5, "b": np.float32(1)}]}
    found = named_arrays(values, specs)
    assert isinstance(found["s"], list)
    assert all(one is ARRAY for one in found["s"])
    assert found["m"] == values["m"]


@pytest.mark.parametrize("name", ["bfloat16", "float8e4m3fn"])
def test_types_of_ml_dtypes_survive_an_npz(name: str, tmp_path: Path) -> None:
    """NumPy stores them as raw bytes."""
    dtype = {"bfloat16": ml_dtypes.bfloat16, "float8e4m3fn": ml_dtypes.float8_e4m3fn}[name]
    values = np.arange(4).astype(dtype)
    np.savez(tmp_path / "a.npz", y=values)
    raw = read_npz(tmp_path / "a.npz", 1000)
    assert named_arrays(raw, [spec("y", name)])["y"].tolist() == values.tolist()
    # The bits of another type of the same size are no values of this one.
    other = named_arrays({"y": np.zeros(4, ml_dtypes.float8_e5m2)}, [spec("y", name)])["y"]
    assert other.dtype == ml_dtypes.float8_e5m2
