"""The tolerances under which a failed check would pass, where they would still test something."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pytest_trt.accuracy.judge import is_exact, is_rounded, with_finding
from pytest_trt.accuracy.result import Comparison, OutputResult
from pytest_trt.accuracy.subject import Subject
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance
from pytest_trt.diagnostics import Fact
from pytest_trt.units import percent_of, rounded_up

#: Fields of `Tolerance` under which every run would pass, by output.
Offer: TypeAlias = Mapping[str, Mapping[str, Fact]]

#: Beyond this many times the default tolerance of a precision, rounding explains no difference.
BEYOND_DEFAULT = 10.0

#: From this share of an output's largest value on, a tolerance tests little: it is not offered if
#: it also exceeds what the precision is known for.
_NEAR_SPREAD = 0.2

#: From this share on, it is never offered: an engine that returns zeros would come half way.
_MOST_OF_SPREAD = 0.5

#: The largest percentage of exact elements that is offered to differ: half of all booleans and of
#: the classes of two are right by chance.
_MOST_OF_ELEMENTS = 20.0


#: Fields that an offer changes.
_WIDENED = frozenset({"rtol", "atol", "max_mismatch_pct"})


def tolerance_offer(worst: Comparison, runs: Comparison, precision: str) -> Offer | None:
    """Return tolerances under which all runs would pass, as fields to paste by output.

    None where something else fails too (a ranking, NaN, a shape), or where an output would need a
    tolerance that tests nothing any more.
    """
    if runs.kinds != {"mismatch"}:
        return None
    failed = with_finding(runs, "mismatch")
    if any(is_exact(output) for output in failed):
        return _exact_offer(worst, failed)
    offer: dict[str, dict[str, Fact]] = {}
    for output in failed:
        entry = _entry(output, precision)
        if entry is None:
            return None
        # The items of a sequence share one entry.
        name = output.item_of or output.name
        offer[name] = _widest(offer.get(name, {}), entry)
    return offer


def _exact_offer(worst: Comparison, failed: Sequence[OutputResult]) -> Offer | None:
    """Return what lets one exact output pass: how far rounded numbers, or how many may differ."""
    if len(failed) > 1:
        return None
    ((output,), (all_runs,)) = with_finding(worst, "mismatch")[:1], failed
    name = output.item_of or output.name
    if all_runs.worst_abs is not None and is_rounded(all_runs):
        return {name: {"rtol": 0.0, "atol": all_runs.worst_abs.value}}
    pct = rounded_up(output.mismatched_pct)
    if all_runs.mismatched != output.mismatched or pct > _MOST_OF_ELEMENTS:
        return None
    return {name: {"rtol": 0.0, "atol": 0.0, "max_mismatch_pct": pct}}


def offer_text(offer: Offer, subject: Subject) -> str:
    """Return an offer as it is typed: the marker's argument, or `compare_outputs`' in a script."""
    if not subject.model:
        entries = ", ".join(f"{json.dumps(name)}: {_call(entry)}" for name, entry in offer.items())
        return f"tolerance={{{entries}}}"
    if subject.several:
        return f"by_precision={json.dumps({subject.precision: {'outputs': offer}})}"
    return f"outputs={json.dumps(offer)}"


def allowing(offer: Offer, subject: Subject) -> str:
    """Return the line that offers tolerances for a model that is accurate enough."""
    return f"If it is accurate enough on real data: {offer_text(offer, subject)}"


def allowing_exact(offer: Offer, subject: Subject) -> str:
    """Return the line that lets an exact output differ: all of it by little, or a share of it."""
    steps = [entry.get("atol") for entry in offer.values() if "max_mismatch_pct" not in entry]
    if steps and isinstance(steps[0], float):
        return f"If they may differ by {steps[0]:g}: {offer_text(offer, subject)}"
    shares = [entry.get("max_mismatch_pct") for entry in offer.values()]
    share = max((share for share in shares if isinstance(share, float)), default=0.0)
    return f"If {percent_of(share)} of them may differ: {offer_text(offer, subject)}"


def offer_for_all(tests: Sequence[Mapping[str, Fact]], subject: Subject) -> dict[str, str]:
    """Return the lines that offer one test's tolerances, each with one that suits all tests.

    Args:
        tests: The facts of the tests' diagnostics, first of the one whose lines are replaced.
        subject: What was compared.
    """
    offers = [_offered(facts) for facts in tests]
    merged: dict[str, dict[str, Fact]] = {}
    for offer in offers:
        if not offer:  # no tolerance is offered for that test
            return {}
        for name, entry in offer.items():
            known = merged.get(name, {})
            if known and _fixed(known) != _fixed(entry):
                return {}
            merged[name] = _widest(known, entry)
    lines = (offer_text, allowing, allowing_exact)
    return {line(offers[0] or {}, subject): line(merged, subject) for line in lines}


def _offered(facts: Mapping[str, Fact]) -> Offer | None:
    """Return what one test's diagnostic offers; facts of a report may hold anything."""
    offer: dict[str, Mapping[str, Fact]] = {}
    found = facts.get("offer")
    for name, entry in found.items() if isinstance(found, Mapping) else ():
        if not isinstance(entry, Mapping):
            return None
        if not all(isinstance(entry[one], int | float) for one in _WIDENED & entry.keys()):
            return None
        offer[name] = entry
    return offer or None


def _fixed(entry: Mapping[str, Fact]) -> Mapping[str, Fact]:
    return {name: value for name, value in entry.items() if name not in _WIDENED}


def _call(entry: Mapping[str, Fact]) -> str:
    return f"Tolerance({', '.join(f'{name}={value!r}' for name, value in entry.items())})"


def _entry(output: OutputResult, precision: str) -> dict[str, Fact] | None:
    tolerance = output.tolerance
    needed_atol, needed_rtol = sensible(output, precision)
    raised: list[tuple[float, float, float]] = []
    if needed_atol is not None:
        growth = _growth(needed_atol, tolerance.atol)
        raised.append((growth, tolerance.rtol, rounded_up(needed_atol)))
    if needed_rtol is not None:
        growth = _growth(needed_rtol, tolerance.rtol)
        raised.append((growth, rounded_up(needed_rtol), tolerance.atol))
    if not raised:
        return None
    # Raise the part that has to grow less; one that is 0 was set so on purpose, or is unfit.
    _, rtol, atol = min(raised, key=lambda option: option[0])
    return {"rtol": float(rtol), "atol": float(atol), **_other_fields(tolerance)}


def sensible(output: OutputResult, precision: str) -> tuple[float | None, float | None]:
    """Return the needed atol and the needed rtol, each None if it would test nothing any more."""
    default = DEFAULT_TOLERANCES.get(precision, DEFAULT_TOLERANCES["fp16"])
    atol, rtol = output.needed_atol, output.needed_rtol
    return (
        None if tests_nothing(atol, default.atol, output.scale) else atol,
        None if tests_nothing(rtol, default.rtol, 1.0) else rtol,
    )


def _widest(one: Mapping[str, Fact], other: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return an entry under which the outputs of two entries pass."""
    widest = {**one, **other}
    for name in _WIDENED & widest.keys():
        values = (entry.get(name) for entry in (one, other))
        widest[name] = max(value for value in values if isinstance(value, int | float))
    return widest


def tests_nothing(needed: float, default: float, spread: float) -> bool:
    """Whether a tolerance allows as much as the values themselves are.

    Args:
        needed: The tolerance.
        default: What the precision is known for.
        spread: The largest |reference| for an atol, 1 for an rtol. 0: nothing to judge by.
    """
    beyond_default = needed > BEYOND_DEFAULT * default
    if not spread:
        return beyond_default
    return needed > _MOST_OF_SPREAD * spread or (beyond_default and needed > _NEAR_SPREAD * spread)


def _growth(needed: float, given: float) -> float:
    return needed / given if given else math.inf


def _other_fields(tolerance: Tolerance) -> dict[str, Fact]:
    """Fields beyond rtol and atol: a pasted entry must retain them."""
    fields: dict[str, Fact] = {
        "max_mismatch_pct": tolerance.max_mismatch_pct or None,
        "cosine": tolerance.cosine,
        "top1": tolerance.top1,
        "topk": tolerance.topk,
        "nan": None if tolerance.nan == "forbid" else tolerance.nan,
    }
    return {name: value for name, value in fields.items() if value is not None}
