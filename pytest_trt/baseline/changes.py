"""What changed between two versions of a baseline file, test by test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.baseline.file import BaselineFile
from pytest_trt.baseline.models import model_of, with_model
from pytest_trt.diagnostics import BaselineError

#: What happened to a test's baseline. "edited": all its runs were stored before.
Kind: TypeAlias = Literal[
    "added", "removed", "renamed", "runs added", "replaced", "not comparable", "edited"
]

#: Those that leave nothing to compare.
_UNCOMPARED = ("not comparable", "edited", "renamed")


@dataclass(frozen=True, slots=True)
class EntryChange:
    """What happened to one test's baseline.

    Attributes:
        test: The test.
        kind: What happened.
        old: What was stored; None if it was added.
        new: What is stored now; None if it was removed.
        why: Why old and new figures cannot be compared; empty if they can.
        was: Its old name, where the test or its model was renamed, and nothing else changed.
    """

    test: str
    kind: Kind
    old: Entry | None
    new: Entry | None
    why: str = ""
    was: str = ""

    def renamed(self, added: EntryChange) -> EntryChange | None:
        """Return the renaming by which this baseline became an added one; None for another one."""
        if self.old is None or added.new is None:
            return None
        if with_model(self.old, model_of(added.new)) != added.new:
            return None
        return EntryChange(added.test, "renamed", self.old, added.new, was=self.test)

    @property
    def compared(self) -> tuple[tuple[StoredRun, ...], tuple[StoredRun, ...]] | None:
        """The old runs and the new ones with equally many calls per round; None without either."""
        if self.old is None or self.new is None or self.kind in _UNCOMPARED:
            return None
        calls = self.new.runs[-1].calls
        before = tuple(run for run in self.old.runs if run.calls == calls)
        after = tuple(
            run for run in self.new.runs if run.calls == calls and run not in self.old.runs
        )
        return (before, after) if before and after else None


def entry_changes(old: BaselineFile | None, new: BaselineFile | None) -> list[EntryChange]:
    """Return the changes of all tests whose baseline is not the same, by name.

    Raises:
        BaselineError: They are of different targets, which are never compared.
    """
    if old is not None and new is not None and old.target != new.target:
        then, now = (", ".join(one.target.values()) for one in (old, new))
        raise BaselineError(
            f"baselines of different targets cannot be compared: {then} and {now}",
            fix="Name two files of the same target.",
            code="TRT632",
            facts={"old": dict(old.target), "new": dict(new.target)},
        )
    before, after = (dict(one.tests) if one else {} for one in (old, new))
    changes = [_change(test, before.get(test), after.get(test)) for test in {**before, **after}]
    return sorted(filter(None, changes), key=lambda change: change.test)


def _change(test: str, old: Entry | None, new: Entry | None) -> EntryChange | None:
    if old == new:
        return None
    if old is None or new is None:
        return EntryChange(test, "added" if old is None else "removed", old, new)
    why = old.differs(mode=new.mode, spec=new.spec)
    if why is not None:
        return EntryChange(test, "not comparable", old, new, why)
    if all(run in old.runs for run in new.runs):
        return EntryChange(test, "edited", old, new)
    shared = any(run in old.runs for run in new.runs)
    return EntryChange(test, "runs added" if shared else "replaced", old, new)
