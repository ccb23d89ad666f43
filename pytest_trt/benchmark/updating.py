"""How new rounds update a test's baseline: as one more run of it, or as its replacement.

A run of the same engine under the same conditions is added to those that are stored, unless its
speed differs with confidence. Anything else replaces them; where it is slower than a limit of the
test allows, only with a reason, so that nobody accepts a slower engine by accident. Nor in small
steps: what engines that replaced each other without a reason come to together is held against the
limit as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_trt import units
from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.baselines import stored_rounds
from pytest_trt.benchmark.calibration import noise_of
from pytest_trt.benchmark.conditions import incomparable_reason, is_same
from pytest_trt.statistics.agreement import drifted_metrics
from pytest_trt.statistics.rounds import as_change
from pytest_trt.terms import METRICS, Metric


@dataclass(frozen=True, slots=True)
class Excess:
    """A metric by which new runs are slower than a limit allows.

    Attributes:
        metric: Which one.
        before: Its figure then: milliseconds, or batch items per second.
        now: Its figure now.
        limit: The share by which it may be worse.
        accumulated: Whether it is the sum of several updates without a reason.
    """

    metric: Metric
    before: float
    now: float
    limit: float
    accumulated: bool = False

    def __str__(self) -> str:
        change = units.metric_change(self.metric, self.before, self.now)
        since = " since a reason was last given" if self.accumulated else ""
        return f"{change}{since}, limit {units.percent(self.limit)}"


@dataclass(frozen=True, slots=True)
class BaselineUpdate:
    """What new runs make of a baseline.

    Attributes:
        add: Whether they are added to those that are stored.
        why: Why they are not, where there are any.
        beyond: The metric that is slower than its limit allows by most, or None.
        drifted: The same, of everything that was accepted without a reason together.
    """

    add: bool
    why: str = ""
    beyond: Excess | None = None
    drifted: Excess | None = None


def update_of(entry: Entry, new: Entry, limits: Mapping[Metric, float]) -> BaselineUpdate:
    """Return what new runs make of a stored baseline.

    Args:
        entry: The stored one.
        new: The new one, of the same mode and spec.
        limits: By metric the share by which it may be slower.
    """
    why = _other_circumstances(entry, new) or _other_speed(entry, new, limits)
    if not why:
        return BaselineUpdate(add=True)
    # Also from figures of an overloaded host: those are too slow already.
    now = new.figures()
    drifted = None
    if entry.engine.get("key") != new.engine.get("key"):  # not the same engine, slower hardware
        drifted = _excess(entry.accepted, now, limits, accumulated=True)
    return BaselineUpdate(False, why, _excess(entry.figures(), now, limits), drifted)


def _other_circumstances(entry: Entry, new: Entry) -> str:
    """Return what besides their speed differs between new runs and stored ones, or nothing."""
    then, now = entry.runs[-1], new.runs[-1]
    if entry.engine.get("key") != new.engine.get("key"):
        return "the engine differs"
    if then.toolchain != now.toolchain:
        return f"{then.toolchain} -> {now.toolchain}"
    if then.calls != now.calls:
        return f"rounds have {now.calls} calls, they had {then.calls}"
    if not is_same(then.environment, now.environment):
        labels = dict.fromkeys([*then.environment, *now.environment])
        pairs = {
            label: (then.environment.get(label), now.environment.get(label)) for label in labels
        }
        return ", ".join(f"{label} {a} -> {b}" for label, (a, b) in pairs.items() if a != b)
    return incomparable_reason(then.environment, now.environment) or ""


def _other_speed(entry: Entry, new: Entry, limits: Mapping[Metric, float]) -> str:
    calls = new.runs[-1].calls
    found = drifted_metrics(
        [stored_rounds(run) for run in entry.runs if run.calls == calls],
        [stored_rounds(run) for run in new.runs],
        new.mode,
        noise_of(entry.noise),
        metrics=tuple(limits) or METRICS,
    )
    if not found:
        return ""
    metric = next(iter(found))
    change = units.change(as_change(metric, found[metric].estimate))
    differs = f"{units.METRIC_NAMES[metric]} {change} is more than its runs vary"
    return f"same engine, but {differs}" if entry.engine.get("key") else differs


def _excess(
    before: Mapping[str, float],
    now: Mapping[str, float],
    limits: Mapping[Metric, float],
    *,
    accumulated: bool = False,
) -> Excess | None:
    worst, found = 1.0, None
    for metric, limit in limits.items():
        if metric not in before or metric not in now:
            continue
        worse = now[metric] / before[metric] - 1
        if metric == "throughput":
            worse = -worse
        if worse / limit > worst:
            worst = worse / limit
            found = Excess(metric, before[metric], now[metric], limit, accumulated)
    return found
