"""New baselines before they are written: collected while tests run, written once at the end.

The process that has all results writes them, each file once, while it holds the folder's lock.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from pytest_trt.baseline.answers import AnswerEntry
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import BaselineFile, read_baselines, write_baselines
from pytest_trt.baseline.metrics import MetricsEntry
from pytest_trt.baseline.update_text import update_text
from pytest_trt.diagnostics import BaselineError
from pytest_trt.files import LockTimeoutError, locked, user_lock
from pytest_trt.records import to_data

#: What happened to a baseline.
Kind: TypeAlias = Literal["first", "added", "replaced", "calibrated"]


#: Longest wait for one process that writes baselines, which takes milliseconds.
_MOST_HELD_S = 60.0


@dataclass(frozen=True, slots=True)
class Staged:
    """A new baseline of one test.

    Attributes:
        path: The file to write.
        shown: The file as messages name it.
        target: What was measured on.
        test: The test's name in the file.
        entry: The baseline, with its new runs.
        add: Whether the runs are added to the stored ones.
        why: Why they replace the stored ones.
        against: Digest of the entry that it was compared with; see `entry_digest`.
        above: An existing folder of baselines further up, where this file starts a second one.
        limited: The metrics that the test limits.
    """

    path: Path
    shown: str
    target: Mapping[str, str]
    test: str
    entry: Entry
    add: bool = False
    why: str = ""
    against: str = ""
    above: Path | None = None
    limited: tuple[str, ...] = ()

    def with_reason(self, reason: str) -> Staged:
        """Return the same baseline as one that a person accepts, for a reason."""
        runs = tuple(replace(run, reason=reason) for run in self.entry.runs)
        return replace(self, entry=replace(self.entry, runs=runs, accepted={}))


@dataclass(frozen=True, slots=True)
class Written:
    """A baseline that was written.

    Attributes:
        staged: The new baseline.
        old: What was stored before; None if nothing was.
        new: What is stored now.
    """

    staged: Staged
    old: Entry | None
    new: Entry

    @property
    def kind(self) -> Kind:
        """What happened to the baseline."""
        if self.old is None:
            return "first"
        if self.old.runs == self.new.runs:
            return "calibrated"
        return "added" if any(run in self.old.runs for run in self.new.runs) else "replaced"

    def facts(self) -> dict[str, Any]:
        """Return the arguments of `update_text`."""
        stored = self.old.runs if self.old else ()
        return {
            "kind": self.kind,
            "runs": len(self.new.runs),
            "came": sum(run not in stored for run in self.new.runs),
            "before": self.old.figures() if self.old else {},
            "now": self.new.figures(),
            "why": self.staged.why,
            "limited": self.staged.limited,
        }

    @property
    def text(self) -> str:
        """What happened to it: "replaced, P99 1.02 -> 1.31 ms (+28%): more classes"."""
        dropped = self.old is not None and self.old.noise is not None and self.new.noise is None
        return update_text(**self.facts()) + "; its calibration was dropped" * dropped


def entry_digest(entry: Entry | AnswerEntry | MetricsEntry | None) -> str:
    """Return a digest by which a later change of the entry is noticed; empty for none."""
    if entry is None:
        return ""
    text = json.dumps(to_data(entry), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class AnyStaged(Protocol):
    """What is known of new entries of every kind: speed baselines, answers, task metrics."""

    @property
    def path(self) -> Path:
        """The file to write."""

    @property
    def shown(self) -> str:
        """The file as messages name it."""

    @property
    def test(self) -> str:
        """The test's name in the file."""


_Staged = TypeVar("_Staged", bound=AnyStaged)
_Written = TypeVar("_Written")

#: The result of writing: what was written, files that could not be read or written, and what was
#: not written because another run has changed the test's entry since this one read it.
Writing: TypeAlias = tuple[list[_Written], list[BaselineError], list[_Staged]]


def write_each_file(
    staged: Sequence[_Staged],
    write_file: Callable[[Path, Sequence[_Staged]], tuple[list[_Written], list[_Staged]]],
) -> Writing[_Written, _Staged]:
    """Write each file once, while its folder is locked.

    A file that cannot be read or written is left unchanged, and the others are written.

    Args:
        staged: New entries.
        write_file: Reads a file, merges its new entries and writes it. It returns what it wrote,
            and the entries that another run has changed since.
    """
    by_file: dict[Path, list[_Staged]] = {}
    for one in staged:
        by_file.setdefault(one.path, []).append(one)
    written: list[_Written] = []
    errors: list[BaselineError] = []
    overtaken: list[_Staged] = []
    for path, entries in sorted(by_file.items()):
        try:
            with only_writer(path.parent):
                done, late = write_file(path, entries)
        except BaselineError as error:
            errors.append(error)
        else:
            written += done
            overtaken += late
    return written, errors, overtaken


def write_staged(staged: Sequence[Staged]) -> Writing[Written, Staged]:
    """Write speed baselines, each file once.

    An entry that another run has changed since this one read it is never replaced, as nothing was
    compared with it: runs of the same engine are added, others are dropped.
    """
    return write_each_file(staged, _write_file)


def overtaken_error(staged: AnyStaged) -> BaselineError:
    """Return the error of an update that another run overtook."""
    return BaselineError(
        f"{staged.shown}: another run has changed the baseline of {staged.test} meanwhile; it was "
        "not replaced",
        fix="Run the test again.",
        code="TRT606",
        facts={"file": str(staged.path), "test": staged.test},
    )


def _write_file(path: Path, entries: Sequence[Staged]) -> tuple[list[Written], list[Staged]]:
    found = read_baselines(path) or BaselineFile(entries[0].target, {})
    tests, written, overtaken = dict(found.tests), [], []
    for one in entries:
        old = tests.get(one.test)
        entry = one.entry if old is None else _merged(old, one)
        if entry is None:
            overtaken.append(one)
            continue
        tests[one.test] = entry
        written.append(Written(one, old, entry))
    if written:
        write_baselines(path, BaselineFile(found.target, tests))
    return written, overtaken


def _merged(old: Entry, new: Staged) -> Entry | None:
    """Return what to store where a test has a baseline already; None to leave that one."""
    seen = entry_digest(old) == new.against
    entry = new.entry
    comparable = (
        old.engine.get("key") == entry.engine.get("key")
        and old.differs(mode=entry.mode, spec=entry.spec) is None
    )
    if comparable and (new.add or (not seen and not new.against)):
        return old.with_runs(entry.runs, entry.engine, entry.layers)
    return entry if seen else None


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep the user's other processes from writing files of a folder.

    Some network file systems have no locks; then nothing is locked.

    Raises:
        BaselineError: Another process has been writing for a minute: it hangs.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]
    with ExitStack() as held:
        try:
            lock = locked(user_lock(f"baselines-{name}"), timeout_s=_MOST_HELD_S, remove=True)
            held.enter_context(lock)
        except LockTimeoutError as error:
            raise BaselineError(
                f"{folder}: {error.holder} has been writing baselines there for "
                f"{error.waited_s:.0f} s, so this run wrote none",
                fix="End that process if it hangs, and run the test again.",
                code="TRT604",
                facts={"file": str(folder), "holder": error.holder},
            ) from error
        except OSError:
            pass
        yield
