"""From decisions to a record: figures, changes, the verdict, and what is remarked beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.baselines import stored_rounds
from pytest_trt.benchmark.engine_gate import structure_outcomes
from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.benchmark.sampling import Sampled
from pytest_trt.plugin.state import TestState
from pytest_trt.report.speed_failure import noise_advice, seen_from
from pytest_trt.report.speed_text import FIGURE_OF, NAMES, bounds_of, gravest_change
from pytest_trt.statistics.absolute import AbsoluteLimitResult, combined
from pytest_trt.statistics.decide import Decision, MetricResult
from pytest_trt.statistics.rounds import Rounds, as_change, as_figure, join
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import METRICS, Metric, Verdict


def with_figures(
    record: BenchmarkResult,
    sampling: Sampled,
    entry: Entry | None,
    decision: Decision | None,
    kept: Sequence[AbsoluteLimitResult],
    *,
    strict: bool,
) -> BenchmarkResult:
    """Return a record with all that was measured, and its verdict.

    Args:
        record: What was known before.
        sampling: What was sampled.
        entry: The baseline that it was compared with, if it was.
        decision: What the relative limits came to; None where there is no baseline.
        kept: What the absolute limits came to.
        strict: Whether an inconclusive verdict fails the test.
    """
    candidate = join([sampling.rounds(), *sampling.elsewhere])
    baseline = None
    if entry is not None:
        alike = [run for run in entry.runs if run.calls == candidate.calls]
        baseline = join([stored_rounds(run) for run in alike])
    # Rounds that took turns are compared with each other and with nothing else.
    if sampling.turns:
        baseline = join([pair[0] for pair in sampling.turns])
        candidate = join([pair[1] for pair in sampling.turns])
    verdict = _verdict(record, decision, kept)
    inconclusive = verdict is Verdict.INCONCLUSIVE
    return replace(
        record,
        verdict=verdict.value,
        fails=verdict in (Verdict.FAILED, Verdict.REGRESSED)
        or (inconclusive and strict)
        or bool(record.fix),
        calls=sampling.calls,
        rounds=decision.candidate_rounds if decision else len(sampling.taken),
        changes=tuple(map(_change, decision.found.values())) if decision else (),
        limits=tuple(kept),
        unlimited=tuple(
            MetricChange(
                metric,
                change=as_change(metric, bounds.estimate),
                least=_share(metric, bounds.low),
                most=_share(metric, bounds.high),
            )
            for metric, bounds in (decision.unlimited if decision else {}).items()
        ),
        candidate=_figures(candidate),
        baseline=_figures(baseline) if baseline else {},
        candidate_rounds=candidate.figures(),
        baseline_rounds=baseline.figures() if baseline else {},
    )


def _verdict(
    record: BenchmarkResult, decision: Decision | None, kept: Sequence[AbsoluteLimitResult]
) -> Verdict:
    absolute = combined([*(one.outcome for one in kept), *structure_outcomes(record)])
    relative = decision.outcome if decision else None
    if record.update and relative != "passed":
        # What is accepted is not held against what it replaces.
        if absolute == "passed":
            return Verdict.NOT_MEASURED
        return Verdict(absolute)
    return Verdict(combined([absolute] if relative is None else [absolute, relative]))


def _figures(rounds: Rounds) -> Mapping[str, float]:
    return {
        FIGURE_OF[metric]: as_figure(metric, math.log(rounds.median(metric)))
        for metric in METRICS
        if metric in rounds.logs
    }


def _change(found: MetricResult) -> MetricChange:
    bounds, metric = found.bounds, found.metric
    return MetricChange(
        metric=metric,
        outcome=found.outcome,
        limit=abs(as_change(metric, found.limit)),
        change=_share(metric, bounds.estimate) if bounds else None,
        least=_share(metric, bounds.low) if bounds else None,
        most=_share(metric, bounds.high) if bounds else None,
        detectable=abs(as_change(metric, found.detectable))
        if math.isfinite(found.detectable)
        else None,
        step=found.step,
        rounds=found.rounds,
        why=found.why,
    )


def _share(metric: Metric, log: float) -> float | None:
    return as_change(metric, log) if math.isfinite(log) else None


def remark_on(record: BenchmarkResult, state: TestState, entry: Entry | None) -> None:
    """Remark what does not fail a test, and has to be known all the same.

    Args:
        record: What was found.
        state: The test's state.
        entry: The baseline that it was compared with, if it was.
    """
    subject = " ".join(filter(None, (record.model, record.precision, record.arch)))
    then = entry.runs[-1].toolchain if entry else record.toolchain
    if then != record.toolchain and not record.fails:
        state.remark(f"{subject}: speed was compared across {then} -> {record.toolchain}")
    if record.verdict != Verdict.INCONCLUSIVE.value or record.fails:
        return
    change = gravest_change(record)
    if change is None or change.outcome == "passed":
        limits: list[AbsoluteLimitResult | StructuralLimitResult] = [
            *record.limits,
            *record.structure,
        ]
        short = [
            f"{one.name} is {one.outcome}: {one.why}".rstrip(" :")
            for one in limits
            if one.outcome != "passed"
        ]
        state.remark(f"{subject}: {short[0]}")
        return
    name = NAMES[change.metric]
    if change.change is None:
        state.remark(
            f"{subject}: {name} is {change.outcome}: {change.why}; {noise_advice(record, change)}"
        )
        return
    why = change.why or noise_advice(record, change)
    told = f"{change.change:+.1%} ({bounds_of(change)}) against a limit of {change.limit:.0%}"
    if change.why and change.detectable is not None:
        told += f", {seen_from(change)}"
    state.remark(f"{subject}: {name} is inconclusive, {told}: {why}")
