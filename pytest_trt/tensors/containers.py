"""Values that are no single tensor, in the form in which ONNX Runtime takes and returns them.

A sequence is a list, a map is a dict of numbers or text, and an optional is its value or None.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.tensors.elements import dtype_name, element_of, is_tensor, numpy_dtype
from pytest_trt.tensors.spec import Tensors, TensorSpec

#: Kinds of numpy dtypes that hold text: object, bytes, str, and numpy 2's StringDType.
TEXT_KINDS = "OSUT"


class Items(NamedTuple):
    """Inputs or outputs as tensors alone.

    Attributes:
        tensors: The tensors by name: "s[0]" is the first item of the sequence "s".
        owners: Of items, the name of the input or output that holds them.
        keys: Names of those that hold the keys of maps.
    """

    tensors: dict[str, npt.NDArray[Any]]
    owners: dict[str, str]
    keys: set[str]


def items_of(values: Mapping[str, object], specs: Sequence[TensorSpec]) -> Items:
    """Return all tensors in inputs or outputs, item by item.

    Maps with the same keys, such as the rows of a classifier's probabilities, are one tensor of
    their values [maps, keys] in the order of the keys, and one of the keys, "name.keys".

    Args:
        values: Inputs or outputs by name.
        specs: Their specs, which tell the type of the numbers in maps.
    """
    types = {spec.name: spec.dtype for spec in specs}
    found = Items({}, {}, set())
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            found.tensors[name] = value
            continue
        for part, tensor, is_key in _tensors(value, numpy_dtype(element_of(types.get(name, "")))):
            item = name + part
            # Another output may have the name of an item.
            while item in found.tensors or (item in values and item != name):
                item += "'"
            found.tensors[item], found.owners[item] = tensor, name
            if is_key:
                found.keys.add(item)
    return found


#: What follows the name of the output, a tensor, and whether it holds the keys of a map.
_Part: TypeAlias = "tuple[str, npt.NDArray[Any], bool]"


def _tensors(value: object, dtype: np.dtype[Any] | None) -> Iterator[_Part]:
    if value is None:
        return
    if isinstance(value, Mapping):
        yield from ((part, rows[0], is_key) for part, rows, is_key in _maps([value], dtype))
    elif not isinstance(value, list | tuple):
        yield "", np.asarray(value), False
    elif value and all(map(_is_plain, value)) and len({frozenset(one) for one in value}) == 1:
        yield from _maps(value, dtype)
    else:
        for place, one in enumerate(value):
            for part, tensor, is_key in _tensors(one, dtype):
                yield f"[{place}]{part}", tensor, is_key


def _is_plain(value: object) -> bool:
    """Whether a value is a map of numbers or text."""
    return isinstance(value, Mapping) and not any(map(np.ndim, value.values()))


def _maps(maps: Sequence[Mapping[Any, object]], dtype: np.dtype[Any] | None) -> Iterator[_Part]:
    """Yield the keys and the values of maps with the same keys, one row for each map."""
    keys = sorted(maps[0])
    if all(map(_is_plain, maps)):
        yield ".keys", np.array([keys]), True
        rows = [[one[key] for key in keys] for one in maps]
        yield "", np.array(rows, dtype).reshape(len(maps), len(keys)), False
    else:
        for key in keys:
            yield f"[{key!r}]", np.array([one[key] for one in maps]), False


def description(value: object) -> str:
    """Return the shape of a tensor, the number of items of anything else, or "absent"."""
    if value is None:
        return "absent"
    if isinstance(value, list | tuple | Mapping):
        return f"with {len(value)} item{'s' * (len(value) != 1)}"
    return str(list(np.asarray(value).shape))


def typed_description(value: object) -> str:
    """Return a value's `description` with the type of a tensor before it: "float32 [8, 3]"."""
    dtype = f"{dtype_name(value.dtype)} " if isinstance(value, np.ndarray) else ""
    return f"{dtype}{description(value)}"


def shapes_text(
    specs: Sequence[TensorSpec], inputs: Tensors, *, sizes: Collection[str] = ()
) -> str:
    """Return the shapes of all inputs of a model, as baselines store them.

    Args:
        specs: The inputs of the model.
        inputs: The values.
        sizes: The inputs whose values count as well, as they decide how much is computed.
    """

    def of(name: str) -> str:
        value = inputs[name]
        held = f" = {np.asarray(value).tolist()}" if name in sizes and value is not None else ""
        return f"{name} {description(value)}{held}"

    return ", ".join(of(spec.name) for spec in specs)


def misfit(value: object, dtype: str) -> str:
    """Return why a value is not of a type, or "" if it is.

    Args:
        value: What a user feeds.
        dtype: The type of an input: "sequence(float32)", "map(string, int64)".
    """
    if is_tensor(dtype):
        return _tensor_misfit(value, dtype)
    kind, _, inner = dtype[:-1].partition("(")
    if kind == "optional":
        return "" if value is None else misfit(value, inner)
    if kind == "sequence":
        if not isinstance(value, list):
            return f"is a {type(value).__name__}, not a list"
        found = ((place, misfit(one, inner)) for place, one in enumerate(value))
        return next((f"has item {place}, which {what}" for place, what in found if what), "")
    if kind == "map":
        plain = isinstance(value, Mapping) and _is_plain(value)
        return "" if plain else f"is a {type(value).__name__}, not a dict of numbers or text"
    return f"cannot be fed as {dtype}"


def _tensor_misfit(value: object, dtype: str) -> str:
    if not isinstance(value, np.ndarray):
        return f"is a {type(value).__name__}, not a numpy array"
    return "" if same_element(value.dtype, dtype) else f"is {dtype_name(value.dtype)}"


def same_element(dtype: np.dtype[Any], name: str) -> bool:
    """Whether a dtype is that of an element type, in this machine's byte order."""
    if name == "string":
        return dtype.kind in TEXT_KINDS
    return dtype_name(dtype) == name and dtype.isnative
