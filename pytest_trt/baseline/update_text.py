"""What was done to a baseline, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pytest_trt import units

#: The metrics by which a change is shown: the first one that both sides have.
_SHOWN_BY = ("p99", "p95", "p50", "throughput")

#: A figure that is worse by this factor, and by as much than the one shown, is shown as well.
_WORSE = 1.1


def update_text(
    kind: str,
    *,
    runs: int,
    came: int,
    before: Mapping[str, float],
    now: Mapping[str, float],
    why: str = "",
    limited: Collection[str] = (),
) -> str:
    """Return what was done to a baseline: "replaced, P99 1.02 -> 1.31 ms (+28%): ...".

    Args:
        kind: "first", "added", "replaced" or "calibrated".
        runs: How many runs are stored now.
        came: How many of them are new.
        before: Figures of the old baseline by metric.
        now: Figures of the new one.
        why: Why it was replaced.
        limited: The metrics that the test limits, which alone are shown; empty for unknown.
    """
    if kind == "first":
        return "first run" if runs == 1 else f"first {runs} runs"
    if kind == "added":
        return f"added {'run' if came == 1 else f'{came} runs, now'} {runs} of 5"
    if kind == "replaced":
        change = change_text(before, now, limited)
        return f"replaced{', ' if change else ''}{change}{': ' if why else ''}{why}"
    return kind


def change_text(
    before: Mapping[str, float], now: Mapping[str, float], limited: Collection[str] = ()
) -> str:
    """Return how the most important figure has changed: "P99 1.02 -> 1.31 ms (+28%)".

    A figure that became clearly worse than that one precedes it.
    """
    both = [one for one in _SHOWN_BY if one in before and one in now]
    shown_by = [one for one in both if one in limited] or both
    times = {
        one: before[one] / now[one] if one == "throughput" else now[one] / before[one]
        for one in shown_by
    }
    if not times:
        return ""
    shown, worst = next(iter(times)), max(times, key=lambda one: times[one])
    precedes = times[worst] > _WORSE * max(times[shown], 1.0)
    metrics = (worst, shown) if precedes else (shown,)
    return ", ".join(units.metric_change(one, before[one], now[one]) for one in metrics)
