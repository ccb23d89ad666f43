"""Diagnostics of verdicts: what failed and by how much, what is inconclusive, and what to do."""

from __future__ import annotations

import math
import shlex

from pytest_trt import units
from pytest_trt.benchmark.commands import update_command
from pytest_trt.benchmark.differences import CAUSES, Kind
from pytest_trt.benchmark.figure_text import (
    ENGINE_NAMES,
    bounds_text,
    engine_details,
    engine_figure,
    engine_limit,
    factor_text,
    facts_of,
    limit_text,
    reasons,
    since,
    speed_details,
    speedup_bounds,
    speedup_text,
)
from pytest_trt.benchmark.messages import let_pass
from pytest_trt.benchmark.result import (
    FIGURE_OF,
    METRIC_OF,
    SEVERITY,
    BenchmarkResult,
    MetricChange,
)
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy, Severity
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import Metric
from pytest_trt.units import METRIC_NAMES
from pytest_trt.wording import count

#: Added layers that a remedy names; further ones are counted.
_ADDED = 2
_WHERE = "(trt_benchmark marker or trt_limits)"


def verdict_diagnostics(
    result: BenchmarkResult, *, strict: bool, accepted: bool = False
) -> list[Diagnostic]:
    """Return what the limits of a result come to: its failures, else what is inconclusive.

    Args:
        result: What was measured and judged.
        strict: Whether an inconclusive verdict fails the test.
        accepted: Whether the speed becomes the baseline, so that relative limits do not apply.
    """
    change, limit, engine = result.leading_change, result.leading_limit, _worst_engine(result)
    speedup = result.leading_speedup
    failed = []
    if change is not None and change.outcome == "regressed" and not accepted:
        failed.append(_regression(result, change))
    if limit is not None and limit.outcome == "failed":
        failed.append(_exceeded(result, limit))
    if speedup is not None and speedup.outcome == "failed":
        failed.append(_too_slow(result, speedup))
    if engine is not None and engine.outcome == "failed":
        failed.append(_engine_exceeded(result, engine))
    if failed:
        return failed
    severity: Severity = "error" if strict else "warning"
    found = []
    if change is not None and change.outcome != "passed" and not accepted:
        found.append(_inconclusive(result, change, severity))
    if limit is not None and limit.outcome != "passed":
        found.append(_inconclusive_limit(result, limit, severity))
    if speedup is not None and speedup.outcome != "passed":
        found.append(_inconclusive_speedup(result, speedup, severity))
    if engine is not None and engine.outcome != "passed":
        found.append(_inconclusive_engine(result, engine, severity))
    return found


def _worst_engine(result: BenchmarkResult) -> StructuralLimitResult | None:
    return min(result.structure, key=lambda one: SEVERITY.index(one.outcome), default=None)


def _regression(result: BenchmarkResult, change: MetricChange) -> Diagnostic:
    name = METRIC_NAMES[change.metric]
    side = "under" if change.metric == "throughput" else "over"
    by = units.change(change.change).removeprefix("-")
    facts = {
        "metric": change.metric,
        "change": change.change,
        "limit": change.limit,
        "least": change.least,
        "most": change.most,
        "beyond_limit": change.certain_use,
        "causes": [one.kind for one in result.differences if one.kind in CAUSES],
    }
    return Diagnostic(
        "TRT501",
        f"{name} {by} {side} the baseline, limit {units.percent(change.limit)} ({result.subject})",
        facts_of(result, facts),
        tuple(speed_details(result, change.metric)),
        _restore_or_accept(result, slower=True),
    )


def _exceeded(result: BenchmarkResult, limit: AbsoluteLimitResult) -> Diagnostic:
    metric = METRIC_OF[limit.name]
    verb = "is below" if metric == "throughput" else "exceeds"
    of_all = "" if metric == "throughput" else " of all calls"
    return Diagnostic(
        "TRT502",
        f"{METRIC_NAMES[metric]}{of_all} {units.figure(metric, limit.measured)} {verb} the limit "
        f"of {units.figure(metric, limit.limit)} ({result.subject})",
        facts_of(result, {"name": limit.name, "limit": limit.limit, "measured": limit.measured}),
        tuple(speed_details(result, None)),
        Remedy(f"Make the engine faster, or {_relax(limit.name)}."),
    )


def _too_slow(result: BenchmarkResult, one: SpeedupResult) -> Diagnostic:
    return Diagnostic(
        "TRT517",
        f"{speedup_text(one)}, limit {factor_text(one.factor)} ({result.subject})",
        facts_of(result, _speedup_facts(one)),
        tuple(speed_details(result, None)),
        _make_faster(result),
    )


def _speedup_facts(one: SpeedupResult) -> dict[str, Fact]:
    return {
        "opponent": one.opponent,
        "limit": one.factor,
        "ratio": one.ratio,
        "least": one.least,
        "most": one.most,
        "opponent_ms": one.opponent_ms,
        "candidate_ms": one.candidate_ms,
        "ran": one.ran,
    }


def _make_faster(result: BenchmarkResult) -> Remedy:
    if result.fp32_layers is None:
        return Remedy(f"Make the engine faster, or {_relax('faster_than')}.")
    wide, computing = result.fp32_layers
    still = f"{wide} of {computing} layers that compute are still FP32."
    if not result.plan:
        return Remedy(still, (), (_relax("faster_than"),))
    return Remedy(
        f"{still} This lists them:",
        (f"pytest-trt inspect --layers {shlex.quote(result.plan)}",),
        (_relax("faster_than"),),
    )


def _engine_exceeded(result: BenchmarkResult, one: StructuralLimitResult) -> Diagnostic:
    name, measured = ENGINE_NAMES[one.name], one.measured or 0.0
    facts = {"name": one.name, "limit": one.limit, "measured": measured, "stored": one.stored}
    if one.stored is None:
        better = "Make the engine faster" if one.name.endswith("_s") else "Make the engine smaller"
        return Diagnostic(
            "TRT504",
            f"{name} {engine_figure(one.name, measured)} exceeds the limit of "
            f"{engine_figure(one.name, one.limit)} ({result.subject})",
            facts_of(result, facts),
            tuple(engine_details(result)),
            Remedy(f"{better}, or {_relax(one.name)}."),
        )
    grown = engine_figure(one.name, measured - one.stored)
    share = units.change(measured / one.stored - 1) if one.stored else "all"
    return Diagnostic(
        "TRT503",
        f"{name} {share} over the baseline, limit {units.percent(one.limit)} ({result.subject})",
        facts_of(result, facts),
        (
            f"{engine_figure(one.name, measured)}, {grown} more than the baseline's "
            f"{engine_figure(one.name, one.stored)}",
            *engine_details(result),
            *since(result),
        ),
        _restore_or_accept(result, slower=False),
    )


def _restore_or_accept(result: BenchmarkResult, *, slower: bool) -> Remedy:
    """Return what to do about an engine that is worse than the baseline's."""
    accept = update_command([result.test_argument], result.update_options)
    kinds = {one.kind for one in result.differences}
    text, commands = _restoring(result, kinds)
    what = "slower speed" if slower else "new engine"
    return Remedy(
        f"{text}. If the {what} is intended, accept it on the baseline's machine and commit "
        f"{result.file or 'the baseline file'}.",
        (*commands, accept),
    )


def _restoring(result: BenchmarkResult, kinds: set[Kind]) -> tuple[str, tuple[str, ...]]:
    added = ""
    if result.added_layers:
        named, number = ", ".join(result.added_layers[:_ADDED]), len(result.added_layers)
        added = f", or remove {count(number, 'added layer')}: {named}"
        added += f" and {number - _ADDED} more" if number > _ADDED else ""
    if "model" in kinds or "engine" in kinds:
        return f"Restore the model that the baseline was recorded with{added}", result.restore
    if "options" in kinds:
        return f"Restore the builder and its options{added}", ()
    causes = [str(one) for one in result.differences if one.kind in CAUSES]
    if causes:
        return f"Restore what the baseline was measured with ({causes[0]})", ()
    if not result.precision:
        return "Check what changed in the function that is timed", ()
    return "Check what changed on this machine: the engine is the baseline's", ()


def _inconclusive(result: BenchmarkResult, change: MetricChange, severity: Severity) -> Diagnostic:
    name, allowed = METRIC_NAMES[change.metric], limit_text(change)
    measured = ""
    if change.change is not None:
        measured = f"{units.change(change.change)} ({bounds_text(change)}), "
    elif change.outcome == "inconclusive" and (figures := _figures_text(result, change.metric)):
        measured = f"{figures}, "
    facts = {
        "metric": change.metric,
        "change": change.change,
        "limit": change.limit,
        "detectable": change.detectable,
        "reason": change.why,
    }
    return Diagnostic(
        "TRT505",
        f"{name} is {change.outcome}: {measured}limit {allowed} ({result.subject})",
        facts_of(result, facts),
        (
            *reasons(result.changes),
            *([_detectable_text(change)] if change.outcome == "inconclusive" else []),
            *speed_details(result, change.metric, above=[one.why for one in result.changes]),
        ),
        _more_certainty(result, change, severity),
        severity,
    )


def _figures_text(result: BenchmarkResult, metric: Metric) -> str:
    """Return a metric of baseline and candidate: "1.00 ms -> 1.10 ms"; empty without both."""
    sides = [side.get(FIGURE_OF[metric]) for side in (result.baseline, result.candidate)]
    known = [units.figure(metric, value) for value in sides if value is not None]
    return " -> ".join(known) if len(known) == len(sides) else ""


def _detectable_text(change: MetricChange) -> str:
    if change.detectable is None:
        return "no change of any size could have been detected"
    worse = change.detectable * (-1 if change.metric == "throughput" else 1)
    return f"smallest change that could have been detected: {units.change(worse)}"


#: Differences of the engine itself, which may be slower.
_OF_MODEL = frozenset({"model", "options", "engine", "layers"})


def _more_certainty(result: BenchmarkResult, change: MetricChange, severity: Severity) -> Remedy:
    if change.outcome == "not measured":
        text = "Use faster calls, allow more time (--trt-benchmark-time), or switch the limit off."
        return Remedy(text, alternatives=let_pass(severity))
    others = [*let_pass(severity)]
    # A limit that no change could have exceeded would only pass because it cannot fail.
    if change.detectable is not None and math.isfinite(change.worst):
        others.insert(0, f"Raise the limit above {units.percent(change.worst)}")
    kinds = {one.kind for one in result.differences}
    if not result.same_engine and not kinds.isdisjoint(_OF_MODEL):
        # An update would record what may well be slower.
        if change.step == "interleaved" or "toolchain" in kinds:
            return Remedy("Measure on an idle host.", alternatives=tuple(others))
        test = result.test_argument
        return Remedy(
            "Build the engine of the baseline too, at the commit of the baseline, so that both are "
            "timed interleaved:",
            (
                "git checkout COMMIT",
                f"pytest {shlex.quote(test)} --trt-build-only",
                "git checkout -",
                f"pytest {shlex.quote(test)}",
            ),
            tuple(others),
        )
    if any(one.kind == "host load" and one.then for one in result.differences):
        older = [one.then for one in result.differences if one.kind == "toolchain"]
        engine = older[0] if older else "the engine of the baseline"
        of = "" if result.same_engine else f", with {engine}"
        again = f"Record the baseline again on an idle host{of}:"
        command = update_command([result.test_argument], result.update_options)
        return Remedy(again, (command,), tuple(others))
    changed = [str(one) for one in result.differences if one.kind == "environment"]
    if change.detectable is None and changed:
        return Remedy(
            f"Restore what the baseline was measured with ({changed[0]}), or record it again:",
            (update_command([result.test_argument], result.update_options),),
            tuple(others),
        )
    if result.same_engine:  # another engine would replace what it is compared with
        others.insert(0, "Record more runs of this engine: --trt-update")
    return Remedy("Measure on an idle host.", alternatives=tuple(others))


def _inconclusive_limit(
    result: BenchmarkResult, limit: AbsoluteLimitResult, severity: Severity
) -> Diagnostic:
    metric = METRIC_OF[limit.name]
    again = "Run again on an idle host"
    if limit.needs_calls:
        again = "Allow more time (--trt-benchmark-time)"
    return Diagnostic(
        "TRT506",
        f"{limit.name} is {limit.outcome}: {units.figure(metric, limit.measured)}, limit "
        f"{units.figure(metric, limit.limit)} ({result.subject})",
        facts_of(
            result,
            {
                "name": limit.name,
                "limit": limit.limit,
                "measured": limit.measured,
                "reason": limit.why,
            },
        ),
        (*([limit.why] if limit.why else []), *speed_details(result, None, above=[limit.why])),
        Remedy(f"{again}, or {_relax(limit.name)}.", alternatives=let_pass(severity)),
        severity,
    )


def _inconclusive_speedup(
    result: BenchmarkResult, one: SpeedupResult, severity: Severity
) -> Diagnostic:
    return Diagnostic(
        "TRT518",
        f"faster_than is {one.outcome}: {speedup_text(one)} ({speedup_bounds(one)}), limit "
        f"{factor_text(one.factor)} ({result.subject})",
        facts_of(result, _speedup_facts(one)),
        (
            f"smallest ratio that would have passed: {factor_text(one.enough)}",
            *speed_details(result, None),
        ),
        Remedy(f"Run again on an idle host, or {_relax('faster_than')}.", (), let_pass(severity)),
        severity,
    )


def _inconclusive_engine(
    result: BenchmarkResult, one: StructuralLimitResult, severity: Severity
) -> Diagnostic:
    remedy = (
        f"Run again when the host is idle, or {_relax(one.name)}."
        if one.outcome == "inconclusive"
        else f"Switch {one.name} off for this engine."
    )
    figure = "" if one.measured is None else f"{engine_figure(one.name, one.measured)}, "
    return Diagnostic(
        "TRT507",
        f"{one.name} is {one.outcome}: {figure}limit {engine_limit(one)} ({result.subject})",
        facts_of(result, {"name": one.name, "limit": one.limit, "reason": one.why}),
        (one.why, *engine_details(result)),
        Remedy(remedy, alternatives=let_pass(severity)),
        severity,
    )


def _relax(name: str) -> str:
    """Return how a limit is relaxed: "raise p99_ms= (trt_benchmark marker or trt_limits)"."""
    lower = name in ("min_throughput", "faster_than")
    return f"{'lower' if lower else 'raise'} {name}= {_WHERE}"
