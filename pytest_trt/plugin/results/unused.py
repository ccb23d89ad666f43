"""Stored baselines that no collected test uses: their tests vanished, and no report has them."""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

from pytest_trt.baseline.answers import answer_files
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import baseline_files, module_of
from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.baseline.metrics import metrics_files
from pytest_trt.baseline.models import NamedBaseline, model_of, read_stored
from pytest_trt.baseline.renaming import is_mentioned
from pytest_trt.diagnostics import BaselineError, Diagnostic, PytestTrtError, Remedy
from pytest_trt.plugin.planning.marks import ids_of, params_of
from pytest_trt.plugin.planning.plan import ARCH
from pytest_trt.plugin.results.pinning import answers_nodeid, baseline_folder
from pytest_trt.plugin.state import plan_of, run_of, settings_of
from pytest_trt.report.record import without_parameters
from pytest_trt.report.required_models import files_of, stale_exceptions, untested_models
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.report.record import PlannedTest

#: Lines that are shown; further ones are counted.
_LINES = 9

#: What a baseline is of.
_Kind: TypeAlias = Literal["answers", "speed", "metrics"]

#: Fixtures that use a baseline of a kind.
_FIXTURES: Mapping[_Kind, set[str]] = {
    "speed": {"trt_benchmark", "benchmark"},
    "metrics": {"trt_metrics"},
}

_NO_LONGER: Mapping[_Kind, str] = {
    "answers": "no longer compares with stored answers",
    "speed": "no longer measures speed",
    "metrics": "no longer records metrics",
}

#: Why baselines have no test: the test module or function, the reason, and whether the module was
#: skipped.
_Why: TypeAlias = tuple[str, str, bool]

#: The same, and how many baselines there are.
Unused: TypeAlias = list[tuple[str, str, bool, int]]


@dataclass(frozen=True, slots=True)
class _Test:
    """A collected test, as far as it matters for its baselines.

    Attributes:
        names: Its names in files of baselines, by kind.
        uses: The kinds of baselines that it uses.
        model: The model; None where no marker names one.
        precision: The precision.
        arch: The architecture.
        has_others: Whether it may have engines of other models.
        is_wrong: Whether its model cannot be tested, so that it may have other names.
    """

    names: Mapping[_Kind, set[str]]
    uses: set[_Kind]
    model: Path | None = None
    precision: str = ""
    arch: str = ""
    has_others: bool = False
    is_wrong: bool = False


def unused_baselines(
    config: pytest.Config, items: Iterable[pytest.Item], modules: Mapping[str, str]
) -> Unused:
    """Return the stored baselines of the collected folders and files that no test uses.

    Of other architectures only those are claimed whose test cannot exist on any machine.
    """
    scope = Scope.of(config)
    if scope is None:
        return []
    root = config.rootpath
    folders = {
        baseline_folder(config, start)
        for start in {root, *scope.folders, *(_file(root, one).parent for one in modules)}
    }
    found: Counter[_Why] = Counter()
    tests: _Tests | None = None
    for folder in sorted(folders, key=lambda one: one.path):
        if folder.path.is_dir():
            tests = tests or _Tests(config, items, modules)
            found.update(tests.unused(folder, scope))
    return [(*why, number) for why, number in sorted(found.items())]


def models_without_test(
    config: pytest.Config, planned: Mapping[str, PlannedTest]
) -> Diagnostic | None:
    """Return which required models no collected test names; None for none."""
    settings = settings_of(config)
    given = config.getoption("trt_require_models") is not None
    # What the ini file requires is for runs of all tests.
    if not settings.require_models or (not given and not _runs_all(config)):
        return None
    return untested_models(
        settings.require_models,
        settings.untested_models,
        _tested(config, planned),
        "a test",
        root=_ini_folder(config),
    )


def untested_with_test(
    config: pytest.Config, planned: Mapping[str, PlannedTest]
) -> Diagnostic | None:
    """Return the entries of trt_untested_models that outlived their reason; None for none."""
    exceptions = settings_of(config).untested_models
    if not exceptions or not _runs_all(config):
        return None
    return stale_exceptions(exceptions, _tested(config, planned), root=_ini_folder(config))


def _tested(config: pytest.Config, planned: Mapping[str, PlannedTest]) -> list[Path]:
    return [config.rootpath / one.model for one in planned.values() if one.model and one.on_engine]


def _ini_folder(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath else config.rootpath


def _runs_all(config: pytest.Config) -> bool:
    """Whether neither arguments, options nor the folder of the call select some of the tests."""
    sources = pytest.Config.ArgsSource
    # Without paths and testpaths, pytest collects the folder in which it is started.
    below = config.rootpath in config.invocation_params.dir.parents
    source = config.args_source
    is_part = source is sources.ARGS or (source is sources.INVOCATION_DIR and below)
    return not is_part and Scope.of(config) is not None


def _file(root: Path, nodeid: str) -> Path:
    return Path(os.path.normpath(root / nodeid.partition("::")[0]))


@dataclass(frozen=True, slots=True)
class Scope:
    """What the arguments of a run select.

    Attributes:
        folders: Folders, of which all test modules are collected.
        files: Test modules that are named.
        parts: Test modules of which single tests are named.
        ignored: What options leave out.
    """

    folders: set[Path]
    files: set[Path]
    parts: set[Path]
    ignored: set[Path]

    @classmethod
    def of(cls, config: pytest.Config, *, deselected: bool = False) -> Scope | None:
        """Return it; None where an option selects tests, or patterns leave out files.

        Args:
            config: The run's configuration.
            deselected: Whether tests that are collected and then deselected count as selected.
        """
        given = config.option
        narrowing = ["lf", "stepwise", "pyargs", "ignore_glob"]
        if not deselected:
            narrowing += ["keyword", "deselect"]
        if any(getattr(given, name, None) for name in narrowing):
            return None
        here = config.invocation_params.dir

        def path(argument: object) -> Path:
            return Path(os.path.normpath(here / str(argument).partition("::")[0]))

        named = {path(one) for one in config.args if "::" not in str(one)}
        return cls(
            {one for one in named if one.is_dir()},
            {one for one in named if not one.is_dir()},
            {path(one) for one in config.args if "::" in str(one)},
            {path(one) for one in given.ignore or ()},
        )

    def has(self, file: Path) -> bool:
        """Whether all tests of a module were to be collected."""
        around = {file, *file.parents}
        selected = file in self.files or bool(self.folders & around)
        return selected and file not in self.parts and not self.ignored & around


class _Tests:
    """The tests of a run by module and function.

    Args:
        config: The run's configuration.
        items: All tests that were collected.
        modules: Why test modules were skipped, by node id.
    """

    def __init__(
        self, config: pytest.Config, items: Iterable[pytest.Item], modules: Mapping[str, str]
    ) -> None:
        self._config = config
        self._skipped = {_file(config.rootpath, one): why for one, why in modules.items()}
        self._tests: dict[tuple[Path, str], list[_Test]] = {}
        # A run against something else than usual is one of several.
        any_reference = config.getoption("trt_against") is not None
        for item in items:
            function = item.nodeid.partition("::")[2].partition("[")[0]
            test = _test(item, any_reference=any_reference)
            self._tests.setdefault((item.path, function), []).append(test)
        self._untested = files_of(settings_of(config).untested_models).keys()
        self._archs: set[str] = set()
        with suppress(PytestTrtError):  # for the tests to report
            self._archs = {one.arch for one in run_of(config).selections}

    def unused(self, folder: BaselineFolder, scope: Scope) -> Iterator[_Why]:
        """Yield for each baseline without a test why it has none."""
        files: Mapping[_Kind, Sequence[Path]] = {
            "answers": answer_files(folder.path),
            "speed": baseline_files(folder.path),
            "metrics": metrics_files(folder.path),
        }
        for kind, paths in files.items():
            for path in paths:
                module = module_of(folder.path, path)
                file = Path(os.path.normpath(folder.base / module))
                if not scope.has(file) or not self._is_known(folder, file, module):
                    continue
                with suppress(BaselineError):  # for the tests to report
                    content = read_stored(folder.path, path)
                    arch = getattr(content, "target", {}).get("arch", "")
                    for test, entry in (content.tests if content else {}).items():
                        named = NamedBaseline(folder.base, module, test, model_of(entry))
                        why = self._why(kind, file, named, entry, arch)
                        if why is not None:
                            yield why

    def _is_known(self, folder: BaselineFolder, file: Path, module: str) -> bool:
        """Whether a module was collected or skipped, or does not exist any more."""
        if file in self._skipped or file.exists():
            return file in self._skipped
        # Several projects may share a folder of baselines that is outside of them.
        root = self._config.rootpath
        elsewhere = any((one / module).exists() for one in root.parents)
        return folder.path.is_relative_to(root) and not elsewhere

    def _why(
        self, kind: _Kind, file: Path, named: NamedBaseline, entry: Any, arch: str
    ) -> _Why | None:
        """Return why a baseline has no test; None for one that may have one."""
        is_here = not arch or arch in self._archs
        if not file.exists():
            return named.module, "the file does not exist", False
        if self._skipped[file]:
            why = f"the file was skipped: {self._skipped[file]}"
            return (named.module, why, True) if is_here else None
        function = named.test.partition("[")[0]
        nodeid = f"{named.module}::{function}"
        tests = self._tests.get((file, function))
        if tests is None:
            source = file.read_text("utf-8", errors="replace")
            may_exist = is_conditional(function, source) or (
                not is_here and is_mentioned(function, source)
            )
            return None if may_exist else (nodeid, "there is no such test", False)
        if not is_here or any(one.is_wrong for one in tests):
            return None
        same = [one for one in tests if named.test in one.names[kind]]
        using = [one for one in tests if kind in one.uses and (not arch or one.arch == arch)]
        if not any(kind in one.uses for one in same or tests):
            return nodeid, f"it {_NO_LONGER[kind]}", False
        if same or not using or named.missing_model() or any(one.model is None for one in using):
            return None
        # A test may have engines of other models, unless its id names the model.
        if any(one.has_others for one in using) and not named.names(named.model):
            return None
        if os.path.realpath(named.base / named.model) in self._untested:
            return None
        return _of_parameters(nodeid, named, entry, using)


def _of_parameters(
    nodeid: str, named: NamedBaseline, entry: Any, using: Sequence[_Test]
) -> _Why | None:
    """Return why a baseline has no test for the parameters of the plugin.

    Others may be those of another machine.
    """
    of_model = [one for one in using if one.model and _is_of(named, one.model)]
    if named.model and not of_model:
        return nodeid, f"it no longer tests {named.model}", False
    precision = entry.spec.get("precision", "") if isinstance(entry, Entry) else ""
    if precision and of_model and precision not in {one.precision for one in of_model}:
        return nodeid, f"it no longer tests {named.model} in {precision}", False
    return None


def _is_of(named: NamedBaseline, model: Path) -> bool:
    """Whether a baseline is of a model, which it names by path, or by file name if elsewhere."""
    return named.model in (Path(os.path.relpath(model, named.base)).as_posix(), model.name)


def _test(item: pytest.Item, *, any_reference: bool) -> _Test:
    name = item.nodeid.partition("::")[2]
    plan = plan_of(item)
    if plan is None:
        return _Test({"answers": {name}, "speed": {name}, "metrics": {name}}, set())
    fixtures = set(getattr(item, "fixturenames", ()))
    may_use_any = _requests_by_name(item)
    uses: set[_Kind] = {
        kind for kind, names in _FIXTURES.items() if may_use_any or fixtures & names
    }
    if plan.benchmark is not None:
        uses.add("speed")
    if plan.consistency is not None and (any_reference or plan.against != "model"):
        uses.add("answers")
    # Ids of a run for several architectures have that of the test.
    own = [plan.arch] if ARCH in params_of(item) else []
    names = {name, without_parameters(item.nodeid, ids_of(item), *own).partition("::")[2]}
    answers = answers_nodeid(item, plan).partition("::")[2]
    return _Test(
        {"answers": {answers}, "speed": names, "metrics": names},
        uses,
        plan.model.model if plan.model is not None else None,
        plan.precision,
        plan.arch,
        may_use_any or "trt_engines" in fixtures,
        bool(plan.wrong),
    )


def _requests_by_name(item: pytest.Item) -> bool:
    """Whether a test, or a fixture of the project, may request other fixtures by their names."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return True
    fixtures = [one for found in info.name2fixturedefs.values() for one in found]
    by_name = [one.func for one in fixtures if "request" in one.argnames]
    files = (getattr(getattr(one, "__code__", None), "co_filename", "") for one in by_name)
    own = (Path(one) for one in files if "site-packages" not in one)
    return "request" in info.argnames or any(
        one.is_relative_to(item.config.rootpath) and "pytest_trt" not in one.parts for one in own
    )


def is_conditional(function: str, source: str) -> bool:
    """Whether a module defines a test, or its class, on a condition: other machines may have it."""
    try:
        body: Sequence[ast.stmt] = ast.parse(source).body
    except (SyntaxError, ValueError):
        return False
    for name in function.split("::"):
        inner = next((one for one in body if getattr(one, "name", "") == name), None)
        if inner is None:
            return any(getattr(node, "name", "") == name for node in _nested(body))
        body = getattr(inner, "body", ())
    return False


def _nested(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield what a body holds, without what is in its functions and classes."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _nested([*ast.iter_child_nodes(node)])


def unused_diagnostic(found: Unused, *, required: bool) -> Diagnostic | None:
    """Return what to do about baselines that no test uses; None for none."""
    if not found:
        return None
    total = sum(number for *_, number in found)
    lines = [f"{of}: {count(number, 'baseline')}: {why}" for of, why, _, number in found[:_LINES]]
    if len(found) > _LINES:
        lines.append(f"and {count(len(found) - _LINES, 'other test')}")
    skipped = {of: why for of, why, is_skipped, _ in found if is_skipped}
    return Diagnostic(
        "TRT685",
        f"{count(total, 'stored baseline')} {'is' if total == 1 else 'are'} used by no test of "
        "this run",
        {"tests": sorted({of for of, *_ in found}), "baselines": total, "skipped": skipped},
        tuple(lines),
        _remedy(skipped=len(skipped), others=len(found) - len(skipped)),
        severity="error" if required else "warning",
    )


def _remedy(*, skipped: int, others: int) -> Remedy:
    """Return what to do about tests that vanished, of which some are in files that were skipped."""
    of_file = Remedy(
        "Provide what the skipped file lacks here. Or mark its tests in place of skipping it, "
        "which reports them: pytestmark = pytest.mark.skipif(...)"
    )
    if not others:  # no test was renamed or removed
        return of_file
    return Remedy(
        "Restore the tests. If they were renamed, move their baselines; if they were removed "
        "on purpose, remove them (--parameters: also those of models, precisions and checks "
        "that a test no longer has):",
        (
            "pytest-trt baseline rename OLD NEW",
            "pytest-trt baseline prune",
            "pytest-trt baseline prune --parameters",
        ),
        of_file.as_alternatives() if skipped else (),
    )
