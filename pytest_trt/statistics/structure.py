"""Limits of the engine itself: how large it is, how much memory it takes, how many layers it has.

Nothing about them is a sample, so they are exact: one byte too many is a regression. A cold start
alone is of the hour, too, and `doubt` tells when that excuses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.statistics.decide import Outcome

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

#: Limits on growth against the baseline, as a share.
GROWTHS: tuple[Structural, ...] = ("plan_size", "device_memory", "layers")

#: All limits of the engine itself; those that are no growth need no baseline.
STRUCTURAL: tuple[Structural, ...] = (
    *GROWTHS,
    "plan_size_bytes",
    "device_memory_bytes",
    "max_layers",
    "build_s",
    "cold_start_s",
)

#: The figure of an engine that each is about: as baselines call it, and seconds.
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
    """What one structural limit came to.

    Attributes:
        name: Which one.
        limit: The share by which the figure may have grown, or the figure itself.
        outcome: "passed", "failed", "inconclusive" or "not testable".
        measured: The figure; None where the engine does not tell it.
        stored: The figure of the baseline, where it is held against one.
        why: Why it is inconclusive or not testable.
    """

    name: Structural
    limit: float
    outcome: Outcome
    measured: float | None
    stored: float | None = None
    why: str = ""


def parse_structural(name: Structural, value: object, where: str) -> float:
    """Return a structural limit as a share or a figure.

    Args:
        name: Which limit.
        value: What was written: "5%" for one on growth, else a number.
        where: What it was written on, for messages.

    Raises:
        ConfigurationError: It is neither.
    """
    if name not in GROWTHS:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and 0 < float(value) < math.inf:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        unit = {"_bytes": "bytes", "_s": "seconds"}
        what = next((word for end, word in unit.items() if name.endswith(end)), "layers")
        raise ConfigurationError(
            f"{where}: {name}={value!r} is not a number of {what}.",
            fix=f"write it like {name}={_EXAMPLES[name]}.",
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
            f"{where}: {name}={value!r} is no share by which it may grow.",
            fix=f'write it like {name}="5%", or "0%" for not at all; a figure is written '
            f"{twin}={_EXAMPLES[twin]}.",
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
        figures: What is known of the engine, by `FIGURE_OF`.
        stored: The same of the baseline; None where there is nothing to compare with, and what is
            held against a baseline is not judged.
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
        return StructuralLimitResult(
            name, limit, "not testable", None, why="this engine does not tell it"
        )
    if name not in GROWTHS:
        return StructuralLimitResult(
            name, limit, "passed" if measured <= limit else "failed", measured
        )
    then = (stored or {}).get(FIGURE_OF[name])
    if then is None:
        why = "the baseline does not tell it; record it again with --trt-update"
        return StructuralLimitResult(name, limit, "not testable", measured, why=why)
    kept = measured <= then * (1 + limit)
    return StructuralLimitResult(name, limit, "passed" if kept else "failed", measured, then)
