"""Keeps what a report is made of while tests run, and writes it when they are over.

It is registered where a report, required architectures or a step's summary ask for it. Under xdist
the workers collect and run; what they collected rides on the first report of each, so that a run
that is stopped can name the tests that it did not come to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import ReportError
from pytest_trt.plugin.state import RUN_KEY, run_of, settings_of
from pytest_trt.plugin.terminal import width_of, write_prose
from pytest_trt.records import from_data, to_data
from pytest_trt.report.coverage import is_covered, missing_verdicts
from pytest_trt.report.document import Document, make_document, planned_from
from pytest_trt.report.record import PlannedTest, TestRecord, without_arch
from pytest_trt.report.status import Phase, PhaseOutcomes
from pytest_trt.report.writing import write_report

if TYPE_CHECKING:
    from pytest_trt.report.record import TestResult

#: Where GitHub Actions reads the summary of a step.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


class ReportLog:
    """What is known of a run: the tests that were collected, and what was told of them.

    Args:
        config: The run's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._worker = hasattr(config, "workerinput")
        self._started_s = time.time()
        self._planned: dict[str, PlannedTest] = {}
        self._told: dict[str, PhaseOutcomes] = {}
        self._targets: dict[str, dict[str, Any]] = {}
        self._collection_errors: dict[str, str] = {}
        self._sent = False
        self._lines: list[tuple[str, list[str], bool]] = []
        self._uncovered = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why files could not be collected."""
        if report.failed:
            self._collection_errors[report.nodeid] = report.longreprtext

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Keep tests that are left out: nobody else will name them."""
        self._plan(items, selected=False)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the tests that are to run."""
        self._plan(session.items, selected=True)
        if self._planned:
            from pytest_trt.report.run_facts import targets_of

            self._targets = {one["target"]: one for one in targets_of(run_of(self._config))}

    def _plan(self, items: Sequence[pytest.Item], *, selected: bool) -> None:
        for item in items:
            # Markers are keywords too, and looking there first is quicker for those without one.
            if "trt_model" in item.keywords and RUN_KEY in self._config.stash:
                plan = planned(item, selected=selected)
                if plan is not None:
                    self._planned[plan.nodeid] = plan

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """In a worker, let the first report bring along what was collected."""
        report = yield
        if self._worker and not self._sent:
            report.trt_collected = self._collected()  # type: ignore[attr-defined]
            self._sent = True
        return report

    def _collected(self) -> dict[str, Any]:
        return {
            "planned": to_data(self._planned.values()),
            "targets": list(self._targets.values()),
            "errors": self._collection_errors,
        }

    def _add_collected(self, collected: dict[str, Any]) -> None:
        for data in collected["planned"]:
            plan = from_data(PlannedTest, data)
            self._planned.setdefault(plan.nodeid, plan)
        self._targets.update({one["target"]: one for one in collected["targets"]})
        self._collection_errors.update(collected["errors"])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what is told of a test."""
        collected = getattr(report, "trt_collected", None)
        if collected is not None:
            self._add_collected(collected)
        data = getattr(report, "trt", None)
        if report.nodeid not in self._planned and data is None:
            return
        if report.when == "setup":  # a plugin may run a test again: the last time counts
            self._told[report.nodeid] = PhaseOutcomes()
        told = self._told.setdefault(report.nodeid, PhaseOutcomes())
        # The report that xdist makes of a worker that crashed is of no phase.
        phase = "crash" if report.when not in ("setup", "call", "teardown") else report.when
        told.phases[phase] = _phase(report)
        if data is not None:
            record = TestRecord.from_dict(data)
            if told.record is not None:  # a teardown that failed as well
                failures = (*told.record.diagnostics, *record.diagnostics)
                record = replace(told.record, diagnostics=failures)
            told.record = record

    def take(self, results: Iterable[TestResult]) -> None:
        """Take records in which something has come about since the test ended."""
        for result in results:
            self._told[result.nodeid].record = result.record

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker has collected from its last words, where no test of it reported."""
        collected = getattr(node, "workeroutput", {}).get("trt_collected")
        if collected is not None:
            self._add_collected(collected)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge what is required, and write the reports; a worker hands over what it has."""
        if self._worker:
            self._config.workeroutput["trt_collected"] = self._collected()  # type: ignore[attr-defined]
            return
        if self._config.option.collectonly:
            return
        settings = settings_of(self._config)
        asked = settings.report or settings.require_arch
        if not (asked or self._planned or self._told):  # a step's summary, and nothing to sum up
            return
        document = self._document(session, settings.require_arch)
        covered = is_covered(document["coverage"])
        if not covered:
            missing = missing_verdicts(document["coverage"])
            # Such as that there is no driver, where a GPU was expected.
            here = [f"tested here: {t['arch']}, {t['why']}" for t in self._targets.values()]
            missing = replace(missing, details=(*missing.details, *here))
            lines = list(missing.lines(width_of(self._config)))
            self._lines.append(("trt: required verdicts are missing", lines, True))
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                self._uncovered = ",".join(settings.require_arch)
        # The exit status above is part of what is written.
        document["runs"][0]["exit_status"] = int(session.exitstatus)
        self._write(session, document, settings.report)

    def _document(self, session: pytest.Session, required: Sequence[str]) -> Document:
        from pytest_trt.report.run_facts import facts_at_start, repeat_command

        for nodeid, told in self._told.items():
            if nodeid not in self._planned:
                self._planned[nodeid] = planned_from(nodeid, told)
        stopped = session.shouldstop or session.shouldfail
        stops = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        run = {
            **facts_at_start(self._config, self._started_s),
            "duration_s": round(time.time() - self._started_s, 3),
            "exit_status": int(session.exitstatus),
            "interrupted": bool(stopped) or session.exitstatus in stops,
            "stopped": stopped if isinstance(stopped, str) else "",
            "targets": list(self._targets.values()),
            "collection_errors": self._collection_errors,
        }
        repeat = {nodeid: repeat_command(self._config, nodeid) for nodeid in self._planned}
        return make_document(run, self._planned, self._told, repeat, required)

    def _write(self, session: pytest.Session, document: Document, reports: Sequence[Path]) -> None:
        written = []
        try:
            for path in reports:
                write_report(path, document)
                written.append(f"wrote {_shown(path, self._config)}")
            if document["tests"] and os.environ.get(STEP_SUMMARY):
                _append_step_summary(Path(os.environ[STEP_SUMMARY]), document)
        except ReportError as error:
            self._lines.append(("trt report", [str(error)], True))
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if written:
            self._lines.append(("", written, False))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is missing and what was written."""
        for title, lines, red in self._lines:
            if title:
                terminalreporter.section(title, red=red)
            if red or self._config.get_verbosity() >= 0:
                for line in lines:
                    write_prose(terminalreporter, line)

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Have the last word where pytest's own says that all is well."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if self._uncovered and reporter is not None:
            required = f"verdicts on {self._uncovered} are required"
            reporter.write_line(
                f"trt: the run failed all the same: {required}, see above", red=True
            )


def planned(item: pytest.Item, *, selected: bool) -> PlannedTest | None:
    """Return a collected test as a report names it, or None where it has no model."""
    from pytest_trt.plugin.markers import read_model_marker

    marker = read_model_marker(item)
    if marker is None:
        return None
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec else {}
    arch = parameters.get("trt_arch")
    checks = ("consistency", "benchmark")
    made = tuple(check for check in checks if item.get_closest_marker(f"trt_{check}"))
    root = item.config.rootpath
    within = marker.model.is_relative_to(root)
    file, line, _ = item.location
    return PlannedTest(
        nodeid=item.nodeid,
        test=without_arch(item.nodeid, callspec.id if callspec else "", arch or ""),
        file=file,
        line=0 if line is None else line + 1,
        model=(marker.model.relative_to(root) if within else marker.model).as_posix(),
        precision=parameters.get("trt_precision") or marker.precision[0],
        arch=arch or run_of(item.config).selections[0].arch,
        checks=made,
        on_engine=bool(made) or "trt_arch" in getattr(item, "fixturenames", ()),
        selected=selected,
    )


def _phase(report: pytest.TestReport) -> Phase:
    text, reason = "", ""
    if report.outcome != "passed":
        sections = [f"{title}\n{told}" for title, told in report.sections if title[:4] == "trt "]
        text = "\n\n".join([report.longreprtext, *sections])
        reason = _reason(report)
    return Phase(
        outcome=report.outcome,
        duration_s=report.duration,
        text=text,
        reason=reason,
        xfail=getattr(report, "wasxfail", None),
    )


def _reason(report: pytest.TestReport) -> str:
    """Return why a test failed or was skipped, in a line."""
    told = report.longrepr
    if isinstance(told, tuple):  # a skip: file, line, "Skipped: reason"
        return str(told[2]).removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longreprtext)
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line.removeprefix("Failed: ")  # as pytest calls its own failures


def _append_step_summary(path: Path, document: Document) -> None:
    from pytest_trt.report.markdown import STEP_SUMMARY_BYTES, markdown

    try:
        used = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown(document, STEP_SUMMARY_BYTES - used))
    except OSError as error:
        raise ReportError(
            f"the step summary {path} cannot be written: {error.strerror}.",
            fix=f"let {STEP_SUMMARY} name a file that can be written, or unset it.",
        ) from error


def _shown(path: Path, config: pytest.Config) -> str:
    start = config.invocation_params.dir
    return str(path.relative_to(start) if path.is_relative_to(start) else path)
