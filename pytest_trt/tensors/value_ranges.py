"""Ranges of values: the profile entry of an input whose values are a shape.

The size of a Reshape, Expand, Resize or Slice may come from an input. The shape of such an input is
fixed and its values vary, so a profile gives a range of values for it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeGuard

import numpy as np

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy
from pytest_trt.tensors.spec import TensorSpec

#: The three points of a range, and those that a sweep adds between them: see `between`.
Point: TypeAlias = Literal["min", "low", "opt", "high", "pow2_minus", "pow2_plus", "max"]

POINTS: tuple[Point, ...] = ("min", "opt", "max")

#: Points that a sweep adds.
BETWEEN: tuple[Point, ...] = ("low", "high", "pow2_minus", "pow2_plus")


def between(low: int, opt: int, high: int, point: Point) -> int:
    """Return a number between min, opt and max of a range.

    "low" and "high" are the geometric means of opt with min and max. "pow2_minus" and "pow2_plus"
    are the neighbours of the largest power of two inside: kernels work on tiles of 2^k elements,
    so that these sizes leave one tile almost full and one almost empty. A range that has no such
    number stays at opt.

    All are multiples of the greatest common divisor of min, opt and max: a model that halves an
    image five times takes multiples of 32 alone, and so do its profiles.

    Args:
        low: min.
        opt: opt.
        high: max.
        point: One of `BETWEEN`.
    """
    step = math.gcd(low, opt, high) or 1
    if point in ("low", "high"):
        end = low if point == "low" else high
        return max(low, min(high, step * round(math.sqrt(opt * end) / step)))
    power = 1 << max(high - 1, 0).bit_length()
    while power > 1:
        power //= 2
        below, above = (power - 1) // step * step, (power // step + 1) * step
        if low <= below and above <= high:
            return below if point == "pow2_minus" else above
    return opt


def three_points(
    raw: object, *, is_one: Callable[[object], bool]
) -> tuple[object, object, object] | None:
    """Return min, opt and max of a range as users write it, or None if it is not a range.

    Args:
        raw: A mapping with these keys, a sequence of the three, or one point for all three.
        is_one: Whether a value is a single point.
    """
    if isinstance(raw, Mapping):
        return (raw["min"], raw["opt"], raw["max"]) if set(raw) == set(POINTS) else None
    if is_one(raw):
        return raw, raw, raw
    if is_listed(raw) and len(raw) == 3:
        return raw[0], raw[1], raw[2]
    return None


def is_listed(raw: object) -> TypeGuard[Sequence[object]]:
    """Whether a value is a sequence other than text."""
    return isinstance(raw, Sequence) and not isinstance(raw, str | bytes)


def invalid_profile(message: str, fix: str | Remedy, **facts: Fact) -> ConfigurationError:
    """Return the error for an entry of `profiles=` that is not valid."""
    return ConfigurationError(message, fix=fix, code="TRT210", facts=facts)


def require_ascending(points: Sequence[Sequence[int]], *, where: str, part: str, fix: str) -> None:
    """Check that min <= opt <= max, element by element.

    Args:
        points: min, opt and max, of equal length.
        where: The range, as messages name it.
        part: One element of a point, as messages name it: "dimension".
        fix: The remedy of the error.

    Raises:
        ConfigurationError: An element of opt is below min, or of max below opt.
    """
    for at in (1, 2):
        for index, (below, above) in enumerate(zip(points[at - 1], points[at], strict=True)):
            if below > above:
                raise invalid_profile(
                    f"{where}: {POINTS[at]} is {above} in {part} {index}, below {POINTS[at - 1]} "
                    f"({below})",
                    fix,
                    part=part,
                    index=index,
                )


#: The values of one input; one value for a scalar.
Values: TypeAlias = tuple[int, ...]

#: The key of a range of values in a profile: {"size": {"values": (min, opt, max)}}.
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
        """Return the range as the marker takes it."""
        return f'{{"{_KEY}": ({self.min}, {self.opt}, {self.max})}}'


def is_value_range(raw: object) -> bool:
    """Whether an entry of a profile is a range of values rather than of shapes."""
    return isinstance(raw, ValueRange) or (isinstance(raw, Mapping) and _KEY in raw)


def rank_of_values(raw: object) -> int | None:
    """Return whether a range of values is that of a scalar (0) or of one dimension (1).

    None where only the model shows it: three numbers are three scalars, or one point of three.
    """
    values = raw.get(_KEY) if isinstance(raw, Mapping) else None
    points = list(values.values()) if isinstance(values, Mapping) else values
    if not is_listed(points):
        return 0 if isinstance(raw, Mapping) else 1
    if any(map(is_listed, points)):
        return 1
    if isinstance(values, Mapping):
        return 0
    return None if len(points) == 3 else 1


def parse_values(raw: object, spec: TensorSpec, *, where: str) -> ValueRange:
    """Return a range of values in canonical form.

    Args:
        raw: A `ValueRange`, or {"values": range}, where the range is (min, opt, max), a mapping
            with these keys, or one point for all three. A point has one int for each element; an
            int is enough for one element.
        spec: The input.
        where: The origin of the range, as messages name it.

    Raises:
        ConfigurationError: The input cannot hold a shape, or values, their number or their order
            are not valid.
    """
    _require_holder(spec, where)
    written = Remedy("write it as in:", commands=(f'"{spec.name}": {example_values(spec)}',))
    low, opt, high = (
        _values(point, spec, f"{where}, {name}", written)
        for name, point in zip(POINTS, _points(raw, spec, where, written), strict=True)
    )
    if not len(low) == len(opt) == len(high):
        raise invalid_profile(
            f"{where}: min {low}, opt {opt} and max {high} differ in their number of values",
            "give all three the same number of integers.",
            **spec.facts,
        )
    require_ascending(
        (low, opt, high),
        where=where,
        part="value",
        fix="give values with min <= opt <= max, element by element.",
    )
    return ValueRange(low, opt, high)


def example_values(spec: TensorSpec) -> str:
    """Return an example range of values for an input, to paste and adjust."""
    count = _count(spec)
    repeats = count if isinstance(count, int) else 2
    points = _EXAMPLES if repeats == 1 else tuple((value,) * repeats for value in _EXAMPLES)
    return f'{{"{_KEY}": {points}}}'


def may_hold_shape(spec: TensorSpec) -> bool:
    """Whether an input's values can be a shape: integers with at most one dimension."""
    return spec.dtype in _TYPES and spec.shape is not None and len(spec.shape) <= 1


def _require_holder(spec: TensorSpec, where: str) -> None:
    if spec.dtype not in _TYPES:
        raise invalid_profile(
            f"{where}: a range of values needs an input of {' or '.join(_TYPES)} that holds a "
            f"shape; the model has {spec}",
            "give a range of shapes, or leave it out if the shape is fixed. For values of seeded "
            "inputs use input_ranges= on the trt_model marker.",
            **spec.facts,
        )
    if not may_hold_shape(spec):
        raise invalid_profile(
            f"{where}: a range of values needs an input that holds a shape, which has at most one "
            f"dimension; the model has {spec}",
            "give a range of shapes, or leave it out if the shape is fixed.",
            **spec.facts,
        )


def _points(
    raw: object, spec: TensorSpec, where: str, written: Remedy
) -> tuple[object, object, object]:
    if isinstance(raw, ValueRange):
        return raw.min, raw.opt, raw.max
    points = None
    if isinstance(raw, Mapping) and set(raw) == {_KEY}:
        points = three_points(raw[_KEY], is_one=lambda one: _is_one(one, spec))
    if points is None:
        raise invalid_profile(
            f"{where}: {raw!r} is not a range of values (min, opt, max)", written, **spec.facts
        )
    return points


def _is_one(raw: object, spec: TensorSpec) -> bool:
    if not is_listed(raw):
        return True
    # For a single element, three ints are its three points.
    if _count(spec) == 1 and len(raw) == 3:
        return False
    return not any(is_listed(part) for part in raw)


def _count(spec: TensorSpec) -> int | str:
    """Return the number of values: 1 for a scalar, the dimension's name if it is dynamic."""
    return spec.shape[0] if spec.shape else 1


def _values(raw: object, spec: TensorSpec, where: str, written: Remedy) -> Values:
    count = _count(spec)
    if not is_listed(raw):
        if count != 1:
            raise invalid_profile(
                f"{where}: {raw!r} is not a sequence of values; {spec} takes {count}",
                written,
                **spec.facts,
            )
        raw = (raw,)
    values = tuple(_value(part, spec, f"{where}, value {at}") for at, part in enumerate(raw))
    if isinstance(count, int) and len(values) != count:
        raise invalid_profile(
            f"{where}: {values} has length {len(values)}; {spec} takes {count}",
            written,
            **spec.facts,
        )
    return values


def _value(raw: object, spec: TensorSpec, where: str) -> int:
    try:
        # numpy integers are fine; bool has an index too, but is not a size.
        value = None if isinstance(raw, bool) else operator.index(raw)  # type: ignore[arg-type]
    except TypeError:
        value = None
    if value is None:
        raise invalid_profile(
            f"{where}: {raw!r} is not an integer", "give a whole number.", **spec.facts
        )
    limits = np.iinfo(spec.dtype)
    if not limits.min <= value <= limits.max:
        raise invalid_profile(
            f"{where}: {value} does not fit {spec.dtype} ({limits.min} to {limits.max})",
            "give values inside the type.",
            **spec.facts,
        )
    return value
