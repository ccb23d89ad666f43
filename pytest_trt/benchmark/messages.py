"""Diagnostics of what a benchmark could not measure, compare or store, and of how far it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_trt import units
from pytest_trt.benchmark.commands import pytest_command, update_command
from pytest_trt.benchmark.figure_text import facts_of, speed_details
from pytest_trt.benchmark.result import (
    BenchmarkResult,
)
from pytest_trt.benchmark.updating import Excess
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy, Severity
from pytest_trt.statistics.discount import HOST_CLOCK_ALLOWANCE_LOG
from pytest_trt.terms import CPU, Metric
from pytest_trt.units import METRIC_NAMES
from pytest_trt.wording import count

#: Ratios of figures below this are damage.
_LEAST_RATIO = 1e-9
_LET_PASS = "Let inconclusive tests pass: --trt-inconclusive=warn"
_FREE_GPU = "Run again when the GPU is idle and not throttled."
_FREE_HOST = "Run again when the host is idle, without pytest-xdist (-n)."


def let_pass(severity: Severity) -> tuple[str, ...]:
    """Return how to let an inconclusive result pass, where it is an error."""
    return (_LET_PASS,) if severity == "error" else ()


def untestable(result: BenchmarkResult, name: str, why: str, remedy: Remedy) -> Diagnostic:
    """Return the failure of an explicit limit that could never fail."""
    shown = METRIC_NAMES.get(name, name)
    facts = {"name": name, "reason": why}
    return Diagnostic(
        "TRT508",
        f"{shown} cannot be tested: {why} ({result.subject})",
        facts_of(result, facts),
        tuple(speed_details(result, None)),
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
        facts_of(result, {"metrics": list(metrics), "reason": why}),
        remedy=remedy,
        severity="note",
    )


def same_engine(result: BenchmarkResult, opponents: Sequence[str]) -> Diagnostic:
    """Return the note on opponents of `faster_than` that are the engine under test."""
    named, be = " and ".join(opponents), "is" if len(opponents) == 1 else "are"
    return Diagnostic(
        "TRT519",
        f"not compared with {named}, which {be} the engine under test ({result.subject})",
        facts_of(result, {"opponents": list(opponents)}),
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
                    facts_of(result, {"metric": one.metric, "change": one.change, "reason": why}),
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
            facts_of(result, {"metric": slowest.metric, "change": slowest.change}),
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


def not_timed(result: BenchmarkResult, why: str, severity: Severity, remedy: Remedy) -> Diagnostic:
    """Return why nothing was timed, such as --benchmark-disable."""
    return Diagnostic(
        "TRT511",
        f"speed was not measured: {why} ({result.subject})",
        facts_of(result, {"reason": why}),
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
        facts_of(result, {"rounds": rounds, "needed": needed}),
        remedy=remedy,
        severity=severity,
    )


def disturbed(result: BenchmarkResult, why: str, severity: Severity) -> Diagnostic:
    """Return why the figures do not describe the engine: something else used the device."""
    return Diagnostic(
        "TRT730",
        f"speed is inconclusive: {why} ({result.subject})",
        facts_of(result, {"reason": why}),
        remedy=_when_free(result, let_pass(severity)),
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
        facts_of(result, {"reason": why}),
        remedy=Remedy("Fix what stopped the process, and run with --trt-calibrate again."),
    )


def mode_not_available(result: BenchmarkResult, wanted: str) -> Diagnostic:
    """Return the note on a measuring mode that needs a GPU."""
    return Diagnostic(
        "TRT514",
        f"mode={wanted!r} needs a GPU: {result.mode} was measured ({result.subject})",
        facts_of(result, {"wanted": wanted}),
        severity="note",
    )


def other_toolchain(result: BenchmarkResult, then: str) -> Diagnostic:
    """Return the note on a comparison across versions of the toolchain."""
    return Diagnostic(
        "TRT515",
        f"speed was compared across {then} -> {result.toolchain} ({result.subject})",
        facts_of(result, {"then": then, "now": result.toolchain}),
        severity="note",
    )


def rebuilt_baseline(result: BenchmarkResult) -> Diagnostic:
    """Return the note that the baseline engine in the cache is not the one that was recorded."""
    return Diagnostic(
        "TRT521",
        "speed was compared with a rebuilt engine of the baseline, whose plan differs from the "
        f"recorded one ({result.subject})",
        facts_of(result, {}),
        severity="note",
    )


def only_one_run(result: BenchmarkResult) -> Diagnostic:
    """Return the note that rounds of pytest-benchmark are not taken in fresh processes."""
    return Diagnostic(
        "TRT516",
        "pytest-benchmark times a function once: one run is recorded, and nothing is calibrated "
        f"({result.subject})",
        facts_of(result, {}),
        severity="note",
    )


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
        facts_of(result, {"device": device, "other_devices": list(others)}),
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
        facts_of(result, {"reason": why}),
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
        facts_of(result, facts),
        tuple(speed_details(result, None)),
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
        facts_of(
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
        facts_of(result, {"reason": busy}),
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
        facts_of(result, {"recorded": recorded, "wanted": wanted, "reason": why}),
        severity="warning",
    )


def noise_dropped(result: BenchmarkResult) -> Diagnostic:
    """Return the note that a new engine's baseline does not inherit the old one's calibration."""
    return Diagnostic(
        "TRT666",
        f"the calibration of the previous engine was dropped ({result.subject})",
        facts_of(result, {}),
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
        facts_of(result, {"reason": busy}),
        (busy,),
        Remedy("Calibrate again on an idle host."),
        "warning",
    )
