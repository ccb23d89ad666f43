"""Ranges of values: what a profile gives for an input that holds a shape.

TensorRT takes the size of a Reshape, Expand, Resize or Slice from an input as well. Such an input
has a shape that is fixed and values that are not, so its range is one of values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeGuard

import numpy as np

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.spec import TensorSpec

#: One of the three points of a range.
Point: TypeAlias = Literal["min", "opt", "max"]

POINTS: tuple[Point, ...] = ("min", "opt", "max")


def three_points(
    raw: object, *, is_one: Callable[[object], bool]
) -> tuple[object, object, object] | None:
    """Return min, opt and max of a range as users write one, or None where it is no range.

    Args:
        raw: A mapping with these keys, a sequence of the three, or one point for all three.
        is_one: Whether something is meant as one point.
    """
    if isinstance(raw, Mapping):
        return (raw["min"], raw["opt"], raw["max"]) if set(raw) == set(POINTS) else None
    if is_one(raw):
        return raw, raw, raw
    if is_listed(raw) and len(raw) == 3:
        return raw[0], raw[1], raw[2]
    return None


def is_listed(raw: object) -> TypeGuard[Sequence[object]]:
    """Whether something is a sequence of several values, which text is not."""
    return isinstance(raw, Sequence) and not isinstance(raw, str | bytes)


def require_ascending(points: Sequence[Sequence[int]], *, where: str, part: str, fix: str) -> None:
    """Check that min <= opt <= max in every part; all three are equally long.

    Args:
        points: The three, in this order.
        where: What messages call the range.
        part: What messages call one part of a point: "dimension".
        fix: What the message suggests.

    Raises:
        ConfigurationError: A part of opt is below min's, or of max below opt's.
    """
    for at in (1, 2):
        for index, (below, above) in enumerate(zip(points[at - 1], points[at], strict=True)):
            if below > above:
                raise ConfigurationError(
                    f"{where}: {POINTS[at]} is {above} in {part} {index}, below "
                    f"{POINTS[at - 1]}, which is {below}.",
                    fix=fix,
                )


#: The values of one input, a single one for a scalar.
Values: TypeAlias = tuple[int, ...]

#: How a range of values is marked in a profile: {"size": {"values": (min, opt, max)}}.
_KEY = "values"

#: Element types that can hold a shape.
_TYPES = ("int32", "int64")

#: Suggested values by point: sizes that most models take.
_EXAMPLES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values that one input may take, element by element."""

    min: Values
    opt: Values
    max: Values

    def __str__(self) -> str:
        """Return it as the marker takes it."""
        return f'{{"{_KEY}": ({self.min}, {self.opt}, {self.max})}}'


def is_value_range(raw: object) -> bool:
    """Whether an entry of a profile is meant as a range of values, not of shapes."""
    return isinstance(raw, ValueRange) or (isinstance(raw, Mapping) and _KEY in raw)


def parse_values(raw: object, spec: TensorSpec, *, where: str) -> ValueRange:
    """Return a range of values in its one form.

    Args:
        raw: A `ValueRange`, or {"values": range}, where the range is (min, opt, max), a mapping
            with these keys, or the values of all three. A point is one int for each element; of an
            input with one element, the int itself will do.
        spec: The input.
        where: What messages call the place that the range comes from.

    Raises:
        ConfigurationError: The input cannot hold a shape, or a value, their number or order is
            wrong.
    """
    _require_holder(spec, where)
    written = f'write it as in "{spec.name}": {example_values(spec)}.'
    low, opt, high = (
        _values(point, spec, f"{where}, {name}", written)
        for name, point in zip(POINTS, _points(raw, spec, where, written), strict=True)
    )
    if not len(low) == len(opt) == len(high):
        raise ConfigurationError(
            f"{where}: min {low}, opt {opt}, max {high} differ in their number of values.",
            fix="give all three the same number of ints.",
        )
    require_ascending(
        (low, opt, high),
        where=where,
        part="value",
        fix="give values with min <= opt <= max, element by element.",
    )
    return ValueRange(low, opt, high)


def example_values(spec: TensorSpec) -> str:
    """Return a range of values for an input that can be pasted and then adjusted."""
    count = _count(spec)
    repeats = count if isinstance(count, int) else 2
    points = _EXAMPLES if repeats == 1 else tuple((value,) * repeats for value in _EXAMPLES)
    return f'{{"{_KEY}": {points}}}'


def may_hold_shape(spec: TensorSpec) -> bool:
    """Whether an input's values can be a shape: integers in at most one dimension."""
    return spec.dtype in _TYPES and spec.shape is not None and len(spec.shape) <= 1


def _require_holder(spec: TensorSpec, where: str) -> None:
    if spec.dtype not in _TYPES:
        raise ConfigurationError(
            f"{where}: a range of values is for inputs that hold a shape, which are "
            f"{' or '.join(_TYPES)}; the model has {spec}.",
            fix="give a range of shapes, or nothing where the shape is fixed; trt_model takes "
            "input_ranges for the values of seeded inputs.",
        )
    if not may_hold_shape(spec):
        raise ConfigurationError(
            f"{where}: a range of values is for inputs that hold a shape, which have at most one "
            f"dimension; the model has {spec}.",
            fix="give a range of shapes, or nothing where the shape is fixed.",
        )


def _points(
    raw: object, spec: TensorSpec, where: str, written: str
) -> tuple[object, object, object]:
    if isinstance(raw, ValueRange):
        return raw.min, raw.opt, raw.max
    points = None
    if isinstance(raw, Mapping) and set(raw) == {_KEY}:
        points = three_points(raw[_KEY], is_one=lambda one: _is_one(one, spec))
    if points is None:
        raise ConfigurationError(
            f"{where}: {raw!r} does not give the three points of a range of values.", fix=written
        )
    return points


def _is_one(raw: object, spec: TensorSpec) -> bool:
    if not is_listed(raw):
        return True
    # Of one element, three ints are its three points.
    if _count(spec) == 1 and len(raw) == 3:
        return False
    return not any(is_listed(part) for part in raw)


def _count(spec: TensorSpec) -> int | str:
    """Return how many values an input has: 1 if it is a scalar, a name where it is open."""
    return spec.shape[0] if spec.shape else 1


def _values(raw: object, spec: TensorSpec, where: str, written: str) -> Values:
    count = _count(spec)
    if not is_listed(raw):
        if count != 1:
            raise ConfigurationError(
                f"{where}: {raw!r} is not a sequence of values; the model's {spec} takes {count}.",
                fix=written,
            )
        raw = (raw,)
    values = tuple(_value(part, spec, f"{where}, value {at}") for at, part in enumerate(raw))
    if isinstance(count, int) and len(values) != count:
        raise ConfigurationError(
            f"{where}: {values} has length {len(values)}; the model's {spec} takes {count}.",
            fix=written,
        )
    return values


def _value(raw: object, spec: TensorSpec, where: str) -> int:
    try:
        # numpy integers count; True would too, and is no size.
        value = None if isinstance(raw, bool) else operator.index(raw)  # type: ignore[arg-type]
    except TypeError:
        value = None
    if value is None:
        raise ConfigurationError(f"{where}: {raw!r} is not an integer.", fix="give a whole number.")
    limits = np.iinfo(spec.dtype)
    if not limits.min <= value <= limits.max:
        raise ConfigurationError(
            f"{where}: {value} does not fit the input's type {spec.dtype}, which holds "
            f"{limits.min} to {limits.max}.",
            fix="give values inside the type.",
        )
    return value
