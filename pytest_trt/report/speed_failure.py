"""Why a benchmark fails its test, for whoever has to act on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_trt import units
from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.report.speed_text import (
    FIGURE_OF,
    METRIC_OF,
    NAMES,
    accepting,
    bounds_of,
    figure,
    gravest_change,
    gravest_limit,
    layers_told,
    limit_of,
    update_command,
    what_changed,
)
from pytest_trt.report.structure_text import (
    leading_structure,
    structure_fact,
    structure_fix,
    structure_lines,
)
from pytest_trt.statistics.absolute import AbsoluteLimitResult

#: Columns of the plot, and the marks for more and more rounds in one of them.
_PLOT_COLUMNS = 48
_PLOT_MARKS = " .:+*#@"

_HOW = {
    "screening": "against stored rounds",
    "taking turns": "in turns with the baseline engine",
    "fresh processes": "in fresh processes, against stored rounds",
    "one process": "in one process, against stored rounds",
}


#: What lets an absolute limit be told that was exceeded on a busy host, or is too near.
_LIMIT_ADVICE = (
    "run it again when nothing else runs beside it, with more time (--trt-benchmark-time), "
    "or allow more"
)


def explain_speed(record: BenchmarkResult) -> str:
    """Return the text of a failure: the fact, figures, what differs, a plot, and what to do."""
    return "\n".join(_lines(record))


def _lines(record: BenchmarkResult) -> Iterator[str]:
    structure = leading_structure(record)
    if not record.calls and (structure is None or structure.outcome != "failed"):
        yield f"{record.why} ({record.subject})."
        yield f"Fix: {record.fix}"
        return
    if record.calls and record.fix:  # it was measured, and not to be accepted
        yield f"{record.why} ({record.subject})."
        yield from _speed_lines(record)
        yield f"Fix: {record.fix}"
        return
    change, limit = gravest_change(record), gravest_limit(record)
    fact = structure_fact(structure) if structure else _fact(record, change, limit)
    yield f"{fact} ({record.subject})"
    if record.calls:
        yield from _speed_lines(record)
    yield from (f"  {line}" for line in structure_lines(record))
    if record.why:
        yield f"  {record.why}"
    if record.recorded:
        same = "engine, toolchain and driver" if record.precision else "toolchain and machine"
        differ = "; ".join(record.differences) or f"{same} are the same"
        yield f"  since the baseline of {record.recorded[:10]}: {differ}"
    if change and change.metric in record.baseline_rounds:
        yield from plot_lines(
            change.metric,
            record.baseline_rounds[change.metric],
            record.candidate_rounds[change.metric],
        )
    if structure:
        accept = update_command([record.test])
        yield f"Fix: {structure_fix(structure, _mend(record), accept)}"
    else:
        yield f"Fix: {_fix(record, change, limit)}"


def _speed_lines(record: BenchmarkResult) -> Iterator[str]:
    yield f"  {_measured(record)}; {record.mode}, batch {record.batch}, {record.toolchain}"
    yield from _table(record)
    for one in record.limits:
        yield f"  {_limit_line(one)}"


def _measured(record: BenchmarkResult) -> str:
    # One step judges all metrics, but for those that nothing could judge.
    judged = next((one for one in record.changes if one.step in _HOW), None)
    if judged is None:
        return f"{record.rounds} rounds of {record.calls} calls"
    rounds = judged.rounds or record.rounds
    return f"{rounds} rounds of {record.calls} calls {_HOW[judged.step]}"


def _fact(
    record: BenchmarkResult, change: MetricChange | None, limit: AbsoluteLimitResult | None
) -> str:
    if limit is not None and limit.outcome == "failed":
        metric = METRIC_OF[limit.name]
        name, allowed = NAMES[metric], figure(metric, limit.limit)
        measured = figure(metric, limit.measured)
        if metric == "throughput":
            return f"{name} {measured} is below its limit of {allowed}"
        # Beside a table whose figures are medians of rounds.
        return f"{name} of all calls, {measured}, is above its limit of {allowed}"
    if change is not None and change.outcome == "regressed":
        name, allowed = NAMES[change.metric], limit_of(change)
        return f"{name} {units.change(change.change)}, limit {allowed}"
    if change is not None and change.outcome != "passed":
        return f"{NAMES[change.metric]} is {change.outcome} against its limit of {limit_of(change)}"
    if limit is not None:
        metric = METRIC_OF[limit.name]
        allowed = figure(metric, limit.limit)
        return f"{NAMES[metric]} is {limit.outcome} against its limit of {allowed}"
    return record.verdict


def _table(record: BenchmarkResult) -> Iterator[str]:
    rows = [("", "baseline", "now", "change (bounds)", "limit", "")]
    by_metric = {change.metric: change for change in record.changes}
    unlimited = {one.metric: one for one in record.unlimited}
    for metric, name in FIGURE_OF.items():
        if name not in record.candidate:
            continue
        change = by_metric.get(metric)
        then = figure(metric, record.baseline[name]) if name in record.baseline else ""
        bounded = _bounded(change or unlimited.get(metric))
        told = (bounded, limit_of(change), change.outcome) if change else (bounded, "", "")
        rows.append((NAMES[metric], then, figure(metric, record.candidate[name]), *told))
    # A column that says nothing of any metric is not headed either.
    widths = [max(map(len, column)) if any(column[1:]) else 0 for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(size) for cell, size in zip(row, widths, strict=True) if size)
        yield f"  {'  '.join(cells)}".rstrip()
    reasons = dict.fromkeys(change.why for change in record.changes if change.why)
    for reason in reasons:
        names = [NAMES[change.metric] for change in record.changes if change.why == reason]
        yield f"  {', '.join(names)}: {reason}"


def _bounded(change: MetricChange | MetricChange | None) -> str:
    if change is None or change.change is None:
        return ""
    return f"{units.change(change.change)} ({bounds_of(change)})"


def _limit_line(one: AbsoluteLimitResult) -> str:
    metric = METRIC_OF[one.name]
    what = "rounds" if metric == "throughput" else "calls"
    side = "below" if metric == "throughput" else "above"
    counted = f"{one.violations:,} of {one.total:,} {what} {side} {figure(metric, one.limit)}"
    why = f", {one.why}" if one.why else ""
    apart = "" if metric == "throughput" else " (figures above are medians of rounds)"
    return f"{one.name}={one.limit:g}: {one.outcome}, {counted}{why}{apart}"


def plot_lines(metric: str, baseline: Sequence[float], now: Sequence[float]) -> Iterator[str]:
    """Yield two rows of marks on one scale: where the rounds of each side lie.

    Args:
        metric: Which metric the figures are of.
        baseline: A figure per round.
        now: The same of the candidate.
    """
    low, high = min(*baseline, *now), max(*baseline, *now)
    ends = f"from {figure(metric, low)} to {figure(metric, high)}"
    few, most = _PLOT_MARKS[1], _PLOT_MARKS[-1]
    yield f"  {NAMES[metric]} of each round, {ends} ({few} for few, {most} for most):"
    for name, values in (("baseline", baseline), ("now", now)):
        yield f"    {name:8} |{_marks(values, low, high)}|"


def _marks(values: Sequence[float], low: float, high: float) -> str:
    counts = [0] * _PLOT_COLUMNS
    for value in values:
        place = (value - low) / (high - low) if high > low else 0.0
        counts[min(int(place * _PLOT_COLUMNS), _PLOT_COLUMNS - 1)] += 1
    most, last = max(counts), len(_PLOT_MARKS) - 1
    return "".join(_PLOT_MARKS[math.ceil(last * count / most)] for count in counts)


def _fix(
    record: BenchmarkResult, change: MetricChange | None, limit: AbsoluteLimitResult | None
) -> str:
    if limit is not None and limit.outcome == "failed":
        return (
            "make the engine quicker, or allow more: on the trt_benchmark marker, or in trt_limits."
        )
    if change is not None and change.outcome == "regressed":
        return f"{_mend(record)}; {accepting([record.test], [record.file])}"
    if change is not None and change.outcome != "passed":
        advice = noise_advice(record, change)
    else:
        advice = _LIMIT_ADVICE
    return f"{advice}; or let it pass: --trt-inconclusive=warn."


def _mend(record: BenchmarkResult) -> str:
    if not (record.precision or record.differences):
        return "look at what changed in the function that is timed"
    return what_changed(
        record.differences, layers_told(record.layer_changes), record.git_restore_hint
    )


def noise_advice(record: BenchmarkResult, change: MetricChange) -> str:
    """Return what a test that is inconclusive could have told, and what makes it tell more."""
    if change.outcome == "not testable":
        return "give quicker calls or more time (--trt-benchmark-time), or switch the limit off"
    advice = f"{seen_from(change)}: measure on a quieter machine"
    more = f"allow more than {units.percent(change.limit)}"
    if not record.same_engine:
        return f"{advice}, or {more}"
    # Of another engine, they would take the place of what it is held against.
    return f"{advice}, {more}, or record more runs of this engine (--trt-update)"


def seen_from(change: MetricChange) -> str:
    """Return from which change on a regression would have been called."""
    if change.detectable is None:
        return "no change would have been called"
    return f"only a change of {units.change(_signed(change))} would have been called"


def _signed(change: MetricChange) -> float:
    worse = change.detectable or 0.0
    return -worse if change.metric == "throughput" else worse
