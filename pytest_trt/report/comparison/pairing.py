"""Which test and engine of a newer report is which of an older one, and which have none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pytest_trt.report.document import Document

#: A test and its architecture; that is empty where two architectures are compared.
Key: TypeAlias = tuple[str, str]


class Case(NamedTuple):
    """A test and one engine in it; None if the test has no engine."""

    test: Mapping[str, Any]
    result: Mapping[str, Any] | None

    @property
    def engine(self) -> tuple[str, str] | None:
        """Model and precision."""
        return (self.result["model"], self.result["precision"]) if self.result else None

    @property
    def speed(self) -> Mapping[str, Any] | None:
        """What was measured; None without a benchmark."""
        return self.result["speed"] if self.result else None

    @property
    def accuracies(self) -> Mapping[str, Mapping[str, Any]]:
        """What was found by what outputs were compared with, the worst first."""
        found = [self.result["accuracy"], *(self.result["also"] or ())] if self.result else []
        return {one["against"]: one for one in found if one is not None}


def label_of(metric: Mapping[str, Any]) -> str:
    """Return the name of a metric, with that of its output if it has one."""
    return f"{metric['name']} of {metric['output']}" if metric["output"] else str(metric["name"])


def by_test(document: Document, *, across: bool) -> dict[Key, list[Case]]:
    """Return the cases of each test."""
    found: dict[Key, list[Case]] = {}
    for test in document["tests"]:
        cases = found.setdefault((test["test"], "" if across else test["arch"]), [])
        cases += [Case(test, result) for result in test["results"] or [None]]
    return found


def pairs_of(before: Sequence[Case], after: Sequence[Case]) -> Iterator[tuple[Case, Case | None]]:
    """Yield cases of one test that belong together, and older ones that a passing test lacks.

    Engines are the same by model and precision, else by precision: the model's file may have been
    renamed. A case without an engine fits any.
    """
    left = list(before)
    found: dict[int, Case] = {}
    for fits in (_same_engine, _same_precision):
        for place, new in enumerate(after):
            old = next((one for one in left if fits(one, new)), None)
            if old is not None and place not in found:
                found[place] = old
                left.remove(old)
    for place, new in enumerate(after):
        any_engine = [one for one in before if one.engine is None or new.engine is None]
        for old in [found[place]] if place in found else any_engine[:1]:
            yield old, new
    # A test that was skipped or failed may have come to none of its engines.
    if all(one.engine is not None and one.test["status"] == "passed" for one in after):
        yield from ((old, None) for old in left if old.engine is not None)


def _same_engine(old: Case, new: Case) -> bool:
    return old.engine == new.engine


def _same_precision(old: Case, new: Case) -> bool:
    both = old.engine, new.engine
    return both[0] is not None and both[1] is not None and both[0][1] == both[1][1]


def renamed_tests(
    before: Mapping[Key, Sequence[Case]], after: Mapping[Key, Sequence[Case]]
) -> dict[Key, Key]:
    """Return the old name of each test that only the newer report has, and that was renamed.

    It was if exactly one test that only the older report has is in the same file or has the same
    name there, and has the same model, precision, parameters and checks.
    """
    removed, added = _alike(before, after), _alike(after, before)
    found = {}
    for kind, new in added.items():
        old = removed.get(kind, [])
        if len(old) == len(new) == 1:
            (file, _, name), (file_now, _, name_now) = (
                one[0][0].partition("::") for one in (old, new)
            )
            if file == file_now or name == name_now:
                found[new[0]] = old[0]
    return found


def _alike(
    own: Mapping[Key, Sequence[Case]], other: Mapping[Key, Sequence[Case]]
) -> Mapping[tuple[Any, ...], list[Key]]:
    """Return the tests that only one report has, by what a renaming does not change."""
    found: defaultdict[tuple[Any, ...], list[Key]] = defaultdict(list)
    for key, (case, *_) in own.items():
        if key not in other:
            test, parameters = case.test, key[0].partition("[")[2]
            kind = (test["model"], test["precision"], key[1], parameters, tuple(test["checks"]))
            found[kind].append(key)
    return found
