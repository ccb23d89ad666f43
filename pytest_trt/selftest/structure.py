"""Engines that are larger than allowed: figures put just beyond each limit, and just within."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pytest_trt.selftest.proof import Proof, dead
from pytest_trt.statistics.structure import FIGURE_OF, GROWTHS, Structural, judge_structure

#: A limit on growth that lets an engine become this many times as large guards nothing.
_MOST = 2.0

#: Seconds have no next value, so they are put beyond a limit by this share.
_BEYOND = 1e-3


def prove_structure(
    limits: Mapping[Structural, float],
    figures: Mapping[str, float],
    stored: Mapping[str, float] | None,
) -> Iterator[Proof]:
    """Put each figure just beyond its limit, and just within.

    Args:
        limits: By name the share by which a figure may have grown, or the figure itself.
        figures: What is known of the engine, by `FIGURE_OF`.
        stored: The same of the baseline; None where there is none.
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
        yield dead(check, "this engine does not tell it")
        return
    if grows and stored is None:
        yield dead(check, "there is no baseline to compare with")
        return

    def judged(value: float) -> tuple[str, str]:
        (found,) = judge_structure({name: limit}, {figure: value}, stored)
        return found.outcome, found.why

    then = (stored or {}).get(figure, figures[figure])
    outcome, why = judged(_MOST * max(then, 1.0))
    if outcome == "not testable":
        yield dead(check, why)
        return
    if grows and outcome != "failed":
        yield Proof(check, "twice as much", must_fail=True, failed=False)
        return
    allowed = then * (1 + limit) if grows else limit
    beyond = allowed * (1 + _BEYOND) if figure.endswith("_s") else math.floor(allowed) + 1.0
    yield Proof(check, f"{beyond:,.10g}", must_fail=True, failed=judged(beyond)[0] == "failed")
    within = f"{allowed:,.10g}"
    yield Proof(check, within, must_fail=False, failed=judged(allowed)[0] == "failed")
