"""Tensors that other libraries return, such as PyTorch, JAX or TensorFlow, as NumPy arrays.

None of them is imported: they are known by their methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.tensors.elements import is_extension, is_tensor, numpy_dtype
from pytest_trt.tensors.spec import TensorSpec


def named_arrays(values: Mapping[str, object], specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return values by name with NumPy arrays in place of the tensors of other libraries.

    Args:
        values: Arrays, NumPy scalars, tensors of PyTorch (also on a GPU, or with a gradient), and
            whatever has `__array__`; where a spec is of a sequence, map or optional, such in lists
            and dicts.
        specs: What the model has under these names.

    Raises:
        ValueError: A value is no array, or its type is one that NumPy lacks.
    """
    by_name = {spec.name: spec for spec in specs}
    found = {}
    for name, value in values.items():
        spec = by_name.get(name)
        try:
            if spec is not None and not is_tensor(spec.dtype):
                found[name] = _contained(value)
                continue
            array = as_array(value)
        except ValueError as error:
            raise ValueError(f"{name!r} {error}") from error
        if array is None:
            raise ValueError(f"{name!r} is of type {type(value).__name__}, not an array")
        found[name] = array if spec is None else _typed(array, spec)
    return found


def as_array(value: object) -> npt.NDArray[Any] | None:
    """Return a tensor as a NumPy array, without a copy where possible; None if it is none.

    Raises:
        ValueError: It is a tensor of PyTorch whose type NumPy lacks.
    """
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    tensor: Any = value
    if all(callable(getattr(value, name, None)) for name in ("detach", "cpu", "numpy")):
        try:
            array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"is a tensor of {getattr(value, 'dtype', 'a type')} that NumPy cannot hold: "
                f"{str(error).partition(chr(10))[0]}"
            ) from error
        return array
    if not isinstance(value, type) and hasattr(value, "__array__"):
        return np.asarray(value)
    return None


def _contained(value: object) -> object:
    """Return a sequence or a map with arrays in place of the tensors that it holds."""
    if isinstance(value, Mapping):
        return {key: _contained(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_contained(item) for item in value]
    array = as_array(value)
    return value if array is None or isinstance(value, np.generic) else array


def _typed(array: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[Any]:
    """Return raw bytes, as .npz files hold the types of ml_dtypes, as the type of the model."""
    dtype = numpy_dtype(spec.dtype) if is_extension(spec.dtype) else None
    raw = array.dtype.type is np.void and array.dtype.names is None
    return array.view(dtype) if raw and dtype and array.dtype.itemsize == dtype.itemsize else array
