"""Baselines without a test, proposed to a test without a baseline, which may have been renamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.baseline.file import ANSWERS, module_of
from pytest_trt.baseline.location import BaselineFolder, BaselineLocation
from pytest_trt.baseline.models import NamedBaseline, is_of_bytes, model_of, read_stored
from pytest_trt.baseline.renaming import Proposal, is_mentioned, model_proposal, rename_command
from pytest_trt.diagnostics import BaselineError, Diagnostic, Fact, Remedy
from pytest_trt.engine.spec import PRECISIONS
from pytest_trt.plugin.results.pinning import answers_nodeid, metrics_nodeid
from pytest_trt.plugin.results.unused import Scope, is_conditional
from pytest_trt.plugin.state import plan_of, settings_of

if TYPE_CHECKING:
    from pytest_trt.benchmark.evidence import Subject
    from pytest_trt.benchmark.result import BenchmarkResult
    from pytest_trt.onnx.file import OnnxModel

_RENAMES_KEY = pytest.StashKey["Renames"]()


def renames_of(item: pytest.Item) -> Renames:
    """Return the proposals for the tests of a run."""
    if _RENAMES_KEY not in item.config.stash:
        ledger: Any = item.config.pluginmanager.get_plugin("trt-ledger")
        item.config.stash[_RENAMES_KEY] = Renames(item.config, ledger.items)
    return item.config.stash[_RENAMES_KEY]


class Renames:
    """What tests of a run may have been called before.

    A baseline counts as one without a test if the run has not collected it and its test module is
    missing, or does not mention its name; or if the model in its id does not exist any more. In a
    run that collected the whole module, so does one whose function is not there. If the function
    is there with other parameters alone, the baseline may be of one of them: ids were changed or
    added. Tests that were deselected have theirs.

    Args:
        config: The run's configuration.
        items: The tests that it collected, also those that were deselected.
    """

    def __init__(self, config: pytest.Config, items: Sequence[pytest.Item]) -> None:
        self._config, self._items = config, items
        self._orphans: dict[Path, list[_Orphan]] = {}

    def proposal(
        self,
        location: BaselineLocation,
        model: OnnxModel,
        fits: Callable[[Any], bool],
        *,
        same_parameters: bool = False,
    ) -> Proposal | None:
        """Return what moves a baseline to a test; None if none fits.

        Args:
            location: Where the baseline of the test would be.
            model: The model that the test runs.
            fits: Whether an entry is of what the test runs, whatever its model is called.
            same_parameters: Whether the test has to have the same parameters, as its entries do not
                show what was run.
        """
        folder, now = location.folder, location.model_name(model.path)
        nodeid = f"{module_of(folder.path, location.path)}::{location.test}"
        orphans = self._of(folder, location.device)
        fitting = [one for one in orphans if fits(one.entry)]
        for one in fitting:
            if one.missing and is_of_bytes(one.entry, model.digest) and model_of(one.entry) != now:
                path = Path(os.path.relpath(model.path, folder.base)).as_posix()
                new = one.named(folder.base).renamed(one.missing, path)
                if new is not None and f"{one.module}::{new[0]}" == nodeid:
                    missing = dict.fromkeys(each.missing for each in orphans)
                    return model_proposal(folder.base, missing, one.missing, path)
        function, _, parameters = nodeid.partition("[")

        def may_be(one: _Orphan) -> bool:
            its_function, _, its_parameters = one.nodeid.partition("[")
            if its_function == function:
                same = model_of(one.entry) in ("", now) and not _differ(its_parameters, parameters)
                return one.has_other_parameters and same
            same = not same_parameters or its_parameters == parameters
            return one.is_unmentioned and same

        tests = [one.nodeid for one in fitting if may_be(one)]
        command = rename_command(nodeid, tests, lambda module: (folder.base / module).exists())
        return Proposal(command) if command else None

    def _of(self, folder: BaselineFolder, target: str) -> list[_Orphan]:
        """Return the baselines without a test; read once a run."""
        key = folder.path / target
        if key not in self._orphans:
            found = self._orphans[key] = []
            for path in sorted(key.glob("**/[!.]*.json")):
                with suppress(BaselineError):  # for its own tests to report
                    content = read_stored(folder.path, path)
                    arch = getattr(content, "target", {}).get("arch", "")
                    tests = content.tests if content else {}
                    found += self._without_test(folder, path, tests, arch)
        return self._orphans[key]

    def _without_test(
        self, folder: BaselineFolder, path: Path, tests: Mapping[str, Any], arch: str
    ) -> Iterator[_Orphan]:
        module = module_of(folder.path, path)
        file = folder.base / module
        source = file.read_text("utf-8", errors="replace") if file.is_file() else ""
        scope = Scope.of(self._config, deselected=True)
        is_whole = scope is not None and scope.has(Path(os.path.normpath(file)))
        is_whole = is_whole and any(file == one for one, _ in self._functions)
        collected = self._answers if folder.path / ANSWERS in path.parents else self._others
        for test, entry in tests.items():
            if (file, test) in collected:
                continue
            function, _, ids = test.partition("[")
            unmentioned = not is_mentioned(test, source)
            exists = (file, function) in self._functions
            if is_whole and not exists:
                unmentioned |= not is_conditional(function, source)
            missing = NamedBaseline(folder.base, module, test, model_of(entry)).missing_model()
            # A run for several architectures names them.
            of_several = bool(arch) and arch in ids.removesuffix("]").split("-")
            others = is_whole and exists and not (missing or of_several)
            if missing or unmentioned or others:
                yield _Orphan(module, test, entry, missing, unmentioned, others)

    @cached_property
    def _answers(self) -> set[tuple[Path, str]]:
        """The file of each test, and the name of its answers."""
        tests = ((item, plan_of(item)) for item in self._items)
        return {
            (item.path, (answers_nodeid(item, plan) if plan else item.nodeid).partition("::")[2])
            for item, plan in tests
        }

    @cached_property
    def _others(self) -> set[tuple[Path, str]]:
        """The file of each test, and its name: of its speed and its task metrics."""
        found = set()
        for item in self._items:
            plan = plan_of(item)
            names = [item.nodeid, *([metrics_nodeid(item, plan)] if plan else [])]
            found |= {(item.path, name.partition("::")[2]) for name in names}
        return found

    @cached_property
    def _functions(self) -> set[tuple[Path, str]]:
        return {(file, test.partition("[")[0]) for file, test in self._others}


def _differ(ids: str, others: str) -> bool:
    """Whether the parameters of two tests are of different precisions: not of one test."""
    one, other = (set(each.removesuffix("]").split("-")) & {*PRECISIONS} for each in (ids, others))
    return bool(one and other) and one != other


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A baseline without a test.

    Attributes:
        module: Its test module.
        test: Its test in it.
        entry: What is stored.
        missing: The model that it names, if that does not exist any more.
        is_unmentioned: Whether its test does not exist, whatever the models are.
        has_other_parameters: Whether its function exists, with other parameters alone.
    """

    module: str
    test: str
    entry: Any
    missing: str
    is_unmentioned: bool
    has_other_parameters: bool

    @property
    def nodeid(self) -> str:
        """The node id of its test."""
        return f"{self.module}::{self.test}"

    def named(self, base: Path) -> NamedBaseline:
        """Return what it names."""
        return NamedBaseline(base, self.module, self.test, model_of(self.entry))


def move_remedy(found: Proposal, record: str) -> Remedy:
    """Return what to do about a test or model that may have been renamed."""
    return Remedy(
        found.text,
        (found.command,),
        (f"If it is new, record it: `{record}`",),
    )


def rename_facts(found: Proposal) -> dict[str, Fact]:
    """Return the facts of a diagnostic that proposes a renaming."""
    return {"command": found.command, "model_was": found.old_model}


def perhaps_renamed(what: str, file: str, test: str, found: Proposal) -> Diagnostic:
    """Return the warning that nothing was recorded, as a baseline without a test would fit."""
    why = "a baseline whose test no longer exists matches it"
    if found.old_model:
        why = f"the baseline of {found.old_model} is of this model"
    return Diagnostic(
        "TRT677",
        f"no {what} of {test} recorded: {why}",
        {"file": file, "test": test, "what": what, **rename_facts(found)},
        remedy=move_remedy(found, "pytest --trt-update-new"),
        severity="warning",
    )


def of_all_tests(one: Diagnostic) -> Diagnostic:
    """Return the warning of one test in words that fit all tests with the same command."""
    text = "If it is the same test or model, move its baselines, and commit the files:"
    return replace(
        one,
        message="not recorded: a stored baseline of a test or model that no longer exists fits",
        remedy=replace(one.remedy, text=text),
    )


def with_renames(
    item: pytest.Item, result: BenchmarkResult, subject: Subject, location: BaselineLocation
) -> BenchmarkResult:
    """Propose a baseline for a speed that has none; without an explicit wish none is recorded."""
    failures = {one.code for one in result.diagnostics} & {"TRT660", "TRT661"}
    settings = settings_of(item.config)
    automatic = result.update == "first" and not (settings.update or settings.update_new)
    # Of what runs no engine, the specs of all tests are alike.
    if not (failures or automatic) or subject.engine is None or "model" not in subject.spec:
        return result
    model = subject.engine.model

    def fits(entry: Any) -> bool:
        spec = dict(subject.spec)
        if is_of_bytes(entry, model.digest):
            spec["model"] = model_of(entry)
        return entry.differs(mode=subject.mode, spec=spec) is None

    if "TRT661" in failures:
        entry, now = location.read(), location.model_name(model.path)
        found = None
        if entry is not None and fits(entry) and model_of(entry) != now:
            found = model_proposal(location.folder.base, (), model_of(entry), now)
    else:
        found = renames_of(item).proposal(location, model, fits)
    if found is None:
        return result
    if failures:
        diagnostics = tuple(
            replace(
                one,
                facts={**one.facts, **rename_facts(found)},
                remedy=move_remedy(found, one.remedy.commands[0]),
            )
            if one.code in failures
            else one
            for one in result.diagnostics
        )
        return replace(result, diagnostics=diagnostics)
    warning = perhaps_renamed("speed", location.shown, location.test, found)
    return replace(result, update="not recorded", diagnostics=(*result.diagnostics, warning))
