"""Which profile serves given shapes, and which shapes a profile stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from pytest_trt.errors import ConfigurationError, InputError
from pytest_trt.model.profiles import Profile, Shape, ShapeRange, example_profiles, needs_profile
from pytest_trt.model.tensors import TensorSpec

#: One of the three shapes of a range.
Point: TypeAlias = Literal["min", "opt", "max"]


def select_profile(
    profiles: Sequence[Profile], inputs: Sequence[TensorSpec], shapes: Mapping[str, Shape]
) -> int:
    """Return the index of the first profile that holds all shapes; 0 where there is no profile.

    Raises:
        InputError: None does. The message starts with the profile that comes closest.
    """
    misfits = []
    for index, profile in enumerate(profiles):
        broken = _broken_bounds(profile, inputs, shapes)
        if not broken:
            return index
        misfits.append((len(broken), sum(by for by, _ in broken), index, broken))
    if not profiles:
        return 0
    misfits.sort(key=lambda misfit: misfit[:3])
    lines = [
        f"  profile {index}: {'; '.join(text for _, text in broken)}"
        for _, _, index, broken in misfits
    ]
    raise InputError(
        "no profile of this engine holds the shapes given:\n" + "\n".join(lines),
        fix="feed shapes inside one profile, or widen it in profiles={...} and build again.",
    )


def shapes_at(
    inputs: Sequence[TensorSpec], profile: Profile | None, point: Point
) -> dict[str, Shape]:
    """Return the shape of every input at one point of a profile, fixed ones from the model.

    Inputs without a shape at all (sequences, maps) are left out.

    Raises:
        ConfigurationError: An input's shape is not fixed and the profile does not give it.
    """
    shapes: dict[str, Shape] = {}
    for spec in inputs:
        if profile is not None and spec.name in profile:
            shapes[spec.name] = _at(profile[spec.name], point)
        elif needs_profile(spec):
            raise ConfigurationError(
                f"the shape of input {spec} is not fixed, and no profile says what to use.",
                fix=f"add to the trt_model marker: {example_profiles(inputs)} (min, opt, max).",
            )
        elif spec.shape is not None:
            shapes[spec.name] = tuple(dim for dim in spec.shape if isinstance(dim, int))
    return shapes


def distinct_points(profile: Profile | None) -> tuple[Point, ...]:
    """Return the points whose shapes differ, so that equal ones run once: at least "opt"."""
    ranges = tuple((profile or {}).values())
    points: tuple[Point, ...] = ("opt",)
    if any(shape_range.min != shape_range.opt for shape_range in ranges):
        points = ("min", *points)
    if any(shape_range.max != shape_range.opt for shape_range in ranges):
        points = (*points, "max")
    return points


def _at(shape_range: ShapeRange, point: Point) -> Shape:
    shape: Shape = getattr(shape_range, point)
    return shape


def _broken_bounds(
    profile: Profile, inputs: Sequence[TensorSpec], shapes: Mapping[str, Shape]
) -> list[tuple[float, str]]:
    """Return, for every bound that is broken, by which part of itself, and in words."""
    broken: list[tuple[float, str]] = []
    for name, bounds in profile.items():
        shape = shapes.get(name)
        if shape is None:
            broken.append((1.0, f"{name} has no shape"))
        elif len(shape) != len(bounds.opt):
            broken.append(
                (1.0, f"{name} has {len(shape)} dimensions, the profile {len(bounds.opt)}")
            )
        else:
            symbols = next((spec.shape for spec in inputs if spec.name == name), None)
            for at, (given, low, high) in enumerate(
                zip(shape, bounds.min, bounds.max, strict=True)
            ):
                if low <= given <= high:
                    continue
                bound, limit = ("min", low) if given < low else ("max", high)
                word = "below" if bound == "min" else "above"
                dimension = f"{at} ({symbols[at]})" if symbols and _named(symbols[at]) else at
                broken.append(
                    (
                        abs(given - limit) / max(limit, 1),
                        f"{name} dimension {dimension} is {given}, {word} its {bound} {limit}",
                    )
                )
    return broken


def _named(dim: int | str) -> bool:
    return isinstance(dim, str) and dim != "?"
