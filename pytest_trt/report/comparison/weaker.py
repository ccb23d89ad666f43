"""What a newer run checked less than an older one: fewer comparisons, looser limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_trt.accuracy.tolerance import NAN_POLICIES
from pytest_trt.report.comparison.findings import Direction, Finding, Kind
from pytest_trt.report.comparison.pairing import Case, label_of

#: What outputs are compared with, in words.
AGAINST = {"stored": "stored answers", "model": "the model's reference"}

_DRIFT = "growth of the error (drift=)"


def weaker(old: Case, new: Case) -> Iterator[Finding]:
    """Yield what a test that passes now checks no longer.

    A test that did not pass may not have come to all that its markers ask for.
    """
    if new.test["status"] != "passed":
        return
    lines = []
    before, now = _compared_with(old), _compared_with(new)
    # Older versions report only one of two comparisons, so what is missing there is not known.
    is_known = new.test["compared_with"] is not None
    if is_known and now and not set(before) <= set(now):
        lines.append(f"compared with less: {_in_words(before)} before, {_in_words(now)} only now")
    checked = set(_checked(new))
    lost = [one for one in dict.fromkeys(_checked(old)) if one not in checked]
    if lost:
        lines.append(f"no longer checked: {', '.join(lost)}")
    if lines:
        yield Finding(Kind.CHECKS, "", Direction.WORSE, lines=tuple(lines))


def _in_words(compared_with: list[str]) -> str:
    return " and ".join(AGAINST[one] for one in compared_with)


def _compared_with(case: Case) -> list[str]:
    """Return what outputs are compared with; of an older report, what is known of it."""
    stated = case.test["compared_with"]
    found = case.accuracies if stated is None else stated
    return [one for one in AGAINST if one in found]


def _checked(case: Case) -> Iterator[str]:
    test, result = case.test, case.result or {}
    yield from (f"trt_{name}" for name in test["checks"])
    if "drift" in (test["compared_with"] or ()):
        yield _DRIFT
    for accuracy in case.accuracies.values():
        for one in accuracy["metrics"]:
            yield label_of(one)
        yield from (str(one["name"]) for one in accuracy["invariants"])
    yield from (f"task metric {one['name']}" for one in result.get("task_metrics", ()))
    speed = case.speed or {}
    for one in speed.get("changes", ()):
        yield f"change of {one['metric']}"
    yield from (str(one["name"]) for one in speed.get("limits", ()))
    yield from (str(one["name"]) for one in speed.get("structure", ()))
    yield from (f"speed relative to {one['opponent']}" for one in speed.get("speedups", ()))


def other_limits(old: Case, new: Case) -> Iterator[Finding]:
    """Yield which limits allow more than before, and which allow less."""
    before, now = dict(_limits(old)), dict(_limits(new))
    found: dict[bool, list[str]] = {True: [], False: []}
    for label, (bound, larger) in now.items():
        then, _ = before.get(label, (bound, larger))
        if bound != then:
            looser = (bound > then) is larger
            how = "looser" if looser else "tighter"
            found[looser].append(f"the limit of {label} is {how}: {then:g} -> {bound:g}")
    for looser, lines in found.items():
        if lines:
            yield Finding(Kind.CHECKS, "", Direction.CHANGED, lines=tuple(lines), looser=looser)


def _limits(case: Case) -> Iterator[tuple[str, tuple[float, bool]]]:
    """Yield each limit with whether a larger one allows more."""
    if case.test["drift"] is not None:
        yield _DRIFT, (float(case.test["drift"]), True)
    for accuracy in case.accuracies.values():
        for one in accuracy["metrics"]:
            yield label_of(one), (float(one["bound"]), one["comparison"].startswith("<"))
    for one in (case.speed or {}).get("changes", ()):
        yield f"change of {one['metric']}", (float(one["limit"]), True)
    for kind in ("limits", "structure"):
        for one in (case.speed or {}).get(kind, ()):
            yield str(one["name"]), (float(one["limit"]), one["name"] != "min_throughput")
    for one in (case.speed or {}).get("speedups", ()):
        yield f"speed relative to {one['opponent']}", (float(one["factor"]), False)


def looser_tolerance(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return how a tolerance of an output allows more than it did; empty if it does not."""
    parts = [
        f"{name} {_short(old[name])} -> {_short(new[name])}"
        for name in _LARGER + _SMALLER + ("topk", "nan", "elementwise")
        if _allows_more(name, old[name], new[name])
    ]
    return ", ".join(parts)


#: Arguments of a tolerance that allow more the larger they are, and the smaller they are.
_LARGER, _SMALLER = ("rtol", "atol", "max_mismatch_pct"), ("cosine", "top1")


def _allows_more(name: str, old: Any, new: Any) -> bool:
    if name == "nan":
        return NAN_POLICIES.index(new) > NAN_POLICIES.index(old)
    if name == "elementwise":
        return bool(old and not new)
    if name in _LARGER:
        return bool(new > old)
    if old is None or new is None:
        return old is not None
    if name == "topk":
        return bool(new[0] > old[0] or new[1] < old[1])
    return bool(new < old)


def _short(value: Any) -> str:
    value = tuple(value) if isinstance(value, list) else value
    return f"{value:g}" if isinstance(value, float) else str(value)
