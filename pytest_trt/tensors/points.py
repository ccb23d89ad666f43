"""Minimum, optimum and maximum: the three points of every range in a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeGuard

from pytest_trt.diagnostics import ConfigurationError

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
