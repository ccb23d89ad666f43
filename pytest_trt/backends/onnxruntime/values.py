"""Tensors of types that numpy lacks, in and out of ONNX Runtime.

ONNX Runtime's numpy interface supports few of them: versions 1.23 and 1.32 raise for bfloat16, most
float8 types and the integers below 8 bits, and return float8e4m3fn and float4e2m1 as uint8, the
latter with bytes beyond the end of the tensor. Its own `OrtValue` holds all of them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.diagnostics import ModelError
from pytest_trt.tensors.elements import (
    dtype_name,
    element_bits,
    element_number,
    from_bits,
    is_extension,
)
from pytest_trt.tensors.spec import Tensors


def needs_values(session: Any) -> bool:
    """Whether a session has an input or output of a type that numpy lacks."""
    return any(is_extension(_element(one.type)) for one in _borders(session))


def unreadable(session: Any) -> str:
    """Return the input or output that cannot be used from Python, with its type; "" if all can.

    Sequences, maps, optionals and inputs of strings can be used by the numpy interface alone, and
    so not together with types that numpy lacks.
    """
    if not needs_values(session):
        return ""
    others = [one for one in session.get_inputs() if one.type == "tensor(string)"]
    others += [one for one in _borders(session) if not one.type.startswith("tensor(")]
    return next((f"{one.name!r} ({one.type})" for one in others), "")


def require_readable(session: Any, model: Path) -> None:
    """Refuse a model whose inputs or outputs cannot be used from Python.

    Raises:
        ModelError: One cannot.
    """
    tensor = unreadable(session)
    if tensor:
        version = onnxruntime_version()
        raise ModelError(
            f"{tensor} of {model.name} cannot be used from Python with ONNX Runtime "
            f"{version}, because another input or output has a type that NumPy lacks",
            fix="cast the tensors of such types to float32 or 8-bit integers in the model.",
            code="TRT209",
            facts={"model": str(model), "tensor": tensor, "version": version},
        )


def run_values(
    session: Any, output_names: Sequence[str], inputs: Tensors, options: Any
) -> list[npt.NDArray[np.generic]]:
    """Run a session with `RunOptions` on tensors of any type; return its outputs in order."""
    values = {name: _value(array) for name, array in inputs.items()}
    return [
        _array(value) for value in session.run_with_ort_values(list(output_names), values, options)
    ]


def _borders(session: Any) -> Iterator[Any]:
    yield from session.get_inputs()
    yield from session.get_outputs()


def _element(ort_type: str) -> str:
    """Return the element type of "tensor(int4)"; ONNX Runtime names those of numpy otherwise."""
    return ort_type.removeprefix("tensor(").removesuffix(")")


def _value(array: npt.NDArray[np.generic]) -> Any:
    import onnxruntime

    element = dtype_name(array.dtype)
    if not is_extension(element):
        # Not ascontiguousarray, which turns a scalar into a vector.
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, element_number(element))
    packed = _packed(np.asarray(array, order="C").reshape(-1), element_bits(element))
    ctypes.memmove(value.data_ptr(), packed.ctypes.data, packed.nbytes)
    return value


def _array(value: Any) -> npt.NDArray[np.generic]:
    element = _element(value.data_type())
    if not is_extension(element):
        array: npt.NDArray[np.generic] = value.numpy()
        return array
    shape = tuple(value.shape())
    size, bits = int(np.prod(shape)), element_bits(element)
    stored = np.empty(-(-size * bits // 8), np.uint8)
    ctypes.memmove(stored.ctypes.data, value.data_ptr(), stored.nbytes)
    return from_bits(_unpacked(stored, size, bits), element).reshape(shape)


def _packed(flat: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Return elements as ONNX stores them: those below a byte share one, the first one lowest."""
    stored = flat.view(np.uint8)
    if bits >= 8:
        return stored
    per_byte = 8 // bits
    lanes = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    lanes[: flat.size] = stored & ((1 << bits) - 1)
    shifted = lanes.reshape(-1, per_byte) << np.arange(0, 8, bits, dtype=np.uint8)
    packed: npt.NDArray[np.uint8] = np.bitwise_or.reduce(shifted, axis=1)
    return packed


def _unpacked(stored: npt.NDArray[np.uint8], size: int, bits: int) -> npt.NDArray[Any]:
    """Return each element's bits in an unsigned integer of its own."""
    if bits >= 8:
        return stored.view(f"u{bits // 8}")
    lanes = stored[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)
    return (lanes & ((1 << bits) - 1)).reshape(-1)[:size].astype(np.uint8)
