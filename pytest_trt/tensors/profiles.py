"""Optimisation profiles: the ranges of shapes and values that one engine covers.

TensorRT's `set_shape` silently accepts unknown names and min > max, so profiles are validated here.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeAlias

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.tensors.elements import is_tensor
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import (
    POINTS,
    ValueRange,
    example_values,
    invalid_profile,
    is_listed,
    is_value_range,
    may_hold_shape,
    parse_values,
    rank_of_values,
    require_ascending,
    three_points,
)
from pytest_trt.wording import count, known_names

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes of one input: min and max are the bounds, tactics are tuned for opt."""

    min: Shape
    opt: Shape
    max: Shape

    def __str__(self) -> str:
        """Return the range as the marker takes it."""
        return f"({self.min}, {self.opt}, {self.max})"


#: One optimisation profile by input name: shapes of every dynamic input, values of those that hold
#: a shape.
Profile: TypeAlias = Mapping[str, ShapeRange | ValueRange]

#: The largest size of a dimension, which ONNX stores as int64.
_LARGEST = 2**63 - 1

#: (min, opt, max) in examples: of the batch, and of any other dimension.
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
        where: The origin of the profiles, as messages name it.

    Raises:
        ConfigurationError: A name, rank, size, value or order is not valid, or a dynamic input
            has no range.
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


def profiles_without_model(raw: object, *, where: str) -> tuple[Profile, ...]:
    """Return profiles of a model that is not there yet, checked as far as they can be.

    Their points are those that `parse_profiles` returns for any model that they fit.

    Args:
        raw: As `parse_profiles` takes it.
        where: The origin of the profiles, as messages name it.

    Raises:
        ConfigurationError: A size, value or order is not valid, or only the model shows whether
            three values are one point or three.
    """
    profiles = [raw] if isinstance(raw, Mapping) else raw
    if not is_listed(profiles) or not all(isinstance(one, Mapping) for one in profiles):
        return parse_profiles(raw, (), where=where)
    parsed: list[Profile] = []
    for index, one in enumerate(profiles):
        here = where if len(profiles) == 1 else f"{where}, profile {index}"
        assert isinstance(one, Mapping)
        specs = [_likely_spec(name, bounds, here) for name, bounds in one.items()]
        parsed += parse_profiles(one, specs, where=here)
    return tuple(parsed)


def _likely_spec(name: str, bounds: object, where: str) -> TensorSpec:
    """Return an input that a range may be of."""
    if not is_value_range(bounds):
        return TensorSpec(name, "float32", None)
    rank = rank_of_values(bounds)
    if rank is None:
        raise invalid_profile(
            f"{where}, input {name!r}: only the model shows whether {bounds} is one point or "
            "three, and a fixture gives it when the test runs",
            "write each point as a tuple: one value as (8,).",
            tensor=str(name),
        )
    return TensorSpec(name, "int64", ("?",) * rank)


def needs_profile(spec: TensorSpec) -> bool:
    """Whether this input is a tensor of dynamic shape."""
    return spec.is_dynamic and is_tensor(spec.dtype)


def profile_to_json(profile: Profile) -> dict[str, Any]:
    """Return a profile as JSON-simple data, in the form that users write."""
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
    """Return an example `profiles={...}` for these inputs, to paste and adjust."""
    return f"profiles={pasted(example_ranges(inputs))}"


def example_ranges(
    inputs: Sequence[TensorSpec],
    *,
    batch: tuple[int, int, int] = _EXAMPLE_BATCH,
    other: tuple[int, int, int] = _EXAMPLE_OTHER,
) -> dict[str, tuple[Shape, ...]]:
    """Return (min, opt, max) for every dynamic input.

    A symbol gets the same value everywhere. The first dynamic dimension that leads an input is
    assumed to be the batch; a dimension without a name only if it is the first of its input, or the
    only dynamic one between fixed ones.
    """
    dynamic = [spec for spec in inputs if needs_profile(spec)]
    leading = (dim for spec in dynamic for dim in (spec.shape or ())[:1] if isinstance(dim, str))
    name = next(leading, "?")
    return {spec.name: _example_range(spec, name, batch, other) for spec in dynamic}


def guessed(inputs: Sequence[TensorSpec]) -> str:
    """Return a warning of sizes that are guesses: of dimensions without a name; empty for none."""
    if any(spec.shape is None or "?" in spec.shape for spec in inputs if needs_profile(spec)):
        return "sizes of dimensions without a name are guesses, and some may have to be equal"
    return ""


def pasted(ranges: Mapping[str, object]) -> str:
    """Return one profile as the marker takes it."""
    return "{" + ", ".join(f'"{name}": {bounds}' for name, bounds in ranges.items()) + "}"


def _example_range(
    spec: TensorSpec, name: str, batch: tuple[int, int, int], other: tuple[int, int, int]
) -> tuple[Shape, ...]:
    shape = ("?",) if spec.shape is None else spec.shape
    # Of a state [2, ?, 128], it is the batch; of [1, ?, 128] or [4, ?], a length.
    inner = sum(isinstance(dim, str) for dim in shape) == 1 and isinstance(shape[-1], int)
    alone = inner and shape[0] != 1

    def sizes(position: int, dim: int | str) -> tuple[int, int, int]:
        if isinstance(dim, int):
            return dim, dim, dim
        is_batch = alone or position == 0 if dim == "?" else dim == name
        return batch if is_batch else other

    dimensions = [sizes(position, dim) for position, dim in enumerate(shape)]
    return tuple(tuple(size[point] for size in dimensions) for point in range(3))


def _profile(raw: Mapping[object, object], inputs: Sequence[TensorSpec], where: str) -> Profile:
    specs = {spec.name: spec for spec in inputs}
    for name in raw:
        if name not in specs:
            raise invalid_profile(
                f"{where}: the model has no input {name!r}",
                known_names("input", name, specs),
                tensor=str(name),
                inputs=list(specs),
            )
    missing = [spec.name for spec in inputs if needs_profile(spec) and spec.name not in raw]
    if missing:
        raise ConfigurationError(
            f"{where}: no range of shapes for dynamic inputs {', '.join(map(repr, missing))}",
            fix=Remedy(
                "add one (min, opt, max), for example:",
                (example_profiles(inputs),),
                tuple(filter(None, [guessed(inputs)])),
            ),
            code="TRT211",
            facts={"missing": missing},
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
        raise invalid_profile(
            f"{where}: min {low}, opt {opt} and max {high} differ in their number of dimensions",
            "give all three the same number of integers.",
            **spec.facts,
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
        raise invalid_profile(
            f"{where}: {raw!r} is neither one shape nor three shapes (min, opt, max)",
            Remedy("write it as in:", commands=(example_profiles([spec]),))
            if needs_profile(spec)
            else _with_values_hint("give one shape, or three: (min, opt, max).", spec),
            **spec.facts,
        )
    return points


def _is_one_shape(raw: object) -> bool:
    return is_listed(raw) and not any(isinstance(part, Sequence) for part in raw)


def _with_values_hint(text: str, spec: TensorSpec) -> Remedy:
    """Add how to give values: those of an input that holds a shape look like a shape."""
    if not may_hold_shape(spec):
        return Remedy(text)
    values = f'"{spec.name}": {example_values(spec)}'
    return Remedy(text, alternatives=(f"if the values are meant, write them as in {values}",))


def _shape(raw: object, spec: TensorSpec, where: str) -> Shape:
    if not is_listed(raw):
        raise invalid_profile(
            f"{where}: {raw!r} is not a shape",
            f"give a tuple: ({raw},) for one dimension."
            if isinstance(raw, int)
            else "give a tuple of integers.",
            **spec.facts,
        )
    shape = tuple(_dimension(part, f"{where}, dimension {at}") for at, part in enumerate(raw))
    if spec.shape is None:
        return shape
    if len(shape) != len(spec.shape):
        raise invalid_profile(
            f"{where}: {shape} has {count(len(shape), 'dimension')}; {spec} has {len(spec.shape)}",
            _with_values_hint(f"give {count(len(spec.shape), 'integer')}.", spec),
            **spec.facts,
        )
    for dimension, (given, fixed) in enumerate(zip(shape, spec.shape, strict=True)):
        if isinstance(fixed, int) and given != fixed:
            raise invalid_profile(
                f"{where}: dimension {dimension} is {given}, but the model ({spec}) fixes it at "
                f"{fixed}",
                _with_values_hint(
                    f"write {fixed} there, or export the model with that dimension dynamic.", spec
                ),
                **spec.facts,
            )
    return shape


def _dimension(raw: object, where: str) -> int:
    try:
        # numpy integers are fine; bool has an index too, but is not a size.
        value = -1 if isinstance(raw, bool) else operator.index(raw)  # type: ignore[arg-type]
    except TypeError:
        value = -1
    if not 0 <= value <= _LARGEST:
        raise invalid_profile(
            f"{where}: {raw!r} is not a size", "give a whole number from 0 on that int64 holds."
        )
    return value


def _shape_of_profiles(where: str, raw: object, inputs: Sequence[TensorSpec]) -> ConfigurationError:
    return invalid_profile(
        f"{where}: {raw!r} is not a mapping from input names to ranges",
        Remedy("write it as in:", commands=(example_profiles(inputs),)),
    )
