"""Words for limits of the engine itself: size, memory, layers, seconds of build and cold start."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt import units
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.report.speed_text import GRAVITY, gravest_change, gravest_limit
from pytest_trt.statistics.structure import StructuralLimitResult

#: How each figure is called.
_NAMES = {
    "plan_size": "plan size",
    "plan_size_bytes": "plan size",
    "device_memory": "device memory",
    "device_memory_bytes": "device memory",
    "layers": "layers",
    "max_layers": "layers",
    "build_s": "build time",
    "cold_start_s": "cold start",
}


def leading_structure(record: BenchmarkResult) -> StructuralLimitResult | None:
    """Return the limit of the engine itself that a reader must hear of before those of speed."""
    gravest = min(record.structure, key=lambda one: GRAVITY.index(one.outcome), default=None)
    if gravest is None or gravest.outcome == "passed":
        return None
    speed = (gravest_change(record), gravest_limit(record))
    places = [GRAVITY.index(one.outcome) for one in speed if one is not None]
    return gravest if GRAVITY.index(gravest.outcome) < min(places, default=len(GRAVITY)) else None


def structure_fact(one: StructuralLimitResult) -> str:
    """Return what is wrong with a figure: "layers 74, +2.8% on the baseline's 72, limit +0%"."""
    if one.measured is None or one.outcome == "not testable":
        return f"{_NAMES[one.name]} cannot be held against its limit: {one.why}"
    if one.outcome == "inconclusive":
        return f"{_NAMES[one.name]} is inconclusive against its limit of {_limit(one)}"
    shown = f"{_NAMES[one.name]} {_figure(one.name, one.measured)}"
    if one.stored is None:
        return f"{shown} is above its limit of {_figure(one.name, one.limit)}"
    grown = one.measured - one.stored
    share = f" ({units.change(grown / one.stored)})" if one.stored else ""
    return (
        f"{shown}, {_figure(one.name, grown)} more than the baseline's "
        f"{_figure(one.name, one.stored)}{share}, limit +{units.percent(one.limit)}"
    )


def structure_fix(one: StructuralLimitResult, mend: str, accept: str) -> str:
    """Return what to do about a limit that is not kept, or cannot be held against anything.

    Args:
        one: The limit.
        mend: What to do about an engine that is not the baseline's.
        accept: How what is measured becomes the new baseline.
    """
    if one.outcome == "not testable":
        return f"switch {one.name} off for this engine, or let it pass: --trt-inconclusive=warn."
    if one.stored is None:
        where = f"{one.name}= of the trt_benchmark marker, or of trt_limits"
        if one.outcome == "inconclusive":
            again = "run it again when nothing else runs beside it"
            return f"{again}, or let it pass (--trt-inconclusive=warn), or allow more: {where}."
        how = "quicker" if one.name.endswith("_s") else "smaller"
        return f"make it {how}, or allow more: {where}."
    return f"{mend}; if the engine is to be so, accept it: {accept}"


def structure_lines(record: BenchmarkResult) -> Iterator[str]:
    """Yield a line for each limit of the engine itself, then what became of its layers."""
    for one in record.structure:
        figures = "" if one.measured is None else f", {_figure(one.name, one.measured)}"
        then = "" if one.stored is None else f", baseline {_figure(one.name, one.stored)}"
        why = f" ({one.why})" if one.why else ""
        yield f"{_NAMES[one.name]}: {one.outcome}{figures}{then}, limit {_limit(one)}{why}"
    if record.layer_changes:
        yield "layers since the baseline:"
        yield from (f"  {change}" for change in record.layer_changes)


def structure_figures(one: StructuralLimitResult) -> tuple[str, str]:
    """Return a figure and its limit for the summary."""
    name, limit = _NAMES[one.name], _limit(one).lstrip("+")
    if one.measured is None:
        return name, f"(limit {limit})"
    in_bytes = name in ("plan size", "device memory")
    shown = units.size(one.measured) if in_bytes else _figure(one.name, one.measured)
    grown = f"{units.change(one.measured / one.stored - 1)} " if one.stored else ""
    return f"{name} {shown}", f"{grown}(limit {limit})"


def _limit(one: StructuralLimitResult) -> str:
    relative = one.name in ("plan_size", "device_memory", "layers")
    return f"+{units.percent(one.limit)}" if relative else _figure(one.name, one.limit)


def _figure(name: str, value: float) -> str:
    if name.endswith("_s"):
        return units.seconds(value)
    # Exact, as the limits are: two sizes that differ must not look the same.
    return f"{value:,.0f} bytes" if "layers" not in name else f"{value:,.0f}"
