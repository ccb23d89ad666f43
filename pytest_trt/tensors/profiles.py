"""Optimisation profiles: the ranges of shapes and values that one engine serves, validated by us.

The vendor's `set_shape` accepts unknown names and min > max without a word, so every rule is here.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeAlias

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import (
    POINTS,
    ValueRange,
    example_values,
    is_listed,
    is_value_range,
    may_hold_shape,
    parse_values,
    require_ascending,
    three_points,
)
from pytest_trt.wording import count, known_names

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes that one input may take: min and max bound it, tactics are tuned for opt."""

    min: Shape
    opt: Shape
    max: Shape

    def __str__(self) -> str:
        """Return it as the marker takes it."""
        return f"({self.min}, {self.opt}, {self.max})"


#: One optimisation profile, by input: the shapes of every dynamic one, the values of those that
#: hold a shape.
Profile: TypeAlias = Mapping[str, ShapeRange | ValueRange]

#: What the fix of a message suggests: (min, opt, max) of the batch, and of any other dimension.
_EXAMPLE_BATCH = (1, 8, 32)
_EXAMPLE_OTHER = (32, 128, 256)


def parse_profiles(raw: object, inputs: Sequence[TensorSpec], *, where: str) -> tuple[Profile, ...]:
    """Return profiles in one canonical form: dicts in the model's input order, tuples of ints.

    Args:
        raw: None for no profile; a mapping from input names to ranges for one; a sequence of such
            mappings for several. A range of shapes is a `ShapeRange`, (min, opt, max), a mapping
            with these keys, or one shape, which is then all three. A range of values, for an input
            that holds a shape, is {"values": range}, see `parse_values`.
        inputs: The model's inputs.
        where: What messages call the place that the profiles come from.

    Raises:
        ConfigurationError: A name, rank, size, value or order is wrong, or a dynamic input is
            missing.
    """
    if raw is None:
        return ()
    if isinstance(raw, Mapping):
        raw = [raw]
    if not is_listed(raw):
        raise _shape_of_profiles(where, raw, inputs)
    parsed = []
    for index, one in enumerate(raw):
        here = where if len(raw) == 1 else f"{where}, profile {index}"
        if not isinstance(one, Mapping):
            raise _shape_of_profiles(here, one, inputs)
        parsed.append(_profile(one, inputs, here))
    return tuple(profile for profile in parsed if profile)


def needs_profile(spec: TensorSpec) -> bool:
    """Whether the shape of this input is open; sequences and maps have no shape to choose."""
    return spec.is_dynamic and "(" not in spec.dtype


def profile_to_json(profile: Profile) -> dict[str, Any]:
    """Return a profile as JSON-simple data, in the form in which users write it."""
    return {
        name: {"values": astuple(bounds)} if isinstance(bounds, ValueRange) else astuple(bounds)
        for name, bounds in profile.items()
    }


def profile_from_json(content: Mapping[str, Any]) -> Profile:
    """Return the profile that `profile_to_json` wrote."""
    return {
        name: ValueRange(*map(tuple, bounds["values"]))
        if is_value_range(bounds)
        else ShapeRange(*map(tuple, bounds))
        for name, bounds in content.items()
    }


def example_profiles(inputs: Sequence[TensorSpec]) -> str:
    """Return a `profiles={...}` for these inputs that can be pasted and then adjusted."""
    return f"profiles={pasted(example_ranges(inputs))}"


def example_ranges(inputs: Sequence[TensorSpec]) -> dict[str, tuple[Shape, ...]]:
    """Return (min, opt, max) for every dynamic input.

    A symbol has the same value wherever it stands, as the model demands. The first open dimension
    of all inputs is taken for the batch, which it is nearly always; one without a name only if it
    is the first of its own input.
    """
    dynamic = [spec for spec in inputs if needs_profile(spec)]
    open_dims = (dim for spec in dynamic for dim in spec.shape or () if isinstance(dim, str))
    batch = next(open_dims, "?")
    return {spec.name: _example_range(spec, batch) for spec in dynamic}


def pasted(ranges: Mapping[str, object]) -> str:
    """Return one profile as it is written in the marker."""
    return "{" + ", ".join(f'"{name}": {bounds}' for name, bounds in ranges.items()) + "}"


def _example_range(spec: TensorSpec, batch: str) -> tuple[Shape, ...]:
    def sizes(position: int, dim: int | str) -> tuple[int, int, int]:
        if isinstance(dim, int):
            return dim, dim, dim
        is_batch = position == 0 if dim == "?" else dim == batch
        return _EXAMPLE_BATCH if is_batch else _EXAMPLE_OTHER

    shape = ("?",) if spec.shape is None else spec.shape
    dimensions = [sizes(position, dim) for position, dim in enumerate(shape)]
    return tuple(tuple(size[point] for size in dimensions) for point in range(3))


def _profile(raw: Mapping[object, object], inputs: Sequence[TensorSpec], where: str) -> Profile:
    specs = {spec.name: spec for spec in inputs}
    for name in raw:
        if name not in specs:
            raise ConfigurationError(
                f"{where}: the model has no input {name!r}.",
                fix=known_names("input", name, specs),
            )
    missing = [spec.name for spec in inputs if needs_profile(spec) and spec.name not in raw]
    if missing:
        raise ConfigurationError(
            f"{where}: no shapes for {', '.join(map(repr, missing))}, whose shape is not fixed.",
            fix=f"add them, for example {example_profiles(inputs)} (min, opt, max).",
        )
    return {
        spec.name: _range(raw[spec.name], spec, f"{where}, input {spec.name!r}")
        for spec in inputs
        if spec.name in raw
    }


def _range(raw: object, spec: TensorSpec, where: str) -> ShapeRange | ValueRange:
    if is_value_range(raw):
        return parse_values(raw, spec, where=where)
    low, opt, high = (
        _shape(shape, spec, f"{where}, {point}")
        for point, shape in zip(POINTS, _points(raw, spec, where), strict=True)
    )
    if not len(low) == len(opt) == len(high):
        raise ConfigurationError(
            f"{where}: min {low}, opt {opt}, max {high} differ in their number of dimensions.",
            fix="give all three the same number of ints.",
        )
    require_ascending(
        (low, opt, high),
        where=where,
        part="dimension",
        fix="give shapes with min <= opt <= max in every dimension.",
    )
    return ShapeRange(low, opt, high)


def _points(raw: object, spec: TensorSpec, where: str) -> tuple[object, object, object]:
    if isinstance(raw, ShapeRange):
        return raw.min, raw.opt, raw.max
    points = three_points(raw, is_one=_is_one_shape)
    if points is None:
        raise ConfigurationError(
            f"{where}: {raw!r} is neither one shape nor the three shapes (min, opt, max).",
            fix=f"write it as in {example_profiles([spec])}."
            if needs_profile(spec)
            else f"give one shape, or three: (min, opt, max).{_values_hint(spec)}",
        )
    return points


def _is_one_shape(raw: object) -> bool:
    return is_listed(raw) and not any(isinstance(part, Sequence) for part in raw)


def _values_hint(spec: TensorSpec) -> str:
    """Say how values are given: those of an input that holds a shape look like a shape."""
    if not may_hold_shape(spec):
        return ""
    return f' For the values that it may take: "{spec.name}": {example_values(spec)}.'


def _shape(raw: object, spec: TensorSpec, where: str) -> Shape:
    if not is_listed(raw):
        raise ConfigurationError(
            f"{where}: {raw!r} is not a shape.",
            fix=f"give a tuple, ({raw},) if there is one dimension."
            if isinstance(raw, int)
            else "give a tuple of ints.",
        )
    shape = tuple(_dimension(part, f"{where}, dimension {at}") for at, part in enumerate(raw))
    if spec.shape is None:
        return shape
    if len(shape) != len(spec.shape):
        raise ConfigurationError(
            f"{where}: {shape} has {count(len(shape), 'dimension')}; the model's {spec} has "
            f"{len(spec.shape)}.",
            fix=f"give {count(len(spec.shape), 'int')}.{_values_hint(spec)}",
        )
    for dimension, (given, fixed) in enumerate(zip(shape, spec.shape, strict=True)):
        if isinstance(fixed, int) and given != fixed:
            raise ConfigurationError(
                f"{where}: dimension {dimension} is {given}, but the model ({spec}) fixes it at "
                f"{fixed}.",
                fix=f"write {fixed} there, or export the model with that dimension dynamic."
                f"{_values_hint(spec)}",
            )
    return shape


def _dimension(raw: object, where: str) -> int:
    try:
        # numpy integers count; True would too, and is no size.
        value = -1 if isinstance(raw, bool) else operator.index(raw)  # type: ignore[arg-type]
    except TypeError:
        value = -1
    if value < 0:
        raise ConfigurationError(
            f"{where}: {raw!r} is not a size.", fix="give a whole number, 0 or larger."
        )
    return value


def _shape_of_profiles(where: str, raw: object, inputs: Sequence[TensorSpec]) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: {raw!r} is not a mapping from input names to ranges.",
        fix=f"write it as in {example_profiles(inputs)}.",
    )
