"""Baselines whose model no longer exists: a run that would have tested it reports that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pytest_trt.baseline.models import missing_in_module
from pytest_trt.diagnostics import BaselineError, Diagnostic, Remedy
from pytest_trt.plugin.results.pinning import baseline_folder
from pytest_trt.plugin.state import settings_of
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.report.record import PlannedTest, TestResult

#: Models that are named; further ones are counted.
_NAMED = 9


def missing_models(
    config: pytest.Config, planned: Mapping[str, PlannedTest], results: Iterable[TestResult]
) -> Diagnostic | None:
    """Return which stored baselines are of models that no longer exist; None for none.

    Only functions of which all tests were to run are considered, and no model that a test reported
    as renamed.
    """
    found: dict[str, list[str]] = {}
    for module, functions in _whole(config, planned).items():
        path = config.rootpath / module
        folder = baseline_folder(config, path.parent)
        with suppress(BaselineError):  # for the tests to report
            for model, tests in missing_in_module(folder, path, functions).items():
                found.setdefault(model, []).extend(tests)
    for model in _renamed(results):
        found.pop(model, None)
    return _diagnostic(found, required=settings_of(config).missing_baseline == "fail")


def _whole(config: pytest.Config, planned: Mapping[str, PlannedTest]) -> dict[str, set[str]]:
    """Return by module the functions of which all tests were to run."""
    tests: dict[str, bool] = {}
    for one in planned.values():
        function = one.argument.partition("[")[0]
        tests[function] = tests.get(function, True) and one.selected
    # pytest collects nothing else of a function whose tests are named one by one.
    named = {arg.partition("[")[0].rpartition("::")[2] for arg in config.args if "[" in arg}
    whole: dict[str, set[str]] = {}
    for function, selected in tests.items():
        module, _, name = function.partition("::")
        if selected and name.rpartition("::")[2] not in named:
            whole.setdefault(module, set()).add(name)
    return whole


def _renamed(results: Iterable[TestResult]) -> Iterator[str]:
    for result in results:
        record = result.record
        of_speeds = (one for speed in record.speeds for one in speed.diagnostics)
        for one in (*record.diagnostics, *record.notes, *of_speeds):
            yield str(one.facts.get("model_was", ""))


def _diagnostic(found: Mapping[str, list[str]], *, required: bool) -> Diagnostic | None:
    if not found:
        return None
    models = sorted(found)
    lines = [f"{one}: {count(len(found[one]), 'baseline')}" for one in models[:_NAMED]]
    if len(models) > _NAMED:
        lines.append(f"and {count(len(models) - _NAMED, 'other model')}")
    one = len(models) == 1
    return Diagnostic(
        "TRT684",
        f"{count(len(models), 'model')} with stored baselines no longer exist{'s' * one}, and "
        f"{'was' if one else 'were'} not tested",
        {"models": models, "baselines": sum(map(len, found.values()))},
        tuple(lines),
        Remedy(
            "Restore what was lost, for instance from git. If it was removed on purpose, remove "
            "its baselines as well, and commit the files:",
            ("pytest-trt baseline prune",),
        ),
        severity="error" if required else "warning",
    )
