"""The keywords of a marker, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    import pytest


def keywords(
    mark: pytest.Mark, known: Sequence[str], positional: str | None = None
) -> dict[str, Any]:
    """Return the keywords of a marker.

    Args:
        mark: The marker.
        known: The keywords that it takes.
        positional: The keyword that may be given without its name.

    Raises:
        ConfigurationError: One is unknown.
    """
    given = dict(mark.kwargs)
    if len(mark.args) > (1 if positional else 0):
        raise invalid(
            mark.name,
            f"{mark.name} was given {len(mark.args)} positional arguments: {listed(mark.args)}",
            f"write them as keywords; {mark.name} takes {', '.join(known)}.",
        )
    if mark.args and positional:
        given[positional] = mark.args[0]
    check_known(given, known, marker=mark.name, where=mark.name)
    return given


def check_known(
    given: Mapping[str, object], known: Sequence[str], *, marker: str, where: str
) -> None:
    """Refuse keywords that do not exist.

    Raises:
        ConfigurationError: There are some.
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        raise invalid(
            marker,
            f"{where} has no keyword {listed(unknown)}",
            known_names("keyword", unknown[0], known),
        )


def listed(values: Sequence[object]) -> str:
    """Return values as they are typed, separated by commas."""
    return ", ".join(map(repr, values))


def expect(condition: bool, marker: str, name: str, value: object, expected: str) -> None:
    """Refuse a value of a keyword.

    Raises:
        ConfigurationError: The condition does not hold.
    """
    if not condition:
        raise invalid(marker, f"{marker}: invalid {name}={value!r}", f"give {expected}.")


def invalid(marker: str, message: str, fix: str) -> ConfigurationError:
    """Return an error of a marker."""
    return ConfigurationError(message, fix=fix, code="TRT150", facts={"marker": marker})
