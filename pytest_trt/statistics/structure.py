"""Limits of the engine itself: size, memory, layers, build time, cold start.

These are not samples, so they are judged exactly: one byte too many fails. Only the cold start also
depends on the load of the host, see `discount.discount_limit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.terms import Verdict

Structural: TypeAlias = Literal[
    "plan_size",
    "device_memory",
    "layers",
    "plan_size_bytes",
    "device_memory_bytes",
    "max_layers",
    "build_s",
    "cold_start_s",
]

#: Limits on growth relative to the baseline, as a share.
GROWTHS: tuple[Structural, ...] = ("plan_size", "device_memory", "layers")

#: All limits of the engine itself; those that are not on growth need no baseline.
STRUCTURAL: tuple[Structural, ...] = (
    *GROWTHS,
    "plan_size_bytes",
    "device_memory_bytes",
    "max_layers",
    "build_s",
    "cold_start_s",
)

#: The figure of an engine that each limits, by its name in baselines.
FIGURE_OF: Mapping[Structural, str] = {
    "plan_size": "size_bytes",
    "plan_size_bytes": "size_bytes",
    "device_memory": "device_memory_bytes",
    "device_memory_bytes": "device_memory_bytes",
    "layers": "layers",
    "max_layers": "layers",
    "build_s": "build_s",
    "cold_start_s": "cold_start_s",
}


@dataclass(frozen=True, slots=True)
class StructuralLimitResult:
    """The result of one structural limit.

    Attributes:
        name: Which limit.
        limit: The share by which the figure may have grown, or the figure itself.
        outcome: Passed, failed, inconclusive or not measured.
        measured: The figure; None if the engine does not report it.
        stored: The baseline's figure, for a limit on growth.
        why: Why it is inconclusive or not measured.
    """

    name: Structural
    limit: float
    outcome: Verdict
    measured: float | None
    stored: float | None = None
    why: str = ""


def parse_structural(name: Structural, value: object, where: str) -> float:
    """Return a structural limit as a share or a figure.

    Args:
        name: Which limit.
        value: The given value: "5%" for a limit on growth, else a number.
        where: Where it was given, for messages.

    Raises:
        ConfigurationError: The value is invalid.
    """
    if name not in GROWTHS:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        limit = float(value) if number else math.nan  # type: ignore[arg-type]
        if 0 < limit < math.inf and (name != "max_layers" or limit.is_integer()):
            return limit
        unit = {"_bytes": "a number of bytes", "_s": "a number of seconds"}
        what = next((words for end, words in unit.items() if name.endswith(end)), "a whole number")
        raise ConfigurationError(
            f"{where}: {name}={value!r} is not {what} above 0",
            fix=f"Write it like {name}={_EXAMPLES[name]}.",
            code="TRT165",
            facts={"limit": name, "value": repr(value)},
        )
    try:
        if not isinstance(value, str) or not value.strip().endswith("%"):
            raise ValueError(value)
        share = float(value.strip()[:-1]) / 100
        if not 0 <= share < math.inf:
            raise ValueError(value)
    except ValueError:
        figure = {"plan_size": "plan_size_bytes", "device_memory": "device_memory_bytes"}
        twin = figure.get(name, "max_layers")
        raise ConfigurationError(
            f"{where}: {name}={value!r} is not a percentage",
            fix=Remedy(
                f'Write it like {name}="5%", or "0%" to allow no growth.',
                alternatives=(f"limit the figure itself: {twin}={_EXAMPLES[twin]}",),
            ),
            code="TRT165",
            facts={"limit": name, "value": repr(value)},
        ) from None
    return share


_EXAMPLES: Mapping[str, str] = {
    "plan_size_bytes": "50_000_000",
    "device_memory_bytes": "500_000_000",
    "max_layers": "120",
    "build_s": "600",
    "cold_start_s": "2.5",
}


def judge_structure(
    limits: Mapping[Structural, float],
    figures: Mapping[str, float],
    stored: Mapping[str, float] | None,
) -> tuple[StructuralLimitResult, ...]:
    """Judge all structural limits of a test.

    Args:
        limits: By name the limit.
        figures: The engine's figures, by the names in `FIGURE_OF`.
        stored: Those of the baseline; None if there is none to compare with, and limits on growth
            are not judged.
    """
    return tuple(
        _judged(name, limit, figures.get(FIGURE_OF[name]), stored)
        for name, limit in limits.items()
        if stored is not None or name not in GROWTHS
    )


def _judged(
    name: Structural, limit: float, measured: float | None, stored: Mapping[str, float] | None
) -> StructuralLimitResult:
    if measured is None:
        why = "this engine does not report it"
        return StructuralLimitResult(name, limit, Verdict.NOT_MEASURED, None, why=why)
    then, allowed = None, limit
    if name in GROWTHS:
        then = (stored or {}).get(FIGURE_OF[name])
        if then is None:
            why = "the baseline does not have it; record it again with --trt-update"
            return StructuralLimitResult(name, limit, Verdict.NOT_MEASURED, measured, why=why)
        allowed = then * (1 + limit)
    outcome = Verdict.PASSED if measured <= allowed else Verdict.FAILED
    return StructuralLimitResult(name, limit, outcome, measured, then)
