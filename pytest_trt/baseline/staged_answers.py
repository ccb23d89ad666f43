"""New answers before they are stored: collected while tests run, written once at the end.

Their numbers are in a sealed file in the engine cache until then, as reports carry no arrays.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_trt.baseline.answer_changes import errors_changes
from pytest_trt.baseline.answers import (
    AnswerEntry,
    AnswerFile,
    Arrays,
    Data,
    data_bytes,
    data_error,
    parse_data,
    read_answers,
    read_intact,
    write_answers,
)
from pytest_trt.baseline.file import cannot_write
from pytest_trt.baseline.staged import Writing, entry_digest, write_each_file
from pytest_trt.diagnostics import Remedy
from pytest_trt.sealed import SealError, read_sealed, write_sealed
from pytest_trt.wording import count

_KIND = "answers"

#: No run takes longer, so an older draft belongs to none.
_LONGEST_RUN_S = 86_400.0


@dataclass(frozen=True, slots=True)
class StagedAnswers:
    """New answers of one test.

    Attributes:
        path: The JSON file to write.
        shown: The file as messages name it.
        test: The test's name in the file.
        entry: The answers.
        draft: The file with their numbers.
        against: Digest of the entry that was there; see `entry_digest`.
        update: Whether they are written at the end of the run, unless the test fails.
        repair: Whether arrays of the entry that was there are missing or damaged.

    The entry has the errors of the engines of this test alone; those of others stay if the answers
    are the same, whatever computed them.
    """

    path: Path
    shown: str
    test: str
    entry: AnswerEntry
    draft: Path
    against: str = ""
    update: bool = False
    repair: bool = False

    def with_reason(self, reason: str) -> StagedAnswers:
        """Return the same answers as ones that a person accepts, for a reason."""
        return replace(self, entry=replace(self.entry, reason=reason))


@dataclass(frozen=True, slots=True)
class WrittenAnswers:
    """Answers that were stored.

    Attributes:
        staged: The new answers.
        old: What was stored before; None if nothing was.
        new: What is stored now.
    """

    staged: StagedAnswers
    old: AnswerEntry | None
    new: AnswerEntry

    @property
    def text(self) -> str:
        """What happened to them."""
        old, new = self.old, self.new
        what = f"answers to {count(len(new.answers), 'set')} of inputs"
        if old is None:
            return f"first {what}"
        errors = errors_changes(old, new)
        if self.staged.repair and old.answers == new.answers:
            return "; ".join((f"{what} unchanged, their numbers recorded again", *errors))
        if old.is_same(new) and errors:
            return "; ".join(errors)
        if old.answers != new.answers:
            return "; ".join((f"replaced {what}", *errors))
        by = (f"now computed by {new.producer}",) if old.producer != new.producer else ()
        return "; ".join((f"{what} unchanged", *by, *errors))


def wrote_answers(shown: str) -> str:
    """Return the line that names the files written, given the JSON file's name."""
    return f"wrote {shown} and the .npz beside it (commit both files)"


def write_draft(folder: Path, data: Data) -> Path:
    """Store the numbers of a test's answers until the run ends, and return the file.

    Raises:
        BaselineError: The file, in the engine cache, cannot be written.
    """
    content = data_bytes(data)
    key = hashlib.sha256(content).hexdigest()[:20]
    path = folder / f"{key}.answers"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(path, _KIND, key, content)
    except OSError as error:
        raise cannot_write(path, error, "--trt-cache-dir") from error
    return path


def sweep_drafts(folder: Path, used: Iterable[Path], now_s: float) -> None:
    """Remove drafts that the last run does not use, nor one that is still going on."""
    in_use = set(used)
    for path in folder.glob("*.answers"):
        with suppress(OSError):
            if path not in in_use and now_s - path.stat().st_mtime > _LONGEST_RUN_S:
                path.unlink()


def write_staged_answers(staged: Sequence[StagedAnswers]) -> Writing[WrittenAnswers, StagedAnswers]:
    """Store new answers, each file once; what another run has changed meanwhile stays.

    The tests of one function share answers across precisions and architectures: theirs are one.
    """
    return write_each_file(staged, _write_file)


def _write_file(
    path: Path, entries: Sequence[StagedAnswers]
) -> tuple[list[WrittenAnswers], list[StagedAnswers]]:
    found = read_answers(path) or AnswerFile({})
    tests, overtaken = dict(found.tests), list[StagedAnswers]()
    replaced: list[tuple[StagedAnswers, AnswerEntry | None]] = []
    data: dict[str, Arrays] = {}
    for one in entries:
        old = found.tests.get(one.test)
        if entry_digest(old) != one.against and (old is None or not old.is_same(one.entry)):
            overtaken.append(one)
            continue
        data.update(_numbers(one))
        earlier = tests.get(one.test)
        if earlier is not old and earlier is not None:  # of another precision of this run
            tests[one.test] = _with_earlier_errors(old, _joined(earlier, one.entry))
            continue
        same = old is not None and old.is_same(one.entry)
        entry = _joined(old, one.entry) if old is not None and same else one.entry
        tests[one.test] = _with_earlier_errors(old, entry)
        replaced.append((one, old))
    unchanged = {digest for entry in tests.values() for digest in entry.data} - data.keys()
    if replaced:
        write_answers(path, AnswerFile(tests), {**read_intact(path, unchanged), **data})
    return [WrittenAnswers(one, old, tests[one.test]) for one, old in replaced], overtaken


def _with_earlier_errors(old: AnswerEntry | None, new: AnswerEntry) -> AnswerEntry:
    """Return a new entry with the errors of engines that did not run, if they still apply."""
    if old is None or old.answers != new.answers:
        return new
    return replace(new, errors={**old.errors, **new.errors})


def _joined(one: AnswerEntry, other: AnswerEntry) -> AnswerEntry:
    """Return an entry with what another one has besides: other inputs, errors of other engines."""
    new = [answer for answer in other.answers if one.answer(answer.inputs) is None]
    return replace(
        one,
        answers=(*one.answers, *new),
        errors={**one.errors, **other.errors},
        reason=other.reason or one.reason,
    )


def _numbers(staged: StagedAnswers) -> Data:
    try:
        content = read_sealed(staged.draft, _KIND, staged.draft.stem).content
    except (OSError, SealError) as error:
        raise data_error(staged.draft.name, str(error), _run_again()) from error
    return parse_data(io.BytesIO(bytes(content)), None, staged.draft.name, fix=_run_again)


def _run_again() -> Remedy:
    return Remedy("Run the tests again with the same option.")
