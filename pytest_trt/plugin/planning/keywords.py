"""The keywords of a marker, and what is refused of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    import pytest


#: The keyword that gives others for one model.
PER_MODEL = "per_model"

#: The keywords that name the model.
NAMING = ("model", "fixture")


def keywords(
    mark: pytest.Mark,
    known: Sequence[str],
    positional: str | None = None,
    *,
    names: Collection[str] = (),
) -> dict[str, Any]:
    """Return the keywords of a marker, for one model.

    Args:
        mark: The marker.
        known: The keywords that it takes.
        positional: The keyword that may be given without its name.
        names: What `per_model` may call the model.

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
    _check_known(given, [*known, PER_MODEL], marker=mark.name, where=mark.name)
    per_model = given.pop(PER_MODEL, {})
    for name in names_in(mark):
        if name in names:
            where = f"{mark.name}, {PER_MODEL} {name!r},"
            by_model = [one for one in known if one not in NAMING]
            _check_known(per_model[name], by_model, marker=mark.name, where=where)
            given.update(per_model[name])
    return given


def names_in(mark: pytest.Mark) -> list[str]:
    """Return the models that `per_model` of a marker names.

    Raises:
        ConfigurationError: It is not a mapping of models to keywords.
    """
    per_model = mark.kwargs.get(PER_MODEL, {})
    valid = isinstance(per_model, Mapping) and all(
        isinstance(name, str) and isinstance(own, Mapping) for name, own in per_model.items()
    )
    expect(valid, mark.name, PER_MODEL, per_model, "a mapping of models to keywords")
    return list(per_model)


def _check_known(
    given: Mapping[str, object], known: Sequence[str], *, marker: str, where: str
) -> None:
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
