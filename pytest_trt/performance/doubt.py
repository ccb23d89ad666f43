"""When a regression against stored rounds is doubted.

The host's clock measures the host too. Rounds that were stored in another process met another
load, and neither more rounds nor ranks tell that from a slower engine; only taking turns does.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pytest_trt.performance.decide import Decision, Found, overall

#: By how much more than its limit an engine must be slower by the host's clock, where nothing but
#: rounds of another process is there to compare with, as a natural logarithm of time: half as slow
#: again. Shared hosts, with another load at each time, reach a good part of this.
HOST_LUCK = math.log(1.5)

#: The same where several fresh processes agree: what slowed one of them has slowed no other, and
#: what slowed all is the load of the hour. A choice between calling an engine that is a third
#: slower and never being taken in by a busy host.
HOUR_LUCK = math.log(1.25)

_SAME_ENGINE = (
    "the engine, its runtime and its driver are those of the baseline, so the machine was slower "
    "this time, not the engine"
)
_HOST_LUCK = "by the host's clock, processes of one engine can differ as much"


def doubted(decision: Decision, *, same_engine: bool) -> Decision:
    """Return the decision with regressions that the host's load explains made inconclusive.

    Args:
        decision: A decision on figures of the host's clock.
        same_engine: Whether baseline and candidate are one engine in one environment.
    """
    found = {metric: _doubted(one, same_engine) for metric, one in decision.found.items()}
    return replace(decision, outcome=overall(found), found=found)


def _doubted(one: Found, same_engine: bool) -> Found:
    if one.outcome != "regressed" or one.step == "taking turns" or one.bounds is None:
        return one
    if same_engine:
        return replace(one, outcome="inconclusive", why=_SAME_ENGINE, detectable=math.inf)
    luck = HOUR_LUCK if one.step == "fresh processes" else HOST_LUCK
    if one.bounds.low <= one.limit + luck:
        detectable = one.detectable + luck
        return replace(one, outcome="inconclusive", why=_HOST_LUCK, detectable=detectable)
    return one


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
