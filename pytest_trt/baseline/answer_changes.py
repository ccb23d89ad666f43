"""What changed between two versions of a file of answers, test by test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.baseline.answers import AnswerEntry, AnswerFile, StoredAnswer
from pytest_trt.baseline.models import with_model

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
    """Return the changes of all tests whose answers are not the same, by name.

    Args:
        old: The file's content before; None if it did not exist.
        new: Its content now; None if it does not exist.
    """
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
    both = {**old.errors, **new.errors}
    kinds: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    for engine in both:
        then, now = old.errors.get(engine), new.errors.get(engine)
        if then != now:
            kind = "added" if then is None else "removed" if now is None else "changed"
            kinds[kind].append(engine)
    return [f"errors of {', '.join(names)} {kind}" for kind, names in kinds.items() if names]
