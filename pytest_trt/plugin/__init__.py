"""The pytest plugin: hooks, each a few lines into the module that does the work.

Every run of pytest imports this module, so what it loads is small: no vendor library, no numpy,
nothing that only projects with models need. Those modules are imported in the hooks and fixtures
that a `trt_` marker or fixture leads to.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin import faults
from pytest_trt.plugin.fixtures import *  # noqa: F403 - found as names of this module
from pytest_trt.plugin.names import MARKER_LINES
from pytest_trt.plugin.options.table import (
    add_options,
    anything_given,
    report_paths,
    runs_nothing,
)
from pytest_trt.plugin.results import transfer
from pytest_trt.plugin.results.collector import ResultCollector
from pytest_trt.plugin.results.ledger import Ledger
from pytest_trt.plugin.state import (
    ITEM_KEY,
    PLAN_KEY,
    PROGRESS_KEY,
    RECORDER_KEY,
    RUN_KEY,
    TEST_KEY,
    progress_of,
    run_of,
    settings_of,
    state_of,
    uses_plugin,
)

_COLLECTOR_KEY = pytest.StashKey[ResultCollector]()
_LEDGER_KEY = pytest.StashKey[Ledger]()

#: How a run ends that ran all of its tests.
_ENDED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Remove the reports of an earlier run: one that does not start would leave them."""
    given = early_config.known_args_namespace
    # A worker has the options of the process that started it.
    if "PYTEST_XDIST_WORKER" in os.environ or runs_nothing(given):
        return
    here = early_config.invocation_params.dir
    for path in report_paths(early_config, getattr(given, "trt_report", None)):
        # `refuse_misread_paths` looks for those that pytest took for a path of tests.
        misread = "--trt-report" in args and not path.is_relative_to(here)
        # Of .prom, a collector reads the last run's.
        if path.suffix in (".html", ".json") and not misread:
            with suppress(OSError, RuntimeError, ValueError):
                path.expanduser().unlink()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer the plugin's own hooks."""
    from pytest_trt.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, resolve the options, and refuse at once what cannot be tested."""
    for line in MARKER_LINES.values():
        config.addinivalue_line("markers", line)
    config.stash[_COLLECTOR_KEY] = ResultCollector(config)
    config.pluginmanager.register(config.stash[_COLLECTOR_KEY], "trt-results")
    ledger = config.stash[_LEDGER_KEY] = Ledger(config)
    config.pluginmanager.register(ledger, "trt-ledger")
    config.pluginmanager.register(transfer, "trt-transfer")
    if hasattr(config.option, "benchmark_disable"):  # pytest-benchmark is there
        from pytest_trt.plugin.pytest_benchmark import PytestBenchmarkHooks

        config.pluginmanager.register(
            PytestBenchmarkHooks(config, _judged_fixture), "trt-pytest-benchmark"
        )
    given = anything_given(config)
    if os.environ.get("GITHUB_STEP_SUMMARY") or (given and settings_of(config).wants_report):
        from pytest_trt.plugin.results.report_log import ReportLog

        config.pluginmanager.register(
            ReportLog(config, ledger, config.stash[_COLLECTOR_KEY]), "trt-report"
        )
    if not given:
        return
    settings = settings_of(config)
    if settings.selftest:
        from pytest_trt.plugin.selftest import SelfTestLog

        config.pluginmanager.register(SelfTestLog(), "trt-selftest")
    if settings.arch or settings.device or settings.backend != "auto":
        try:
            _ = run_of(config).selections
        except PytestTrtError as error:
            from pytest_trt.plugin.terminal import usage_error

            raise usage_error(error) from error


def _judged_fixture(item: pytest.Item, fixture: Any) -> AbstractContextManager[None]:
    from pytest_trt.plugin.benchmark import run_and_judge

    return run_and_judge(item, fixture)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Complete pytest's junit file, and release loaded engines."""
    if getattr(config.option, "xmlpath", None) and _COLLECTOR_KEY in config.stash:
        report_log = config.pluginmanager.get_plugin("trt-report")
        more = report_log.failures() if report_log is not None else []
        try:
            config.stash[_COLLECTOR_KEY].add_to_junit(more)
        except Exception:  # pytest offers no other way to it, and it is complete otherwise
            faults.warn(config)
    if RUN_KEY in config.stash:
        config.stash[RUN_KEY].close()
    if PROGRESS_KEY in config.stash:
        config.stash[PROGRESS_KEY].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply a test by architecture, precision and shape."""
    if uses_plugin(metafunc.definition, metafunc.fixturenames):
        _ = run_of(metafunc.config)  # begins to look for GPUs while modules are loaded
        from pytest_trt.plugin.collection import parametrize

        parametrize(metafunc)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Plan the tests of a class or module; fail it where markers are wrong, with all of them."""
    report = yield
    if not report.passed:
        call = getattr(report, "call", None)
        if call is not None and call.excinfo is not None:
            _show_message(report, call.excinfo.value)
        return report
    ours = any(
        isinstance(node, pytest.Function) and uses_plugin(node, node.fixturenames)
        for node in report.result
    )
    try:
        if isinstance(collector, pytest.Module | pytest.Class):
            _warn_of_uncollected(collector, report, ours=ours)
        if ours and report.passed:
            from pytest_trt.plugin.collection import plan_tests

            plan_tests(collector, report)
    except faults.ON_PURPOSE:
        raise
    except Exception:  # a fault of the plugin fails the module, and does not end the run
        if ours:
            report.outcome, report.result = "failed", []
            report.longrepr = traceback.format_exc()
        else:
            faults.warn(collector.config)
    return report


def _warn_of_uncollected(
    collector: pytest.Module | pytest.Class, report: pytest.CollectReport, *, ours: bool
) -> None:
    from pytest_trt.plugin.planning.marks import marked

    # The module of doctests has none, which asking for `obj` would load.
    place = getattr(collector, "_obj", None)
    if place is not None and (ours or any(marked(place, collector.config))):
        from pytest_trt.plugin.collection import warn_of_uncollected

        warn_of_uncollected(collector, report)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Plan again what other hooks have given markers."""
    ours = [item for item in items if PLAN_KEY in item.stash]
    try:
        ours = [item for item in items if uses_plugin(item, getattr(item, "fixturenames", ()))]
        if ours:
            from pytest_trt.plugin.collection import plan_changed_tests

            plan_changed_tests(items)
    except faults.ON_PURPOSE:
        raise
    except Exception:
        if ours:
            faults.fail_collection(items, ours)
        else:
            faults.warn(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Reach for the terminal between collecting and running: only here is nothing captured."""
    if RUN_KEY in session.config.stash:
        progress_of(session.config)


def pytest_report_collectionfinish(
    config: pytest.Config, start_path: Path, items: Sequence[pytest.Item]
) -> list[str]:
    """Show what is tested and with what, where there is something to test."""
    if RUN_KEY not in config.stash or config.get_verbosity() < 0:
        return []
    try:
        return config.stash[RUN_KEY].environment()
    except PytestTrtError as error:
        from pytest_trt.plugin.terminal import usage_error

        raise usage_error(error) from error


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Start with fresh state where a plugin such as pytest-rerunfailures repeats a test."""
    item.config.stash[ITEM_KEY] = item
    if TEST_KEY in item.stash:
        from pytest_trt.plugin.results.verdict import begin_attempt

        begin_attempt(item)
    if PLAN_KEY not in item.stash:
        return (yield)
    from pytest_trt.plugin.results.verdict import failing_in_setup

    with failing_in_setup(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Judge the test's checks: one failure, in the call phase, with every reason."""
    if PLAN_KEY not in item.stash and not _marked_late(item):
        return (yield)
    from pytest_trt.plugin.results.verdict import judged

    with judged(item):
        return (yield)


def _marked_late(item: pytest.Item) -> bool:
    """Whether a test, or its class or module, got its first marker after it was collected."""
    return isinstance(item, pytest.Function) and uses_plugin(item, ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Refuse runs that no check judges any more."""
    if TEST_KEY not in item.stash:
        return (yield)
    from pytest_trt.plugin.results.verdict import refusing_late_runs

    with refusing_late_runs(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what was found to the report, as data that crosses process boundaries."""
    report = yield
    try:
        _complete(item, call, report)
    except Exception:
        if PLAN_KEY in item.stash or TEST_KEY in item.stash:
            report.outcome, report.longrepr = "failed", traceback.format_exc()
        else:
            faults.warn(item.config)
    return report


def _complete(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    if report.failed and call.excinfo is not None:
        from pytest_trt.plugin.results.failure import diagnostics_of

        found = diagnostics_of(call.excinfo.value)
        if found:
            state_of(item).diagnostics = found
            if isinstance(call.excinfo.value, PytestTrtError):
                _shorten(item, call.excinfo, report)
                _show_message(report, call.excinfo.value)
        elif TEST_KEY in item.stash:
            state_of(item).failure = call.excinfo.exconly().partition("\n")[0]
    if PLAN_KEY in item.stash or TEST_KEY in item.stash:
        from pytest_trt.plugin.results.attached import attach
        from pytest_trt.plugin.results.verdict import fail_if_unjudged

        fail_if_unjudged(item, report)
        attach(item, report)
        if report.when == "teardown":
            item.stash[TEST_KEY] = item.stash[TEST_KEY].ended()
    if report.failed and call.excinfo is not None:
        from pytest_trt.plugin.results.failure import PluginFailure, place_at_test

        if isinstance(call.excinfo.value, PluginFailure) and not call.excinfo.value.pytrace:
            place_at_test(item, report, call.excinfo.value.diagnostics)


def _shorten(
    item: pytest.Item, error: pytest.ExceptionInfo[BaseException], report: pytest.TestReport
) -> None:
    """Show an error of the plugin with the line that it was raised at, and not all of the test.

    The source of a test begins with its decorators, which may name many models.
    """
    if item.config.getoption("tbstyle", "auto") == "auto":
        report.longrepr = item._repr_failure_py(error, style="short")  # pytest has no other way


def _show_message(report: pytest.TestReport | pytest.CollectReport, error: BaseException) -> None:
    """Show an error of the plugin in the short summary by its message, not by its class."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if isinstance(error, PytestTrtError) and crash is not None:
        crash.message = next(error.diagnostic.lines())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write new baselines, once, in the one process that has all results."""
    collector = session.config.stash[_COLLECTOR_KEY]
    try:
        _finish(session, collector, exitstatus)
    except faults.ON_PURPOSE:
        raise
    except Exception:
        if _has_our_tests(session.config):
            collector.faults.append(faults.fail_run(session))
        else:
            faults.warn(session.config)


def _has_our_tests(config: pytest.Config) -> bool:
    collector, ledger = config.stash[_COLLECTOR_KEY], config.stash[_LEDGER_KEY]
    return bool(RUN_KEY in config.stash or ledger.planned or collector.has_records)


def _finish(session: pytest.Session, collector: ResultCollector, exitstatus: int) -> None:
    config = session.config
    records = [one.record for one in collector.results]
    measured = any(one.speeds or one.has_answers or one.task_metrics for one in records)
    if hasattr(config, "workerinput"):
        return
    _report_lost_tests(session, collector, exitstatus)
    _report_changed_tests(session, collector, exitstatus)
    ledger = config.stash[_LEDGER_KEY]
    # Also where none of them got an engine: what an earlier run tested is out of date.
    were_to_run = any(one.selected and one.checks for one in ledger.planned.values())
    were_to_run |= RUN_KEY in config.stash and exitstatus == pytest.ExitCode.INTERRUPTED
    were_to_run &= RECORDER_KEY not in config.stash  # tune and the like: they test nothing
    if any(collector.tested.values()) or (were_to_run and not runs_nothing(config.option)):
        from pytest_trt.plugin.results.tested import store_tested

        store_tested(
            run_of(config),
            config.rootpath,
            collector.results,
            collector.tested.values(),
            collector.failed,
            ledger,
        )
    if not measured:
        if exitstatus == pytest.ExitCode.OK and _updates(config):
            from pytest_trt.diagnostics import Diagnostic

            why = "--trt-update: no test with a baseline ran, so nothing was updated"
            collector.not_written = why
            collector.unwritten.append(Diagnostic("TRT663", why))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return
    from pytest_trt.plugin.results.baselines import store_last_run, write_baselines_of

    stopped = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    outcome = write_baselines_of(
        collector.results, collector.failed, stopped=stopped, update=_updates(config)
    )
    collector.results, collector.written = outcome.results, outcome.lines
    report_log = config.pluginmanager.get_plugin("trt-report")
    if report_log is not None:
        report_log.take(outcome.results)
    collector.written += [line for one in outcome.warnings for line in one.lines()]
    if RECORDER_KEY not in config.stash:
        # Also without any: what an earlier run measured is out of date.
        store_last_run(run_of(config).cache.last_runs, config.rootpath, outcome.candidates)
    if outcome.errors:
        collector.unwritten += [one.diagnostic for one in outcome.errors]
        why = "\n".join(map(str, outcome.errors))
        collector.not_written = f"not all baselines were written: {why}"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _report_changed_tests(
    session: pytest.Session, collector: ResultCollector, exitstatus: int
) -> None:
    """Fail a run for tests that pytest takes for passed, although their checks failed them."""
    tests = sorted({nodeid for (nodeid, _), changed in collector.changed.items() if changed})
    if not tests:
        return
    from pytest_trt.plugin.results.verdict import passed_by_hook

    collector.of_run.append(passed_by_hook(tests))
    if exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _report_lost_tests(
    session: pytest.Session, collector: ResultCollector, exitstatus: int
) -> None:
    """Report what no test tests any more: required models, and stored baselines."""
    config, stopped = session.config, session.shouldstop or session.shouldfail
    ledger = config.stash[_LEDGER_KEY]
    required = anything_given(config) and settings_of(config).require_models
    if exitstatus not in _ENDED or stopped or not (required or ledger.planned or ledger.unused):
        return
    from pytest_trt.plugin.results.missing_models import missing_models
    from pytest_trt.plugin.results.unused import (
        models_without_test,
        untested_with_test,
        unused_diagnostic,
    )

    fails = settings_of(config).missing_baseline == "fail"
    reported = [models_without_test(config, ledger.planned)]
    reported.append(untested_with_test(config, ledger.planned))
    if not runs_nothing(config.option):
        reported.append(missing_models(config, ledger.planned, collector.results))
        reported.append(unused_diagnostic(ledger.unused, required=fails))
    for found in filter(None, reported):
        collector.of_run.append(found)
        if found.severity == "error" and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _updates(config: pytest.Config) -> bool:
    """Whether the run is to update baselines."""
    return anything_given(config) and settings_of(config).update and not runs_nothing(config.option)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the summary section; with -q only what must not be missed, with -qq nothing."""
    config = terminalreporter.config
    collector = config.stash[_COLLECTOR_KEY]
    try:
        _summarise(terminalreporter, collector, config.stash[_LEDGER_KEY])
    except Exception:
        if not _has_our_tests(config):
            faults.warn(config)
        elif collector.session is not None:
            collector.faults.append(faults.fail_run(collector.session))
    for text in collector.faults:
        terminalreporter.section("trt: a fault of pytest-trt itself; please report it", red=True)
        terminalreporter.write(text)


def _summarise(
    terminalreporter: pytest.TerminalReporter, collector: ResultCollector, ledger: Ledger
) -> None:
    config = terminalreporter.config
    not_run = "" if runs_nothing(config.option) else ledger.not_run()
    if (collector.results or not_run) and (verbosity := config.get_verbosity()) >= -1:
        from pytest_trt.plugin.terminal import width_of, write_prose
        from pytest_trt.report.summary import Style, noted_lines, summary_lines

        writer = config.get_terminal_writer()
        style = Style(
            width=writer.fullwidth,
            color=writer.hasmarkup,
            ascii=not _takes_blocks(),
            wrap=width_of(config) is not None,
        )
        if verbosity < 0:
            lines = noted_lines(collector.results, style)
        else:
            terminalreporter.write_sep("=", "trt")
            lines = summary_lines(
                collector.results,
                style,
                # Where workers collected the tests, nothing above says what is tested.
                environment=config.pluginmanager.hasplugin("dsession"),
                facts=verbosity > 0,
            )
        for line in lines:
            terminalreporter.write_line(line)
        for line in [not_run] * bool(not_run and verbosity >= 0) + collector.written:
            write_prose(terminalreporter, line)

    if collector.not_written:
        from pytest_trt.plugin.terminal import write_prose

        terminalreporter.write_sep("=", "trt baselines", red=True)
        write_prose(terminalreporter, collector.not_written)


def _takes_blocks() -> bool:
    """Whether standard output can be given the characters that bars are drawn with."""
    try:
        "█░…".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
