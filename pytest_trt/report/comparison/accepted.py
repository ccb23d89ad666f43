"""Changes for the worse that somebody accepted, with a reason that is stored in a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pytest_trt.report.comparison.findings import Direction, Finding
from pytest_trt.report.comparison.pairing import Case

#: How much an error may exceed the accepted one, which is stored with three digits.
_ROUNDED = 1.01


def accepted_speed(old: Case, new: Case, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings on speed: what was accepted since the older run is not worse.

    The new speed passes against the new baseline, so it is not slower than what was accepted.
    """
    before, now = old.speed or {}, new.speed or {}
    reason = now.get("baseline_reason", "")
    is_new = now.get("baseline_recorded") != before.get("baseline_recorded")
    holds = bool(reason) and is_new and now["verdict"] == "passed"
    for one in findings:
        yield _accepted(one, reason) if holds and one.direction is Direction.WORSE else one


def accepted_errors(old: Case, new: Case, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings on errors: one up to the error that was accepted since is not worse."""
    stored = (new.result or {}).get("accepted") or {}
    before = (old.result or {}).get("accepted") or {}
    is_new = stored != before
    # What is stored is the error against stored answers, where they are compared.
    accuracy = new.accuracies.get("stored") or new.accuracies.get("model") or {"outputs": ()}
    errors = {one["name"]: _error(one) for one in accuracy["outputs"]}
    for one in findings:
        most = stored.get("errors", {}).get(one.name)
        holds = bool(stored.get("reason")) and is_new and most is not None
        holds = holds and one.direction is Direction.WORSE
        within = holds and errors.get(one.name, math.inf) <= _ROUNDED * most
        yield _accepted(one, stored["reason"]) if within else one


def _error(output: Any) -> float:
    return float((output["worst_abs"] or {}).get("value", 0.0))


def _accepted(one: Finding, reason: str) -> Finding:
    lines = (*one.lines, f"accepted: {reason}")
    return replace(one, direction=Direction.CHANGED, lines=lines)
