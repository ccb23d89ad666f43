"""New baselines on their way into files: gathered while tests run, written once when they are over.

Whoever has all of them writes: one process, each file once and whole, and while no other run writes
files of the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import BaselineFile, read_baselines, write_baselines
from pytest_trt.diagnostics import BaselineError
from pytest_trt.files import locked, user_lock

#: What became of a baseline.
Kind: TypeAlias = Literal["first", "added", "replaced", "calibrated"]


@dataclass(frozen=True, slots=True)
class Staged:
    """A new baseline of one test.

    Attributes:
        path: The file that it goes to.
        shown: The file as people are told of it.
        target: What was measured on.
        test: The test's name in the file.
        entry: The baseline, with its new runs.
        add: Whether they join those that are stored.
        why: Why they do not.
        against: Digest of the entry that it was held against; see `entry_digest`.
    """

    path: Path
    shown: str
    target: Mapping[str, str]
    test: str
    entry: Entry
    add: bool = False
    why: str = ""
    against: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-simple data."""
        return {
            "path": str(self.path),
            "shown": self.shown,
            "target": dict(self.target),
            "test": self.test,
            "entry": self.entry.to_dict(),
            "add": self.add,
            "why": self.why,
            "against": self.against,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Staged:
        """Return what `to_dict` made this data of."""
        read = {"path": Path(data["path"]), "entry": Entry.from_dict(data["entry"])}
        return cls(**{**data, **read})


@dataclass(frozen=True, slots=True)
class Written:
    """A baseline that was written.

    Attributes:
        staged: What was to be written.
        old: What was stored before; None where nothing was.
        new: What is stored now.
    """

    staged: Staged
    old: Entry | None
    new: Entry

    @property
    def kind(self) -> Kind:
        """What became of the baseline."""
        if self.old is None:
            return "first"
        if self.old.runs == self.new.runs:
            return "calibrated"
        return "added" if any(run in self.old.runs for run in self.new.runs) else "replaced"

    def facts(self) -> dict[str, Any]:
        """Return what is told of it, see `report.baseline_text.update_text`."""
        stored = self.old.runs if self.old else ()
        return {
            "kind": self.kind,
            "runs": len(self.new.runs),
            "came": sum(run not in stored for run in self.new.runs),
            "before": self.old.figures() if self.old else {},
            "now": self.new.figures(),
            "why": self.staged.why,
        }


def entry_digest(entry: Entry | None) -> str:
    """Return what tells an entry from what was made of it since; empty for none."""
    if entry is None:
        return ""
    text = json.dumps(entry.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Writing(NamedTuple):
    """What became of staged baselines.

    Attributes:
        written: What was written.
        errors: Why files were not.
        overtaken: What was not, as another run has written a baseline of the test meanwhile.
    """

    written: list[Written]
    errors: list[BaselineError]
    overtaken: list[Staged]


def write_staged(staged: Sequence[Staged]) -> Writing:
    """Write baselines, each file once.

    A file that cannot be read or written is as it was, and keeps none of the others from being
    written. What another run has written since this one read the file is not replaced by what was
    never held against it: runs of the same engine join it, and others are left out.
    """
    by_file: dict[Path, list[Staged]] = {}
    for one in staged:
        by_file.setdefault(one.path, []).append(one)
    written: list[Written] = []
    errors: list[BaselineError] = []
    overtaken: list[Staged] = []
    for path, entries in sorted(by_file.items()):
        try:
            with _only_writer(path.parent):
                done = _write_file(path, entries)
        except BaselineError as error:
            errors.append(error)
        else:
            written += done
            stayed = [one.staged for one in done]
            overtaken += [one for one in entries if one not in stayed]
    return Writing(written, errors, overtaken)


def _write_file(path: Path, entries: Sequence[Staged]) -> list[Written]:
    found = read_baselines(path) or BaselineFile(entries[0].target)
    tests, written = dict(found.tests), []
    for one in entries:
        old = tests.get(one.test)
        entry = one.entry if old is None else _beside(old, one)
        if entry is not None:
            tests[one.test] = entry
            written.append(Written(one, old, entry))
    if written:
        write_baselines(path, BaselineFile(found.target, tests))
    return written


def _beside(old: Entry, new: Staged) -> Entry | None:
    """Return what is stored once a baseline meets the one that is there; None for that one."""
    seen = entry_digest(old) == new.against
    entry = new.entry
    alike = (
        old.engine.get("key") == entry.engine.get("key")
        and old.differs(mode=entry.mode, spec=entry.spec) is None
    )
    if alike and (new.add or (not seen and not new.against)):
        return old.with_runs(entry.runs, entry.engine, entry.layers)
    return entry if seen else None


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keep the user's other processes from writing files of a folder.

    Without a lock where none can be had: some network file systems have none.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):
            held.enter_context(locked(user_lock(f"baselines-{name}")))
        yield
