"""Collects what a report consists of while tests run, and writes it when they are over.

It is registered where a report, required architectures or a step summary ask for it. Under xdist
the workers collect and run tests; what they collected is attached to the first report of each, so
that a run that is stopped can name the tests that did not run.
"""

from __future__ import annotations

import os
import platform
import shlex
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import (
    Diagnostic,
    PytestTrtError,
    Remedy,
    ReportError,
    failure_lines,
)
from pytest_trt.escaping import terminal
from pytest_trt.extras import onnxruntime_distributions
from pytest_trt.git import UntrustedError, head_commit
from pytest_trt.plugin.names import MARKER_LINES
from pytest_trt.plugin.options.table import (
    ENGINE_FIELDS,
    OPTIONS,
    anything_given,
    given_flags,
    ini_value,
    runs_nothing,
)
from pytest_trt.plugin.results.ledger import skip_reason
from pytest_trt.plugin.results.transfer import packed, unpacked
from pytest_trt.plugin.state import run_of, settings_of
from pytest_trt.plugin.terminal import width_of
from pytest_trt.records import from_data
from pytest_trt.terms import CPU
from pytest_trt.version import __version__

# Where GitHub's summary is the only report, every project on CI loads this module: the rooms of
# results, which load NumPy, are imported where there is a test of ours.
if TYPE_CHECKING:
    from pytest_trt.plugin.results.collector import ResultCollector
    from pytest_trt.plugin.results.ledger import Ledger
    from pytest_trt.plugin.run import TrtRun
    from pytest_trt.report.document import Document
    from pytest_trt.report.record import PlannedTest, TestResult
    from pytest_trt.report.status import Phase, PhaseOutcomes

#: Where GitHub Actions reads the summary of a step.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"

#: Packages whose versions affect what engines compute or how they are measured.
_PACKAGES = (
    *("pytest", "numpy", "onnx", "onnxruntime", "tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    *("tensorrt-rtx", "cuda-bindings"),
)

#: Options without which a test would not be repeated as it ran.
_REPEATED = (
    *ENGINE_FIELDS,
    *("against", "benchmark_time", "inconclusive", "missing_baseline", "selftest"),
)

#: Sections that the plugin adds to the report of a test that fails for a reason of its own.
_SECTIONS = ("trt consistency", "trt benchmark", "trt metrics")


class ReportLog:
    """The tests that were planned, and what was reported of them.

    Args:
        config: The run's configuration.
        ledger: The tests that were planned.
        collector: Has what concerns no single test, once the session has finished.
    """

    def __init__(self, config: pytest.Config, ledger: Ledger, collector: ResultCollector) -> None:
        self._collector = collector
        self._config = config
        self._worker = hasattr(config, "workerinput")
        self._started_s = time.time()
        self._planned = ledger.planned
        self._outcomes: dict[str, PhaseOutcomes] = {}
        self._targets: dict[str, dict[str, Any]] = {}
        self._collection_errors: dict[str, str] = {}
        self._collection_reasons: dict[str, str] = {}
        self._skipped_files: dict[str, str] = {}
        self._refused = False
        self._workers: dict[str, str] = {}
        self._sent = False
        self._failures: list[tuple[str, Diagnostic]] = []
        self._written: list[str] = []
        self._notes: list[Diagnostic] = []
        self._uncovered = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Replace the reports of an earlier run, which a run that is killed would leave."""
        if self._worker or runs_nothing(self._config.option) or not anything_given(self._config):
            return
        # Metrics of the last run are what a collector reads in the meantime.
        paths = [one for one in settings_of(self._config).report if one.suffix != ".prom"]
        if not paths:
            return
        from pytest_trt.report.document import make_document
        from pytest_trt.report.files import write_report

        started = _start_facts(self._config, self._started_s)
        commit = None
        with suppress(UntrustedError):  # reported with the results
            commit = _commit(self._config.rootpath, os.environ)
        run = {
            **started,
            "machine_facts": {},
            "commit": commit,
            "duration_s": 0.0,
            "exit_status": int(pytest.ExitCode.INTERRUPTED),
            "interrupted": True,
            "stopped": "",
            "targets": [],
            "collection_errors": {},
            "collection_reasons": {},
            "skipped_files": {},
            "skipped_model_files": [],
            "diagnostics": [_not_ended(started["started"])],
        }
        document = make_document(run, {}, {}, {})
        for path in paths:
            with suppress(ReportError):  # that of the whole run fails as well
                write_report(path, document)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record why files could not be collected, or were skipped as a whole."""
        if report.skipped and report.nodeid.endswith(".py"):
            self._skipped_files[report.nodeid] = skip_reason(report)
        if report.failed:
            self._collection_errors[report.nodeid] = report.longreprtext
            self._collection_reasons[report.nodeid] = _collection_reason(report)
            self._refused |= hasattr(report, "trt_diagnostics")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Record what the tests are run on."""
        if self._planned:
            self._targets = {one["target"]: one for one in _targets(run_of(self._config))}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """In a worker, attach what was collected to the first report."""
        report = yield
        if self._worker and not self._sent:
            report.trt_collected = self._collected()  # type: ignore[attr-defined]
            self._sent = True
        return report

    def _collected(self) -> dict[str, Any]:
        return {
            "targets": list(self._targets.values()),
            "errors": self._collection_errors,
            "reasons": self._collection_reasons,
            "skipped": self._skipped_files,
        }

    def _add_collected(self, collected: dict[str, Any]) -> None:
        self._targets.update({one["target"]: one for one in collected["targets"]})
        self._collection_errors.update(collected["errors"])
        self._collection_reasons.update(collected["reasons"])
        self._skipped_files.update(collected["skipped"])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of one phase of a test."""
        collected = getattr(report, "trt_collected", None)
        if collected is not None:
            self._add_collected(collected)
        data = getattr(report, "trt", None)
        if report.nodeid not in self._planned and data is None:
            return
        from pytest_trt.report.record import TestRecord
        from pytest_trt.report.status import PhaseOutcomes

        worker = getattr(report, "worker_id", "")
        same = self._workers.setdefault(report.nodeid, worker) == worker
        if report.when == "setup" and same:  # a plugin may repeat a test: the last attempt counts
            self._outcomes[report.nodeid] = PhaseOutcomes()
        outcomes = self._outcomes.setdefault(report.nodeid, PhaseOutcomes())
        # xdist's report of a worker that crashed has no phase.
        phase = "crash" if report.when not in ("setup", "call", "teardown") else report.when
        # With --dist=each every worker runs every test, and one that fails decides. So does a
        # failed `subTest` of a unittest method, which passes in its own report.
        failed = phase in outcomes.phases and outcomes.phases[phase].outcome == "failed"
        if report.failed or (same and not failed) or phase not in outcomes.phases:
            outcomes.phases[phase] = _phase(report)
        if data is not None:
            record = TestRecord.from_dict(data)
            if outcomes.record is not None:  # of another worker, with --dist=each
                failures = (*outcomes.record.diagnostics, *record.diagnostics)
                record = replace(outcomes.record, diagnostics=failures)
            outcomes.record = record

    def take(self, results: Iterable[TestResult]) -> None:
        """Replace records that were changed since the test ended."""
        for result in results:
            self._outcomes[result.nodeid].record = result.record

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Add what a worker has collected, where no test of it reported."""
        collected = getattr(node, "workeroutput", {}).get("trt_collected")
        if collected is not None:
            self._add_collected(unpacked(collected))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Check the required verdicts and write the reports; a worker passes on what it has."""
        if self._worker:
            collected = packed(self._collected())
            self._config.workeroutput["trt_collected"] = collected  # type: ignore[attr-defined]
            return
        if runs_nothing(self._config.option):
            return
        # Every run comes here where a step summary is possible, unrelated projects included.
        has_own = bool(self._planned or self._outcomes or self._refused)
        has_own = has_own or any(map(self._is_of_models, self._skipped_files))
        if not (has_own or anything_given(self._config)):
            return
        settings = settings_of(self._config)
        if not (settings.report or settings.require_arch or has_own):
            return
        from pytest_trt.report.coverage import is_covered, missing_verdicts

        document = self._document(session, settings.require_arch)
        if not is_covered(document["coverage"]):
            missing = missing_verdicts(document["coverage"])
            # Such as that there is no driver, where a GPU was expected.
            here = [f"tested here: {t['arch']}, {t['why']}" for t in self._targets.values()]
            missing = replace(missing, details=(*missing.details, *here))
            self._failures.append(("trt: required verdicts are missing", missing))
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                self._uncovered = ", ".join(settings.require_arch)
        # The exit status above is part of what is written.
        document["runs"][0]["exit_status"] = int(session.exitstatus)
        self._write(session, document, settings.report)

    def _document(self, session: pytest.Session, required: Sequence[str]) -> Document:
        from pytest_trt.report.document import make_document, planned_from
        from pytest_trt.report.summary import little_compared

        for nodeid, outcomes in self._outcomes.items():
            if nodeid not in self._planned:
                self._planned[nodeid] = planned_from(nodeid, outcomes)
        stopped = session.shouldstop or session.shouldfail
        stops = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        commit = None
        try:
            commit = _commit(self._config.rootpath, os.environ)
        except UntrustedError as error:
            self._notes.append(error.diagnostic)
        run = {
            **_start_facts(self._config, self._started_s),
            "machine_facts": _machine_facts(self._config),
            "commit": commit,
            "duration_s": round(time.time() - self._started_s, 3),
            "exit_status": int(session.exitstatus),
            "interrupted": bool(stopped) or session.exitstatus in stops,
            "stopped": stopped if isinstance(stopped, str) else "",
            "targets": list(self._targets.values()),
            "collection_errors": self._collection_errors,
            "collection_reasons": self._collection_reasons,
            "skipped_files": self._skipped_files,
            "skipped_model_files": [*filter(self._is_of_models, self._skipped_files)],
            "diagnostics": [
                *self._collector.run_diagnostics(),
                *little_compared(self._results()),
            ],
        }
        repeat = {
            nodeid: _repeat_command(self._config, one, self._checks(nodeid))
            for nodeid, one in self._planned.items()
        }
        return make_document(run, self._planned, self._outcomes, repeat, required)

    def _is_of_models(self, file: str) -> bool:
        """Whether the source of a file, which was not collected, is of tests of engines."""
        try:
            source = (self._config.rootpath / file).read_text("utf-8", errors="replace")
        except OSError:
            return False
        return any(name in source for name in (*MARKER_LINES, "trt_session", "trt_engine"))

    def failures(self) -> list[Diagnostic]:
        """Return which required verdicts are missing, and which reports were not written."""
        return [diagnostic for _, diagnostic in self._failures]

    def _results(self) -> Iterator[TestResult]:
        from pytest_trt.report.record import TestResult

        for nodeid, outcomes in self._outcomes.items():
            if outcomes.record is not None:
                yield TestResult(nodeid, outcomes.outcome or "", outcomes.record)

    def _checks(self, nodeid: str) -> int:
        """Return how many limits shared the error budget of a benchmark; 0 for other tests."""
        outcomes = self._outcomes.get(nodeid)
        speeds = outcomes.record.speeds if outcomes and outcomes.record else ()
        return max((one.checks for one in speeds), default=0)

    def _write(self, session: pytest.Session, document: Document, reports: Sequence[Path]) -> None:
        from pytest_trt.report.files import write_report

        start = self._config.invocation_params.dir
        for path in reports:
            with self._reporting_errors(session):
                write_report(path, document)
                shown = path.relative_to(start) if path.is_relative_to(start) else path
                self._written.append(terminal(f"wrote {shown}"))
        skipped = document["runs"][0]["skipped_model_files"]
        if (document["tests"] or self._refused or skipped) and os.environ.get(STEP_SUMMARY):
            with self._reporting_errors(session):
                _append_step_summary(Path(os.environ[STEP_SUMMARY]), document)

    @contextmanager
    def _reporting_errors(self, session: pytest.Session) -> Iterator[None]:
        """Let a report that cannot be written fail the run; the others are still written."""
        try:
            yield
        except ReportError as error:
            self._failures.append(("trt report", error.diagnostic))
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what is missing and what was written."""
        for title, diagnostic in self._failures:
            terminalreporter.section(title, red=True)
            for line in failure_lines([diagnostic], width=width_of(self._config)):
                terminalreporter.write_line(line)
        if self._written and self._config.get_verbosity() >= 0:
            for line in self._written:
                terminalreporter.write_line(line)
            for note in self._notes:
                for line in note.lines(width_of(self._config)):
                    terminalreporter.write_line(line)

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """End with the failure where pytest's own last line reports success."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if self._uncovered and reporter is not None:
            reporter.write_line(
                f"trt: the run failed: required verdicts on {self._uncovered} are missing, "
                "see above",
                red=True,
            )


def _phase(report: pytest.TestReport) -> Phase:
    from pytest_trt.report.status import Phase

    text, reason = "", ""
    if report.outcome != "passed":
        sections = [f"{title}\n{text}" for title, text in report.sections if title in _SECTIONS]
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
    """Return why a test failed or was skipped, in one line."""
    data = getattr(report, "trt", None)
    if report.failed and data is not None and data["diagnostics"]:
        return str(data["diagnostics"][0]["message"])
    shown = report.longrepr
    if isinstance(shown, tuple):  # a skip: file, line, pytest's "Skipped: reason"
        return str(shown[2]).removeprefix("Skipped: ")
    crash = getattr(shown, "reprcrash", None)
    # Not report.longreprtext: with xdist it starts with the worker and its interpreter.
    text = str(crash.message if crash is not None else shown or "")
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line.removeprefix("Failed: ")  # pytest's prefix of pytest.fail


def _collection_reason(report: pytest.CollectReport) -> str:
    """Return why a file could not be collected, in one line."""
    found = [from_data(Diagnostic, one) for one in getattr(report, "trt_diagnostics", ())]
    if found:
        return str(found[0].headline)
    lines = [line for line in report.longreprtext.splitlines() if line.strip()]
    return lines[-1] if lines else ""  # a traceback ends with its reason


def _append_step_summary(path: Path, document: Document) -> None:
    from pytest_trt.report.markdown import STEP_SUMMARY_BYTES, markdown

    try:
        used = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown(document, STEP_SUMMARY_BYTES - used))
    except OSError as error:
        raise ReportError(
            f"the step summary {path} cannot be written: {error.strerror}",
            fix=f"Set {STEP_SUMMARY} to a writable file, or unset it.",
            code="TRT901",
            facts={"file": str(path), "error": error.strerror},
        ) from error


def _start_facts(config: pytest.Config, started_s: float) -> dict[str, Any]:
    """Return what is known of a run before its first test."""
    moment = datetime.fromtimestamp(started_s, timezone.utc)
    return {
        "id": uuid.uuid4().hex,
        "started": moment.isoformat(timespec="seconds"),
        "started_s": round(started_s, 3),
        "platform": platform.platform(),
        "versions": _versions(),
        "options": _given_options(config),
    }


def _not_ended(started: str) -> Diagnostic:
    return Diagnostic(
        "TRT904",
        f"the run that was started {started} has not ended: it is still running, or was killed, "
        "and there is no result of any test",
        {"started": started},
        remedy=Remedy("Wait for it, or repeat it."),
    )


def _machine_facts(config: pytest.Config) -> dict[str, str]:
    """Return what plugins and conftest.py files add to a report."""
    facts: dict[str, str] = {}
    for each in reversed(config.hook.pytest_trt_machine_facts(config=config)):
        facts.update({str(name): str(value) for name, value in each.items()})
    return facts


def _versions() -> dict[str, str]:
    versions = {"pytest-trt": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    if "onnxruntime" not in versions:  # it is also in onnxruntime-gpu and others
        versions |= onnxruntime_distributions()
    return versions


def _commit(folder: Path, environ: Mapping[str, str]) -> str | None:
    """Return the commit that is checked out, or None where that is unknown.

    Args:
        folder: A folder of the working tree.
        environ: Where CI systems name the commit: GITHUB_SHA, CI_COMMIT_SHA.

    Raises:
        UntrustedError: The repository belongs to another user.
    """
    named = environ.get("GITHUB_SHA") or environ.get("CI_COMMIT_SHA") or None
    try:
        return head_commit(folder) or named
    except UntrustedError:
        if named is None:
            raise
        return named


def _given_options(config: pytest.Config) -> dict[str, str]:
    """Return the options that were given, as text, by their names in ini files."""
    given: dict[str, str] = {}
    for option in OPTIONS:
        flag = None if option.ini_only else config.getoption(option.ini)
        value = ini_value(config, option) if flag is None else flag
        if value:
            given[option.ini] = ", ".join(value) if isinstance(value, list) else str(value)
    return given


def _repeat_command(config: pytest.Config, test: PlannedTest, checks: int) -> str:
    """Return the command that runs one test again as it ran, from pytest's root directory.

    Args:
        config: The run's configuration.
        test: The test.
        checks: How many limits shared the run's error budget, if the test was benchmarked.
    """
    flags = given_flags(config, _REPEATED, config.rootpath)
    counted = [f"--trt-checks={checks}"] if checks else []
    return shlex.join(["pytest", test.argument or test.nodeid, *flags, *counted])


def _targets(run: TrtRun) -> list[dict[str, Any]]:
    """Return what a process of the run tests, an entry for each architecture."""
    try:
        return [_target(run, selection.arch) for selection in run.selections]
    except PytestTrtError:  # reported when the run started
        return []


def _target(run: TrtRun, arch: str) -> dict[str, Any]:
    from pytest_trt.benchmark.host import host_cpu

    selection = next(one for one in run.selections if one.arch == arch)
    backend = run.backend(arch)
    target, toolchain, gpu = backend.target(arch), backend.toolchain(), run.probe.first(arch)
    return {
        "arch": arch,
        "target": str(target),
        "device": dict(target.device),
        "backend": selection.backend,
        "toolchain": str(toolchain),
        "toolchain_versions": dict(toolchain.versions),
        "why": selection.why,
        "gpu": None
        if gpu is None
        else {
            "name": gpu.name,
            "driver": gpu.driver_version,
            "sm_count": gpu.sm_count,
            "memory_bytes": gpu.memory_bytes,
            "mig": gpu.mig,
        },
        "measured_on": {
            "arch": arch,
            **target.device,
            **(host_cpu() if arch == CPU else {}),
        },
    }
