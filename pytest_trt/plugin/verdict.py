"""From what a test did to its verdict and its record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.engine.build import Engine
from pytest_trt.engine.layer_rows import layer_rows
from pytest_trt.plugin.failure import CheckFailure
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import TEST_KEY, TestState, run_of, state_of
from pytest_trt.report.properties import properties_of
from pytest_trt.report.record import ConsistencyRecord, EngineRecord, TestRecord
from pytest_trt.terms import Verdict

if TYPE_CHECKING:
    from pytest_trt.benchmark.check import SpeedCheck

_NEVER_RAN = (
    "trt_consistency compared nothing: the test asked for no engine, so it cannot fail.\n"
    "Fix: run the engine through the trt_session fixture (`trt_session.run(inputs)`), or remove "
    "the marker."
)


def conclude(item: pytest.Item) -> None:
    """Fail the test if one of its checks does not pass. Every reason is in the one failure."""
    __tracebackhide__ = True
    state = state_of(item)
    failures = []
    if item.get_closest_marker("trt_consistency"):
        failures.append(_NEVER_RAN if state.check is None else state.check.failure())
    if item.get_closest_marker("trt_benchmark"):
        from pytest_trt.benchmark.check import NEVER_CALLED

        failures.append(NEVER_CALLED if state.speed is None else state.speed.failure())
    if state.proofs and not any(failures):
        from pytest_trt.plugin.selftest import failure_of

        failures.append(failure_of(state.proofs))
    told = [failure for failure in failures if failure is not None]
    if told:
        state.failed_by_checks = True
        remarks = "".join(f"\nnote: {remark}" for remark in state.remarks)
        raise CheckFailure("\n\n".join(told) + remarks)


def conclude_skipped(item: pytest.Item) -> None:
    """Fail a test that skips itself after a run that does not pass: it has been measured."""
    __tracebackhide__ = True
    if any(check.has_failed for _, check in _made(state_of(item))):
        conclude(item)


def add_check_sections(item: pytest.Item) -> None:
    """Add what the checks found to the report of a test that has failed for a reason of its own."""
    state = item.stash.get(TEST_KEY, None)
    for name, check in _made(state) if state is not None else ():
        if check.has_failed:
            item.add_report_section("call", name, check.failure() or "")


def _made(state: TestState) -> list[tuple[str, ConsistencyCheck | SpeedCheck]]:
    named = [("trt consistency", state.check), ("trt benchmark", state.speed)]
    return [(name, check) for name, check in named if check is not None]


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put the test's record on the report of the phase that ended it."""
    run = run_of(item.config)
    loss = run.lost_device.loss
    if loss is not None and report.failed:
        loss.told = True
    ends_here = report.when == "call" or (report.when == "setup" and not report.passed)
    state = item.stash[TEST_KEY]
    if report.skipped and state.skipped and not hasattr(report, "wasxfail"):
        # By itself pytest names the line of the plugin that skipped, for all tests the same.
        path, line, _ = item.reportinfo()
        report.longrepr = (os.fspath(path), (line or 0) + 1, f"Skipped: {state.skipped}")
    made = state.engines or state.check or state.speed or state.skipped or state.failed_by_checks
    if not ends_here or not (made or state.unbuilt or state.diagnostics):
        return
    record = TestRecord(
        engines=tuple(_engine_record(engine, run) for engine in _distinct(state)),
        checks=tuple(_checks(state)),
        speeds=(state.speed.record,) if state.speed and state.speed.record else (),
        skipped=state.skipped,
        remarks=tuple(state.remarks),
        failed_by_checks=state.failed_by_checks,
        proofs=tuple(proof.to_dict() for proof in state.proofs),
        unbuilt=tuple(dict.fromkeys(state.unbuilt)),
        diagnostics=state.diagnostics,
        notes=tuple(state.notes),
    )
    report.trt = record.to_dict()  # type: ignore[attr-defined]
    # The list that the reports of all phases share: junit reads it from the last one.
    item.user_properties += properties_of(record)


def _distinct(state: TestState) -> list[Engine]:
    return list({engine.key.digest: engine for engine in reversed(state.engines)}.values())[::-1]


def _checks(state: TestState) -> list[ConsistencyRecord]:
    if state.check is None or state.skipped:
        return []
    records = state.check.records()
    if records or not state.engines:
        return records
    engine = state.engines[0]
    return [
        ConsistencyRecord(
            model=engine.model.path.name,
            precision=engine.spec.precision,
            arch=engine.target.arch,
            verdict=Verdict.NOT_MEASURED.value,
            runs=0,
            worst_output=None,
            used=None,
            tolerance="",
            key=engine.key.digest,
        )
    ]


def _engine_record(engine: Engine, run: TrtRun) -> EngineRecord:
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
        device_memory_bytes=facts.device_memory_bytes,
        layers=None if facts.layers is None else len(facts.layers),
        layers_pct=facts.layers_pct,
        weights_pct=facts.weights_pct,
        load_s=facts.load_s,
        first_inference_s=facts.first_inference_s,
        model_digest=engine.model.digest,
        layer_rows=layer_rows(facts.layers) if run.settings.report else (),
    )
