"""Whether an engine that always returns one value would pass: then a check has tested little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_trt.accuracy.result import AccuracyResult, OutputResult


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
    """Return the outputs of an engine that one value in all elements passes, in all its checks."""
    found: dict[str, list[tuple[OutputResult, bool]]] = {}
    for check in checks:
        of_metrics = {metric.output for metric in check.metrics}
        for output in check.outputs:
            if output.size:
                measured = not of_metrics.isdisjoint({output.name, ""})
                found.setdefault(output.name, []).append((output, measured))
    return [one for outputs in found.values() if (one := _of_output(outputs)) is not None]


def _of_output(outputs: Sequence[tuple[OutputResult, bool]]) -> OneValue | None:
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
