"""Diagnostics of benchmarks: what failed and by how much, against what, and what to do."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_trt import units
from pytest_trt.benchmark.differences import CAUSES, Kind
from pytest_trt.benchmark.result import (
    FIGURE_OF,
    METRIC_OF,
    SEVERITY,
    BenchmarkResult,
    MetricChange,
)
from pytest_trt.benchmark.updating import Excess
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy, Severity
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.discount import HOST_CLOCK_ALLOWANCE_LOG
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.statistics.structure import GROWTHS, StructuralLimitResult
from pytest_trt.terms import CPU, Metric
from pytest_trt.units import METRIC_NAMES
from pytest_trt.wording import count

#: Added layers that a remedy names; further ones are counted.
_ADDED = 2

#: Columns of the plot, and the marks for more and more rounds in one of them.
_PLOT_COLUMNS = 48
_PLOT_MARKS = " .:+*#@"

#: How a decision was reached, by its step.
_HOW = {
    "screening": "against stored rounds",
    "interleaved": "interleaved with the baseline engine",
    "fresh processes": "in fresh processes, against stored rounds",
    "one process": "in one process, against stored rounds",
}

#: The name of each figure of an engine.
ENGINE_NAMES = {
    "plan_size": "plan size",
    "plan_size_bytes": "plan size",
    "device_memory": "device memory",
    "device_memory_bytes": "device memory",
    "layers": "layers",
    "max_layers": "layers",
    "build_s": "build time",
    "cold_start_s": "cold start",
}

#: Up to so many tests are named in a command; of more, their files.
_TESTS_TYPED = 12

#: Ratios of figures below this are damage.
_LEAST_RATIO = 1e-9

_REASON = "--trt-update-reason"
_LET_PASS = "Let inconclusive tests pass: --trt-inconclusive=warn"
_WHERE = "(trt_benchmark marker or trt_limits)"
_FREE_GPU = "Run again when the GPU is idle and not throttled."
_FREE_HOST = "Run again when the host is idle, without pytest-xdist (-n)."


def pytest_command(tests: Sequence[str], *options: str) -> str:
    """Return the command that runs tests, given as pytest takes them where it is started."""
    named = tests if len(tests) <= _TESTS_TYPED else [test.partition("::")[0] for test in tests]
    return " ".join(("pytest", *map(shlex.quote, dict.fromkeys(named)), *options))


def update_command(tests: Sequence[str], given: Sequence[str] = ()) -> str:
    """Return the command that accepts the figures of tests.

    Args:
        tests: The tests.
        given: Options that the user gave, to repeat; a reason is asked for unless they have one.
    """
    has_reason = any(one.startswith(f"{_REASON}=") for one in given)
    asked = () if has_reason else (f'{_REASON} "..."',)
    return pytest_command(tests, "--trt-update", *asked, *map(shlex.quote, given))


def command_again(result: BenchmarkResult, *options: str, update: bool) -> str:
    """Return the command that runs a test again with more options.

    Args:
        result: What is known of the test.
        options: The options; each replaces the one of this run.
        update: Whether the run is to update the baseline.
    """
    replaced = tuple(f"{one.partition('=')[0]}=" for one in options)
    others = [one for one in result.update_options if not one.startswith(replaced)]
    if update:
        return update_command([result.test_argument], [*others, *options])
    again = [one for one in others if not one.startswith(f"{_REASON}=")]
    return pytest_command([result.test_argument], *map(shlex.quote, again), *options)


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


# --- failures


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
        _facts(result, facts),
        tuple(_speed_details(result, change.metric)),
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
        _facts(result, {"name": limit.name, "limit": limit.limit, "measured": limit.measured}),
        tuple(_speed_details(result, None)),
        Remedy(f"Make the engine faster, or {_relax(limit.name)}."),
    )


def _too_slow(result: BenchmarkResult, one: SpeedupResult) -> Diagnostic:
    return Diagnostic(
        "TRT517",
        f"{speedup_text(one)}, limit {factor_text(one.factor)} ({result.subject})",
        _facts(result, _speedup_facts(one)),
        tuple(_speed_details(result, None)),
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


def speedup_text(one: SpeedupResult) -> str:
    """Return how fast an engine is: "1.12x as fast as fp32"."""
    return f"{factor_text(one.ratio)} as fast as {one.opponent}"


def factor_text(factor: float) -> str:
    """Return a factor: "1.5x"."""
    return f"{units.multiple(factor)}x"


def _engine_exceeded(result: BenchmarkResult, one: StructuralLimitResult) -> Diagnostic:
    name, measured = ENGINE_NAMES[one.name], one.measured or 0.0
    facts = {"name": one.name, "limit": one.limit, "measured": measured, "stored": one.stored}
    if one.stored is None:
        better = "Make the engine faster" if one.name.endswith("_s") else "Make the engine smaller"
        return Diagnostic(
            "TRT504",
            f"{name} {engine_figure(one.name, measured)} exceeds the limit of "
            f"{engine_figure(one.name, one.limit)} ({result.subject})",
            _facts(result, facts),
            tuple(_engine_details(result)),
            Remedy(f"{better}, or {_relax(one.name)}."),
        )
    grown = engine_figure(one.name, measured - one.stored)
    share = units.change(measured / one.stored - 1) if one.stored else "all"
    return Diagnostic(
        "TRT503",
        f"{name} {share} over the baseline, limit {units.percent(one.limit)} ({result.subject})",
        _facts(result, facts),
        (
            f"{engine_figure(one.name, measured)}, {grown} more than the baseline's "
            f"{engine_figure(one.name, one.stored)}",
            *_engine_details(result),
            *_since(result),
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


# --- inconclusive


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
        _facts(result, facts),
        (
            *_reasons(result.changes),
            *([_detectable_text(change)] if change.outcome == "inconclusive" else []),
            *_speed_details(result, change.metric, above=[one.why for one in result.changes]),
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
        return Remedy(text, alternatives=_let_pass(severity))
    others = [*_let_pass(severity)]
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
        _facts(
            result,
            {
                "name": limit.name,
                "limit": limit.limit,
                "measured": limit.measured,
                "reason": limit.why,
            },
        ),
        (*([limit.why] if limit.why else []), *_speed_details(result, None, above=[limit.why])),
        Remedy(f"{again}, or {_relax(limit.name)}.", alternatives=_let_pass(severity)),
        severity,
    )


def _inconclusive_speedup(
    result: BenchmarkResult, one: SpeedupResult, severity: Severity
) -> Diagnostic:
    return Diagnostic(
        "TRT518",
        f"faster_than is {one.outcome}: {speedup_text(one)} ({speedup_bounds(one)}), limit "
        f"{factor_text(one.factor)} ({result.subject})",
        _facts(result, _speedup_facts(one)),
        (
            f"smallest ratio that would have passed: {factor_text(one.enough)}",
            *_speed_details(result, None),
        ),
        Remedy(f"Run again on an idle host, or {_relax('faster_than')}.", (), _let_pass(severity)),
        severity,
    )


def speedup_bounds(one: SpeedupResult) -> str:
    """Return the bounds of a ratio: "1.09x to 1.15x"."""
    return f"{factor_text(one.least)} to {factor_text(one.most)}"


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
        _facts(result, {"name": one.name, "limit": one.limit, "reason": one.why}),
        (one.why, *_engine_details(result)),
        Remedy(remedy, alternatives=_let_pass(severity)),
        severity,
    )


def _relax(name: str) -> str:
    """Return how a limit is relaxed: "raise p99_ms= (trt_benchmark marker or trt_limits)"."""
    lower = name in ("min_throughput", "faster_than")
    return f"{'lower' if lower else 'raise'} {name}= {_WHERE}"


def _let_pass(severity: Severity) -> tuple[str, ...]:
    return (_LET_PASS,) if severity == "error" else ()


# --- limits that rounds cannot show


def untestable(result: BenchmarkResult, name: str, why: str, remedy: Remedy) -> Diagnostic:
    """Return the failure of an explicit limit that could never fail."""
    shown = METRIC_NAMES.get(name, name)
    facts = {"name": name, "reason": why}
    return Diagnostic(
        "TRT508",
        f"{shown} cannot be tested: {why} ({result.subject})",
        _facts(result, facts),
        tuple(_speed_details(result, None)),
        remedy,
    )


def untested(
    result: BenchmarkResult, metrics: Sequence[Metric], why: str, remedy: Remedy
) -> Diagnostic:
    """Return the note on default limits that these rounds cannot show."""
    *others, last = (METRIC_NAMES[metric] for metric in metrics)
    names = " and ".join(filter(None, [", ".join(others), last]))
    be = "is" if len(metrics) == 1 else "are"
    return Diagnostic(
        "TRT509",
        f"{names} {be} not tested: {why} ({result.subject})",
        _facts(result, {"metrics": list(metrics), "reason": why}),
        remedy=remedy,
        severity="note",
    )


def same_engine(result: BenchmarkResult, opponents: Sequence[str]) -> Diagnostic:
    """Return the note on opponents of `faster_than` that are the engine under test."""
    named, be = " and ".join(opponents), "is" if len(opponents) == 1 else "are"
    return Diagnostic(
        "TRT519",
        f"not compared with {named}, which {be} the engine under test ({result.subject})",
        _facts(result, {"opponents": list(opponents)}),
        severity="note",
    )


def passed_in_spite(result: BenchmarkResult) -> list[Diagnostic]:
    """Return a note for each metric that passed though it changed by more than its limit."""
    found = []
    for one in result.changes:
        if one.outcome == "passed" and one.worsening > one.limit:
            why = one.why or "its bounds lie within the limit"
            found.append(
                Diagnostic(
                    "TRT510",
                    f"{METRIC_NAMES[one.metric]} {units.change(one.change)} exceeds its limit of "
                    f"{units.percent(one.limit)}, but the test passed: {why} ({result.subject})",
                    _facts(result, {"metric": one.metric, "change": one.change, "reason": why}),
                    severity="note",
                )
            )
    return found


def outdated(result: BenchmarkResult) -> list[Diagnostic]:
    """Return the note on a baseline so slow that more than twice its limit would pass.

    By the host's clock, stored rounds of the same engine may be slow for the host's sake; where the
    engines differ, bounds include that already.
    """
    by_host = result.mode == "end_to_end" and (result.same_engine or not result.key)
    slack, slowest = 0.0, None
    for one in result.changes:
        if one.outcome != "passed" or one.most is None:
            continue
        host = math.exp(HOST_CLOCK_ALLOWANCE_LOG) if by_host and one.step != "interleaved" else 1.0
        limit = _time_ratio(one.metric, -one.limit if one.metric == "throughput" else one.limit)
        certain = _time_ratio(one.metric, one.most) * host
        if certain * limit < 1 and limit / certain > slack:
            slack, slowest = limit / certain, one
    if slowest is None:
        return []
    return [
        Diagnostic(
            "TRT520",
            f"{METRIC_NAMES[slowest.metric]} is {units.change(slowest.change)} from its baseline: "
            f"even an engine {units.multiple(slack)} times as slow as this one would pass its limit"
            f" of {units.percent(slowest.limit)} ({result.subject})",
            _facts(result, {"metric": slowest.metric, "change": slowest.change}),
            remedy=Remedy(
                "Record the speed that it has now:",
                (update_command([result.test_argument], result.update_options),),
            ),
            severity="note",
        )
    ]


def _time_ratio(metric: Metric, change: float) -> float:
    """Return how many times as long as before an engine takes, from the change of a metric."""
    ratio = max(1 + change, _LEAST_RATIO)
    return 1 / ratio if metric == "throughput" else ratio


# --- nothing measured


def not_timed(result: BenchmarkResult, why: str, severity: Severity, remedy: Remedy) -> Diagnostic:
    """Return why nothing was timed, such as --benchmark-disable."""
    return Diagnostic(
        "TRT511",
        f"speed was not measured: {why} ({result.subject})",
        _facts(result, {"reason": why}),
        remedy=remedy,
        severity=severity,
    )


def too_few_rounds(
    result: BenchmarkResult, rounds: int, needed: int, severity: Severity, remedy: Remedy
) -> Diagnostic:
    """Return why rounds that others took are not judged: there are too few."""
    why = f", and a round of the baseline has {needed} calls" if needed else ", too few to judge"
    return Diagnostic(
        "TRT512",
        f"speed is inconclusive: pytest-benchmark made {count(rounds, 'round')}{why} "
        f"({result.subject})",
        _facts(result, {"rounds": rounds, "needed": needed}),
        remedy=remedy,
        severity=severity,
    )


def disturbed(result: BenchmarkResult, why: str, severity: Severity) -> Diagnostic:
    """Return why the figures do not describe the engine: something else used the device."""
    return Diagnostic(
        "TRT730",
        f"speed is inconclusive: {why} ({result.subject})",
        _facts(result, {"reason": why}),
        remedy=_when_free(result, _let_pass(severity)),
        severity=severity,
    )


def _when_free(result: BenchmarkResult, alternatives: tuple[str, ...] = ()) -> Remedy:
    if result.arch == CPU:
        return Remedy(_FREE_HOST, alternatives=alternatives)
    return Remedy(_FREE_GPU, ("nvidia-smi -q -d PERFORMANCE",), alternatives)


def not_calibrated(result: BenchmarkResult, why: str) -> Diagnostic:
    """Return why --trt-calibrate measured nothing."""
    return Diagnostic(
        "TRT513",
        f"not calibrated: {why} ({result.subject})",
        _facts(result, {"reason": why}),
        remedy=Remedy("Fix what stopped the process, and run with --trt-calibrate again."),
    )


def mode_not_available(result: BenchmarkResult, wanted: str) -> Diagnostic:
    """Return the note on a measuring mode that needs a GPU."""
    return Diagnostic(
        "TRT514",
        f"mode={wanted!r} needs a GPU: {result.mode} was measured ({result.subject})",
        _facts(result, {"wanted": wanted}),
        severity="note",
    )


def other_toolchain(result: BenchmarkResult, then: str) -> Diagnostic:
    """Return the note on a comparison across versions of the toolchain."""
    return Diagnostic(
        "TRT515",
        f"speed was compared across {then} -> {result.toolchain} ({result.subject})",
        _facts(result, {"then": then, "now": result.toolchain}),
        severity="note",
    )


def rebuilt_baseline(result: BenchmarkResult) -> Diagnostic:
    """Return the note that the baseline engine in the cache is not the one that was recorded."""
    return Diagnostic(
        "TRT521",
        "speed was compared with a rebuilt engine of the baseline, whose plan differs from the "
        f"recorded one ({result.subject})",
        _facts(result, {}),
        severity="note",
    )


def only_one_run(result: BenchmarkResult) -> Diagnostic:
    """Return the note that rounds of pytest-benchmark are not taken in fresh processes."""
    return Diagnostic(
        "TRT516",
        "pytest-benchmark times a function once: one run is recorded, and nothing is calibrated "
        f"({result.subject})",
        _facts(result, {}),
        severity="note",
    )


# --- baselines


def no_baseline(
    result: BenchmarkResult, device: str, others: Sequence[str], *, of_module: bool, why: str
) -> Diagnostic:
    """Return the failure of a test without a baseline where one is required.

    Args:
        result: What is known.
        device: The folder of this device.
        others: Folders of devices that have baselines of this module.
        of_module: Whether this device has baselines of other tests of the module.
        why: Why one is required.
    """
    if of_module:
        headline, tests = f"no baseline for this test in {result.file}", result.test_argument
    else:
        headline = f"no baseline for this machine ({device})"
        tests = result.test_argument.partition("::")[0]
    details = [] if of_module else [f"{result.file} does not exist"]
    if others and not of_module:
        details.append(f"there are baselines for {', '.join(others)}")
    if why:
        details.append(why)
    return Diagnostic(
        "TRT660",
        f"{headline} ({result.subject})",
        _facts(result, {"device": device, "other_devices": list(others)}),
        tuple(details),
        Remedy(
            "Record it on this kind of machine and commit the file. If only CI has one, run this "
            "there and upload the file as an artifact:",
            (pytest_command([tests], "--trt-update-new"),),
        ),
    )


def not_comparable(result: BenchmarkResult, why: str) -> Diagnostic:
    """Return the failure of a test that measures something other than its baseline."""
    return Diagnostic(
        "TRT661",
        f"not comparable with the baseline: {why} ({result.subject})",
        _facts(result, {"reason": why}),
        (f"baseline: {result.file}",),
        Remedy(
            "Measure what the baseline measured, or replace it:",
            (update_command([result.test_argument], result.update_options),),
        ),
    )


def update_needs_reason(
    result: BenchmarkResult, excess: Excess, given: Sequence[str] = ()
) -> Diagnostic:
    """Return the failure of an update that would accept a slower speed without a reason."""
    facts: dict[str, Fact] = {
        "update_options": list(given),
        "metric": excess.metric,
        "change": excess.now / excess.before - 1,
        "limit": excess.limit,
        "accumulated": excess.accumulated,
    }
    return Diagnostic(
        "TRT662",
        f"not updated: {excess} ({result.subject})",
        _facts(result, facts),
        tuple(_speed_details(result, None)),
        Remedy(
            "Make the engine faster, or accept the slower speed with a reason:",
            (update_command([result.test_argument], given),),
        ),
    )


def not_updated(
    result: BenchmarkResult, why: str, *, host: bool, given: Sequence[str] = ()
) -> Diagnostic:
    """Return the failure of a requested update that disturbed rounds did not allow.

    Args:
        result: What is known.
        why: What disturbed them.
        host: Whether it was the host's load, which may be accepted.
        given: Options of the run that a command has to repeat.
    """
    remedy, given = _when_free(result), [*given, "--trt-update-anyway"]
    if host:
        remedy = Remedy(
            f"{_FREE_HOST} To store these figures anyway, marked as such:",
            (update_command([result.test_argument], given),),
        )
    return Diagnostic(
        "TRT663",
        f"baseline not updated: {why} ({result.subject})",
        # How much a host was overloaded differs from test to test, and has one remedy.
        _facts(
            result,
            {
                "reason": why,
                "cause": "the host was overloaded" if host else why,
                "update_options": list(given),
            },
        ),
        remedy=remedy,
    )


def recorded_on_busy_host(
    result: BenchmarkResult, busy: str, given: Sequence[str] = ()
) -> Diagnostic:
    """Return the warning on figures of an overloaded host that become a baseline."""
    return Diagnostic(
        "TRT664",
        f"the host was overloaded while the baseline was measured ({result.subject})",
        _facts(result, {"reason": busy}),
        (busy, "only interleaved A/B runs can be compared with this baseline"),
        Remedy(
            "Measure it again on an idle host:", (update_command([result.test_argument], given),)
        ),
        "warning",
    )


def fewer_runs(result: BenchmarkResult, recorded: int, wanted: int, why: str) -> Diagnostic:
    """Return the warning on fewer recorded runs than --trt-baseline-runs."""
    return Diagnostic(
        "TRT665",
        f"recorded {recorded} of {wanted} runs: {why} ({result.subject})",
        _facts(result, {"recorded": recorded, "wanted": wanted, "reason": why}),
        severity="warning",
    )


def noise_dropped(result: BenchmarkResult) -> Diagnostic:
    """Return the note that a new engine's baseline does not inherit the old one's calibration."""
    return Diagnostic(
        "TRT666",
        f"the calibration of the previous engine was dropped ({result.subject})",
        _facts(result, {}),
        remedy=Remedy(
            "Calibrate the new engine:",
            (pytest_command([result.test_argument], "--trt-calibrate"),),
        ),
        severity="note",
    )


def calibrated_on_busy_host(result: BenchmarkResult, busy: str) -> Diagnostic:
    """Return the warning on a calibration by an overloaded host."""
    return Diagnostic(
        "TRT667",
        f"calibrated on an overloaded host: part of the noise is the host's ({result.subject})",
        _facts(result, {"reason": busy}),
        (busy,),
        Remedy("Calibrate again on an idle host."),
        "warning",
    )


# --- details


def _facts(result: BenchmarkResult, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return facts with what every diagnostic of a benchmark names."""
    return {
        "test": result.test,
        "test_argument": result.test_argument,
        "model": result.model,
        "precision": result.precision,
        "arch": result.arch,
        "file": result.file,
        **({"update_options": list(result.update_options)} if result.update_options else {}),
        **facts,
    }


def _speed_details(
    result: BenchmarkResult, plotted: str | None, *, above: Sequence[str] = ()
) -> Iterator[str]:
    """Yield how it was measured, a row for each metric, what differs, and a plot.

    Args:
        result: What was measured.
        plotted: The metric whose rounds are drawn.
        above: Reasons that are shown already.
    """
    if not result.calls:
        return
    yield f"{_measured(result)}; {result.mode}, batch {result.batch}, {result.toolchain}"
    yield from _table(result)
    yield from _reasons(one for one in result.changes if one.why not in above)
    yield from (_limit_line(result, one, above) for one in result.limits)
    for one in result.speedups:
        yield from _speedup_lines(one)
    yield from _since(result, host=not any(above))
    if result.layer_changes:
        yield "layers since the baseline:"
        yield from (f"  {change}" for change in result.layer_changes)
    if plotted is not None and plotted in result.baseline_rounds:
        before, now = result.baseline_rounds[plotted], result.candidate_rounds[plotted]
        yield from plot_lines(plotted, before, now)


def _measured(result: BenchmarkResult) -> str:
    # One step judges all metrics, except for those that nothing could judge.
    judged = next((one for one in result.changes if one.step in _HOW), None)
    if judged is None:
        return f"{result.rounds} rounds of {result.calls} calls"
    rounds = judged.rounds or result.rounds
    return f"{rounds} rounds of {result.calls} calls {_HOW[judged.step]}"


def _since(result: BenchmarkResult, *, host: bool = True) -> Iterator[str]:
    """Yield what differs from the baseline; the host's load only if no reason names it already."""
    if result.recorded:
        same = "engine, toolchain and driver" if result.precision else "toolchain and machine"
        found = [str(one) for one in result.differences if host or one.kind != "host load"]
        differ = "; ".join(found) or f"{same} are the same"
        yield f"since the baseline of {result.recorded[:10]}: {differ}"


def _table(result: BenchmarkResult) -> Iterator[str]:
    rows = [("", "baseline", "now", "change (bounds)", "limit", "")]
    by_metric = {one.metric: one for one in (*result.unlimited, *result.changes)}
    for metric, name in FIGURE_OF.items():
        if name not in result.candidate:
            continue
        one = by_metric.get(metric)
        then = units.figure(metric, result.baseline[name]) if name in result.baseline else ""
        change = ""
        if one is not None and one.change is not None:
            change = f"{units.change(one.change)} ({bounds_text(one)})"
        limited = (limit_text(one), one.outcome) if one is not None and one.outcome else ("", "")
        now = units.figure(metric, result.candidate[name])
        rows.append((METRIC_NAMES[metric], then, now, change, *limited))
    # A column without a value has no heading either.
    widths = [max(map(len, column)) if any(column[1:]) else 0 for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(size) for cell, size in zip(row, widths, strict=True) if size)
        yield "  ".join(cells).rstrip()


def _reasons(changes: Iterable[MetricChange]) -> Iterator[str]:
    """Yield each reason once, with the metrics that it concerns."""
    named: dict[str, list[str]] = {}
    for one in changes:
        if one.why:
            named.setdefault(one.why, []).append(METRIC_NAMES[one.metric])
    yield from (f"{', '.join(names)}: {why}" for why, names in named.items())


def _limit_line(result: BenchmarkResult, one: AbsoluteLimitResult, above: Sequence[str]) -> str:
    metric = METRIC_OF[one.name]
    what = "rounds" if metric == "throughput" else "calls"
    side = "below" if metric == "throughput" else "above"
    counted = f"{one.violations:,} of {one.total:,} {what} {side} {units.figure(metric, one.limit)}"
    why = f", {one.why}" if one.why and one.why not in above else ""
    in_table = metric != "throughput" and FIGURE_OF[metric] in result.candidate
    apart = " (figures above are medians of rounds)" if in_table else ""
    return f"{one.name}={one.limit:g}: {one.outcome}, {counted}{why}{apart}"


def _speedup_lines(one: SpeedupResult) -> Iterator[str]:
    own, other = units.latency(one.candidate_ms), units.latency(one.opponent_ms)
    yield (
        f"faster_than {one.opponent}: {one.outcome}, {factor_text(one.ratio)} "
        f"({speedup_bounds(one)}), at least {factor_text(one.factor)}; median latency {own}, of "
        f"{one.opponent} {other}"
    )
    yield (
        f"  {one.rounds} rounds of {one.calls} calls, interleaved; {one.mode}; {one.opponent} is "
        f"{one.ran}"
    )


def plot_lines(metric: str, baseline: Sequence[float], now: Sequence[float]) -> Iterator[str]:
    """Yield two rows of marks on one scale: where the rounds of each side lie."""
    low, high = min(*baseline, *now), max(*baseline, *now)
    ends = f"from {units.figure(metric, low)} to {units.figure(metric, high)}"
    few, most = _PLOT_MARKS[1], _PLOT_MARKS[-1]
    yield f"{METRIC_NAMES[metric]} of each round, {ends} (density: {few} low, {most} high):"
    for name, values in (("baseline", baseline), ("now", now)):
        yield f"  {name:8} |{_marks(values, low, high)}|"


def _marks(values: Sequence[float], low: float, high: float) -> str:
    counts = [0] * _PLOT_COLUMNS
    for value in values:
        place = (value - low) / (high - low) if high > low else 0.0
        counts[min(int(place * _PLOT_COLUMNS), _PLOT_COLUMNS - 1)] += 1
    most, last = max(counts), len(_PLOT_MARKS) - 1
    return "".join(_PLOT_MARKS[math.ceil(last * count / most)] for count in counts)


def _engine_details(result: BenchmarkResult) -> Iterator[str]:
    """Yield a line for each limit of the engine itself, then what became of its layers."""
    for one in result.structure:
        figures = "" if one.measured is None else f", {engine_figure(one.name, one.measured)}"
        then = "" if one.stored is None else f", baseline {engine_figure(one.name, one.stored)}"
        why = f" ({one.why})" if one.why else ""
        name = ENGINE_NAMES[one.name]
        yield f"{name}: {one.outcome}{figures}{then}, limit {engine_limit(one)}{why}"
    if result.layer_changes:
        yield "layers since the baseline:"
        yield from (f"  {change}" for change in result.layer_changes)


def limit_text(change: MetricChange) -> str:
    """Return a relative limit with its direction: "+10%", for throughput "-5%"."""
    return f"{'-' if change.metric == 'throughput' else '+'}{units.percent(change.limit)}"


def bounds_text(change: MetricChange) -> str:
    """Return the bounds of a change, the lower one first: "+58% to +66%"."""
    ends = [units.bound(change.least), units.bound(change.most)]
    if ends == [units.BEYOND, units.BEYOND]:
        return units.BEYOND
    return " to ".join(reversed(ends) if change.metric == "throughput" else ends)


def engine_limit(one: StructuralLimitResult) -> str:
    """Return a limit of an engine: "+5%", "10 bytes"."""
    if one.name in GROWTHS:
        return f"+{units.percent(one.limit)}"
    return engine_figure(one.name, one.limit)


def engine_figure(name: str, value: float) -> str:
    """Return a figure of an engine with its unit, exact, as its limits are."""
    if name.endswith("_s"):
        return units.seconds(value)
    return f"{value:,.0f} bytes" if "layers" not in name else f"{value:,.0f}"
