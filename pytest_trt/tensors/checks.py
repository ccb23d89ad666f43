"""Checks of the tensors that a user feeds, before a vendor library sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import Fact, InputError, Remedy, in_context
from pytest_trt.tensors.containers import items_of, misfit, same_element
from pytest_trt.tensors.elements import dtype_code, dtype_name, is_extension, is_tensor
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.wording import count, known_names


def check_inputs(inputs: Sequence[TensorSpec], tensors: Tensors) -> None:
    """Check that tensors are what the model takes. Non-contiguous arrays are fine.

    Raises:
        InputError: They are not a mapping, or one is missing, unknown, not an array, or has a
            wrong dtype, rank or fixed size.
    """
    specs = {spec.name: spec for spec in inputs}
    if not isinstance(tensors, Mapping):
        raise InputError(
            f"run takes a mapping of input names to arrays; got a {_type_name(tensors)}",
            fix=f"pass a dict with one array per input: {_example_feed(inputs)}",
            code="TRT221",
            facts={"problem": "not a mapping", "type": _type_name(tensors)},
        )
    for name in tensors:
        if name not in specs:
            raise InputError(
                f"the model has no input {name!r}",
                fix=_unknown_remedy(str(name), list(specs), tensors),
                code="TRT221",
                facts={"problem": "unknown", "tensor": str(name), "inputs": list(specs)},
            )
    missing = [spec for spec in inputs if spec.name not in tensors]
    if missing:
        raise InputError(
            f"missing inputs: {'; '.join(map(str, missing))}",
            fix="feed every input of the model by name: {"
            + f'"{missing[0].name}": array'
            + ", ...}.",
            code="TRT221",
            facts={
                "problem": "missing",
                "missing": [spec.name for spec in missing],
                "inputs": list(specs),
            },
        )
    for name, tensor in tensors.items():
        _check(specs[name], tensor)


def _unknown_remedy(name: str, known: list[str], given: Tensors) -> str:
    if not known or not given.keys() >= set(known):
        return known_names("input", name, known)
    inputs = "the only input is" if len(known) == 1 else "the inputs are"
    return f"remove it; {inputs} {', '.join(map(repr, known))}."


def check_calibration(inputs: Sequence[TensorSpec], samples: object) -> None:
    """Check that samples can calibrate a model: several inputs that it takes, of finite values.

    Args:
        inputs: The model's inputs.
        samples: What the trt_calibration fixture returned; turn an iterator into a list first.

    Raises:
        InputError: It is not a list or tuple, is empty, or a sample does not fit the model or
            holds NaN or infinite values, which no INT8 range can span.
    """
    form = f"return a list of samples, such as [{_example_feed(inputs)}, ...]."
    if not isinstance(samples, Sequence) or isinstance(samples, str | bytes):
        raise _bad_calibration(
            f"trt_calibration must return a list of {{input: array}}; got a {_type_name(samples)}",
            form,
        )
    if not samples:
        raise _bad_calibration(
            "int8 needs calibration data, but trt_calibration returned no samples", form
        )
    for number, sample in enumerate(samples):
        where = f"calibration sample {number}"
        if not isinstance(sample, Mapping):
            raise _bad_calibration(
                f"{where} must be a mapping of input names to arrays; got a {_type_name(sample)}",
                form,
                sample=number,
            )
        try:
            check_inputs(inputs, sample)
        except InputError as error:
            raise in_context(error, where) from error
        for name, array in items_of(sample, inputs).tensors.items():
            if not array.size:
                raise _bad_calibration(
                    f"{where}: input {name!r} has 0 elements (shape {list(array.shape)}), so it "
                    "sets no INT8 range",
                    form,
                    sample=number,
                    tensor=name,
                )
            _require_finite(number, name, array)


def _bad_calibration(message: str, fix: str, **facts: Fact) -> InputError:
    return InputError(message, fix=fix, code="TRT225", facts=facts)


def _require_finite(sample: int, name: str, array: npt.NDArray[Any]) -> None:
    # Types that numpy itself lacks, such as bfloat16, are of kind V.
    if array.dtype.kind not in "fcV":
        return
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    found = [f"{nan} NaN"] * bool(nan) + [f"{infinite} infinite"] * bool(infinite)
    if found:
        raise _bad_calibration(
            f"calibration sample {sample}: input {name!r} has {' and '.join(found)} values "
            f"of {array.size:,}",
            "return finite values from the trt_calibration fixture: they set the INT8 ranges.",
            sample=sample,
            tensor=name,
            nan=nan,
            infinite=infinite,
        )


def _example_feed(inputs: Sequence[TensorSpec]) -> str:
    return "{" + ", ".join(f'"{spec.name}": array' for spec in inputs) + "}"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _check(spec: TensorSpec, tensor: object) -> None:
    if not is_tensor(spec.dtype):
        what = misfit(tensor, spec.dtype)
        if what:
            raise InputError(
                f"input {spec.name!r} {what}; the model takes {spec.form}",
                fix="pass a list for a sequence, a dict for a map, and None for an optional that "
                "is absent.",
                code="TRT222",
                facts={**spec.facts, "type": _type_name(tensor)},
            )
        return
    if not isinstance(tensor, np.ndarray):
        raise InputError(
            f"input {spec.name!r} is a {type(tensor).__name__}, not a numpy array",
            fix="pass np.asarray(value); for a torch tensor, value.numpy(force=True).",
            code="TRT221",
            facts={**spec.facts, "problem": "not an array", "type": type(tensor).__name__},
        )
    if not same_element(tensor.dtype, spec.dtype):
        # Only dtype.str shows the byte order, which is what is wrong with ">f4".
        given = dtype_name(tensor.dtype) if tensor.dtype.isnative else tensor.dtype.str
        raise InputError(
            f"input {spec.name!r} is {given}, the model takes {spec.dtype}",
            fix=_cast(spec, given),
            code="TRT222",
            facts={**spec.facts, "given_dtype": given},
        )
    if spec.shape is None:
        return
    if tensor.ndim != len(spec.shape):
        raise InputError(
            f"input {spec.name!r} has shape {tensor.shape}, the model takes {spec.form}: "
            f"{count(tensor.ndim, 'dimension')} instead of {len(spec.shape)}",
            fix="reshape it; a single sample still needs its batch dimension: array[None].",
            code="TRT223",
            facts={**spec.facts, "given_shape": list(tensor.shape)},
        )
    for dimension, (given_size, size) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
        if isinstance(size, int) and given_size != size:
            raise InputError(
                f"input {spec.name!r} has shape {tensor.shape}, the model takes {spec.form}: "
                f"dimension {dimension} must be {size}",
                fix=f"pass {size} there, or export the model with that dimension dynamic.",
                code="TRT223",
                facts={**spec.facts, "given_shape": list(tensor.shape), "dimension": dimension},
            )


def _cast(spec: TensorSpec, given: str) -> Remedy:
    code = dtype_code(spec.dtype)
    bits: tuple[str, ...] = ()
    if is_extension(spec.dtype) and given in ("uint8", "uint16"):
        # ONNX Runtime itself takes such types as unsigned integers.
        bits = (f"if it holds bits: {spec.name}.view({code})",)
    return Remedy(f"pass {spec.name}.astype({code}) if the values allow it.", alternatives=bits)
