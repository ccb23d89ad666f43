"""Builds the document that every report is written from: `entries.Report` as plain data.

Writers, the command line and readers of `.json` reports work on this one shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeAlias

from pytest_trt.accuracy.result import AccuracyResult, Finding, OutputResult
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.engine.record import EngineRecord
from pytest_trt.records import from_data, to_data
from pytest_trt.report import entries
from pytest_trt.report.coverage import coverage_of
from pytest_trt.report.entries import REPORT_SCHEMA, Status
from pytest_trt.report.groups import groups_of
from pytest_trt.report.record import PlannedTest, TestRecord
from pytest_trt.report.status import Phase, PhaseOutcomes, checks_status, is_judged, status_of
from pytest_trt.selftest.proof import Proof
from pytest_trt.version import __version__

#: A whole report as JSON-simple data, in the shape of `entries.Report`.
Document: TypeAlias = dict[str, Any]

#: Characters of one failure that are stored, its beginning and its end. The limit decreases with
#: the number of failures down to the last figure: a thousand make a report that can be opened.
_FAILURE_CHARS = 5000
_ALL_FAILURES_CHARS = 2_000_000
_FAILURE_CHARS_LEAST = 1000

#: Characters of one value of a spec that are stored.
_SPEC_CHARS = 160

#: Significant digits of figures of single rounds: replayed graphs repeat within 0.05%.
_ROUND_DIGITS = 5

#: Significant digits of other figures: enough to tell any two FP32 numbers apart.
_DIGITS = 9


def make_document(
    run: Mapping[str, Any],
    planned: Mapping[str, PlannedTest],
    outcomes: Mapping[str, PhaseOutcomes],
    repeat: Mapping[str, str],
    required: Sequence[str] = (),
) -> Document:
    """Return the document of one run."""
    failing = sum(found.outcome == "failed" for found in outcomes.values())
    most_chars = _ALL_FAILURES_CHARS // max(failing, 1)
    most_chars = min(_FAILURE_CHARS, max(most_chars, _FAILURE_CHARS_LEAST))
    tests = []
    engines: dict[str, dict[str, Any]] = {}
    for nodeid, plan in planned.items():
        found = outcomes.get(nodeid)
        tests.append(to_data(_test(plan, found, repeat.get(nodeid, ""), most_chars)))
        for engine in found.record.engines if found and found.record else ():
            facts = engines.setdefault(engine.key, to_data(engine))
            for name in ("load_s", "first_inference_s"):  # the first test may not have run it
                facts[name] = getattr(engine, name) if facts[name] is None else facts[name]
    counts = Counter(test["status"] for test in tests)
    in_order = {one.value: counts[one.value] for one in Status if counts[one.value]}
    document: Document = {
        "schema": REPORT_SCHEMA,
        "written_by": f"pytest-trt {__version__}",
        "runs": [to_data({**run, "counts": in_order})],
        "engines": engines,
        "tests": tests,
    }
    document["coverage"] = coverage_of(document, required)
    document["groups"] = grouped(tests)
    return document


def grouped(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return why tests of a report failed, each reason once."""
    found = [
        (test["id"], [from_data(Diagnostic, one) for one in test["diagnostics"]]) for test in tests
    ]
    return [to_data(group) for group in groups_of(found)]


def planned_from(nodeid: str, outcomes: PhaseOutcomes) -> PlannedTest:
    """Return a test that was not collected in this process, as far as its record shows it."""
    engines = outcomes.record.engines if outcomes.record else ()
    engine = engines[0] if engines else None
    return PlannedTest(
        nodeid=nodeid,
        test=nodeid,
        file=nodeid.partition("::")[0],
        line=0,
        model=engine.model if engine else "",
        precision=engine.precision if engine else "",
        arch=engine.arch if engine else "",
        on_engine=bool(engines),
    )


def _test(
    plan: PlannedTest, outcomes: PhaseOutcomes | None, repeat: str, most_chars: int
) -> entries.Test:
    status = status_of(outcomes, selected=plan.selected, checks=plan.checks)
    if plan.imported_from:
        status = Status.NOT_MEASURED
    phases = outcomes.phases if outcomes else {}
    record = (outcomes.record if outcomes else None) or TestRecord()
    return entries.Test(
        id=plan.nodeid,
        test=plan.test,
        run=0,
        file=plan.file,
        line=plan.line,
        model=plan.model,
        precision=plan.precision,
        arch=plan.arch,
        checks=plan.checks,
        on_engine=plan.on_engine or bool(record.engines and not plan.imported_from),
        status=status,
        outcome=outcomes.outcome if outcomes else None,
        reason=f"imported from {plan.imported_from}, not judged"
        if plan.imported_from
        else _reason(status, phases, record),
        duration_s=round(sum(phase.duration_s for phase in phases.values()), 3),
        failure=_failure(phases, most_chars),
        diagnostics=record.diagnostics,
        notes=record.notes,
        repeat=repeat,
        selftest=tuple(from_data(Proof, proof) for proof in record.proofs),
        results=_results(record, status),
        imported_from=plan.imported_from,
        judged=is_judged(outcomes, status),
        compared_with=plan.compared_with,
        drift=plan.drift,
    )


def _reason(status: Status, phases: Mapping[str, Phase], record: TestRecord) -> str:
    if status is Status.NOT_RUN:
        return "the run ended before it"
    if status is Status.DESELECTED:
        return "deselected by -k, -m, --deselect or a hook"
    if record.skipped:
        return record.skipped
    for phase in phases.values():
        if phase.xfail is not None and phase.outcome == "skipped":
            early = status is Status.NOT_MEASURED
            return f"{'xfail before a verdict: ' * early}{phase.xfail}"
        if phase.outcome != "passed":
            return phase.reason
    updates: list[str] = [one.update for one in record.speeds]
    updates += [one.update for one in record.task_metrics]
    if status is Status.NOT_MEASURED and any(updates):
        return "recorded as a new baseline, nothing to compare with"
    if status is Status.NOT_MEASURED and record.lacks_answers:
        recorded = record.answers is not None and record.answers.update
        new = "its answers were recorded as a new baseline" if recorded else "no answers are stored"
        return f"{new}, nothing stored to compare with"
    if status is Status.INCONCLUSIVE:
        causes = [one.reason for one in record.speeds if one.reason is not None]
        causes += sorted(record.notes, key=lambda one: one.severity == "note")
        return causes[0].message if causes else ""
    return ""


def _failure(phases: Mapping[str, Phase], most_chars: int) -> str:
    text = "\n\n".join(phase.text for phase in phases.values() if phase.outcome == "failed")
    if len(text) <= most_chars:
        return text
    half = most_chars // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out:,} characters left out ...]\n{text[-half:]}"


def _results(record: TestRecord, status: Status) -> tuple[entries.Result, ...]:
    found = tuple(_result(engine, record, status) for engine in record.engines)
    if status is Status.FAILED and all(one.status is not Status.FAILED for one in found):
        # None of them is to blame alone, and none may stand as passed in a failed test.
        return tuple(replace(one, status=status) for one in found)
    return found


def _result(engine: EngineRecord, record: TestRecord, status: Status) -> entries.Result:
    # Of an engine that was compared with its model and with stored answers, the worse.
    own_checks = [one for one in record.checks if one.key == engine.key]
    own_checks.sort(key=lambda one: (one.failed_runs > 0, one.used or 0.0), reverse=True)
    check, also = own_checks[0] if own_checks else None, own_checks[1:]
    invariants = tuple(found for one in own_checks for found in one.invariants)
    speed = next((one for one in record.speeds if one.key == engine.key), None)
    own = checks_status(record, engine.key)
    if own is None:
        # Where other engines were checked and this one was not, the test's status is theirs.
        own = Status.NOT_MEASURED if record.checks or record.speeds else status
    return entries.Result(
        engine=engine.key,
        model=engine.model,
        precision=engine.precision,
        arch=engine.arch,
        status=own,
        cached=engine.cached,
        build_s=engine.build_s,
        why_built="" if engine.cached else engine.reason,
        accuracy=None if check is None else _accuracy(replace(check, invariants=invariants)),
        speed=None if speed is None else _speed(speed),
        task_metrics=tuple(one for one in record.task_metrics if one.key == engine.key),
        accepted=_accepted(engine, record),
        also=tuple(_accuracy(replace(one, invariants=())) for one in also),
    )


def _accepted(engine: EngineRecord, record: TestRecord) -> entries.AcceptedErrors | None:
    errors = record.accepted.get(f"{engine.arch} {engine.precision}")
    if errors is None:
        return None
    return entries.AcceptedErrors(reason=record.accepted_reason, errors=dict(errors))


def _accuracy(check: AccuracyResult) -> entries.Accuracy:
    return entries.Accuracy(
        verdict=check.verdict,
        against=check.against,
        runs=check.runs,
        failed_runs=check.failed_runs,
        used=check.used,
        worst_output=check.worst_output,
        outputs=tuple(map(_output, check.outputs)),
        findings=_findings(check.findings),
        metrics=check.metrics,
        invariants=check.invariants,
    )


def _output(output: OutputResult) -> entries.Output:
    return entries.Output(
        name=output.name,
        dtype=output.dtype,
        shape=output.shape,
        tolerance=output.tolerance,
        used=_short(output.used),
        worst_abs=_short(output.worst_abs),
        worst_rel=_short(output.worst_rel),
        worst_used=_short(output.worst_used),
        compared=output.compared,
        mismatched=output.mismatched,
        needed_atol=_short(output.needed_atol),
        needed_rtol=_short(output.needed_rtol),
        cosine=_short(output.cosine),
        top1=_short(output.top1),
        topk=_short(output.topk),
        nonfinite=output.nonfinite.positions,
        nonfinite_disagreeing=output.nonfinite.disagreeing,
        histogram=output.histogram,
        findings=_findings(output.findings),
    )


def _findings(findings: Iterable[Finding]) -> tuple[entries.OutputFinding, ...]:
    return tuple(entries.OutputFinding(kind=one.kind, text=one.text) for one in findings)


def _speed(speed: BenchmarkResult) -> entries.Speed:
    leading, reason = speed.leading_change, speed.reason
    return entries.Speed(
        verdict=speed.verdict,
        mode=speed.mode,
        batch=speed.batch,
        calls=speed.calls,
        rounds=speed.rounds,
        candidate=_short(speed.candidate, _ROUND_DIGITS),
        baseline=_short(speed.baseline, _ROUND_DIGITS),
        candidate_rounds=_short(speed.candidate_rounds, _ROUND_DIGITS),
        baseline_rounds=_short(speed.baseline_rounds, _ROUND_DIGITS),
        leading=None if leading is None else leading.metric,
        changes=_short(speed.changes),
        unlimited=_short(speed.unlimited),
        limits=_short(speed.limits),
        limited=speed.limited,
        speedups=_short(speed.speedups),
        structure=_short(speed.structure),
        layer_changes=speed.layer_changes,
        baseline_file=speed.file,
        baseline_recorded=speed.recorded,
        baseline_reason=speed.accepted_reason,
        baseline_update=speed.update,
        differences=tuple(map(str, speed.differences)),
        why=reason.message if reason and speed.kind != "compared" else "",
        spec={label: _bounded(value) for label, value in speed.spec.items()},
    )


def _bounded(text: str) -> str:
    """Return a text of a spec; of a long one the beginning, and a digest that tells it apart."""
    if len(text) <= _SPEC_CHARS:
        return text
    return f"{text[:_SPEC_CHARS]}... ({sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]})"


def _short(value: Any, digits: int = _DIGITS) -> Any:
    """Return a value, or its data, with shorter numbers: sums in float64 have excess digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: _short(one, digits) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(one, digits) for one in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return _short(to_data(value), digits)
