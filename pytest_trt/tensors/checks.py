"""Checks of the tensors that a user feeds, before a vendor library sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import InputError
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.wording import count, known_names

#: Kinds of numpy dtypes that hold text: object, bytes, str, and numpy 2's StringDType.
_TEXT_KINDS = "OSUT"


def check_inputs(inputs: Sequence[TensorSpec], tensors: Tensors) -> None:
    """Check that tensors are what the model takes. Non-contiguous arrays are fine.

    Raises:
        InputError: They are no mapping, or one is missing, unexpected, no array, or has another
            dtype, rank or fixed size.
    """
    specs = {spec.name: spec for spec in inputs}
    if not isinstance(tensors, Mapping):
        raise InputError(
            f"run takes a mapping of input names to arrays; got a {_type_name(tensors)}.",
            fix=f"pass {_example_feed(inputs)}, with an array for each name.",
        )
    for name in tensors:
        if name not in specs:
            raise InputError(
                f"the model has no input {name!r}.", fix=known_names("input", name, specs)
            )
    missing = [spec for spec in inputs if spec.name not in tensors]
    if missing:
        raise InputError(
            f"missing inputs: {'; '.join(map(str, missing))}.",
            fix="feed every input of the model by name, as {"
            + f'"{missing[0].name}": array'
            + "}.",
        )
    for name, tensor in tensors.items():
        # Sequences and maps come as lists and dicts, which the session itself checks.
        if "(" not in specs[name].dtype:
            _check(specs[name], tensor)


def check_calibration(inputs: Sequence[TensorSpec], samples: object) -> None:
    """Check that samples can calibrate a model: several inputs that it takes, of finite values.

    Args:
        inputs: The model's inputs.
        samples: What the trt_calibration fixture returned; an iterator must be made a list before.

    Raises:
        InputError: It is no list or tuple, is empty, or a sample does not fit the model or holds
            NaN or infinite values, which no range of INT8 can span. The message says which one.
    """
    form = f"return a list of samples, as [{_example_feed(inputs)}, ...]."
    if not isinstance(samples, Sequence) or isinstance(samples, str | bytes):
        raise InputError(
            f"trt_calibration must return a list of {{input: array}}; got a {_type_name(samples)}.",
            fix=form,
        )
    if not samples:
        raise InputError(
            "int8 needs calibration data, and trt_calibration returned no sample.", fix=form
        )
    for number, sample in enumerate(samples):
        where = f"calibration sample {number}"
        if not isinstance(sample, Mapping):
            raise InputError(
                f"{where} must be a mapping of input names to arrays; got a {_type_name(sample)}.",
                fix=form,
            )
        try:
            check_inputs(inputs, sample)
        except InputError as error:
            raise InputError(
                f"{where}: {error.message}",
                fix=f"{error.fix} The trt_calibration fixture gives the samples.",
            ) from error
        for name, array in sample.items():
            _require_finite(f"{where}: input {name!r}", array)


def _require_finite(where: str, array: object) -> None:
    # Floats that numpy has no own type for, such as bfloat16, are of kind V.
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fcV":
        return
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    found = [f"{nan} NaN"] * bool(nan) + [f"{infinite} infinite values"] * bool(infinite)
    if found:
        raise InputError(
            f"{where} holds {' and '.join(found)} among its {count(array.size, 'value')}.",
            fix="give samples of finite values in the trt_calibration fixture: the ranges of INT8 "
            "come from them.",
        )


def _example_feed(inputs: Sequence[TensorSpec]) -> str:
    return "{" + ", ".join(f'"{spec.name}": array' for spec in inputs) + "}"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _check(spec: TensorSpec, tensor: object) -> None:
    if not isinstance(tensor, np.ndarray):
        raise InputError(
            f"input {spec} was given a {type(tensor).__name__}, not a numpy array.",
            fix="pass np.asarray(value); for a torch tensor, value.numpy(force=True).",
        )
    if not _same_dtype(spec, tensor):
        # The byte order is part of dtype.str alone, and is what is wrong with ">f4".
        given = tensor.dtype.name if tensor.dtype.isnative else tensor.dtype.str
        raise InputError(
            f"input {spec} was given dtype {given}; the model takes {spec.dtype}.",
            fix=f'pass {spec.name}.astype("{spec.dtype}") if the values allow it.',
        )
    if spec.shape is None:
        return
    if tensor.ndim != len(spec.shape):
        raise InputError(
            f"input {spec} was given shape {tensor.shape}: {count(tensor.ndim, 'dimension')} "
            f"instead of {len(spec.shape)}.",
            fix="reshape it; a single sample still needs its batch dimension, array[None].",
        )
    for dimension, (given_size, size) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
        if isinstance(size, int) and given_size != size:
            raise InputError(
                f"input {spec} was given shape {tensor.shape}: dimension {dimension} is "
                f"{given_size}, and the model fixes it at {size}.",
                fix=f"pass {size} there, or export the model with that dimension dynamic.",
            )


def _same_dtype(spec: TensorSpec, tensor: npt.NDArray[np.generic]) -> bool:
    if spec.dtype == "string":
        return tensor.dtype.kind in _TEXT_KINDS
    # ml_dtypes writes "float8_e4m3fn" where ONNX's name, and ours, has no underscore.
    return tensor.dtype.name.replace("_", "") == spec.dtype and tensor.dtype.isnative
