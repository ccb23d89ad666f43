"""The tolerance under which a comparison would pass, for the outputs where it still tests any."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_trt.accuracy.findings import OutputComparison
from pytest_trt.accuracy.numbers import figure, rounded_up
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance

#: From this share of an output's largest value on, a tolerance tests little: it is not offered if
#: it is also beyond what the precision is known for.
_NEAR_SPREAD = 0.2

#: So many times the default of a precision are beyond what it is known for.
_BEYOND_DEFAULT = 10.0

#: From this share on, it is never offered. An engine that returns zeros would be let off half way.
_MOST_OF_SPREAD = 0.5


def paste(
    outputs: Sequence[OutputComparison], precision: str | None, *, several: bool = False
) -> str | None:
    """Return the marker's argument under which these outputs pass, ready to paste.

    None where one of them would need a tolerance that tests nothing any more.

    Args:
        outputs: Outputs that exceed their tolerance.
        precision: The engine's precision, where known.
        several: Whether other precisions of the test are to stay as they are.
    """
    entries = [_entry(output, _default(precision)) for output in outputs]
    if None in entries:
        return None
    listed = f"{{{', '.join(entry for entry in entries if entry)}}}"
    if several and precision is not None:
        return f'by_precision={{"{precision}": {{"outputs": {listed}}}}}'
    return f"outputs={listed}"


def beyond_all(outputs: Sequence[OutputComparison], precision: str | None) -> str:
    """Say which outputs no sensible tolerance lets pass, and why."""
    needs = ", ".join(
        f"{output.name!r} would need atol={figure(rounded_up(output.needed_atol))} where its "
        f"reference is at most {figure(output.scale)}"
        for output in outputs
        if _entry(output, _default(precision)) is None
    )
    return f"no tolerance that still tests anything would pass: {needs}"


def _default(precision: str | None) -> Tolerance:
    return DEFAULT_TOLERANCES.get(precision or "fp16", DEFAULT_TOLERANCES["fp16"])


def _entry(output: OutputComparison, default: Tolerance) -> str | None:
    tolerance = output.tolerance
    raised = []
    if not _tests_nothing(output.needed_atol, default.atol, output.scale):
        growth = _growth(output.needed_atol, tolerance.atol)
        raised.append((growth, tolerance.rtol, rounded_up(output.needed_atol)))
    if not _tests_nothing(output.needed_rtol, default.rtol, 1.0):
        growth = _growth(output.needed_rtol, tolerance.rtol)
        raised.append((growth, rounded_up(output.needed_rtol), tolerance.atol))
    if not raised:
        return None
    # Raise the part that has to grow less; one that is 0 was set so on purpose, or is unfit.
    _, rtol, atol = min(raised, key=lambda option: option[0])
    fields = [f'"rtol": {rtol:g}', f'"atol": {atol:g}', *_kept(tolerance)]
    return f'"{output.name}": {{{", ".join(fields)}}}'


def _tests_nothing(needed: float, default: float, spread: float) -> bool:
    """Whether a tolerance allows as much as the values themselves are.

    Args:
        needed: The tolerance.
        default: What the precision is known for.
        spread: The largest |reference| for an atol, 1 for an rtol. 0: the values tell nothing.
    """
    beyond_default = needed > _BEYOND_DEFAULT * default
    if not spread:
        return beyond_default
    return needed > _MOST_OF_SPREAD * spread or (beyond_default and needed > _NEAR_SPREAD * spread)


def _growth(needed: float, given: float) -> float:
    return needed / given if given else math.inf


def _kept(tolerance: Tolerance) -> list[str]:
    """What the tolerance says beyond rtol and atol: a pasted entry must not lose it."""
    fields: list[tuple[str, object]] = [
        ("max_mismatch_pct", tolerance.max_mismatch_pct or None),
        ("cosine", tolerance.cosine),
        ("top1", tolerance.top1),
        ("topk", tolerance.topk),
        ("nan", None if tolerance.nan == "forbid" else tolerance.nan),
    ]
    return [
        f'"{name}": "{value}"' if isinstance(value, str) else f'"{name}": {value}'
        for name, value in fields
        if value is not None
    ]
