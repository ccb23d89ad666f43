"""When a comparison with stored rounds is doubted.

The host's clock measures the host too. Rounds that were stored in another process met another
load, and neither more rounds nor ranks tell that from an engine of another speed: a busy hour now
looks like a slower engine, and one at the time of the baseline hides that it is. Only taking turns
tells them apart.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.bounds import Bounds
from pytest_trt.statistics.decide import Decision, MetricResult, overall
from pytest_trt.statistics.structure import StructuralLimitResult

_Limit = TypeVar("_Limit", AbsoluteLimitResult, StructuralLimitResult)

#: How much of a change may be the host's by its clock, either way, where nothing but rounds of
#: another process is there to compare with, as a natural logarithm of time: half as slow again.
#: Shared hosts, with another load at each time, reach a good part of this.
HOST_CLOCK_ALLOWANCE_LOG = math.log(1.5)

#: The same where several fresh processes agree: what slowed one of them has slowed no other, and
#: what slowed all is the load of the hour. A choice between calling an engine that is a third
#: slower and never being taken in by a busy host.
HOUR_LUCK = math.log(1.25)

_SAME_ENGINE = (
    "engine, runtime and driver are those of the baseline, so the machine was slower, not the "
    "engine"
)
_SAME_PLAN = (
    "the plan is the baseline's, byte for byte, and so are runtime and driver: the machine was "
    "slower, not the engine"
)
_OWN = "its rounds are inconclusive, and the engine is the baseline's"
_BUSY = "the host was overloaded meanwhile, which slows any engine: {}"
_HOST_LUCK = "by the host's clock, processes of one engine can differ as much"


def discount_host_noise(
    decision: Decision, *, same_engine: bool, same_environment: bool, busy: str = ""
) -> Decision:
    """Return the decision with what the host's load explains made inconclusive.

    An engine that is the baseline's own is no slower than itself: it keeps what it has passed, and
    where nothing else has changed it passes unless the host was slower than hosts differ.

    Args:
        decision: A decision on figures of the host's clock.
        same_engine: Whether baseline and candidate are one engine.
        same_environment: Whether nothing is known to differ between then and now.
        busy: What kept the host busy while the candidate was timed; empty where nothing did.
    """
    found = dict(decision.found)
    for metric, one in found.items():
        if one.bounds is None or one.step == "taking turns":
            continue
        if not same_engine or one.outcome == "regressed":
            found[metric] = _with_luck(one, one.bounds)
    rest = replace(decision, outcome=overall(found), found=found)
    if same_engine and same_environment:
        return _unchanged(rest, f"{_SAME_ENGINE}: {busy}" if busy else _SAME_ENGINE)
    if busy:
        rest = unconfirmed(explained(rest, why := _BUSY.format(busy)), why)
    return rest


def discount_limit(one: _Limit, busy: str) -> _Limit:
    """Return what a limit came to, inconclusive where a busy host may be why it is exceeded.

    Args:
        one: What it came to by the host's clock. What is kept beside other work is kept.
        busy: What kept the host busy meanwhile; empty where nothing did.
    """
    if not busy or one.outcome != "failed":
        return one
    return replace(one, outcome="inconclusive", why=_BUSY.format(busy))


def exempt_identical_plan(decision: Decision) -> Decision:
    """Return the decision on the baseline's own plan, where nothing else is known to differ.

    By the device's clock too: what is the same byte for byte is as fast as it was, so that rounds
    which say otherwise tell of the machine, such as of a process that no guard can see.
    """
    return _unchanged(decision, _SAME_PLAN)


def _unchanged(decision: Decision, why_not: str) -> Decision:
    """Return the decision on what is known to be what it was.

    Nothing can have made it slower, so what its rounds leave open has passed. What they say against
    it is the machine's, and has to be known.
    """
    found = {
        metric: replace(one, outcome="passed", why=_OWN)
        if one.outcome == "inconclusive" and one.bounds is not None
        else one
        for metric, one in decision.found.items()
    }
    return unconfirmed(replace(decision, outcome=overall(found), found=found), why_not)


def _with_luck(one: MetricResult, bounds: Bounds) -> MetricResult:
    """Return what is left of a finding when the host may have changed as well."""
    luck = HOUR_LUCK if one.step == "fresh processes" else HOST_CLOCK_ALLOWANCE_LOG
    wide = Bounds(bounds.low - luck, bounds.estimate, bounds.high + luck)
    kept = (one.outcome == "regressed" and wide.low > one.limit) or wide.high < one.limit
    return replace(
        one,
        outcome=one.outcome if kept else "inconclusive",
        bounds=wide,
        detectable=one.detectable + luck,
        why=one.why if kept else one.why or _HOST_LUCK,
    )


def explained(decision: Decision, why: str) -> Decision:
    """Return the decision with the reason told why what is open could not take turns.

    Args:
        decision: A decision without turns.
        why: Why there were none, and how there could be.
    """
    found = {
        metric: replace(one, why="; ".join(filter(None, [one.why, why])))
        if one.outcome == "inconclusive"
        else one
        for metric, one in decision.found.items()
    }
    return replace(decision, found=found)


def unconfirmed(decision: Decision, why: str) -> Decision:
    """Return the decision with regressions made inconclusive that only stored rounds speak for.

    Args:
        decision: A decision.
        why: Why those say nothing.
    """
    found = {
        metric: replace(one, outcome="inconclusive", why=why, detectable=math.inf)
        if one.outcome == "regressed" and one.step != "taking turns"
        else one
        for metric, one in decision.found.items()
    }
    return replace(decision, outcome=overall(found), found=found)
