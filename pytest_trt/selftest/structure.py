"""Engines larger than allowed: figures just over each limit, and just within it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pytest_trt.selftest.proof import Proof, cannot_fail
from pytest_trt.statistics.structure import FIGURE_OF, GROWTHS, Structural, judge_structure

#: A limit on growth under which an engine may become this many times as large tests nothing.
_MOST = 2.0

#: Seconds have no next value, so they exceed a limit by this share.
_BEYOND = 1e-3


def prove_structure(
    limits: Mapping[Structural, float],
    figures: Mapping[str, float],
    stored: Mapping[str, float] | None,
) -> Iterator[Proof]:
    """Put each figure just over its limit, and just within it.

    Args:
        limits: By name the share by which a figure may have grown, or the largest figure.
        figures: Figures of the engine, by `FIGURE_OF`.
        stored: Those of the baseline; None without one.
    """
    for name, limit in limits.items():
        yield from _proved(name, limit, figures, stored)


def _proved(
    name: Structural,
    limit: float,
    figures: Mapping[str, float],
    stored: Mapping[str, float] | None,
) -> Iterator[Proof]:
    figure = FIGURE_OF[name]
    grows = name in GROWTHS
    check = f"{name} within {100 * limit:.3g}%" if grows else f"{name}={limit:g}"
    if figure not in figures:
        yield cannot_fail(check, "not reported by this engine")
        return
    if grows and stored is None:
        yield cannot_fail(check, "there is no baseline to compare with")
        return

    def judged(value: float) -> tuple[str, str]:
        (found,) = judge_structure({name: limit}, {figure: value}, stored)
        return found.outcome, found.why

    then = (stored or {}).get(figure, figures[figure])
    outcome, why = judged(_MOST * max(then, 1.0))
    if outcome == "not measured":
        yield cannot_fail(check, why)
        return
    if grows and outcome != "failed":
        yield Proof(check, "twice as much", must_fail=True, failed=False)
        return
    allowed = then * (1 + limit) if grows else limit
    beyond = allowed * (1 + _BEYOND) if figure.endswith("_s") else math.floor(allowed) + 1.0
    yield Proof(check, f"{beyond:,.10g}", must_fail=True, failed=judged(beyond)[0] == "failed")
    within = f"{allowed:,.10g}"
    yield Proof(check, within, must_fail=False, failed=judged(allowed)[0] == "failed")
