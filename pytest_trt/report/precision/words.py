"""A comparison of precisions in words: titles, cells and lines that every medium shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_trt import units
from pytest_trt.precision.suggest import PrecisionResult, PrecisionSuggestion
from pytest_trt.precision.tolerance import TestTolerances, ToleranceProposal
from pytest_trt.wording import count

#: Figures that nobody measured.
_NONE = "-"


def titles(suggestion: PrecisionSuggestion) -> tuple[str, ...]:
    """Return the titles of the columns."""
    metric = (suggestion.metric_name,) if suggestion.metric_name else ()
    return (
        *("precision", "rel. L2", "max abs", "cosine", "of tolerance", *metric),
        *("P50", "P99", "items/s", "plan", "memory", "result"),
    )


def cells(one: PrecisionResult, suggestion: PrecisionSuggestion) -> tuple[str, ...]:
    """Return the cells of a precision that has figures."""
    metric = (_figure(one.metric, "{:.5g}"),) if suggestion.metric_name else ()
    return (
        one.precision,
        figure(one.error),
        figure(max((error.max_abs for error in one.errors), default=None)),
        _figure(min((error.cosine for error in one.errors), default=None), "{:.6f}"),
        units.share(one.used),
        *metric,
        _NONE if one.p50_ms is None else units.latency(one.p50_ms),
        _NONE if one.p99_ms is None else units.latency(one.p99_ms),
        _NONE if one.throughput is None else units.three_digits(one.throughput),
        _NONE if one.size_bytes is None else units.size(one.size_bytes),
        _NONE if one.memory_bytes is None else units.size(one.memory_bytes),
        outcome(one),
    )


def figure(value: float | None) -> str:
    """Return an error in two digits: "1.2e-05"."""
    if value is None or math.isfinite(value):
        return _figure(value, "{:.2g}")
    return "not finite"


def _figure(value: float | None, form: str) -> str:
    return _NONE if value is None else form.format(value)


def outcome(one: PrecisionResult) -> str:
    """Return what a precision is: the best, within the tolerance, or beyond it."""
    if one.passed is None:
        return "not measured"
    if not one.passed:
        return "beyond tolerance"
    return "best" if one.best else "within tolerance"


def heading(suggestion: PrecisionSuggestion) -> str:
    """Return the result in one line."""
    return f"{suggestion.model}: {verdict(suggestion)}"


def verdict(suggestion: PrecisionSuggestion) -> str:
    """Return the result without the name of the model."""
    best = suggestion.best
    if best is not None:
        return f"{best.precision} is the fastest precision within tolerance on {suggestion.target}"
    if any(one.passed is not None for one in suggestion.precisions):
        return "no precision is within tolerance"
    return "nothing could be measured"


def conditions(suggestion: PrecisionSuggestion) -> Iterator[str]:
    """Yield lines that show what was measured, and on what."""
    yield f"{suggestion.toolchain} for {suggestion.target}"
    calibrated = any(one.precision in ("int8", "mixed", "fp8") for one in suggestion.precisions)
    on = f"; calibrated on {suggestion.calibrated_on}" if calibrated else ""
    yield f"data: {suggestion.source}, {count(suggestion.samples, 'sample')}{on}"
    yield f"tolerance: {suggestion.tolerance}"
    if any(one.precision == "fp32" and one.finite is False for one in suggestion.precisions):
        yield "FP32 itself gives values that are not finite: check the data and the model first"
    if suggestion.builder_options:
        options = suggestion.builder_options.items()
        yield f"builder options: {', '.join(f'{name}={value}' for name, value in options)}"
    if suggestion.rounds:
        shapes = "".join(f", {name} {list(one)}" for name, one in suggestion.shapes.items())
        yield (
            f"timed interleaved: {suggestion.rounds} rounds of {count(suggestion.calls, 'call')} "
            f"each, {suggestion.mode.replace('_', ' ')}{shapes}"
        )
    if suggestion.disturbed:
        yield f"the timing was disturbed, so repeat it: {suggestion.disturbed}"


def problems(suggestion: PrecisionSuggestion) -> Sequence[tuple[str, str]]:
    """Return each precision without figures, and why it has none."""
    return [
        (one.precision, f"{one.code}: {one.problem}" if one.code else one.problem)
        for one in suggestion.precisions
        if one.problem
    ]


#: The titles of a table of proposed tolerances.
TOLERANCE_TITLES = (
    *("output", "precision", "rtol", "atol", "cosine", "top1", "now"),
    *("max abs", "99.9%", "99%", "50%", "largest", "elements", "runs"),
)


def tolerance_cells(one: ToleranceProposal) -> tuple[str, ...]:
    """Return what is proposed for an output, and the errors that it is from."""
    proposed = (one.fields.get(name) for name in ("rtol", "atol", "cosine", "top1"))
    half, most, nearly_all = one.quantiles
    errors = (one.max_abs, nearly_all, most, half, one.scale)
    return (
        one.output,
        one.precision,
        *(_figure(value, "{:g}") for value in proposed),
        one.now,
        *(figure(value) if one.elements else _NONE for value in errors),
        f"{one.elements:,}",
        f"{one.runs:,}",
    )


def tolerance_notes(test: TestTolerances) -> Iterator[str]:
    """Yield why nothing is proposed for an output, and what a proposal does not catch."""
    for one in test.outputs:
        if one.is_of_other_data:
            yield (
                f"{one.output}, {one.precision}: errors reach {figure(one.max_abs)} on the inputs "
                f"of --data and {figure(one.own_max_abs)} on those of the test: make the test run "
                "them too, or worse engines pass"
            )
        if one.reason:
            yield f"{one.output}, {one.precision}: nothing is proposed: {one.reason}"
    if test.drift:
        yield (
            f'drift="{test.drift}" is proposed: the errors of these engines are stored, and one '
            "that grows beyond that fails the test, also within its tolerance"
        )


def limit_lines(test: TestTolerances) -> Iterator[str]:
    """Yield what is proposed for the limits of metrics."""
    for one in test.limits:
        of = f" of {one.output}" if one.output else ""
        value = "no value" if one.value is None else f"{one.value:.4g}"
        proposed = one.limit or "nothing"
        yield (
            f"{one.metric}{of}, {one.precision}: {proposed} (now {one.now}; worst of "
            f"{count(one.runs, 'run')}: {value})"
        )
