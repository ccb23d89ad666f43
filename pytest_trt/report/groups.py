"""Why tests failed, each reason once: diagnostics grouped by code and facts.

One wrong model fails all of its tests for the same reason. A group has the message and the remedy
of its worst diagnostic, and names every test that it concerns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pytest_trt.accuracy.offer import offer_for_all
from pytest_trt.accuracy.subject import Subject
from pytest_trt.benchmark.commands import update_command
from pytest_trt.codes import CODES, Code
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy, remedy_lines, wrapped
from pytest_trt.wording import count

#: First digits of codes whose groups come last, accuracy before speed: what prevents tests from
#: running is fixed first.
_LAST = "45"

#: Tests that a group names; further ones are counted.
_NAMED = 2

#: Lines of the section that the terminal shows.
_LINES = 40


@dataclass(frozen=True, slots=True)
class Group:
    """Failures with one reason and one remedy.

    Attributes:
        code: Code of the diagnostics, see `pytest-trt explain`.
        title: What the code means, in a few words.
        message: Message of the worst diagnostic.
        remedy: What to do.
        tests: Positions of the tests in the report, from 0; the worst first.
    """

    code: str
    title: str
    message: str
    remedy: Remedy
    tests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Failure:
    place: int
    test: str
    diagnostic: Diagnostic

    @property
    def arguments(self) -> list[str]:
        """The tests that an update runs, as pytest takes them where the run was started."""
        facts = self.diagnostic.facts
        return _texts(facts.get("update_tests")) or [str(facts.get("test_argument", self.test))]

    @property
    def badness(self) -> float:
        """The fact that ranks diagnostics of one code; 0 where the code names none."""
        rank_by = _entry(self.diagnostic.code).rank_by
        value = self.diagnostic.facts.get(rank_by) if rank_by else None
        with suppress(TypeError, ValueError):  # facts of a report may hold anything
            return abs(float(value))  # type: ignore[arg-type]
        return 0.0


def groups_of(tests: Iterable[tuple[str, Sequence[Diagnostic]]]) -> list[Group]:
    """Return the reasons for which tests, by node id, failed, in the order in which to fix them."""
    groups: dict[tuple[str, ...], list[_Failure]] = {}
    for place, (test, diagnostics) in enumerate(tests):
        for one in diagnostics:
            if one.severity == "error":
                groups.setdefault(_key(one), []).append(_Failure(place, test, one))
    ordered = sorted(groups.items(), key=lambda group: _LAST.find(group[0][0][3:4] or "-"))
    return [_group(failures) for _, failures in ordered]


def _key(one: Diagnostic) -> tuple[str, ...]:
    names = _entry(one.code).group_by
    if not names:
        return (one.code, one.message)
    return (one.code, *(json.dumps(one.facts.get(name), sort_keys=True) for name in names))


def _texts(fact: Fact) -> list[str]:
    """Return a list of texts; empty for anything else, as facts of a report may hold anything."""
    return [str(one) for one in fact] if isinstance(fact, list | tuple) else []


def _group(failures: Sequence[_Failure]) -> Group:
    worst = max(failures, key=lambda one: one.badness)  # the first of those that are equally bad
    ordered = [worst, *(one for one in failures if one is not worst)]
    # One command updates the baselines of all tests.
    tests = list(dict.fromkeys(test for one in ordered for test in one.arguments))
    facts, remedy = worst.diagnostic.facts, worst.diagnostic.remedy
    given = _texts(facts.get("update_options"))
    alone, together = update_command(worst.arguments, given), update_command(tests, given)
    # One tolerance lets all tests of a model pass; another precision has its own.
    subject = Subject(
        model=str(facts.get("model", "")),
        precision=str(facts.get("precision", "")),
        several=bool(facts.get("several_precisions")),
    )
    alike = [
        one for one in ordered if one.diagnostic.facts.get("precision") == facts.get("precision")
    ]
    offers = offer_for_all([one.diagnostic.facts for one in alike], subject)
    lines = {alone: together, **offers}
    return Group(
        worst.diagnostic.code,
        _entry(worst.diagnostic.code).title,
        worst.diagnostic.message,
        replace(
            remedy,
            commands=tuple(lines.get(one, one) for one in remedy.commands),
            alternatives=tuple(
                lines.get(one, one).replace(f"`{alone}`", f"`{together}`")
                for one in remedy.alternatives
            ),
        ),
        tuple(dict.fromkeys(one.place for one in ordered)),
    )


def group_lines(
    groups: Sequence[Group], tests: Sequence[str], width: int | None = None
) -> Iterator[str]:
    """Yield lines for a terminal: each group's message, its tests, what to do.

    Args:
        groups: What `groups_of` returned.
        tests: Node ids, in the order in which the groups number them.
        width: Columns to wrap at; commands are never wrapped.
    """
    written = 0
    for number, group in enumerate(groups):
        lines = list(_lines(group, tests, width))
        written += len(lines)
        if number and written > _LINES:
            yield f"and {count(len(groups) - number, 'more reason')}, each with its test above"
            return
        yield from lines


def _lines(group: Group, tests: Sequence[str], width: int | None) -> Iterator[str]:
    names = [tests[place] for place in group.tests]
    worst = "worst of " if _entry(group.code).rank_by else ""
    several = f"{worst}{len(names)} tests: " if len(names) > 1 else ""
    yield from wrapped(f"{several}{group.message} [{group.code}]", width)
    shown = names[: 1 if worst else _NAMED]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    yield from wrapped(f"{', '.join(shown)}{more}", width, "  ")
    yield from remedy_lines(group.remedy, width, "  ")


def _entry(code: str) -> Code:
    """Return a code's entry; a report of another version may have codes that are unknown here."""
    return CODES.get(code) or Code("", "", "")
