"""How the figures and limits of a benchmark are written: details, tables and plots of messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_trt import units
from pytest_trt.benchmark.result import (
    FIGURE_OF,
    METRIC_OF,
    BenchmarkResult,
    MetricChange,
)
from pytest_trt.diagnostics import Fact
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.statistics.structure import GROWTHS, StructuralLimitResult
from pytest_trt.units import METRIC_NAMES

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


def speedup_text(one: SpeedupResult) -> str:
    """Return how fast an engine is: "1.12x as fast as fp32"."""
    return f"{factor_text(one.ratio)} as fast as {one.opponent}"


def factor_text(factor: float) -> str:
    """Return a factor: "1.5x"."""
    return f"{units.multiple(factor)}x"


def speedup_bounds(one: SpeedupResult) -> str:
    """Return the bounds of a ratio: "1.09x to 1.15x"."""
    return f"{factor_text(one.least)} to {factor_text(one.most)}"


def facts_of(result: BenchmarkResult, facts: Mapping[str, Fact]) -> dict[str, Fact]:
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


def speed_details(
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
    yield from reasons(one for one in result.changes if one.why not in above)
    yield from (_limit_line(result, one, above) for one in result.limits)
    for one in result.speedups:
        yield from _speedup_lines(one)
    yield from since(result, host=not any(above))
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


def since(result: BenchmarkResult, *, host: bool = True) -> Iterator[str]:
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


def reasons(changes: Iterable[MetricChange]) -> Iterator[str]:
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


def engine_details(result: BenchmarkResult) -> Iterator[str]:
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
