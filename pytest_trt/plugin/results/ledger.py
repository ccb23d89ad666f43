"""What was planned, and what became of it: every test x architecture x precision x shape x model.

The tests of a run are known where they were collected, which with xdist is in its workers: what
they planned is attached to the first report of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.plugin import faults
from pytest_trt.plugin.results.transfer import packed, unpacked
from pytest_trt.plugin.state import argument_in, plan_of, state_of
from pytest_trt.records import from_data, to_data

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_trt.plugin.planning.markers import ModelMarker
    from pytest_trt.plugin.planning.plan import TestPlan
    from pytest_trt.plugin.results.unused import Unused
    from pytest_trt.report.record import PlannedTest


#: `baseline.location.DEFAULT_FOLDER`, whose module loads NumPy.
FOLDER = "trt_baselines"

#: Fixtures of tests that need an engine.
_OF_ENGINES = frozenset({"trt_arch", "trt_engines"})


def skip_reason(report: pytest.CollectReport) -> str:
    """Return why a test module was skipped as a whole."""
    skip = report.longrepr
    return str(skip[2]).removeprefix("Skipped: ") if isinstance(skip, tuple) else ""


class Ledger:
    """The planned tests of a run, those included that were deselected or never began.

    Args:
        config: The run's configuration.

    Attributes:
        planned: The tests by node id.
        unused: Stored baselines without a test, see `results.unused`.
        items: All tests that were collected, also those that were deselected.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.planned: dict[str, PlannedTest] = {}
        self._config = config
        self._worker = hasattr(config, "workerinput")
        self._sent = False
        self.unused: Unused = []
        self._modules: dict[str, str] = {}
        self._workers = 0
        self.items: list[pytest.Item] = []
        self._ran: dict[str, bool] = {}
        self._xfailed: set[str] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        """See every test before one is deselected, or removed by a hook that reports it nowhere."""
        self.items = list(items)
        return (yield)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record which test modules were collected, or why they were skipped."""
        if report.nodeid.endswith(".py") and not report.failed:
            self._modules[report.nodeid] = skip_reason(report) if report.skipped else ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Plan the tests, of which those in the session are to run."""
        selected = set(session.items)
        self.items = list(dict.fromkeys([*self.items, *session.items]))
        for item in self.items:
            one = planned(item, selected=item in selected)
            if one is not None:
                self.planned[one.nodeid] = one
        try:
            if self.planned or _has_baselines(session.config):
                from pytest_trt.plugin.results.unused import unused_baselines

                self.unused = unused_baselines(session.config, self.items, self._modules)
        except faults.ON_PURPOSE:
            raise
        except Exception:
            if self.planned:
                raise
            faults.warn(session.config)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail the test of a model that cannot be tested, unless a marker skips it."""
        plan = plan_of(item)
        if plan is not None and plan.wrong:
            from pytest_trt.plugin.results.failure import PluginFailure

            if plan.model is not None:
                model = _model(plan.model, item.config.rootpath)
                state_of(item).unbuilt.append((model, plan.arch, plan.precision))
            raise PluginFailure(*plan.wrong)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """In a worker, attach what was planned to the first report."""
        report = yield
        if self._worker and not self._sent:
            self._sent = True
            report.trt_planned = to_data(self.planned.values())  # type: ignore[attr-defined]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record whether a test ran."""
        self._add(getattr(report, "trt_planned", ()))
        if report.nodeid in self.planned:
            if report.skipped and hasattr(report, "wasxfail"):
                self._xfailed.add(report.nodeid)
            skipped = report.skipped and not hasattr(report, "wasxfail")
            ran = report.failed or (report.when == "call" and not skipped)
            self._ran[report.nodeid] = ran or (
                report.when != "setup" and self._ran.get(report.nodeid, False)
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker planned, where no test of it reported."""
        output = getattr(node, "workeroutput", {})
        self._add(unpacked(output.get("trt_planned", "[]")))
        if "trt_unused" in output:
            found: Unused = [(*why, number) for *why, number in unpacked(output["trt_unused"])]
            # Workers may have other interpreters: one may have the test.
            self.unused = [one for one in found if not self._workers or one in self.unused]
            self._workers += 1

    def pytest_sessionfinish(self) -> None:
        """In a worker, pass on what was planned."""
        if self._worker:
            planned = packed(to_data(self.planned.values()))
            self._config.workeroutput["trt_planned"] = planned  # type: ignore[attr-defined]
            self._config.workeroutput["trt_unused"] = packed(self.unused)  # type: ignore[attr-defined]

    def _add(self, found: Iterable[Mapping[str, Any]]) -> None:
        for data in found:
            from pytest_trt.report.record import PlannedTest

            one = from_data(PlannedTest, data)
            self.planned.setdefault(one.nodeid, one)

    def outcome_without_engine(self, nodeid: str) -> str:
        """Return what became of a test that neither failed nor requested an engine."""
        return "skipped" if nodeid in self._ran else "not run"

    def not_run(self) -> str:
        """Return how many tests that need an engine did not run, and why; empty for none."""
        tests = [one for one in self.planned.values() if one.on_engine]
        missing = Counter(
            "xfailed"
            if one.nodeid in self._xfailed
            else "skipped"
            if one.nodeid in self._ran
            else "not run"
            if one.selected
            else "deselected"
            for one in tests
            if not self._ran.get(one.nodeid)
        )
        if not missing:
            return ""
        why = ", ".join(f"{number} {word}" for word, number in sorted(missing.items()))
        return f"not run  {missing.total()} of {len(tests)} tests: {why}"


def _has_baselines(config: pytest.Config) -> bool:
    """Whether a project without any test of a model had one: every run of pytest comes here."""
    given = config.getoption("trt_baseline_dir") or config.getini("trt_baseline_dir")
    return bool(given) or (config.rootpath / FOLDER).is_dir()


def _model(model: ModelMarker, root: Path) -> str:
    from pytest_trt.report.record import below

    return model.name if model.model is None else below(model.model, root)


def planned(item: pytest.Item, *, selected: bool) -> PlannedTest | None:
    """Return a collected test as a report names it, or None where it has no engine."""
    plan = plan_of(item)
    if plan is None or (plan.model is None and plan.consistency is None):
        return None
    from pytest_trt.plugin.planning.marks import ids_of
    from pytest_trt.report.record import PlannedTest, without_parameters

    callspec = getattr(item, "callspec", None)
    arch = callspec.params.get("trt_arch") if callspec else None
    file, line, _ = item.location
    fixtures = getattr(item, "fixturenames", ())
    metrics = ("metrics",) if "trt_metrics" in fixtures else ()
    return PlannedTest(
        nodeid=item.nodeid,
        test=without_parameters(item.nodeid, ids_of(item), arch or ""),
        file=file,
        line=0 if line is None else line + 1,
        model=_model(plan.model, item.config.rootpath) if plan.model else "",
        precision=plan.precision,
        arch=plan.arch,
        checks=(*plan.checks, *metrics),
        on_engine=bool(plan.checks) or not _OF_ENGINES.isdisjoint(fixtures),
        selected=selected,
        compared_with=_compared_with(plan),
        drift=plan.consistency.drift if plan.consistency else None,
        argument=argument_in(item.config.rootpath, item),
    )


def _compared_with(plan: TestPlan) -> tuple[str, ...]:
    if plan.consistency is None:
        return ()
    against = ("model", "stored") if plan.against == "both" else (plan.against,)
    return (*against, *(["drift"] if plan.consistency.drift else []))
