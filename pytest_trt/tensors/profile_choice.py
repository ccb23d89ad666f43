"""Which profile covers given inputs, and the shapes and values of a profile's points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import ConfigurationError, InputError, Remedy
from pytest_trt.tensors.profiles import (
    Profile,
    Shape,
    ShapeRange,
    example_profiles,
    guessed,
    needs_profile,
)
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.tensors.value_ranges import BETWEEN, Point, ValueRange, Values, between
from pytest_trt.wording import count


def select_profile(
    profiles: Sequence[Profile], specs: Sequence[TensorSpec], inputs: Tensors
) -> int:
    """Return the index of the first profile that covers all inputs; 0 if there is no profile.

    Inputs with a range of values are compared by their values, all others by their shapes.

    Args:
        profiles: The engine's profiles, in order.
        specs: The model's inputs.
        inputs: The tensors to run, already checked by `check_inputs`.

    Raises:
        InputError: None does. The details list the profiles, the closest first.
    """
    misfits = []
    for index, profile in enumerate(profiles):
        broken = list(_broken_bounds(profile, specs, inputs))
        if not broken:
            return index
        misfits.append((len(broken), sum(by for by, _ in broken), index, broken))
    if not profiles:
        return 0
    misfits.sort(key=lambda misfit: misfit[:3])
    lines = [
        f"profile {index}: {'; '.join(text for _, text in broken)}"
        for _, _, index, broken in misfits
    ]
    has_values = any(
        isinstance(one, ValueRange) for profile in profiles for one in profile.values()
    )
    what = "shapes or values" if has_values else "shapes"
    raise InputError(
        f"the inputs' {what} are outside every profile of this engine",
        fix="feed inputs inside one profile, or widen profiles={...} on the trt_model marker.",
        code="TRT224",
        facts={"shapes": {name: list(np.shape(array)) for name, array in inputs.items()}},
        details=lines,
    )


def shapes_at(
    inputs: Sequence[TensorSpec], profile: Profile | None, point: Point
) -> dict[str, Shape]:
    """Return the shape of every input at one point of a profile, fixed ones from the model.

    Inputs without a shape at all (sequences, maps) are left out.

    Raises:
        ConfigurationError: An input's shape is dynamic and the profile has no range for it.
    """
    shapes: dict[str, Shape] = {}
    for spec in inputs:
        bounds = profile.get(spec.name) if profile is not None else None
        if isinstance(bounds, ValueRange):
            shapes[spec.name] = () if spec.shape == () else (len(bounds.opt),)
        elif bounds is not None:
            shapes[spec.name] = _at(bounds, point)
        elif needs_profile(spec):
            raise ConfigurationError(
                f"input {spec} is dynamic, and no profile has a range of shapes for it",
                fix=Remedy(
                    "add a range (min, opt, max) to the trt_model marker:",
                    (example_profiles(inputs),),
                    tuple(filter(None, [guessed(inputs)])),
                ),
                code="TRT211",
                facts=spec.facts,
            )
        elif spec.shape is not None:
            shapes[spec.name] = tuple(dim for dim in spec.shape if isinstance(dim, int))
    return shapes


def values_at(profile: Profile | None, point: Point) -> dict[str, Values]:
    """Return the values of inputs that have a range of values, at one point of a profile."""
    return {
        name: _at(bounds, point)
        for name, bounds in (profile or {}).items()
        if isinstance(bounds, ValueRange)
    }


def ranges_at(profile: Profile | None, point: Point) -> dict[str, Shape]:
    """Return the shapes of inputs that have a range of shapes, at one point of a profile."""
    return {
        name: _at(bounds, point)
        for name, bounds in (profile or {}).items()
        if isinstance(bounds, ShapeRange)
    }


def distinct_points(profile: Profile | None, *, sweep: bool = False) -> tuple[Point, ...]:
    """Return "opt" and those of "min" and "max" that differ from it.

    Args:
        profile: The profile; None for a single point.
        sweep: Whether to add the points between them that differ from all others.
    """
    ranges = tuple((profile or {}).values())
    order: tuple[Point, ...] = ("opt", "min", "max", *(BETWEEN if sweep else ()))
    found: dict[tuple[tuple[int, ...], ...], Point] = {}
    for point in order:
        found.setdefault(tuple(_at(bounds, point) for bounds in ranges), point)
    return tuple(one for one in get_args(Point) if one in found.values())


def _at(bounds: ShapeRange | ValueRange, point: Point) -> tuple[int, ...]:
    if point in BETWEEN:
        triples = zip(bounds.min, bounds.opt, bounds.max, strict=True)
        return tuple(between(low, opt, high, point) for low, opt, high in triples)
    numbers: tuple[int, ...] = getattr(bounds, point)
    return numbers


def _broken_bounds(
    profile: Profile, specs: Sequence[TensorSpec], inputs: Tensors
) -> Iterator[tuple[float, str]]:
    """Yield, for every bound that is exceeded, the relative excess and a description."""
    for name, bounds in profile.items():
        if isinstance(bounds, ValueRange):
            yield from _broken_values(name, bounds, inputs.get(name))
        else:
            symbols = next((spec.shape for spec in specs if spec.name == name), None)
            # Sequences and maps are lists and dicts.
            shape = getattr(inputs.get(name), "shape", None)
            yield from _broken_shape(name, bounds, shape, symbols)


def _broken_shape(
    name: str, bounds: ShapeRange, shape: Shape | None, symbols: Sequence[int | str] | None
) -> Iterator[tuple[float, str]]:
    if shape is None:
        yield 1.0, f"{name} has no shape"
    elif len(shape) != len(bounds.opt):
        yield 1.0, f"{name} has {count(len(shape), 'dimension')}, the profile has {len(bounds.opt)}"
    else:
        for at, size in enumerate(shape):
            symbol = f" ({symbols[at]})" if symbols and _named(symbols[at]) else ""
            what = f"{name} dimension {at}{symbol}"
            yield from _broken(what, size, bounds.min[at], bounds.max[at])


def _broken_values(
    name: str, bounds: ValueRange, array: npt.NDArray[np.generic] | None
) -> Iterator[tuple[float, str]]:
    if array is None:
        yield 1.0, f"{name} has no values"
    elif array.size != len(bounds.opt):
        yield 1.0, f"{name} has {count(array.size, 'value')}, the profile has {len(bounds.opt)}"
    else:
        for at, value in enumerate(array.ravel().tolist()):
            what = f"{name} value {at}" if array.ndim else f"{name}'s value"
            yield from _broken(what, value, bounds.min[at], bounds.max[at])


def _broken(what: str, given: int, low: int, high: int) -> Iterator[tuple[float, str]]:
    if low <= given <= high:
        return
    bound, word, limit = ("min", "below", low) if given < low else ("max", "above", high)
    part = abs(given - limit) / max(abs(limit), 1)
    yield part, f"{what} is {given}, {word} its {bound} {limit}"


def _named(dim: int | str) -> bool:
    return isinstance(dim, str) and dim != "?"
