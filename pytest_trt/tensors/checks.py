"""Checks of the tensors that a user feeds, before a vendor library sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_trt.diagnostics import InputError, Remedy
from pytest_trt.tensors.containers import misfit, same_element
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
            f"run takes a mapping of input names to arrays; got a {type_name(tensors)}",
            fix=f"pass a dict with one array per input: {example_feed(inputs)}",
            code="TRT221",
            facts={"problem": "not a mapping", "type": type_name(tensors)},
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


def example_feed(inputs: Sequence[TensorSpec]) -> str:
    """Return what a run takes, as it is typed: `{"image": array}`."""
    return "{" + ", ".join(f'"{spec.name}": array' for spec in inputs) + "}"


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module unless it is Python's own."""
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
                facts={**spec.facts, "type": type_name(tensor)},
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
