"""Whether an engine that always returns one value would pass: then a check has tested little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_trt.accuracy.result import (
    AccuracyResult,
    MetricOutcome,
    OutputResult,
    SmallParts,
    all_known,
    common_parts,
)


@dataclass(frozen=True, slots=True)
class OneValue:
    """A value with which every element of an output would have passed, in every run.

    Attributes:
        output: The output.
        least: Its smallest element in the reference.
        largest: Its largest element, over all runs.
        value: The value; 0 if that would have passed.
        mismatch_pct: Percentage of the elements that may differ, and that the bounds leave out.
    """

    output: str
    least: float
    largest: float
    value: float
    mismatch_pct: float = 0.0


def passed_by_one_value(checks: Sequence[AccuracyResult]) -> list[OneValue]:
    """Return the outputs of an engine that one value in all elements passes, in all of its checks.

    An output of integers or booleans is left out if another output of the engine depends on the
    inputs: flags, and numbers of what was found, often have one value.
    """
    outputs = _by_name(checks)
    found = [one for runs in outputs.values() if (one := _of_output(runs)) is not None]
    if len({*(one.output for one in found), *_same_samples(outputs)}) == len(outputs):
        return found
    return [one for one in found if not _is_exact(outputs[one.output])]


def passed_by_same_samples(checks: Sequence[AccuracyResult]) -> list[str]:
    """Return other outputs that pass if all samples get the values of the first, in all runs."""
    outputs = _by_name(checks)
    same, one_value = _same_samples(outputs), {one.output for one in passed_by_one_value(checks)}
    one_value.update(name for name, runs in outputs.items() if _passes_metrics(runs))
    every = len({*same, *one_value}) == len(outputs)
    return [
        name for name in same if name not in one_value and (every or not _is_exact(outputs[name]))
    ]


def passed_by_one_value_of_metrics(checks: Sequence[AccuracyResult]) -> list[tuple[str, str]]:
    """Return metrics that pass one value, in all checks, and the output that they alone judge.

    The output is empty for a metric of several.
    """
    found = {
        (metric.name, metric.output): None
        for runs in _by_name(checks).values()
        if _passes_metrics(runs)
        for _, metrics in runs
        for metric in metrics
    }
    return list(found)


def passed_by_zeros(checks: Sequence[AccuracyResult]) -> list[tuple[str, SmallParts]]:
    """Return the outputs of which small parts pass as zeros, in all checks, and those parts."""
    outputs = _by_name(checks)
    little = {one.output for one in passed_by_one_value(checks)}
    little.update(name for name, runs in outputs.items() if _passes_metrics(runs))
    found = []
    for name, runs in outputs.items():
        judged = (one.passed and all(metric.unseen for metric in metrics) for one, metrics in runs)
        parts = common_parts([one.unseen for one, _ in runs])
        if parts is not None and name not in little and all(judged):
            found.append((name, parts))
    return found


#: An output in each check, and the metrics that judge it there.
_Runs = Sequence[tuple[OutputResult, Sequence[MetricOutcome]]]


def _by_name(checks: Sequence[AccuracyResult]) -> dict[str, _Runs]:
    found: dict[str, list[tuple[OutputResult, Sequence[MetricOutcome]]]] = {}
    for check in checks:
        for output in check.outputs:
            if output.size:
                metrics = [one for one in check.metrics if one.output in ("", output.name)]
                found.setdefault(output.name, []).append((output, metrics))
    return dict(found)


def _passes_metrics(runs: _Runs) -> bool:
    """Whether metrics alone judge an output, and one value passes them."""
    return all(
        metrics
        and all(metric.one_value for metric in metrics)
        and not (one.tolerance.elementwise or one.tolerance.has_measure)
        for one, metrics in runs
    )


def _is_exact(runs: _Runs) -> bool:
    return "float" not in runs[0][0].dtype


def _same_samples(outputs: Mapping[str, _Runs]) -> list[str]:
    """Return the outputs that passed whose samples are the same, as what judges them shows."""
    return [
        name
        for name, runs in outputs.items()
        if all_known(
            *(
                one.same_samples and one.passed and all(metric.same_samples for metric in metrics)
                for one, metrics in runs
            )
        )
    ]


def _of_output(runs: _Runs) -> OneValue | None:
    outputs = [(one, any(not metric.one_value for metric in metrics)) for one, metrics in runs]
    ranges = [
        (one.least, one.largest, *_allowed(one, one.least, one.largest, measured=measured))
        for one, measured in outputs
        if one.least is not None and one.largest is not None
    ]
    most = max(one.tolerance.max_mismatch_pct for one, _ in outputs)
    # What else judges an output also judges the elements that the bounds leave out.
    if len(ranges) < len(outputs) or (most and any(measured for _, measured in outputs)):
        return None
    least, largest = min(low for low, *_ in ranges), max(high for _, high, *_ in ranges)
    if least == largest and all(one.size == 1 for one, _ in outputs):
        return None  # a single number, which nothing shows to be constant
    low, high = max(low for *_, low, _ in ranges), min(high for *_, high in ranges)
    if low > high:
        return None
    value = 0.0 if low <= 0.0 <= high else (low + high) / 2
    return OneValue(outputs[0][0].name, least, largest, value, most)


def values_within(least: float, largest: float, rtol: float, atol: float) -> tuple[float, float]:
    """Return the least and the largest value that all elements allow; the least is larger for none.

    What an element allows grows with it, so the outermost elements decide.

    Args:
        least: The smallest element.
        largest: The largest element.
        rtol: Allowed difference, as a share of the element.
        atol: Allowed difference.
    """
    return largest - atol - rtol * abs(largest), least + atol + rtol * abs(least)


def _allowed(
    output: OutputResult, least: float, largest: float, *, measured: bool
) -> tuple[float, float]:
    """Return the least and the largest value that passes in all elements."""
    tolerance = output.tolerance
    if tolerance.only_cosine and not measured and not least < 0.0 < largest:
        return (least + largest) / 2, (least + largest) / 2  # of which the direction passes
    if measured or tolerance.has_measure or not tolerance.elementwise:
        return values_within(least, largest, 0.0, 0.0)  # it is judged otherwise too
    return values_within(least, largest, tolerance.rtol, tolerance.atol)
