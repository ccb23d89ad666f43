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

_SAME_ENGINE = (
    "the engine, its runtime and its driver are those of the baseline, so the machine was slower "
    "this time, not the engine"
)
_GONE_ENGINE = (
    "the baseline engine is not in the engine cache to take turns with, and by the host's clock "
    "processes of one engine can differ as much"
)


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
    if one.bounds.low <= one.limit + HOST_LUCK:
        detectable = one.detectable + HOST_LUCK
        return replace(one, outcome="inconclusive", why=_GONE_ENGINE, detectable=detectable)
    return one
