"""What was changed between two versions of a baseline file, test by test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.baseline.file import BaselineFile
from pytest_trt.diagnostics import BaselineError

#: What became of a test's baseline. "edited" is one whose runs stayed.
Kind: TypeAlias = Literal["added", "removed", "runs added", "replaced", "incomparable", "edited"]


@dataclass(frozen=True, slots=True)
class EntryChange:
    """What became of one test's baseline.

    Attributes:
        test: The test.
        kind: What it was.
        old: What was stored; None where it was added.
        new: What is stored; None where it was removed.
        why: Why old and new figures cannot be compared, where they cannot.
    """

    test: str
    kind: Kind
    old: Entry | None
    new: Entry | None
    why: str = ""

    @property
    def compared(self) -> tuple[tuple[StoredRun, ...], tuple[StoredRun, ...]] | None:
        """Runs of before and runs that are new, all of rounds with as many calls, or None."""
        if self.old is None or self.new is None or self.kind in ("incomparable", "edited"):
            return None
        calls = self.new.runs[-1].calls
        came = [run for run in self.new.runs if run not in self.old.runs]
        before = tuple(run for run in self.old.runs if run.calls == calls)
        after = tuple(run for run in came if run.calls == calls)
        return (before, after) if before and after else None


def entry_changes(old: BaselineFile | None, new: BaselineFile | None) -> list[EntryChange]:
    """Return what became of every test's baseline that is not as it was, by name.

    Args:
        old: A file's content before; None where there was none.
        new: Its content now; None where there is none.

    Raises:
        BaselineError: They are of different targets, which are never compared.
    """
    if old is not None and new is not None and old.target != new.target:
        targets = [", ".join(one.target.values()) for one in (old, new)]
        raise BaselineError(
            f"baselines of different targets are not compared: {targets[0]} and {targets[1]}.",
            fix="name two files of one target.",
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
        return EntryChange(test, "incomparable", old, new, why)
    if all(run in old.runs for run in new.runs):
        return EntryChange(test, "edited", old, new)
    shared = any(run in old.runs for run in new.runs)
    return EntryChange(test, "runs added" if shared else "replaced", old, new)
