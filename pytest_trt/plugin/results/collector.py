"""Results of all tests of a run, in the one process that has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.escaping import junit
from pytest_trt.plugin.results.transfer import packed, unpacked
from pytest_trt.plugin.state import RUN_KEY

if TYPE_CHECKING:
    from pytest_trt.diagnostics import Diagnostic
    from pytest_trt.report.record import TestResult


class ResultCollector:
    """Collects the records on reports, from this process or from xdist workers.

    Args:
        config: The run's configuration.

    Attributes:
        results: What was recorded of the tests.
        failed: Phases that failed, by test.
        written: What was done to baseline files, one line each.
        not_written: Why baseline files could not be written.
        unwritten: The same as data.
        has_records: Whether a test has reported something to this plugin.
        faults: Tracebacks of faults of this plugin.
        session: The session, once it has finished.
        tested: What `results.tested` stores of the engines of each test.
        changed: Whether a hook made a passed test of one whose checks failed it, by test.
        of_run: What concerns no single test, such as baselines of models that no longer exist.
        unjudged: Runs of an engine that no test could judge or report: in threads that outlive it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.results: list[TestResult] = []
        self.failed: defaultdict[str, set[str]] = defaultdict(set)
        self.written: list[str] = []
        self.not_written = ""
        self.unwritten: list[Diagnostic] = []
        self.has_records = False
        self.faults: list[str] = []
        self.session: pytest.Session | None = None
        self.tested: dict[tuple[str, str], Any] = {}
        self.changed: dict[tuple[str, str], bool] = {}
        self.of_run: list[Diagnostic] = []
        self.unjudged: list[Diagnostic] = []
        self._why: dict[str, Sequence[Diagnostic]] = {}
        self._latest: dict[tuple[str, str], TestResult] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect a report's record."""
        # With --dist=each, every worker runs every test.
        test = (report.nodeid, getattr(report, "worker_id", ""))
        if report.when == "setup" and test in self._latest:
            # Of a test that is run again the last attempt counts.
            earlier = self._latest.pop(test)
            self.results = [one for one in self.results if one is not earlier]
        # A unittest method whose `subTest` failed passes in its own report, which comes last.
        failed_before = not report.failed and "call" in self.failed.get(report.nodeid, ())
        if report.failed:
            self.failed[report.nodeid].add(report.when or "")
        data = getattr(report, "trt", None)
        if data is None:
            return
        self.has_records = True
        self.tested[test] = getattr(report, "trt_tested", ())
        from pytest_trt.report.record import TestRecord, TestResult

        record = TestRecord.from_dict(data)
        if report.failed and record.diagnostics:
            self._why[report.nodeid] = record.diagnostics
            if hasattr(report, "trt_text_only"):
                _fit(report, self._config, record.diagnostics, record.notes)
        expected = hasattr(report, "wasxfail")
        self.changed[test] = record.failed_by_checks and report.passed and not expected
        outcome = "failed" if failed_before or self.changed[test] else _outcome(report)
        # A check without an engine leaves nothing to summarise.
        found = record.engines or record.unbuilt or record.speeds or record.skipped
        if found and outcome != "rerun":
            self._latest[test] = TestResult(report.nodeid, outcome, record)
            self.results.append(self._latest[test])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take from a worker what none of its tests reported."""
        data = getattr(node, "workeroutput", {}).get("trt_unjudged")
        if data:
            from pytest_trt.diagnostics import Diagnostic
            from pytest_trt.records import from_data

            self.unjudged += [from_data(Diagnostic, one) for one in unpacked(data)]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run for runs of an engine that no test reported."""
        self.session = session
        if RUN_KEY in self._config.stash:
            from pytest_trt.plugin.results.verdict import runs_out_of_time

            self.unjudged += runs_out_of_time(self._config.stash[RUN_KEY])
        if not self.unjudged:
            return
        if hasattr(self._config, "workeroutput"):
            from pytest_trt.records import to_data

            self._config.workeroutput["trt_unjudged"] = packed(to_data(self.unjudged))
        elif session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def run_diagnostics(self) -> list[Diagnostic]:
        """Return what concerns no single test."""
        return [*self.of_run, *self.unjudged, *self.unwritten]

    def add_to_junit(self, more: Sequence[Diagnostic]) -> None:
        """Add to pytest's junit file why the run failed besides its tests, each code as a test.

        Some CI systems read nothing else. pytest has written the file, and writes it again.

        Args:
            more: Further reasons.
        """
        by_code: defaultdict[str, list[Diagnostic]] = defaultdict(list)
        for one in (*self.run_diagnostics(), *more):
            if one.severity == "error":
                by_code[one.code].append(one)
        plugins = self._config.pluginmanager.get_plugins() if by_code else ()
        for xml in (one for one in plugins if type(one).__name__ == "LogXML"):
            for code, found in by_code.items():
                test = xml.node_reporter(f"pytest-trt {code}")
                test.attrs.update(classname="pytest-trt", name=f"the run as a whole [{code}]")
                text = "\n\n".join(map(str, found)).splitlines()
                test._add_simple("error", junit(found[0].headline), "\n".join(map(junit, text)))
            xml.pytest_sessionfinish()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write what no test could fail for, and what to do, each reason once."""
        if self.unjudged:
            from pytest_trt.diagnostics import failure_lines
            from pytest_trt.plugin.terminal import width_of

            terminalreporter.section("trt: engine runs outside every check", red=True)
            for line in failure_lines(self.unjudged, width=width_of(self._config)):
                terminalreporter.write_line(line)
        self._write_of_run(terminalreporter)
        why = {**(self._why if len(self._why) > 1 else {}), **self._renamed()}
        if not why or terminalreporter.config.get_verbosity() < -1:
            return
        from pytest_trt.plugin.terminal import width_of
        from pytest_trt.report.groups import group_lines, groups_of

        failed = bool(self._why)
        terminalreporter.write_sep("=", "trt: what to do", red=failed, yellow=not failed)
        width = width_of(self._config)
        for line in group_lines(groups_of(why.items()), list(why), width):
            terminalreporter.write_line(line)

    def _renamed(self) -> dict[str, Sequence[Diagnostic]]:
        """Return by test why its baseline was not recorded, and the reasons for which it failed."""
        found: dict[str, Sequence[Diagnostic]] = {}
        for result in self.results:
            record = result.record
            of_speeds = (one for speed in record.speeds for one in speed.diagnostics)
            for one in (*record.notes, *of_speeds):
                if one.code == "TRT677":
                    from pytest_trt.plugin.results.renames import of_all_tests

                    shown = replace(of_all_tests(one), severity="error")
                    found[result.nodeid] = (*self._why.get(result.nodeid, ()), shown)
        return found

    def _write_of_run(self, terminalreporter: pytest.TerminalReporter) -> None:
        for one in self.of_run:
            failed = one.severity == "error"
            if failed or terminalreporter.config.get_verbosity() >= -1:
                from pytest_trt.plugin.terminal import width_of

                title = f"trt: the run {'failed' if failed else 'as a whole'}"
                terminalreporter.section(title, red=failed, yellow=not failed)
                for line in one.lines(width_of(self._config)):
                    terminalreporter.write_line(line)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Fit what is wrong with markers to the terminal."""
        found = getattr(report, "trt_diagnostics", None)
        if found is not None:
            from pytest_trt.diagnostics import Diagnostic
            from pytest_trt.records import from_data

            diagnostics = [from_data(Diagnostic, one) for one in found]
            _fit(report, self._config, diagnostics, most=len(found))


def _fit(
    report: pytest.TestReport | pytest.CollectReport,
    config: pytest.Config,
    diagnostics: Sequence[Diagnostic],
    notes: Sequence[Diagnostic] = (),
    most: int = 10,
) -> None:
    from pytest_trt.diagnostics import failure_lines
    from pytest_trt.plugin.terminal import fit_to_terminal

    fit_to_terminal(
        report, config, lambda width: "\n".join(failure_lines(diagnostics, notes, width, most))
    )


def _outcome(report: pytest.TestReport) -> str:
    """Return the outcome of a test as pytest's last line counts it."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when == "setup":
        return "error"
    return report.outcome
