from __future__ import annotations

import pytest
from builders_baseline import TARGET, stored, stored_run

from pytest_trt.baseline.changes import EntryChange, entry_changes
from pytest_trt.baseline.entry import Entry, StoredNoise
from pytest_trt.baseline.file import BaselineFile
from pytest_trt.diagnostics import BaselineError


def file(**tests: Entry) -> BaselineFile:
    return BaselineFile(TARGET, tests)


def only(old: BaselineFile | None, new: BaselineFile | None) -> EntryChange:
    (change,) = entry_changes(old, new)
    return change


def test_what_stayed_as_it_is_is_not_reported() -> None:
    assert entry_changes(file(a=stored(), b=stored()), file(b=stored(), a=stored())) == []
    assert entry_changes(None, None) == []


@pytest.mark.parametrize("old", [None, file()])
def test_test_that_came(old) -> None:
    change = only(old, file(a=stored()))
    assert (change.kind, change.old, change.compared) == ("added", None, None)


@pytest.mark.parametrize("new", [None, file()])
def test_test_that_went(new) -> None:
    change = only(file(a=stored()), new)
    assert (change.kind, change.new, change.compared) == ("removed", None, None)


def test_only_new_runs_are_compared_with_those_of_before() -> None:
    first, second, third = (stored_run(day) for day in (1, 2, 3))
    change = only(file(a=stored(first, second)), file(a=stored(second, third)))
    assert change.kind == "runs added"
    assert change.compared == ((first, second), (third,))


def test_other_runs_replace_those_of_before() -> None:
    change = only(file(a=stored(stored_run(1))), file(a=stored(stored_run(2))))
    assert change.kind == "replaced"
    assert change.compared == ((stored_run(1),), (stored_run(2),))


def test_rounds_of_another_length_are_not_compared() -> None:
    change = only(file(a=stored(stored_run(1))), file(a=stored(stored_run(2, calls=140))))
    assert (change.kind, change.compared) == ("replaced", None)


def test_another_spec_is_not_compared() -> None:
    change = only(file(a=stored()), file(a=stored(stored_run(2), spec={"batch": "4"})))
    assert (change.kind, change.compared) == ("not comparable", None)
    assert change.why == "it has batch none, this run has 4"


def test_runs_that_stayed_are_an_edit() -> None:
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.002, {})
    change = only(file(a=stored()), file(a=stored(noise=noise)))
    assert (change.kind, change.compared) == ("edited", None)


def test_targets_are_never_compared() -> None:
    other = BaselineFile({**TARGET, "arch": "sm86"}, {})
    with pytest.raises(BaselineError, match="different targets cannot be compared: sm90"):
        entry_changes(file(), other)
