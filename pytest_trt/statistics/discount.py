"""When a comparison with stored rounds is downgraded to inconclusive.

The host's clock measures the load of the host too. Stored rounds come from another process at
another load, and neither more rounds nor ranks can separate that from an engine of another speed:
an overloaded host now looks like a slower engine, and one at the time of the baseline hides a
slower engine. Only interleaved rounds separate the two.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.bounds import Bounds
from pytest_trt.statistics.decide import Decision, MetricResult, overall
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import Metric, Verdict

_Limit = TypeVar("_Limit", AbsoluteLimitResult, StructuralLimitResult)

#: How much of a change by the host's clock may be due to the host, in either direction, where only
#: rounds of another process are compared, as a natural logarithm of time: 1.5 times as slow.
#: Shared hosts, whose load varies, reach a good part of this.
HOST_CLOCK_ALLOWANCE_LOG = math.log(1.5)

#: The same where several fresh processes agree: what slowed down only one of them is excluded then,
#: but not the load that all of them met. A compromise between detecting an engine that is a third
#: slower and never blaming it for an overloaded host.
FRESH_PROCESSES_ALLOWANCE_LOG = math.log(1.25)

_SAME_ENGINE = (
    "engine, runtime and driver are those of the baseline, so the machine was slower, not the "
    "engine"
)
_SAME_PLAN = (
    "the plan is the baseline's, byte for byte, and so are runtime and driver: the machine was "
    "slower, not the engine"
)
_OWN = "its rounds are inconclusive, and the engine is the same as the baseline's"
_BUSY = "the host was overloaded during the measurement: {}"
_WITHIN_ALLOWANCE = "timed by the host's clock, two processes of one engine can differ by as much"


def discount_host_noise(
    decision: Decision, *, same_engine: bool, same_environment: bool, busy: str = ""
) -> Decision:
    """Return the decision, inconclusive where the load of the host may explain the change.

    The baseline's own engine is not slower than itself: metrics that passed stay passed, and if
    nothing else has changed, metrics only fail to pass if they exceed the allowance.

    Args:
        decision: A decision on figures of the host's clock.
        same_engine: Whether baseline and candidate are one engine.
        same_environment: Whether no difference between then and now is known.
        busy: What overloaded the host while the candidate was timed; empty if nothing did.
    """
    metrics = dict(decision.metrics)
    for metric, one in metrics.items():
        if one.bounds is None or one.step == "interleaved":
            continue
        if not same_engine or one.outcome is Verdict.REGRESSED:
            metrics[metric] = _with_allowance(one, one.bounds)
    rest = _with_metrics(decision, metrics)
    if same_engine and same_environment:
        return _pass_inconclusive(rest, f"{_SAME_ENGINE}: {busy}" if busy else _SAME_ENGINE)
    if busy:
        why = _BUSY.format(busy)
        rest = downgrade_unconfirmed(with_reason(rest, why), why)
    return rest


def discount_limit(one: _Limit, busy: str) -> _Limit:
    """Return the result of a limit, inconclusive if an overloaded host may be why it failed.

    Args:
        one: The result by the host's clock. What passed on an overloaded host has passed.
        busy: What overloaded the host meanwhile; empty if nothing did.
    """
    if not busy or one.outcome is not Verdict.FAILED:
        return one
    return replace(one, outcome=Verdict.INCONCLUSIVE, why=_BUSY.format(busy))


def exempt_identical_plan(decision: Decision) -> Decision:
    """Return the decision on the baseline's own plan, if no other difference is known.

    By the device's clock too: an identical plan is as fast as it was, so rounds that differ show
    a slower machine, for instance one with another process that no guard can see.
    """
    return _pass_inconclusive(decision, _SAME_PLAN)


def with_reason(decision: Decision, why: str) -> Decision:
    """Return the decision with a reason added to each inconclusive metric.

    Args:
        decision: A decision without interleaved rounds.
        why: Why there were none, and how there could be.
    """
    metrics = {
        metric: replace(one, why="; ".join(filter(None, [one.why, why])))
        if one.outcome is Verdict.INCONCLUSIVE
        else one
        for metric, one in decision.metrics.items()
    }
    return replace(decision, metrics=metrics)


def downgrade_unconfirmed(decision: Decision, why: str) -> Decision:
    """Return the decision with regressions that only stored rounds show made inconclusive.

    Args:
        decision: A decision.
        why: Why the stored rounds are no evidence.
    """
    metrics = {
        metric: replace(one, outcome=Verdict.INCONCLUSIVE, why=why, detectable=math.inf)
        if one.outcome is Verdict.REGRESSED and one.step != "interleaved"
        else one
        for metric, one in decision.metrics.items()
    }
    return _with_metrics(decision, metrics)


def _with_metrics(decision: Decision, metrics: dict[Metric, MetricResult]) -> Decision:
    return replace(decision, outcome=overall(metrics), metrics=metrics)


def _pass_inconclusive(decision: Decision, why_not: str) -> Decision:
    """Return the decision on an engine that is known to be unchanged.

    Nothing can have made it slower, so inconclusive metrics have passed. Regressions are due to the
    machine, which has to be reported.
    """
    metrics = {
        metric: replace(one, outcome=Verdict.PASSED, why=_OWN)
        if one.outcome is Verdict.INCONCLUSIVE and one.bounds is not None
        else one
        for metric, one in decision.metrics.items()
    }
    return downgrade_unconfirmed(_with_metrics(decision, metrics), why_not)


def _with_allowance(one: MetricResult, bounds: Bounds) -> MetricResult:
    """Return a result with its bounds widened by what the host may have changed."""
    allowance = HOST_CLOCK_ALLOWANCE_LOG
    if one.step == "fresh processes":
        allowance = FRESH_PROCESSES_ALLOWANCE_LOG
    wide = Bounds(bounds.low - allowance, bounds.estimate, bounds.high + allowance)
    regressed = one.outcome is Verdict.REGRESSED and wide.low > one.limit
    holds = regressed or wide.high < one.limit
    return replace(
        one,
        outcome=one.outcome if holds else Verdict.INCONCLUSIVE,
        bounds=wide,
        detectable=one.detectable + allowance,
        why=one.why if holds else one.why or _WITHIN_ALLOWANCE,
    )
