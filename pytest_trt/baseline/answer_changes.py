"""What changed between two versions of a file of answers, test by test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.baseline.answers import AnswerEntry, AnswerFile, StoredAnswer
from pytest_trt.baseline.models import with_model
from pytest_trt.wording import count

#: Outputs of an engine whose errors are shown.
_NAMED = 3

#: What happened to a test's answers. "edited": the arrays are the same.
Kind: TypeAlias = Literal["added", "removed", "renamed", "replaced", "not comparable", "edited"]


@dataclass(frozen=True, slots=True)
class AnswersChange:
    """What happened to the answers of one test.

    Attributes:
        test: The test.
        kind: What happened.
        old: What was stored; None if it was added.
        new: What is stored now; None if it was removed.
        was: Its old name, where the test or its model was renamed, and the answers are the same.
    """

    test: str
    kind: Kind
    old: AnswerEntry | None
    new: AnswerEntry | None
    was: str = ""

    def renamed(self, added: AnswersChange) -> AnswersChange | None:
        """Return the renaming by which these answers became added ones; None for other ones."""
        if self.old is None or added.new is None:
            return None
        if not with_model(self.old, added.new.model).is_same(added.new):
            return None
        return AnswersChange(added.test, "renamed", self.old, added.new, was=self.test)

    @property
    def pairs(self) -> list[tuple[StoredAnswer, StoredAnswer]]:
        """The old and the new answer to each set of inputs that both have."""
        if self.old is None or self.new is None:
            return []
        both = [(self.old.answer(one.inputs), one) for one in self.new.answers]
        return [(old, new) for old, new in both if old is not None]

    @property
    def unpaired(self) -> tuple[list[StoredAnswer], list[StoredAnswer]]:
        """Answers to inputs that only the old version has, and that only the new one has."""
        shared = {new.inputs for _, new in self.pairs}
        old, new = (
            [one for one in entry.answers if one.inputs not in shared] if entry else []
            for entry in (self.old, self.new)
        )
        return old, new


def answers_changes(old: AnswerFile | None, new: AnswerFile | None) -> list[AnswersChange]:
    """Return the changes of all tests whose answers are not the same, by name."""
    before, after = (dict(one.tests) if one else {} for one in (old, new))
    both = [(test, before.get(test), after.get(test)) for test in sorted({**before, **after})]
    return [
        AnswersChange(test, _kind(then, now), then, now) for test, then, now in both if then != now
    ]


def _kind(old: AnswerEntry | None, new: AnswerEntry | None) -> Kind:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.answers == new.answers:
        return "edited"
    shared = {one.inputs for one in old.answers} & {one.inputs for one in new.answers}
    return "replaced" if shared else "not comparable"


def errors_changes(old: AnswerEntry, new: AnswerEntry) -> list[str]:
    """Return what happened to the errors of engines: "errors of cpu fp16 removed"."""
    before, after = old.errors, new.errors
    added, removed = [x for x in after if x not in before], [x for x in before if x not in after]
    lines = [f"errors of {', '.join(added)} added"] if added else []
    for engine, then in before.items():
        if then != after.get(engine, then):
            lines.append(f"errors of {engine} changed: {_moved(then, after[engine])}")
    return lines + ([f"errors of {', '.join(removed)} removed"] if removed else [])


def _moved(then: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Return the errors that moved: "logits 0.102 -> 0.156"; the outputs that grew most first."""
    both = [(one, then[one], now[one]) for one in then if one in now]
    both = sorted((one for one in both if one[1] != one[2]), key=lambda one: one[1] - one[2])
    moved = [f"{name} {a:.3g} -> {b:.3g}" for name, a, b in both]
    moved += [f"{name} added" for name in now if name not in then]
    moved += [f"{name} removed" for name in then if name not in now]
    more = f" and {count(len(moved) - _NAMED, 'other output')}" if len(moved) > _NAMED else ""
    return ", ".join(moved[:_NAMED]) + more
