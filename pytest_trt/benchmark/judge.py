"""Judges a benchmark: from limits and evidence to a result. It measures and writes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.benchmark.baselines import engine_facts, stored_rounds
from pytest_trt.benchmark.conditions import without_insignificant_drift
from pytest_trt.benchmark.differences import Circumstances, Difference, differences
from pytest_trt.benchmark.evidence import BenchmarkSettings, Evidence, RoundSource
from pytest_trt.benchmark.gates import engine_results, outcomes
from pytest_trt.benchmark.messages import update_needs_reason
from pytest_trt.benchmark.result import FIGURE_OF, BenchmarkResult, MetricChange
from pytest_trt.benchmark.updating import BaselineUpdate, update_of
from pytest_trt.engine.layer_changes import layer_rows
from pytest_trt.statistics.absolute import combined
from pytest_trt.statistics.bounds import Bounds
from pytest_trt.statistics.decide import MetricResult
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.rounds import Rounds, as_change, as_figure, join
from pytest_trt.terms import METRICS, Metric, Verdict


def judge(
    result: BenchmarkResult,
    evidence: Evidence,
    source: RoundSource,
    limits: Limits,
    settings: BenchmarkSettings,
    stored: Entry | None,
    location: BaselineLocation,
) -> BenchmarkResult:
    """Return the result of a measurement: figures, every limit's result, and the verdict."""
    # What is accepted is not held against what it replaces.
    grown_from = None if settings.accepts_slower else evidence.entry
    engine = source.subject.engine
    result = replace(result, structure=engine_results(limits, engine, grown_from, evidence.busy))
    result = with_figures(result, source, evidence.entry)
    if limits.needs_baseline:
        result = _with_update(result, evidence, source, limits, settings, stored, location)
    if evidence.entry is not None:
        result = replace(
            result,
            recorded=evidence.entry.runs[-1].recorded,
            accepted_reason=evidence.entry.runs[-1].reason,
            same_engine=evidence.entry.engine.get("key") == result.key,
            differences=_differences(evidence.entry, evidence, source),
        )
    decision = evidence.decision
    verdict = _verdict(result, evidence)
    recorded = result.update in ("first", "added", "replaced") and verdict is Verdict.NOT_MEASURED
    return replace(
        result,
        kind="recorded" if recorded else "compared",
        verdict=verdict,
        rounds=decision.candidate_rounds if decision else len(source.taken),
        changes=tuple(map(_change, decision.metrics.values())) if decision else (),
        limits=evidence.absolute,
        limited=tuple(limits.relative),
        speedups=evidence.speedups,
        unlimited=tuple(
            _unlimited(metric, bounds)
            for metric, bounds in (decision.unlimited if decision else {}).items()
        ),
    )


def with_figures(
    result: BenchmarkResult, source: RoundSource, entry: Entry | None
) -> BenchmarkResult:
    """Return a result with the figures of all rounds of candidate and baseline."""
    candidate = join([source.rounds(), *source.elsewhere])
    baseline = None
    if entry is not None:
        runs = [run for run in entry.runs if run.calls == candidate.calls]
        baseline = join([stored_rounds(run) for run in runs])
    # Interleaved rounds are compared with each other and with nothing else.
    if source.interleaved:
        baseline = join([pair[0] for pair in source.interleaved])
        candidate = join([pair[1] for pair in source.interleaved])
    return replace(
        result,
        calls=source.calls,
        rounds=len(source.taken),
        candidate=figures_of_rounds(candidate),
        baseline=figures_of_rounds(baseline) if baseline else {},
        candidate_rounds=candidate.figures(),
        baseline_rounds=baseline.figures() if baseline else {},
    )


def _with_update(
    result: BenchmarkResult,
    evidence: Evidence,
    source: RoundSource,
    limits: Limits,
    settings: BenchmarkSettings,
    stored: Entry | None,
    location: BaselineLocation,
) -> BenchmarkResult:
    """Return a result with the baseline that it makes, or could make if somebody accepts it."""
    subject, engine = source.subject, source.subject.engine
    entry = evidence.entry
    keeps_noise = entry is not None and entry.engine.get("key") == subject.key
    recorded = settings.records(limits, stored)
    new = Entry(
        subject.mode,
        subject.spec,
        engine_facts(engine),
        evidence.runs,
        entry.noise if keeps_noise and entry else None,
        layer_rows(engine.facts.layers if engine else None),
    )
    update = BaselineUpdate(add=False)
    if stored is not None:
        different = stored.differs(mode=new.mode, spec=new.spec)
        update = (
            BaselineUpdate(False, different)
            if different
            else update_of(stored, new, limits.relative)
        )
        if not (different or update.add or settings.update_reason):
            new = replace(new, accepted=stored.accepted or stored.figures())
    staged = location.staged(
        new,
        add=update.add,
        why=update.why,
        against=entry_digest(stored),
        limited=limits.relative,
    )
    result = replace(result, staged=staged)
    if not recorded:
        return result
    passed = evidence.decision is not None and evidence.decision.outcome == "passed"
    excess = (None if passed else update.beyond) or update.drifted
    if excess is not None and not settings.update_reason:
        refused = update_needs_reason(result, excess, settings.update_options)
        return replace(result, diagnostics=(*result.diagnostics, refused))
    return replace(result, update="added" if update.add else "replaced" if stored else "first")


def _verdict(result: BenchmarkResult, evidence: Evidence) -> Verdict:
    absolute = combined(
        [
            *(one.outcome for one in evidence.absolute),
            *(one.outcome for one in evidence.speedups),
            *(one.outcome for one in result.structure),
        ]
    )
    relative = evidence.decision.outcome if evidence.decision else None
    if result.update and relative != "passed":
        # What is accepted is not held against what it replaces.
        return Verdict.NOT_MEASURED if absolute == "passed" else Verdict(absolute)
    return Verdict(combined([absolute] if relative is None else [absolute, relative]))


def has_passed(evidence: Evidence) -> bool:
    """Whether all limits that rounds are held against have passed."""
    return set(outcomes(evidence.decision, evidence.absolute, evidence.speedups)) <= {"passed"}


def _differences(entry: Entry, evidence: Evidence, source: RoundSource) -> tuple[Difference, ...]:
    then = entry.runs[-1]
    now = without_insignificant_drift(then.environment, evidence.environment)
    subject = source.subject
    return differences(
        Circumstances(then.toolchain, then.environment, entry.engine),
        Circumstances(subject.toolchain, now, engine_facts(subject.engine)),
    )


def figures_of_rounds(rounds: Rounds) -> Mapping[str, float]:
    """Return the medians of rounds by their names in results."""
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


def _unlimited(metric: Metric, bounds: Bounds) -> MetricChange:
    return MetricChange(
        metric,
        change=as_change(metric, bounds.estimate),
        least=_share(metric, bounds.low),
        most=_share(metric, bounds.high),
    )


def _share(metric: Metric, log: float) -> float | None:
    return as_change(metric, log) if math.isfinite(log) else None
