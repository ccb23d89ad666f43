"""The finished plans that `trt_model(plan=...)` names, instead of engines to build."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from pytest_trt.plugin.planning.keywords import expect, invalid, listed
from pytest_trt.wording import known_names

_MARKER = "trt_model"

#: What a path may hold, in braces.
PLACEHOLDERS = ("stem", "precision", "arch", "backend")

#: Builder options that decide how a plan is loaded, and not only how it is built.
LOADING_OPTIONS = ("version_compatible", "serialize_plugins")


@dataclass(frozen=True, slots=True)
class PlanFiles:
    """The paths of finished plans, one for each combination.

    Attributes:
        given: The path as the marker gives it, with placeholders.
        folder: The folder that it is relative to.
        names: The placeholders in it.
    """

    given: str
    folder: Path
    names: frozenset[str]

    def path(self, model: Path | None, *, precision: str, arch: str, backend: str) -> Path:
        """Return the plan of one combination.

        Args:
            model: The model; None where a fixture has not given it yet.
            precision: The precision.
            arch: The architecture.
            backend: The backend.
        """
        stem = "" if model is None else model.stem
        text = self.given.format(stem=stem, precision=precision, arch=arch, backend=backend)
        return Path(os.path.normpath(self.folder / text))


def parse_plan_files(value: object, test_file: Path) -> PlanFiles:
    """Return the paths that `plan=` gives.

    Raises:
        ConfigurationError: It is no path, or has unknown placeholders.
    """
    valid = isinstance(value, str | Path) and str(value)
    expect(
        bool(valid), _MARKER, "plan", value, 'a path, like "dist/{stem}.{precision}.{arch}.plan"'
    )
    text = str(value)
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise invalid(
            _MARKER, f"trt_model: plan={text!r}: {error}", "write a brace as {{ or }}."
        ) from None
    for _, name, form, conversion in parts:
        if name not in PLACEHOLDERS or form or conversion:
            raise invalid(
                _MARKER,
                f"trt_model: plan={text!r} has an unknown placeholder {{{name}}}",
                known_names("placeholder", str(name), PLACEHOLDERS),
            )
    return PlanFiles(text, test_file.parent, frozenset(str(part[1]) for part in parts))


def check_with_plan(values: Mapping[str, Any]) -> None:
    """Refuse builder options and `keep_fp32` next to `plan=`: nothing is built.

    Raises:
        ConfigurationError: There are some.
    """
    levels = (values, *values["by_precision"].values(), *values["by_backend"].values())
    given = [name for own in levels for name in own.get("builder_options", {})]
    given += ["keep_fp32" for own in levels if own.get("keep_fp32")]
    given += ["calibration" for own in levels if own.get("calibration")]
    unused = sorted({name for name in given if name not in LOADING_OPTIONS})
    if unused:
        raise invalid(
            _MARKER,
            f"trt_model: with plan= nothing is built, so builder options have no effect: "
            f"{listed(unused)}",
            f"remove them, or plan=. Only {listed(LOADING_OPTIONS)} affect how a plan is loaded.",
        )
