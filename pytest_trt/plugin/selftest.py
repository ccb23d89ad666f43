"""`--trt-selftest`: injects errors and slowdowns, and names the checks that cannot fail.

Injected errors take the same path as real ones: a twin of the test's check gets altered outputs,
with the tolerances of the test, and the decision on speed gets slower samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.accuracy.resolve import EXACT
from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.baselines import stored_rounds
from pytest_trt.benchmark.calibration import noise_of
from pytest_trt.benchmark.evidence import Opponent, RoundSource
from pytest_trt.benchmark.gates import figures_of, stored_figures
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.plugin.terminal import write_prose
from pytest_trt.report.record import TestRecord
from pytest_trt.selftest.outputs import inject_errors
from pytest_trt.selftest.proof import Proof, cannot_fail
from pytest_trt.selftest.speed import prove_absolute, prove_faster, prove_relative
from pytest_trt.selftest.structure import prove_structure
from pytest_trt.statistics.decide import check_error, joined
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.noise import Noise
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Verdict
from pytest_trt.wording import count

#: Proofs of one test that the terminal names.
_NAMED = 5


def observing(
    check: ConsistencyCheck, proofs: list[Proof]
) -> Callable[[Engine, Tensors, Tensors, str], None]:
    """Return an observer that compares every run, and injects errors into one of each engine."""
    proved: set[str] = set()

    def observe(engine: Engine, inputs: Tensors, outputs: Tensors, where: str) -> None:
        __tracebackhide__ = True
        check.observe(engine, inputs, outputs, where)
        if check.has_failed or engine.key.digest in proved:
            return
        proved.add(engine.key.digest)
        proofs.extend(_errors_in(check, engine, inputs, outputs))
        proofs.extend(_errors_in_further_runs(check, engine, inputs, outputs))

    return observe


def _errors_in(
    check: ConsistencyCheck, engine: Engine, inputs: Tensors, outputs: Tensors
) -> list[Proof]:
    reference, tolerances = check.expected(engine, inputs)
    found = []
    items = items_of(outputs, engine.model.outputs).tensors
    metrics = bool(check.metrics(engine))
    for one in inject_errors(items, reference, tolerances, metrics=metrics):
        twin = check.twin()
        twin.observe(engine, inputs, one.outputs, "selftest")
        tolerance = tolerances[one.output]
        wide = f"the tolerance is {tolerance.allowance}, nan={tolerance.nan!r}"
        if not tolerance.elementwise:
            wide = f"elements are not compared, nan={tolerance.nan!r}, and no metric detects it"
        found.append(
            Proof(
                f"output {one.output!r}",
                one.what,
                must_fail=one.must_fail,
                failed=bool(twin.diagnostics()),
                why=wide if one.must_fail and not twin.has_failed else "",
            )
        )
    tried = {one.check for one in found}
    return found + [
        cannot_fail(f"output {name!r}", "it has no elements for these inputs")
        for name in reference
        if f"output {name!r}" not in tried
    ]


def _errors_in_further_runs(
    check: ConsistencyCheck, engine: Engine, inputs: Tensors, outputs: Tensors
) -> Iterator[Proof]:
    """Yield what the invariants make of further runs whose outputs are altered, all of them."""
    if check.invariants is None:
        return

    def altered(engine: Engine, outputs: Tensors) -> Tensors:
        given = items_of(outputs, engine.model.outputs).tensors
        wrong: dict[str, Any] = {}
        for one in inject_errors(given, given, dict.fromkeys(given, EXACT)):
            wrong.setdefault(one.output, one.outputs[one.output])  # as large as its range
        return {**given, **wrong}

    invariants = check.invariants.altered(altered)
    check.twin(invariants).observe(engine, inputs, outputs, "selftest")
    for outcome in invariants.outcomes(engine):
        failed = outcome.verdict is Verdict.FAILED
        injected = "other outputs in further runs"
        yield Proof(outcome.name, injected, must_fail=True, failed=failed)


def slowdowns_of(
    limits: Limits, source: RoundSource, entry: Entry | None, checks: int
) -> list[Proof]:
    """Return what the limits of a test make of slower samples, and of a larger engine."""
    proofs: list[Proof] = []
    if limits.relative:
        comparable = [run for run in entry.runs if run.calls == source.calls] if entry else []
        if not comparable:
            proofs.append(cannot_fail("its speed limits", "there is no baseline to compare with"))
        else:
            proofs += prove_relative(
                limits.relative,
                [stored_rounds(run) for run in comparable],
                source.rounds(),
                checks=checks,
                mode=source.subject.mode,
                noise=noise_of(entry.noise) if entry else None,
            )
    if limits.absolute:
        latencies_ms, walls_s = source.latencies()
        error = check_error(checks)
        proofs += prove_absolute(
            limits.absolute,
            latencies_ms,
            walls_s,
            items_per_call=source.subject.batch,
            error=error,
        )
    engine, stored = source.subject.engine, stored_figures(entry) if entry else None
    figures = figures_of(engine.facts) if engine else {}
    proofs += prove_structure(limits.structural, figures, stored)
    return proofs


def slower_than_opponents(
    result: BenchmarkResult, opponents: Sequence[Opponent], entry: Entry | None
) -> Iterator[Proof]:
    """Yield what the limits of `faster_than` make of a slower engine."""
    noise = (noise_of(entry.noise) if entry else None) or Noise()
    pairs = {one.name: one.pairs for one in opponents}
    for found in result.speedups:
        base, candidate = joined(pairs[found.opponent])
        yield from prove_faster(found, base, candidate, checks=result.checks, noise=noise)


def diagnostics_of(proofs: Sequence[Proof]) -> tuple[Diagnostic, ...]:
    """Return why a test fails whose checks cannot fail, or fail when they must not."""
    wrong = [proof for proof in proofs if not proof.holds]
    if not wrong:
        return ()
    what = "a check of this test fails on an error within its limit"
    fix = "Widen the tolerance or limit, or remove the check."
    if any(proof.must_fail for proof in wrong):
        what = "a check of this test does not detect injected errors"
        fix = "Tighten the tolerance or limit, or remove the check."
    details = [str(proof) for proof in wrong[:_NAMED]]
    if len(wrong) > _NAMED:
        details.append(f"and {len(wrong) - _NAMED} more")
    return (
        Diagnostic(
            "TRT162",
            f"trt selftest: {what}",
            {"checks": list(dict.fromkeys(proof.check for proof in wrong))},
            tuple(details),
            Remedy(fix),
        ),
    )


class SelfTestLog:
    """Counts what was proved of the run's checks, and fails the run where that is not all well."""

    def __init__(self) -> None:
        self._proofs = 0
        self._effective: set[str] = set()
        self._ineffective: dict[str, str] = {}
        self._untried: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what was proved of a test."""
        data = getattr(report, "trt", None)
        if data is None:
            return
        record = TestRecord.from_dict(data)
        proofs = [Proof(**proof) for proof in record.proofs]
        self._proofs += len(proofs)
        wrong = next((str(proof) for proof in proofs if not proof.holds), None)
        if hasattr(report, "wasxfail") and (record.checks or record.speeds):
            wrong = "the test is marked xfail, so a failed check cannot fail the run"
        if wrong is not None:
            self._ineffective[report.nodeid] = wrong
        elif proofs:
            self._effective.add(report.nodeid)
        elif report.skipped:
            self._untried[report.nodeid] = record.skipped or "skipped"
        elif report.failed:
            self._untried[report.nodeid] = "it fails without injected errors"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run for checks that cannot, also where the test itself is not failed by them."""
        if self._ineffective and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was proved."""
        terminalreporter.section("trt selftest", red=bool(self._ineffective))
        write = partial(write_prose, terminalreporter)
        for nodeid, why in self._ineffective.items():
            write(f"{nodeid}: {why}")
        for why in dict.fromkeys(self._untried.values()):
            tests = [nodeid for nodeid, reason in self._untried.items() if reason == why]
            named = ", ".join(tests[:_NAMED]) + (", ..." if len(tests) > _NAMED else "")
            write(f"not tried: {named}: {why}")
        write(
            f"{count(self._proofs, 'injection')}; checks by test: "
            f"{len(self._effective)} effective, {len(self._ineffective)} ineffective, "
            f"{len(self._untried)} not tried"
        )
