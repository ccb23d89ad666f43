"""Why tests failed, each reason once: what it is, whom it touches, and what to do about it.

One wrong model fails all of its tests, in every precision and shape, and each says the same at
length. Whoever has to act needs it once, as the test says it that is furthest off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from pytest_trt import units
from pytest_trt.report.speed_text import NAMES, accepting, update_command

#: Facts of tests with one remedy that are told; of more, how many there are.
_FACTS_TOLD = 3


class _Kind(IntEnum):
    """What sort of reason it is, what must be mended before others at first."""

    OTHER = 0
    ACCURACY = 1
    SPEED = 2


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason for which tests failed.

    Attributes:
        fact: What is wrong, in a line.
        fix: What to do about it.
        tests: Where they stand among the tests of the report, the one that says it best first.
        worst: Of several, why that one is the first; empty where all say the same.
    """

    fact: str
    fix: str
    tests: tuple[int, ...]
    worst: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-simple data."""
        return {**asdict(self), "tests": list(self.tests)}


@dataclass(frozen=True, slots=True)
class _Failure:
    place: int
    test: str
    fact: str
    fix: str
    kind: _Kind
    model: str
    used: float
    results: Sequence[Mapping[str, Any]]


def causes_of(tests: Sequence[Mapping[str, Any]]) -> list[Cause]:
    """Return the reasons for which tests of a report failed, as far as they told what to do."""
    groups: dict[tuple[object, ...], list[_Failure]] = {}
    for place, test in enumerate(tests):
        failure = _failure(place, test)
        if failure is not None:
            groups.setdefault(_key(failure), []).append(failure)
    ordered = sorted(groups.values(), key=lambda group: group[0].kind)
    return [_cause(group) for group in ordered]


def _failure(place: int, test: Mapping[str, Any]) -> _Failure | None:
    found = re.search(r"^Fix: (.*?)(?=\n\n|\Z)", test["failure"], re.MULTILINE | re.DOTALL)
    if found is None:
        return None
    # xdist's worker stands above it.
    lines = (line for line in test["failure"].splitlines() if line and not line.startswith("[gw"))
    fact, fix = next(lines), " ".join(found[1].split())
    kind, used = _Kind.OTHER, 0.0
    of_speed = [r for r in test["results"] if r["speed"] and r["speed"]["verdict"] == "regressed"]
    wrong = [r for r in test["results"] if r["accuracy"] and r["accuracy"]["verdict"] != "passed"]
    results: Sequence[Mapping[str, Any]] = ()
    if wrong:
        kind, results = _Kind.ACCURACY, wrong
        used = max(float(r["accuracy"]["used"] or "inf") for r in wrong)
    elif of_speed:
        kind, results = _Kind.SPEED, of_speed
        used = max(_beyond(r["speed"]) for r in of_speed)
    model = (results[0] if results else test)["model"]
    return _Failure(place, test["id"], fact, fix, kind, model, used, results)


def _beyond(speed: Mapping[str, Any]) -> float:
    changes = [one for one in speed["changes"] if one["outcome"] == "regressed"]
    return max((abs(one["change"] or 0.0) for one in changes), default=0.0)


def _key(failure: _Failure) -> tuple[object, ...]:
    if failure.kind is _Kind.OTHER:
        # The same instruction mends all of them, whatever each of them is.
        return (failure.kind, _without_subject(failure.fact), failure.model)
    if failure.kind is _Kind.SPEED and not _changes_told([failure]):
        # Limits that are figures, and those of the engine itself: what mends one mends no other.
        return (
            failure.kind,
            failure.model,
            failure.fix.replace(update_command([failure.test]), ""),
        )
    return (failure.kind, failure.model)


def _without_subject(fact: str) -> str:
    """Return a fact without the "(digits.onnx in fp16 on cpu)" that it ends with."""
    return re.sub(r" \([^()]* in [^()]* on [^()]*\)\.?$", "", fact)


def _cause(group: Sequence[_Failure]) -> Cause:
    # What came first of those that are equally far off.
    worst = max(group, key=lambda one: one.used)
    places = (worst.place, *(one.place for one in group if one is not worst))
    if len(group) == 1:
        return Cause(worst.fact, worst.fix, places)
    if worst.kind is _Kind.SPEED and _changes_told(group):
        return _slower(group, worst, places)
    if worst.kind is _Kind.ACCURACY:
        return Cause(_off(group, worst), worst.fix + _for_all(group, worst), places, "furthest off")
    facts = list(dict.fromkeys(_without_subject(one.fact) for one in (worst, *group)))
    fact = "; ".join(facts[:_FACTS_TOLD])
    if len(facts) > _FACTS_TOLD:
        fact += f"; and {len(facts) - _FACTS_TOLD} more"
    if len({one.fact for one in group}) == 1:
        fact = worst.fact
    # What accepts the figures of one test accepts those of all.
    alone, all_of_them = update_command([worst.test]), update_command([one.test for one in group])
    return Cause(fact, worst.fix.replace(alone, all_of_them), places)


def _off(group: Sequence[_Failure], worst: _Failure) -> str:
    """Return by how much a model is off, for each precision, as the furthest of its tests is."""
    furthest: dict[str, tuple[float, str]] = {}
    for result in (result for one in group for result in one.results):
        accuracy = result["accuracy"]
        used = float(accuracy["used"] or "inf")
        told = f"{accuracy['worst_output']} {units.share(used)}"
        precision = result["precision"]
        furthest[precision] = max(furthest.get(precision, (0.0, "")), (used, told))
    if any(not 1.0 < used < math.inf for used, _ in furthest.values()):
        # No multiple says what is wrong. How many outputs are is true of that test alone.
        return re.sub(r": \d+ of \d+ outputs? failed\.$", "", worst.fact)
    found = re.search(r"\(.* in .* on .*, (against .*?)\)", worst.fact)
    against = f" ({found[1]})" if found else ""
    listed = ", ".join(f"{precision} {told}" for precision, (_, told) in furthest.items())
    return f"{worst.model} is beyond its tolerances: {listed}{against}"


def _for_all(group: Sequence[_Failure], worst: _Failure) -> str:
    """Return the tolerance by which all of a group pass, where its worst is offered one."""
    if "allow it: " not in worst.fix:
        return ""
    needed: dict[tuple[str, str], float] = {}
    for result in (result for one in group for result in one.results):
        for output in result["accuracy"]["outputs"]:
            if output["findings"]:
                key = (result["precision"], output["name"])
                needed[key] = max(needed.get(key, 0.0), float(output["needed_atol"]))
    listed = ", ".join(
        f"atol={units.at_least(atol)} for {name!r} in {precision}"
        for (precision, name), atol in needed.items()
    )
    return f" All {len(group)} tests pass with {listed}, rtol as it is."


def _slower(group: Sequence[_Failure], worst: _Failure, places: tuple[int, ...]) -> Cause:
    """Return the reason of tests that are slower: what changed, and accepting that at last."""
    told = ", ".join(dict.fromkeys(_changes_told(group)))
    fact = f"{worst.model} is beyond its limits of speed: {told}"
    # What accepting takes is another command for all of them.
    mend = worst.fix.partition("; if it is to be this slow, ")[0]
    files = dict.fromkeys(file for one in group for file in re.findall(r"commit (\S+): ", one.fix))
    tests = [one.test for one in group]
    return Cause(fact, f"{mend}; {accepting(tests, list(files))}", places)


def _changes_told(group: Sequence[_Failure]) -> list[str]:
    """Return by how much tests are slower than their baselines, for each that is."""
    return [
        f"{result['precision']} {NAMES[change['metric']]} {units.change(change['change'])}"
        for one in group
        for result in one.results
        for change in [_heading(result["speed"])]
        if change is not None
    ]


def _heading(speed: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the change that its failure is headed with; older reports do not name it."""
    changes = [one for one in speed["changes"] if one["outcome"] == "regressed"]
    return next((one for one in changes if one["metric"] == speed.get("gravest")), None) or max(
        changes, key=lambda one: abs(one["change"] or 0.0), default=None
    )


def cause_lines(
    causes: Iterable[Cause], tests: Sequence[Mapping[str, Any]], most: int = 2
) -> Iterable[str]:
    """Yield lines that tell causes: how many tests, what is wrong, what to do.

    Args:
        causes: What `causes_of` returned of these tests.
        tests: The tests.
        most: The most tests to name of one.
    """
    for cause in causes:
        names = [str(tests[place]["id"]) for place in cause.tests]
        several = f"{len(names)} tests, one reason: " if len(names) > 1 else ""
        yield f"{several}{cause.fact}"
        shown = names[: 1 if cause.worst else most]
        rest = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        yield f"  {cause.worst and f'{cause.worst}: '}{', '.join(shown)}{rest}"
        yield f"  Fix: {cause.fix}"
