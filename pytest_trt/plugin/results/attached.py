"""Put what a test found on its report, as its record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.diagnostics import BaselineError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.layer_changes import layer_kinds, layer_rows
from pytest_trt.engine.record import EngineRecord
from pytest_trt.engine.spec import FULL_PRECISIONS
from pytest_trt.plugin.results.tested import tested_data
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import TEST_KEY, TestState, run_of
from pytest_trt.records import to_data
from pytest_trt.report.junit import properties_of
from pytest_trt.report.record import TestRecord, below
from pytest_trt.terms import Verdict

if TYPE_CHECKING:
    from pytest_trt.baseline.staged_answers import StagedAnswers
    from pytest_trt.benchmark.result import BenchmarkResult


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put the test's record on the report of the phase that ended it."""
    run = run_of(item.config)
    loss = run.lost_device.loss
    if loss is not None and report.failed:
        loss.reported = True
    state = item.stash[TEST_KEY]
    ends_here = report.when == "call" or (report.when == "setup" and not report.passed)
    if state.called:  # of a subtest, which says nothing of the test as a whole
        return
    if report.skipped and state.skipped and not hasattr(report, "wasxfail"):
        # By itself pytest names the line of the plugin that skipped, for all tests the same.
        path, line, _ = item.reportinfo()
        report.longrepr = (os.fspath(path), (line or 0) + 1, f"Skipped: {state.skipped}")
    made = state.engines or state.speed or state.skipped or state.failed_by_checks
    metrics = None if state.skipped else state.metrics
    if not ends_here or not (made or state.unbuilt or state.diagnostics):
        return
    staged = _staged_answers(state, report)
    accepted = state.answers.accepted() if state.answers and run.settings.report else None
    record = TestRecord(
        engines=tuple(
            _engine_record(engine, run, item.config.rootpath) for engine in _distinct(state)
        ),
        checks=tuple(checks_of(state)),
        speeds=speeds_of(state),
        has_answers=state.answers is not None,
        lacks_answers=staged is not None and not staged.against,
        accepted=accepted.errors if accepted else {},
        accepted_reason=accepted.reason if accepted else "",
        answers=staged,
        task_metrics=metrics.results if metrics else (),
        staged_metrics=metrics.staged() if metrics else None,
        skipped=state.skipped,
        failed_by_checks=state.failed_by_checks,
        proofs=tuple(to_data(proof) for proof in state.proofs),
        unbuilt=tuple(dict.fromkeys(state.unbuilt)),
        # Nothing is to be done about a failure that is expected.
        diagnostics=() if report.skipped and state.failed_by_checks else state.diagnostics,
        notes=tuple(state.notes),
        hidden_warnings=tuple(state.hidden_warnings),
    )
    report.trt = record.to_dict()  # type: ignore[attr-defined]
    if state.engines:
        report.trt_tested = tested_data(_distinct(state), run)  # type: ignore[attr-defined]
    # The list that the reports of all phases share: junit reads it from the last one.
    state.properties = properties_of(record)
    item.user_properties += state.properties


def checks_of(state: TestState) -> list[AccuracyResult]:
    """Return the results of a test's accuracy checks, also where they compared nothing."""
    if not state.checks or state.skipped:
        return []
    records = [result for check in state.checks.values() for result in check.results()]
    if records or not state.engines:
        return records
    engine = state.engines[0]
    return [
        AccuracyResult(
            model=engine.model.path.name,
            precision=engine.spec.precision,
            arch=engine.target.arch,
            verdict=Verdict.NOT_MEASURED,
            key=engine.key.digest,
        )
    ]


def stored_results(state: TestState) -> list[AccuracyResult]:
    """Return the results against stored answers; where they are recorded, against the model."""
    results = checks_of(state)
    return [one for one in results if one.against == "stored"] or results


def speeds_of(state: TestState) -> tuple[BenchmarkResult, ...]:
    """Return the result of a test's benchmark, if it has one."""
    return () if state.speed is None else (state.speed,)


def _staged_answers(state: TestState, report: pytest.TestReport) -> StagedAnswers | None:
    """Return the answers that a test may store; none where those that are stored are invalid."""
    if state.answers is None or state.skipped:
        return None
    try:
        return state.answers.staged(stored_results(state))
    except BaselineError as error:
        # A test that reads the file has failed for it; one that failed before has its own reason.
        if report.passed:
            report.outcome, report.longrepr = "failed", str(error.diagnostic)
            state.diagnostics, state.failed_by_checks = (error.diagnostic,), True
        return None


def _distinct(state: TestState) -> list[Engine]:
    return list({engine.key.digest: engine for engine in reversed(state.engines)}.values())[::-1]


def _engine_record(engine: Engine, run: TrtRun, root: Path) -> EngineRecord:
    facts = engine.facts
    return EngineRecord(
        model=engine.model.path.name,
        precision=engine.spec.precision,
        arch=engine.target.arch,
        target=str(engine.target),
        toolchain=str(engine.toolchain),
        route=engine.route.name,
        key=engine.key.digest,
        cached=engine.cached,
        build_s=facts.build_s,
        size_bytes=facts.size_bytes,
        reason=engine.reason,
        runs_here=run.backend(engine.target.arch).cannot_run(engine.target) is None,
        notes=engine.notes,
        warnings=engine.warnings,
        threads=run.settings.threads,
        device_memory_bytes=facts.memory_bytes,
        layers=None if facts.layers is None else len(facts.layers),
        layers_pct=facts.layers_pct,
        weights_pct=facts.weights_pct,
        left_in_fp32={} if engine.spec.precision in FULL_PRECISIONS else facts.float_kinds,
        load_s=engine.timings.load_s,
        first_inference_s=engine.timings.first_inference_s,
        model_digest=engine.model.digest,
        layer_rows=layer_rows(facts.layers, reported=True) if run.settings.report else (),
        layer_kinds=layer_kinds(facts.layers) if run.settings.report else {},
        path=below(engine.model.path, root),
        plan=below(engine.plan, root) if engine.finished else "",
        plan_digest=engine.plan_digest,
    )
